/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/request.h"

static enum MHD_Result queue(struct dh_request *r, unsigned status, const char *type,
                             const char *allowed, struct MHD_Response *response) {
    if (response == NULL) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (allowed != NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allowed);
    }
    enum MHD_Result result = MHD_queue_response(r->connection, status, response);
    MHD_destroy_response(response);
    r->phase = DH_REQUEST_ANSWERED;
    return result;
}

static enum MHD_Result bytes(struct dh_request *r, unsigned status, const char *type,
                             const char *allowed, char *text, size_t len) {
    if (text == NULL) {
        return MHD_NO;
    }
    return queue(r, status, type, allowed,
                 MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE));
}

enum MHD_Result dh_reply_bytes(struct dh_request *r, unsigned status, const char *type, char *text,
                               size_t len) {
    return bytes(r, status, type, NULL, text, len);
}

static enum MHD_Result json_reply(struct dh_request *r, unsigned status, const char *allowed,
                                  json_t *json) {
    char *text = json_dumps(json, DH_JSON_FLAGS);
    json_decref(json);
    return bytes(r, status, "application/json", allowed, text, text != NULL ? strlen(text) : 0);
}

enum MHD_Result dh_reply_json(struct dh_request *r, unsigned status, json_t *json) {
    return json_reply(r, status, NULL, json);
}

static json_t *error_json(const char *text) {
    json_t *json = json_object();
    json_object_set_new(json, "error", dh_json_text(text, strlen(text)));
    return json;
}

enum MHD_Result dh_reply_error(struct dh_request *r, unsigned status, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return json_reply(r, status, NULL, error_json(text));
}

enum MHD_Result dh_reply_not_allowed(struct dh_request *r, const char *allowed) {
    char text[128];
    snprintf(text, sizeof(text), "this path takes %s", allowed);
    return json_reply(r, MHD_HTTP_METHOD_NOT_ALLOWED, allowed, error_json(text));
}
