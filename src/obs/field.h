/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** One key and value of a log line.
**
** A field is a view: keys and strings are borrowed and read during the call they are given to. Keys
** are C strings; whatever is not [A-Za-z0-9_.-] in them is written as '_'. Strings are any bytes.
*/
#ifndef DH_OBS_FIELD_H
#define DH_OBS_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum dh_field_type {
    DH_FIELD_STRING, /* one line in every format; line ends are escaped */
    DH_FIELD_LINES,  /* a traceback: pretty prints it as indented lines below the event */
    DH_FIELD_INTEGER,
    DH_FIELD_NUMBER, /* shortest digits that read back the same; JSON: "nan" "inf" "-inf" */
    DH_FIELD_BOOLEAN,
    DH_FIELD_DURATION /* pretty: 250ms 1.5s 2m30s; else seconds, as a number */
};

struct dh_field {
    const char *key;
    enum dh_field_type type;
    union {
        struct {
            const char *data;
            size_t len;
        } string;
        int64_t integer;
        double number;
        bool boolean;
        uint64_t duration_ns;
    } as;
};

/* Enough for any double, int64 or duration that the functions below write, and a 0. */
#define DH_FIELD_NUMBER_BYTES 40

/* Write the shortest decimal that reads back as x ("nan", "inf", "-inf" for those), with '.' in any
** locale; returns its length. */
size_t dh_field_write_number(char dst[DH_FIELD_NUMBER_BYTES], double x);

/* Write a duration as a person says it: 0s 15us 250ms 1.5s 2m30s 3h05m. */
size_t dh_field_write_duration(char dst[DH_FIELD_NUMBER_BYTES], uint64_t duration_ns);

/* Write nanoseconds as exact decimal seconds: 4, 0.25, 1.000000001. */
size_t dh_field_write_seconds(char dst[DH_FIELD_NUMBER_BYTES], uint64_t duration_ns);

static inline struct dh_field dh_field_string(const char *key, const char *data, size_t len) {
    return (struct dh_field){key, DH_FIELD_STRING, {.string = {data, len}}};
}

/* text may be NULL: an empty string. */
static inline struct dh_field dh_field_cstring(const char *key, const char *text) {
    return dh_field_string(key, text, text ? strlen(text) : 0);
}

static inline struct dh_field dh_field_lines(const char *key, const char *data, size_t len) {
    return (struct dh_field){key, DH_FIELD_LINES, {.string = {data, len}}};
}

static inline struct dh_field dh_field_integer(const char *key, int64_t value) {
    return (struct dh_field){key, DH_FIELD_INTEGER, {.integer = value}};
}

static inline struct dh_field dh_field_number(const char *key, double value) {
    return (struct dh_field){key, DH_FIELD_NUMBER, {.number = value}};
}

static inline struct dh_field dh_field_boolean(const char *key, bool value) {
    return (struct dh_field){key, DH_FIELD_BOOLEAN, {.boolean = value}};
}

static inline struct dh_field dh_field_duration(const char *key, uint64_t duration_ns) {
    return (struct dh_field){key, DH_FIELD_DURATION, {.duration_ns = duration_ns}};
}

#endif
