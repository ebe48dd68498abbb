/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/limits.h"
#include "control/request.h"
#include "control/server.h"

/* The response, or NULL, without it, when memory is out. */
static struct MHD_Response *with_header(struct MHD_Response *response, const char *name,
                                        const char *value) {
    if (response != NULL && MHD_add_response_header(response, name, value) != MHD_YES) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

static struct MHD_Response *with_headers(struct MHD_Response *response, const char *type) {
    response = with_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return with_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

/* Takes the text over; NULL when memory is out. */
static struct MHD_Response *whole(const char *type, char *text, size_t len) {
    if (text == NULL) {
        return NULL;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
    }
    return with_headers(response, type);
}

static enum MHD_Result queue(struct dh_request *r, unsigned status, struct MHD_Response *response,
                             bool is_bounded) {
    dh_request_answered(r, is_bounded);
    return response != NULL ? MHD_queue_response(r->connection, status, response) : MHD_NO;
}

static enum MHD_Result queue_once(struct dh_request *r, unsigned status,
                                  struct MHD_Response *response, bool is_bounded) {
    enum MHD_Result result = queue(r, status, response, is_bounded);
    if (response != NULL) {
        MHD_destroy_response(response);
    }
    return result;
}

enum MHD_Result dh_reply_response(struct dh_request *r, const char *type,
                                  struct MHD_Response *response, bool is_bounded) {
    if (r->is_head && response != NULL) { /* MHD 0.9.75 sends the last chunk of no chunks */
        MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    }
    return queue_once(r, MHD_HTTP_OK, with_headers(response, type), is_bounded);
}

static struct MHD_Response *json_response(json_t *json) {
    size_t len = 0;
    char *text = dh_json_print(json, &len);
    json_decref(json);
    return whole("application/json", text, len);
}

enum MHD_Result dh_reply_json(struct dh_request *r, unsigned status, json_t *json) {
    return queue_once(r, status, json_response(json), true);
}

static int make_piece(struct dh_pieces *p) {
    free(p->text);
    p->text = NULL;
    p->at = 0;
    p->len = 0;
    FILE *out = open_memstream(&p->text, &p->len);
    if (out == NULL) {
        return DH_ENOMEM;
    }
    int result = p->put(p, out);
    p->has_more = result == 1;
    int failed = ferror(out); /* fclose does not tell of it */
    failed |= fclose(out);
    return failed == 0 && result >= 0 ? 0 : DH_ENOMEM;
}

/* Called when the connection takes more. */
static ssize_t read_pieces(void *arg, uint64_t pos, char *buf, size_t max) {
    struct dh_pieces *p = arg;
    (void)pos;
    while (p->at == p->len) {
        if (!p->has_more) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        if (make_piece(p) != 0) {
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
    }
    size_t n = p->len - p->at < max ? p->len - p->at : max;
    memcpy(buf, p->text + p->at, n);
    p->at += n;
    return (ssize_t)n;
}

static void free_pieces(void *arg) {
    struct dh_pieces *p = arg;
    if (p->making != NULL) {
        --*p->making;
    }
    free(p->text);
    p->free(p);
}

/* What is one piece only has a length, and may serve again. */
static enum MHD_Result reply_whole(struct dh_request *r, const char *type, struct dh_pieces *p,
                                   struct dh_kept *kept, uint64_t version) {
    struct MHD_Response *response = whole(type, p->text, p->len);
    p->text = NULL;
    free_pieces(p);
    if (version == 0 || response == NULL) {
        return queue_once(r, MHD_HTTP_OK, response, true);
    }
    if (kept->response != NULL) {
        MHD_destroy_response(kept->response);
    }
    *kept = (struct dh_kept){version, response};
    return dh_reply_kept(r, kept);
}

enum MHD_Result dh_reply_kept(struct dh_request *r, const struct dh_kept *kept) {
    return queue(r, MHD_HTTP_OK, kept->response, true);
}

enum MHD_Result dh_reply_pieces(struct dh_request *r, const char *type, struct dh_pieces *p,
                                struct dh_kept *kept, uint64_t version) {
    if (make_piece(p) != 0) {
        free_pieces(p);
        return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    }
    if (!p->has_more) {
        return reply_whole(r, type, p, kept, version);
    }
    p->making = &r->server->making[r->is_tcp];
    ++*p->making;
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, DH_PIECE_BYTES, read_pieces, p, free_pieces);
    if (response == NULL) {
        free_pieces(p);
    }
    return dh_reply_response(r, type, response, true);
}

static json_t *error_json(const char *text) {
    json_t *json = json_object();
    dh_json_set(&json, "error", dh_json_text(text, strlen(text)));
    return json;
}

enum MHD_Result dh_reply_error(struct dh_request *r, unsigned status, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return queue_once(r, status, json_response(error_json(text)), true);
}

enum MHD_Result dh_reply_not_allowed(struct dh_request *r, const char *allowed) {
    char text[128];
    snprintf(text, sizeof(text), "this path takes %s", allowed);
    struct MHD_Response *response =
        with_header(json_response(error_json(text)), MHD_HTTP_HEADER_ALLOW, allowed);
    return queue_once(r, MHD_HTTP_METHOD_NOT_ALLOWED, response, true);
}
