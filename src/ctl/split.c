/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/split.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/limits.h"

void dh_split_init(struct dh_split *s, dh_split_on on, void *arg) {
    *s = (struct dh_split){.on = on, .arg = arg};
}

void dh_split_fini(struct dh_split *s) {
    free(s->text);
    s->text = NULL;
}

static bool keep(struct dh_split *s, char c) {
    if (s->len + 1 >= s->cap) {
        size_t cap = s->cap > 0 ? 2 * s->cap : 4096;
        char *grown = cap <= DH_CTL_ITEM_BYTES ? realloc(s->text, cap) : NULL;
        if (grown == NULL) {
            return false;
        }
        s->text = grown;
        s->cap = cap;
    }
    s->text[s->len++] = c;
    s->text[s->len] = '\0';
    return true;
}

/* What was kept is a whole value. */
static bool flush(struct dh_split *s) {
    bool goes_on = s->len == 0 || !s->has_key || s->on(s->arg, s->key, s->text, s->len);
    s->len = 0;
    return goes_on;
}

/* What was kept is a key, in quotes. */
static void take_key(struct dh_split *s) {
    size_t n = s->len > 2 ? s->len - 2 : 0;
    n = n < sizeof(s->key) ? n : sizeof(s->key) - 1;
    memcpy(s->key, n > 0 ? s->text + 1 : "", n);
    s->key[n] = '\0';
    s->has_key = true;
    s->len = 0;
}

/* A mark of the object, or of an array in it, itself. */
static bool mark(struct dh_split *s, char c) {
    switch (c) {
        case ':':
            take_key(s);
            return true;
        case ',': {
            bool goes_on = flush(s);
            s->has_key = s->is_list;
            return goes_on;
        }
        case '[':
            s->is_list = true;
            s->depth = 2;
            return true;
        case ']':
            s->is_list = false;
            s->depth = 1;
            return flush(s);
        default: /* '}' */
            s->depth = 0;
            s->is_complete = true;
            return flush(s);
    }
}

static bool is_mark(const struct dh_split *s, char c) {
    unsigned level = s->is_list ? 2 : 1;
    if (s->depth != level) {
        return false;
    }
    return c == ',' || (s->is_list ? c == ']' : c == ':' || c == '}') ||
           (c == '[' && !s->is_list && s->has_key && s->len == 0);
}

static bool feed(struct dh_split *s, char c) {
    if (s->in_string) {
        s->in_string = s->is_escaped || c != '"';
        s->is_escaped = !s->is_escaped && c == '\\';
        return keep(s, c);
    }
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
        return true;
    }
    if (s->depth == 0) {
        s->depth = c == '{' ? 1 : 0;
        return s->depth == 1;
    }
    if (is_mark(s, c)) {
        return mark(s, c);
    }
    s->in_string = c == '"';
    s->depth += c == '{' || c == '[';
    s->depth -= c == '}' || c == ']';
    return keep(s, c);
}

bool dh_split_feed(struct dh_split *s, const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (!feed(s, bytes[i])) {
            return s->is_complete;
        }
    }
    return true;
}
