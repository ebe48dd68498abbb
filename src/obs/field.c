/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/field.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define US_NS UINT64_C(1000)
#define MS_NS UINT64_C(1000000)
#define S_NS UINT64_C(1000000000)

/* A worker may call os.setlocale: whatever stands between the digits then is the decimal point. */
static size_t force_point(char *text) {
    size_t out = 0;
    bool is_point = false;
    for (const char *s = text; *s != '\0'; s++) {
        bool is_digit = (*s >= '0' && *s <= '9') || *s == '-' || *s == '+' || *s == 'e';
        if (is_digit) {
            text[out++] = *s;
        } else if (!is_point) {
            text[out++] = '.';
        }
        is_point = !is_digit;
    }
    text[out] = '\0';
    return out;
}

size_t dh_field_write_number(char dst[DH_FIELD_NUMBER_BYTES], double x) {
    int digits;
    if (isnan(x) || isinf(x)) {
        const char *text = isnan(x) ? "nan" : x > 0 ? "inf" : "-inf";
        strcpy(dst, text);
        return strlen(text);
    }
    /* 15 digits, trailing zeros gone, are the shortest if they are right at all, but for
    ** denormals, which have fewer. */
    digits = fabs(x) < DBL_MIN ? 1 : DBL_DIG;
    do {
        snprintf(dst, DH_FIELD_NUMBER_BYTES, "%.*g", digits, x);
    } while (strtod(dst, NULL) != x && digits++ < DBL_DECIMAL_DIG);
    return force_point(dst);
}

/* Write a fraction of 3 or 9 digits without its trailing zeros, and a unit. */
static size_t write_decimal(char dst[DH_FIELD_NUMBER_BYTES], uint64_t whole, uint64_t fraction,
                            int digits, const char *unit) {
    int n = snprintf(dst, DH_FIELD_NUMBER_BYTES, "%" PRIu64 ".%0*" PRIu64, whole, digits, fraction);
    while (dst[n - 1] == '0') {
        n--;
    }
    if (dst[n - 1] == '.') {
        n--;
    }
    strcpy(dst + n, unit);
    return (size_t)n + strlen(unit);
}

static size_t write_thousandths(char dst[DH_FIELD_NUMBER_BYTES], uint64_t n, const char *unit) {
    return write_decimal(dst, n / 1000, n % 1000, 3, unit);
}

/* Write two units, the second with two digits, or not at all if it is zero. */
static size_t write_pair(char dst[DH_FIELD_NUMBER_BYTES], uint64_t a, const char *unit_a,
                         uint64_t b, const char *unit_b) {
    if (b == 0) {
        return (size_t)snprintf(dst, DH_FIELD_NUMBER_BYTES, "%" PRIu64 "%s", a, unit_a);
    }
    return (size_t)snprintf(dst, DH_FIELD_NUMBER_BYTES, "%" PRIu64 "%s%02" PRIu64 "%s", a, unit_a,
                            b, unit_b);
}

size_t dh_field_write_duration(char dst[DH_FIELD_NUMBER_BYTES], uint64_t duration_ns) {
    uint64_t s;
    if (duration_ns == 0) {
        return write_thousandths(dst, 0, "s");
    }
    /* Each bound lets what would round up to it go on to the next unit: 1s, not 1000ms. */
    if (duration_ns < US_NS) {
        return write_thousandths(dst, duration_ns * 1000, "ns");
    }
    if (duration_ns < MS_NS) {
        return write_thousandths(dst, duration_ns, "us");
    }
    if (duration_ns < S_NS - US_NS / 2) {
        return write_thousandths(dst, (duration_ns + US_NS / 2) / US_NS, "ms");
    }
    if (duration_ns < 60 * S_NS - MS_NS / 2) {
        return write_thousandths(dst, (duration_ns + MS_NS / 2) / MS_NS, "s");
    }
    s = duration_ns / S_NS + (duration_ns % S_NS >= S_NS / 2);
    if (s < 3600) {
        return write_pair(dst, s / 60, "m", s % 60, "s");
    }
    if (s < 48 * 3600) {
        return write_pair(dst, s / 3600, "h", s / 60 % 60, "m");
    }
    return write_pair(dst, s / 86400, "d", s / 3600 % 24, "h");
}

size_t dh_field_write_seconds(char dst[DH_FIELD_NUMBER_BYTES], uint64_t duration_ns) {
    return write_decimal(dst, duration_ns / S_NS, duration_ns % S_NS, 9, "");
}
