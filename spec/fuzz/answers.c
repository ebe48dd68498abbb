/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "answers.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fakehost.h"
#include "fuzz.h"
#include "prometheus.h"

enum { WORKER_FIELDS = 19 };

struct answer {
    unsigned status;
    char type[80];
    bool is_chunked;
    bool has_length;
    size_t length;
};

struct reader {
    const char *at;
    const char *end;
};

/* The next line, without its CRLF; NULL: it has not come whole. */
static const char *next_line(struct reader *r, size_t *ret_len) {
    const char *line = r->at;
    const char *end = memmem(r->at, (size_t)(r->end - r->at), "\r\n", 2);
    if (end == NULL) {
        return NULL;
    }
    *ret_len = (size_t)(end - line);
    HOLDS(memchr(line, '\r', *ret_len) == NULL && memchr(line, '\n', *ret_len) == NULL);
    r->at = end + 2;
    return line;
}

static bool is_one_of(unsigned status, const unsigned *list) {
    while (*list != 0 && *list != status) {
        list++;
    }
    return *list != 0;
}

/* The value of the header, or NULL. */
static const char *header(const char *line, size_t len, const char *name) {
    size_t n = strlen(name);
    bool is = len > n + 1 && strncasecmp(line, name, n) == 0 && line[n] == ':';
    return is ? line + n + 1 + (line[n + 1] == ' ') : NULL;
}

static void take_header(struct answer *a, const char *line, size_t len) {
    const char *colon = memchr(line, ':', len);
    const char *value;
    HOLDS(colon != NULL && colon > line);
    if ((value = header(line, len, "Content-Type")) != NULL) {
        size_t n = (size_t)(line + len - value);
        HOLDS(n < sizeof(a->type));
        memcpy(a->type, value, n);
        a->type[n] = '\0';
    } else if ((value = header(line, len, "Content-Length")) != NULL) {
        HOLDS(!a->has_length && *value >= '0' && *value <= '9');
        a->has_length = true;
        a->length = strtoull(value, NULL, 10);
    } else if (header(line, len, "Transfer-Encoding") != NULL) {
        a->is_chunked = true;
    }
}

