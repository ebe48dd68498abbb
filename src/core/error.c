/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *dh_error_text(int code) {
    switch (code) {
        case 0:
            return "no error";
#define X(name, value, text)                                                                       \
    case DH_E##name:                                                                               \
        return text;
            DH_ERROR_MAP(X)
#undef X
        default:
            return "unknown error";
    }
}

int dh_error_set(struct dh_error *e, int code, const char *fmt, ...) {
    if (e != NULL) {
        va_list args;
        e->code = code;
        va_start(args, fmt);
        vsnprintf(e->text, sizeof e->text, fmt, args);
        va_end(args);
    }
    return code;
}

static size_t append(char *text, size_t at, size_t size, const char *more) {
    size_t len = strlen(more);

    if (len > size - 1 - at) {
        len = size - 1 - at;
    }
    memcpy(text + at, more, len);
    text[at + len] = '\0';
    return at + len;
}

int dh_error_wrap(struct dh_error *e, const char *fmt, ...) {
    char text[sizeof e->text];
    va_list args;
    size_t at;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    at = append(text, strlen(text), sizeof text, ": ");
    append(text, at, sizeof text, e->text);
    memcpy(e->text, text, strlen(text) + 1);
    return e->code;
}
