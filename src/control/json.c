/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/json.h"

#include <stdlib.h>
#include <string.h>

#include "obs/text.h"

static size_t put_utf8(char *dst, uint32_t c) {
    if (c < 0x80) {
        dst[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        dst[0] = (char)(0xc0 | c >> 6);
        dst[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        dst[0] = (char)(0xe0 | c >> 12);
        dst[1] = (char)(0x80 | (c >> 6 & 0x3f));
        dst[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    dst[0] = (char)(0xf0 | c >> 18);
    dst[1] = (char)(0x80 | (c >> 12 & 0x3f));
    dst[2] = (char)(0x80 | (c >> 6 & 0x3f));
    dst[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* A wrong byte becomes a character of three. */
static json_t *mended(const char *text, size_t len) {
    char *copy = malloc(3 * len + 4);
    if (copy == NULL) {
        return NULL;
    }
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        uint32_t c;
        bool is_valid;
        at += dh_text_decode(text + at, len - at, &c, &is_valid);
        n += put_utf8(copy + n, c);
    }
    json_t *json = json_stringn(copy, n);
    free(copy);
    return json;
}

json_t *dh_json_text(const char *text, size_t len) {
    json_t *json = json_stringn(text, len);
    return json != NULL ? json : mended(text, len);
}

json_t *dh_json_seconds(uint64_t ns) {
    return json_real((double)ns / 1e9);
}

static json_t *text_or_null(const char *text) {
    return text != NULL ? dh_json_text(text, strlen(text)) : json_null();
}

static json_t *last_error(const struct dh_last_error *e) {
    if (e == NULL) {
        return json_null();
    }
    json_t *json = json_object();
    json_object_set_new(json, "message", dh_json_text(e->text, e->message_len));
    json_object_set_new(json, "traceback",
                        dh_json_text(e->text + e->message_len, e->traceback_len));
    json_object_set_new(json, "at", dh_json_seconds(e->at_ns));
    json_object_set_new(json, "run", json_integer(e->run));
    return json;
}

static json_t *next_retry_in(const struct dh_view *v, uint64_t now_ns) {
    if (v->retry_at_ns == DH_NEVER) {
        return json_null();
    }
    return dh_json_seconds(v->retry_at_ns > now_ns ? v->retry_at_ns - now_ns : 0);
}

json_t *dh_json_worker(const struct dh_view *v, uint64_t now_ns) {
    json_t *json = json_object();
    json_object_set_new(json, "name", dh_json_text(v->name, v->name_len));
    json_object_set_new(json, "state", json_string(dh_state_name(v->state)));
    json_object_set_new(json, "since", dh_json_seconds(v->since_ns));
    json_object_set_new(json, "run", json_integer(v->run));
    json_object_set_new(json, "restarts", json_integer(v->restarts));
    json_object_set_new(json, "streak", json_integer(v->streak));
    json_object_set_new(json, "next_retry_in", next_retry_in(v, now_ns));
    json_object_set_new(json, "wanted", json_string(v->is_wanted ? "up" : "down"));
    json_object_set_new(json, "ready", json_boolean(v->is_ready));
    json_object_set_new(json, "waiting_for", text_or_null(v->waiting_for));
    json_object_set_new(json, "last_error", last_error(v->error));
    json_object_set_new(json, "tasks", json_integer(v->tasks));
    json_object_set_new(json, "handles", json_integer(v->handles));
    json_object_set_new(json, "memory_bytes", json_integer((json_int_t)v->held_bytes));
    json_object_set_new(json, "allocated_bytes", json_integer((json_int_t)v->allocated_bytes));
    json_object_set_new(json, "leftover_bytes", json_integer((json_int_t)v->leftover_bytes));
    json_object_set_new(json, "cpu_s", dh_json_seconds(v->cpu_ns));
    json_object_set_new(json, "preemptions", json_integer((json_int_t)v->preemptions));
    json_object_set_new(json, "slice_max_s", dh_json_seconds(v->slice_max_ns));
    return json;
}

/* The variables of a failing stack: the form is script/variables.c's. */
static json_t *variables(const char *text) {
    json_t *frames = json_array();
    json_t *frame = NULL;
    for (const char *line = text; *line != '\0';) {
        const char *a = line + 2;
        const char *tab = strchr(a, '\t');
        const char *end = tab != NULL ? strchr(tab, '\n') : NULL;
        if (end == NULL) {
            break;
        }
        json_t *first = dh_json_text(a, (size_t)(tab - a));
        json_t *second = dh_json_text(tab + 1, (size_t)(end - tab - 1));
        if (line[0] == 'F') {
            frame = json_object();
            json_object_set_new(frame, "at", first);
            json_object_set_new(frame, "name", second);
            json_object_set_new(frame, "locals", json_array());
            json_object_set_new(frame, "upvalues", json_array());
            json_array_append_new(frames, frame);
        } else {
            json_t *variable = json_object();
            json_object_set_new(variable, "name", first);
            json_object_set_new(variable, "value", second);
            const char *list = line[0] == 'L' ? "locals" : "upvalues";
            json_array_append_new(json_object_get(frame, list), variable);
        }
        line = end + 1;
    }
    return frames;
}

static json_t *ending(const struct dh_ending_copy *e) {
    json_t *json = json_object();
    json_object_set_new(json, "at", dh_json_seconds(e->at_ns));
    json_object_set_new(json, "run", json_integer(e->run));
    json_object_set_new(json, "ended", json_string(e->ended));
    json_object_set_new(json, "decision", text_or_null(e->decision));
    json_object_set_new(json, "delay",
                        e->delay_ns != DH_NEVER ? dh_json_seconds(e->delay_ns) : json_null());
    json_object_set_new(json, "reason", text_or_null(e->reason));
    json_object_set_new(json, "error", text_or_null(e->message));
    json_object_set_new(json, "traceback", text_or_null(e->traceback));
    json_object_set_new(json, "variables", variables(e->variables != NULL ? e->variables : ""));
    return json;
}

json_t *dh_json_endings(const struct dh_order *order) {
    json_t *json = json_array();
    for (size_t i = 0; i < order->ending_count; i++) {
        json_array_append_new(json, ending(&order->endings[i]));
    }
    return json;
}
