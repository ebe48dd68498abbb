/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "obs/text.h"

/* How many bytes at the end are the beginning of a character. */
static size_t unfinished(const char *bytes, size_t len) {
    for (size_t n = 1; n <= 3 && n <= len; n++) {
        unsigned char c = (unsigned char)bytes[len - n];
        if (c >= 0xc0) {
            size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            return need > n ? n : 0;
        }
        if (c < 0x80) {
            return 0;
        }
    }
    return 0;
}

/* What is above ASCII stands in strings only, where \u means the same. */
static void put(FILE *out, const char *bytes, size_t len) {
    size_t from = 0;
    for (size_t at = 0; at < len;) {
        uint32_t c;
        bool is_valid;
        if ((unsigned char)bytes[at] >= 0x20 && (unsigned char)bytes[at] < 0x7f) {
            at++;
            continue;
        }
        size_t n = dh_text_decode(bytes + at, len - at, &c, &is_valid);
        bool is_white = c == '\n' || c == '\r' || c == '\t';
        if (!is_valid || (dh_text_is_control(c) && !is_white)) {
            fwrite(bytes + from, 1, at - from, out);
            fprintf(out, "\\u%04x", (unsigned)c);
            from = at + n;
        }
        at += n;
    }
    fwrite(bytes + from, 1, len - from, out);
}

static bool is_waiting(const struct dh_json_out *o) {
    return o->carry_len > 0 && unfinished(o->carry, o->carry_len) == o->carry_len;
}

bool dh_json_out(void *arg, const char *bytes, size_t len) {
    struct dh_json_out *o = arg;
    while (is_waiting(o) && len > 0) {
        o->carry[o->carry_len++] = *bytes++;
        len--;
    }
    if (is_waiting(o)) {
        return true;
    }
    put(o->file, o->carry, o->carry_len);
    o->carry_len = unfinished(bytes, len);
    memcpy(o->carry, bytes + len - o->carry_len, o->carry_len);
    put(o->file, bytes, len - o->carry_len);
    return true;
}

void dh_json_print(FILE *out, const json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (text != NULL) {
        put(out, text, strlen(text));
        fputc('\n', out);
    }
    free(text);
}
