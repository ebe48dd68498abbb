/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/json.h"

#include <stdint.h>
#include <string.h>

struct reader {
    const char *at;
    const char *end;
    struct json *j;
};

bool json_is_utf8(const char *src, size_t len) {
    const unsigned char *s = (const unsigned char *)src;
    size_t i = 0;
    while (i < len) {
        uint32_t cp;
        size_t n = s[i] < 0x80           ? 1
                   : (s[i] >> 5) == 0x06 ? 2
                   : (s[i] >> 4) == 0x0e ? 3
                   : (s[i] >> 3) == 0x1e ? 4
                                         : 0;
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (n == 0 || n > len - i) {
            return false;
        }
        cp = n == 1 ? s[i] : s[i] & (0xffu >> (n + 1));
        for (size_t k = 1; k < n; k++) {
            if ((s[i + k] & 0xc0) != 0x80) {
                return false;
            }
            cp = cp << 6 | (s[i + k] & 0x3f);
        }
        if (cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) {
            return false;
        }
        i += n;
    }
    return true;
}

static bool accept(struct reader *r, char c) {
    if (r->at < r->end && *r->at == c) {
        r->at++;
        return true;
    }
    return false;
}

static bool store(struct reader *r, char c) {
    if (r->j->used == JSON_BYTES) {
        return false;
    }
    r->j->store[r->j->used++] = c;
    return true;
}

static bool read_hex(struct reader *r, uint32_t *ret_value) {
    *ret_value = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *d = r->at < r->end && *r->at ? strchr(digits, *r->at) : NULL;
        if (!d) {
            return false;
        }
        *ret_value = *ret_value << 4 | (uint32_t)(d - digits);
        r->at++;
    }
    return true;
}

/* The log escapes no character above U+FFFF and no surrogate. */
static bool read_escape(struct reader *r) {
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char *name;
    uint32_t cp;
    if (r->at == r->end) {
        return false;
    }
    name = *r->at ? strchr(names, *r->at) : NULL;
    if (name) {
        r->at++;
        return store(r, values[name - names]);
    }
    if (!accept(r, 'u') || !read_hex(r, &cp) || (cp >= 0xd800 && cp < 0xe000)) {
        return false;
    }
    if (cp < 0x80) {
        return store(r, (char)cp);
    }
    if (cp < 0x800) {
        return store(r, (char)(0xc0 | cp >> 6)) && store(r, (char)(0x80 | (cp & 0x3f)));
    }
    return store(r, (char)(0xe0 | cp >> 12)) && store(r, (char)(0x80 | (cp >> 6 & 0x3f))) &&
           store(r, (char)(0x80 | (cp & 0x3f)));
}

static bool read_string(struct reader *r, const char **ret_text, size_t *ret_len) {
    const char *text = r->j->store + r->j->used;
    if (!accept(r, '"')) {
        return false;
    }
    while (r->at < r->end && *r->at != '"') {
        if ((unsigned char)*r->at < 0x20) {
            return false;
        }
        if (accept(r, '\\') ? !read_escape(r) : !store(r, *r->at++)) {
            return false;
        }
    }
    *ret_text = text;
    *ret_len = (size_t)(r->j->store + r->j->used - text);
    return accept(r, '"') && store(r, '\0');
}

static size_t skip_digits(struct reader *r) {
    const char *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        r->at++;
    }
    return (size_t)(r->at - start);
}

static bool skip_number(struct reader *r) {
    accept(r, '-');
    if (!accept(r, '0') && skip_digits(r) == 0) {
        return false;
    }
    if (accept(r, '.') && skip_digits(r) == 0) {
        return false;
    }
    if (accept(r, 'e') || accept(r, 'E')) {
        if (!accept(r, '+')) {
            accept(r, '-');
        }
        return skip_digits(r) > 0;
    }
    return true;
}

static bool skip_word(struct reader *r, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0) {
        return false;
    }
    r->at += len;
    return true;
}

static bool read_value(struct reader *r, struct json_member *m) {
    const char *start = r->at;
    m->is_string = r->at < r->end && *r->at == '"';
    if (m->is_string) {
        return read_string(r, &m->text, &m->len);
    }
    if (!skip_word(r, "true") && !skip_word(r, "false") && !skip_number(r)) {
        return false;
    }
    m->text = r->j->store + r->j->used;
    m->len = (size_t)(r->at - start);
    while (start < r->at) {
        if (!store(r, *start++)) {
            return false;
        }
    }
    return store(r, '\0');
}

bool json_read(struct json *j, const char *src, size_t len) {
    struct reader r = {src, src + len, j};
    j->count = 0;
    j->used = 0;
    if (!json_is_utf8(src, len) || !accept(&r, '{')) {
        return false;
    }
    do {
        struct json_member *m = &j->members[j->count];
        size_t key_len;
        if (j->count == JSON_MEMBERS || !read_string(&r, &m->key, &key_len) || !accept(&r, ':') ||
            !read_value(&r, m)) {
            return false;
        }
        j->count++;
    } while (accept(&r, ','));
    return accept(&r, '}') && r.at == r.end;
}

const struct json_member *json_find(const struct json *j, const char *key) {
    for (size_t i = 0; i < j->count; i++) {
        if (strcmp(j->members[i].key, key) == 0) {
            return &j->members[i];
        }
    }
    return NULL;
}
