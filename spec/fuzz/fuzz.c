/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *file, int line, const char *what) {
    dprintf(2, "%s:%d: does not hold: %s\n", file, line, what); /* stderr may be caught */
    abort();
}

uint8_t fuzz_byte(struct fuzz_input *in) {
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

uint64_t fuzz_number(struct fuzz_input *in, size_t bytes) {
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        n = n << 8 | fuzz_byte(in);
    }
    return n;
}

size_t fuzz_text(struct fuzz_input *in, char *dst, size_t cap) {
    size_t len = fuzz_byte(in);
    size_t times = 1;
    if (len >= 0xf0) {
        times = (size_t)4 << (len & 0xf);
        len = fuzz_byte(in) % 32;
    }
    len = len < in->left ? len : in->left;
    if (len == 0) {
        return 0;
    }
    size_t n = (times < cap / len ? times : cap / len) * len;
    for (size_t i = 0; i < n; i++) {
        dst[i] = i < len ? (char)in->at[i] : dst[i - len];
    }
    in->at += len;
    in->left -= len;
    return n;
}

void fuzz_c_string(struct fuzz_input *in, char *dst, size_t cap) {
    size_t len = fuzz_text(in, dst, cap - 1);
    for (size_t i = 0; i < len; i++) {
        dst[i] = dst[i] != '\0' ? dst[i] : '0';
    }
    dst[len] = '\0';
}

/*
** The well-formed sequences, as Unicode's table 3-7 lists them: a range for each byte. A character is the
** row that fits to its end; what fits only in part is the piece that U+FFFD stands for.
*/
static const struct {
    size_t len;
    unsigned char low[4];
    unsigned char high[4];
} rows[] = {
    {1, {0x00}, {0x7f}},
    {2, {0xc2, 0x80}, {0xdf, 0xbf}},
    {3, {0xe0, 0xa0, 0x80}, {0xe0, 0xbf, 0xbf}},
    {3, {0xe1, 0x80, 0x80}, {0xec, 0xbf, 0xbf}},
    {3, {0xed, 0x80, 0x80}, {0xed, 0x9f, 0xbf}},
    {3, {0xee, 0x80, 0x80}, {0xef, 0xbf, 0xbf}},
    {4, {0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}},
    {4, {0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}},
    {4, {0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}},
};

/* How many bytes at text are ASCII: nearly all, by far, so eight are looked at together. */
static size_t skip_ascii(const char *text, size_t len) {
    size_t n = 0;
    for (uint64_t eight; len - n >= sizeof(eight); n += sizeof(eight)) {
        memcpy(&eight, text + n, sizeof(eight));
        if ((eight & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
    }
    while (n < len && (unsigned char)text[n] <= rows[0].high[0]) {
        n++;
    }
    return n;
}

/* The length of the character at text, or of the piece of one. */
static size_t first(const char *text, size_t len, bool *ret_is_whole) {
    size_t longest = 1;
    *ret_is_whole = false;
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        size_t n = 0;
        while (n < rows[r].len && n < len && (unsigned char)text[n] >= rows[r].low[n] &&
               (unsigned char)text[n] <= rows[r].high[n]) {
            n++;
        }
        if (n == rows[r].len) {
            *ret_is_whole = true;
            return n;
        }
        longest = n > longest ? n : longest;
    }
    return longest;
}

bool fuzz_is_utf8(const char *text, size_t len) {
    bool is_whole = true;
    for (size_t at = skip_ascii(text, len); is_whole && at < len;) {
        at += first(text + at, len - at, &is_whole);
        at += skip_ascii(text + at, len - at);
    }
    return is_whole;
}

size_t fuzz_mend(char *dst, const char *text, size_t len) {
    size_t out = 0;
    for (size_t at = 0; at < len;) {
        bool is_whole = true;
        size_t n = skip_ascii(text + at, len - at);
        if (n == 0) {
            n = first(text + at, len - at, &is_whole);
        }
        const char *from = is_whole ? text + at : "\xef\xbf\xbd";
        size_t from_len = is_whole ? n : 3;
        for (size_t i = 0; i < from_len; i++) {
            dst[out++] = from[i];
        }
        at += n;
    }
    return out;
}
