/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/request.h"
#include "obs/text.h"

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool is_utf8(const char *text, size_t len) {
    for (size_t at = 0; at < len;) {
        uint32_t c;
        bool is_valid;
        at += dh_text_decode(text + at, len - at, &c, &is_valid);
        if (!is_valid || c == 0) {
            return false;
        }
    }
    return true;
}

long dh_params_decode(char *dst, size_t cap, const char *src, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = src[i];
        if (c == '%') {
            int high = i + 2 < len ? hex(src[i + 1]) : -1;
            int low = high >= 0 ? hex(src[i + 2]) : -1;
            if (low < 0) {
                return -1;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (n + 1 >= cap) {
            return -1;
        }
        dst[n++] = c;
    }
    dst[n] = '\0';
    return is_utf8(dst, n) ? (long)n : -1;
}

/* Parameters by name. Each returns NULL, or what it expects. */

static const char *read_seconds(const char *value, double max, double *ret_seconds) {
    char *end;
    double seconds = strtod(value, &end);
    if (value[0] == '\0' || *end != '\0' || !(seconds >= 0)) {
        return "seconds, a number from 0 on";
    }
    *ret_seconds = seconds < max ? seconds : max;
    return NULL;
}

static const char *read_flag(const char *value, bool *ret_flag) {
    if (strcmp(value, "1") != 0 && strcmp(value, "0") != 0) {
        return "0 or 1";
    }
    *ret_flag = value[0] == '1';
    return NULL;
}

static const char *read_number(const char *value, uint64_t *ret_number) {
    return dh_text_number(value, ret_number) ? NULL : "a whole number";
}

static const char *set(struct dh_params *p, const char *key, const char *value) {
    if (strcmp(key, "wait") == 0) {
        return read_seconds(value, DH_ORDER_WAIT_MAX_S, &p->wait_s);
    }
    if (strcmp(key, "within") == 0) {
        return read_seconds(value, 1e6, &p->within_s);
    }
    if (strcmp(key, "now") == 0) {
        return read_flag(value, &p->is_now);
    }
    if (strcmp(key, "follow") == 0) {
        return read_flag(value, &p->follows);
    }
    if (strcmp(key, "lines") == 0) {
        return read_number(value, &p->lines);
    }
    if (strcmp(key, "after") == 0) {
        p->has_after = true;
        return read_number(value, &p->after);
    }
    p->has_worker = true;
    p->worker_len = strlen(value);
    memcpy(p->worker, value, p->worker_len + 1);
    return NULL;
}

/* Is the word in the list of words? */
static bool is_known(const char *known, const char *word) {
    size_t len = strchr(word, ' ') == NULL ? strlen(word) : 0; /* two are no word */
    for (const char *at = known; len > 0 && (at = strstr(at, word)) != NULL; at += len) {
        bool begins = at == known || at[-1] == ' ';
        if (begins && (at[len] == ' ' || at[len] == '\0')) {
            return true;
        }
    }
    return false;
}

struct reading {
    struct dh_request *request;
    const char *known;
    char wrong[400];
};

static enum MHD_Result complain(struct reading *reading, const char *fmt, const char *a,
                                const char *b) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(reading->wrong, sizeof(reading->wrong), fmt, a, b);
#pragma GCC diagnostic pop
    return MHD_NO;
}

static enum MHD_Result on_argument(struct reading *reading, const char *key, const char *value) {
    char decoded[DH_NAME_MAX + 1];
    if (!is_known(reading->known, key)) {
        return complain(reading, "unknown parameter '%.64s'; this path knows: %s", key,
                        reading->known[0] != '\0' ? reading->known : "none");
    }
    if (value == NULL || dh_params_decode(decoded, sizeof(decoded), value, strlen(value)) < 0) {
        return complain(reading, "parameter %s: text (UTF-8, at most 200 bytes) expected%s", key,
                        "");
    }
    const char *expected = set(&reading->request->params, key, decoded);
    return expected == NULL ? MHD_YES
                            : complain(reading, "parameter %s: %s expected", key, expected);
}

/* A field of the body as the text that the query would have. */
static enum MHD_Result on_field(struct reading *reading, const char *key, const json_t *value) {
    char text[64];
    switch (json_typeof(value)) {
        case JSON_TRUE:
            if (strcmp(key, "wait") == 0) {
                return MHD_YES; /* as long as one does */
            }
            return on_argument(reading, key, "1");
        case JSON_FALSE:
            return on_argument(reading, key, "0");
        case JSON_INTEGER:
        case JSON_REAL:
            snprintf(text, sizeof(text), "%.17g", json_number_value(value));
            return on_argument(reading, key, text);
        default:
            return complain(reading, "field '%.64s': a number or a boolean expected%s", key, "");
    }
}

/* Takes the query apart. */
static void read_query(struct reading *reading) {
    char *at = reading->request->query;
    for (char *plus = at; (plus = strchr(plus, '+')) != NULL;) {
        *plus = ' ';
    }
    for (char *key; reading->wrong[0] == '\0' && (key = strsep(&at, "&")) != NULL;) {
        char *value = key;
        strsep(&value, "=");
        if (key[0] != '\0') {
            on_argument(reading, key, value);
        }
    }
}

static bool is_json_type(struct dh_request *r) {
    const char *type =
        MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    size_t len = strlen("application/json");
    return type != NULL && strncasecmp(type, "application/json", len) == 0 &&
           (type[len] == '\0' || type[len] == ';' || type[len] == ' ');
}

/* Returns 0 or the status of what is wrong. */
static unsigned read_body(struct reading *reading) {
    struct dh_request *r = reading->request;
    json_error_t error;
    if (r->is_too_big) {
        complain(reading, "the body is too big: at most 16 KiB%s%s", "", "");
        return MHD_HTTP_CONTENT_TOO_LARGE;
    }
    if (r->body_len == 0) {
        return 0;
    }
    if (!is_json_type(r)) {
        complain(reading, "a body must have the content type application/json%s%s", "", "");
        return MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
    }
    json_t *body = json_loadb(r->body, r->body_len, JSON_REJECT_DUPLICATES, &error);
    if (body == NULL) {
        snprintf(reading->wrong, sizeof(reading->wrong),
                 "the body is not JSON: line %d column %d: "
                 "%s",
                 error.line, error.column, error.text);
        return MHD_HTTP_BAD_REQUEST;
    }
    enum MHD_Result ok = MHD_YES;
    if (json_typeof(body) != JSON_OBJECT) {
        ok = complain(reading, "the body: an object expected%s%s", "", "");
    }
    void *at = json_object_iter(body); /* NULL if it is none */
    for (; ok == MHD_YES && at != NULL; at = json_object_iter_next(body, at)) {
        ok = on_field(reading, json_object_iter_key(at), json_object_iter_value(at));
    }
    json_decref(body);
    return ok == MHD_YES ? 0 : MHD_HTTP_BAD_REQUEST;
}

bool dh_params_read(struct dh_request *r, const char *known, enum MHD_Result *ret_result) {
    struct reading reading = {.request = r, .known = known};
    r->params =
        (struct dh_params){.wait_s = DH_ORDER_WAIT_S, .within_s = DH_LIVE_S, .lines = DH_LOG_LINES};
    read_query(&reading);
    unsigned status = reading.wrong[0] != '\0' ? MHD_HTTP_BAD_REQUEST : read_body(&reading);
    if (status != 0) {
        *ret_result = dh_reply_error(r, status, "%s", reading.wrong);
        return false;
    }
    return true;
}
