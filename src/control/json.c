/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/json.h"

#include <assert.h>
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

void dh_json_set(json_t **object, const char *key, json_t *value) {
    if (json_object_set_new(*object, key, value) != 0) {
        json_decref(*object);
        *object = NULL;
    }
}

static void append(json_t **array, json_t *value) {
    if (json_array_append_new(*array, value) != 0) {
        json_decref(*array);
        *array = NULL;
    }
}

char *dh_json_print(const json_t *json, size_t *ret_len) {
    size_t len = json_dumpb(json, NULL, 0, DH_JSON_FLAGS);
    char *text = len > 0 ? malloc(len) : NULL;
    if (text != NULL && json_dumpb(json, text, len, DH_JSON_FLAGS) != len) {
        free(text);
        return NULL;
    }
    *ret_len = len;
    return text;
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
    dh_json_set(&json, "message", dh_json_text(e->text, e->message_len));
    dh_json_set(&json, "traceback", dh_json_text(e->text + e->message_len, e->traceback_len));
    dh_json_set(&json, "at", dh_json_seconds(e->at_ns));
    dh_json_set(&json, "run", json_integer(e->run));
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
    dh_json_set(&json, "name", dh_json_text(v->name, v->name_len));
    dh_json_set(&json, "state", json_string(dh_state_name(v->state)));
    dh_json_set(&json, "since", dh_json_seconds(v->since_ns));
    dh_json_set(&json, "run", json_integer(v->run));
    dh_json_set(&json, "restarts", json_integer(v->restarts));
    dh_json_set(&json, "streak", json_integer(v->streak));
    dh_json_set(&json, "next_retry_in", next_retry_in(v, now_ns));
    dh_json_set(&json, "wanted", json_string(v->is_wanted ? "up" : "down"));
    dh_json_set(&json, "ready", json_boolean(v->is_ready));
    dh_json_set(&json, "waiting_for", text_or_null(v->waiting_for));
    dh_json_set(&json, "last_error", last_error(v->error));
    dh_json_set(&json, "tasks", json_integer(v->tasks));
    dh_json_set(&json, "handles", json_integer(v->handles));
    dh_json_set(&json, "memory_bytes", json_integer((json_int_t)v->held_bytes));
    dh_json_set(&json, "allocated_bytes", json_integer((json_int_t)v->allocated_bytes));
    dh_json_set(&json, "leftover_bytes", json_integer((json_int_t)v->leftover_bytes));
    dh_json_set(&json, "cpu_s", dh_json_seconds(v->cpu_ns));
    dh_json_set(&json, "preemptions", json_integer((json_int_t)v->preemptions));
    dh_json_set(&json, "slice_max_s", dh_json_seconds(v->slice_max_ns));
    return json;
}

/* The text up to 'end', as a value; *at moves behind it. */
static json_t *field(const char **at, char end) {
    const char *stop = strchr(*at, end);
    assert(stop != NULL);
    json_t *json = dh_json_text(*at, (size_t)(stop - *at));
    *at = stop + 1;
    return json;
}

static json_t *read_variable(const char **at) {
    json_t *json = json_object();
    dh_json_set(&json, "name", field(at, '\t'));
    dh_json_set(&json, "value", field(at, '\n'));
    return json;
}

/* A function, and its variables behind it. */
static json_t *read_frame(const char **at) {
    json_t *json = json_object();
    json_t *locals = json_array();
    json_t *upvalues = json_array();
    *at += 2;
    dh_json_set(&json, "at", field(at, '\t'));
    dh_json_set(&json, "name", field(at, '\n'));
    while (**at == 'L' || **at == 'U') {
        json_t **list = **at == 'L' ? &locals : &upvalues;
        *at += 2;
        append(list, read_variable(at));
    }
    dh_json_set(&json, "locals", locals);
    dh_json_set(&json, "upvalues", upvalues);
    return json;
}

/* The variables of a failing stack: the form is script/variables.c's. */
static json_t *variables(const char *at) {
    json_t *frames = json_array();
    while (*at != '\0') {
        append(&frames, read_frame(&at));
    }
    return frames;
}

static json_t *ending(const struct dh_ending_copy *e) {
    json_t *json = json_object();
    dh_json_set(&json, "at", dh_json_seconds(e->at_ns));
    dh_json_set(&json, "run", json_integer(e->run));
    dh_json_set(&json, "ended", json_string(e->ended));
    dh_json_set(&json, "decision", text_or_null(e->decision));
    dh_json_set(&json, "delay",
                e->delay_ns != DH_NEVER ? dh_json_seconds(e->delay_ns) : json_null());
    dh_json_set(&json, "reason", text_or_null(e->reason));
    dh_json_set(&json, "error", text_or_null(e->message));
    dh_json_set(&json, "traceback", text_or_null(e->traceback));
    dh_json_set(&json, "variables", variables(e->variables != NULL ? e->variables : ""));
    return json;
}

json_t *dh_json_endings(const struct dh_order *order) {
    json_t *json = json_array();
    for (size_t i = 0; i < order->ending_count; i++) {
        append(&json, ending(&order->endings[i]));
    }
    return json;
}