/* Returns false: the head has not come whole. */
static bool read_head(struct reader *r, struct answer *ret_answer) {
    size_t len;
    const char *line = next_line(r, &len);
    *ret_answer = (struct answer){0};
    if (line == NULL) {
        return false;
    }
    HOLDS(len >= 12 && memcmp(line, "HTTP/1.", 7) == 0 && (line[7] == '0' || line[7] == '1'));
    ret_answer->status = (unsigned)strtoul(line + 9, NULL, 10);
    while ((line = next_line(r, &len)) != NULL && len > 0) {
        take_header(ret_answer, line, len);
    }
    return line != NULL;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static void check_text(const json_t *text, bool (*has_been)(const char *, size_t)) {
    HOLDS(text == NULL || json_is_null(text) ||
          has_been(json_string_value(text), json_string_length(text)));
}

/* What tells of a worker, or of what has become of it: it is whole, names and errors are those of the host. */
static void check_worker(const json_t *w) {
    HOLDS(json_object_size(w) == WORKER_FIELDS + (json_object_get(w, "endings") != NULL));
    check_text(json_object_get(w, "name"), fake_had_name);
    const json_t *error = json_object_get(w, "last_error");
    if (json_is_object(error)) {
        check_text(json_object_get(error, "message"), fake_had_error);
    }
}

static void check_event(const json_t *event) {
    check_text(json_object_get(event, "worker"), fake_had_name);
    check_text(json_object_get(event, "error"), fake_had_error);
}

static void check_json(const struct answer *a, const char *body, size_t len, bool is_probe) {
    size_t i;
    const json_t *worker;
    json_t *json = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    HOLDS(json_is_object(json));
    HOLDS(a->status < 400 || is_probe || json_is_string(json_object_get(json, "error")));
    json_array_foreach(json_object_get(json, "workers"), i, worker) {
        check_worker(worker);
    }
    if (json_is_string(json_object_get(json, "state"))) {
        check_worker(json);
    }
    if (json_is_object(json_object_get(json, "worker"))) {
        check_worker(json_object_get(json, "worker"));
    }
    json_decref(json);
}

static void on_sample(void *arg, const char *name, const char *label, double value) {
    (void)arg;
    (void)name;
    (void)value;
    HOLDS(label == NULL || fake_had_name(label, strlen(label)));
}

static void check_object(const char *text, size_t len) {
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    HOLDS(json_is_object(json));
    check_event(json);
    json_decref(json);
}

/* One line of a stream: of server-sent events, or one object. */
static void check_line(const char *line, size_t len, bool is_sse) {
    if (len == 0 || (is_sse && line[0] == ':')) {
        return;
    }
    if (!is_sse) {
        check_object(line, len);
    } else if (len > 6 && memcmp(line, "data: ", 6) == 0) {
        check_object(line + 6, len - 6);
    } else {
        HOLDS(memcmp(line, "event: ", 7) == 0 || memcmp(line, "id: ", 4) == 0);
    }
}

static void check_stream(const char *body, size_t len, bool is_sse) {
    const char *end;
    const char *stop = body + len;
    while ((end = memchr(body, '\n', (size_t)(stop - body))) != NULL) {
        check_line(body, (size_t)(end - body), is_sse);
        body = end + 1;
    }
}

/* text[len] is a 0. */
static void check_body(const struct answer *a, const char *text, size_t len, bool is_probe,
                       bool is_whole) {
    HOLDS(fuzz_is_utf8(text, len) || !is_whole);
    if (strcmp(a->type, "application/json") == 0) {
        if (is_whole) {
            check_json(a, text, len, is_probe);
        }
    } else if (strcmp(a->type, "text/event-stream") == 0) {
        check_stream(text, len, true);
    } else if (strcmp(a->type, "application/x-ndjson") == 0) {
        check_stream(text, len, false);
    } else {
        HOLDS(strcmp(a->type, "text/plain; version=0.0.4; charset=utf-8") == 0);
        if (is_whole) {
            prometheus_read(text, len, on_sample, NULL);
        }
    }
}

/* Put the chunks together. Returns false: the last one has not come. */
static bool join_chunks(struct reader *r, char *body, size_t *ret_len) {
    size_t n = 0;
    size_t len;
    bool is_last = false;
    const char *line;
    while (!is_last && (line = next_line(r, &len)) != NULL) {
        char *end;
        size_t size = strtoull(line, &end, 16);
        HOLDS(end == line + len && len > 0);
        is_last = size == 0;
        size_t left = (size_t)(r->end - r->at);
        bool is_whole = size + 2 <= left;
        memcpy(body + n, r->at, size < left ? size : left);
        n += size < left ? size : left;
        HOLDS(!is_whole || memcmp(r->at + size, "\r\n", 2) == 0);
        r->at = is_whole ? r->at + size + 2 : r->end;
        if (!is_whole) {
            is_last = false;
            break;
        }
    }
    *ret_len = n;
    return is_last;
}

/* Returns false: it has not come whole. */
static bool read_body(struct reader *r, const struct answer *a, bool is_probe) {
    size_t left = (size_t)(r->end - r->at);
    char *body = malloc(left + 1);
    size_t len = left;
    bool is_whole = false;
    HOLDS(body != NULL);
    if (a->is_chunked) {
        is_whole = join_chunks(r, body, &len);
    } else {
        len = a->has_length && a->length < left ? a->length : left;
        is_whole = a->has_length && a->length <= left;
        memcpy(body, r->at, len);
        r->at += len;
    }
    body[len] = '\0';
    check_body(a, body, len, is_probe, is_whole);
    free(body);
    return is_whole;
}

static bool is_stream(const struct answer *a) {
    return strcmp(a->type, "text/event-stream") == 0 ||
           strcmp(a->type, "application/x-ndjson") == 0;
}

size_t answers_read(const char *text, size_t len, const struct asked *asked, size_t count,
                    bool is_cut) {
    static const unsigned ours[] = {200, 202, 400, 403, 404, 405, 409,
                                    413, 414, 415, 422, 501, 503, 0};
    static const unsigned libs[] = {400, 411, 413, 414, 431, 500, 501, 505, 0};
    struct reader r = {text, text + len};
    size_t done = 0;
    while (r.at < r.end) {
        struct answer a;
        bool is_ours = done < count;
        if (!read_head(&r, &a)) {
            HOLDS(is_cut);
            return done;
        }
        if (a.status == 100) {
            continue;
        }
        HOLDS(is_one_of(a.status, is_ours ? ours : libs));
        if (!is_ours) {
            return done; /* MHD 0.9.75 may write the head of such an answer twice */
        }
        bool has_body =
            asked[done].is_refused ? r.at < r.end && *r.at == '{' : !asked[done].is_head;
        if (has_body && !read_body(&r, &a, asked[done].is_probe)) {
            HOLDS(is_cut || is_stream(&a) || (!a.has_length && !a.is_chunked));
            return done + 1;
        }
        done++;
    }
    return done;
}
