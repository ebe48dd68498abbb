/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/field.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "obs/check.h"

static char out[DH_FIELD_NUMBER_BYTES];

static const char *number(double x) {
    return dh_field_write_number(out, x) == strlen(out) ? out : "wrong length";
}

static const char *duration(double s) {
    return dh_field_write_duration(out, (uint64_t)(s * 1e9 + 0.5)) == strlen(out) ? out : "wrong";
}

static const char *seconds(uint64_t ns) {
    return dh_field_write_seconds(out, ns) == strlen(out) ? out : "wrong";
}

static void numbers_are_shortest(void) {
    CHECK_TEXT(number(0), "0");
    CHECK_TEXT(number(-0.0), "-0");
    CHECK_TEXT(number(3), "3");
    CHECK_TEXT(number(0.1), "0.1");
    CHECK_TEXT(number(0.1 + 0.2), "0.30000000000000004");
    CHECK_TEXT(number(1.0 / 3), "0.3333333333333333");
    CHECK_TEXT(number(1e100), "1e+100");
    CHECK_TEXT(number(DBL_MAX), "1.7976931348623157e+308");
    CHECK_TEXT(number(-DBL_MIN), "-2.2250738585072014e-308");
    CHECK_TEXT(number(5e-324), "5e-324");
    CHECK_TEXT(number(NAN), "nan");
    CHECK_TEXT(number(-NAN), "nan");
    CHECK_TEXT(number(INFINITY), "inf");
    CHECK_TEXT(number(-INFINITY), "-inf");
}

static void numbers_read_back(void) {
    int wrong = 0;
    srand(1);
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = 0;
        double x;
        for (int k = 0; k < 8; k++) {
            bits = bits << 8 | (uint64_t)(rand() & 255);
        }
        memcpy(&x, &bits, sizeof x);
        if (isfinite(x)) {
            wrong += strtod(number(x), NULL) != x;
        }
        x = (double)(rand() % 1000000) / 1000;
        wrong += strtod(number(x), NULL) != x || strlen(out) > 7;
    }
    CHECK_INT(wrong, 0);
}

/* os.setlocale in a worker must not make "1,5" of 1.5. Skips where no such locale is installed. */
static void numbers_have_a_point_in_any_locale(void) {
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ps_AF"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (setlocale(LC_NUMERIC, names[i])) {
            CHECK_TEXT(number(1234.5), "1234.5");
            CHECK_TEXT(number(0.1 + 0.2), "0.30000000000000004");
        }
    }
    setlocale(LC_NUMERIC, "C");
}

static void durations_as_people_say_them(void) {
    CHECK_TEXT(duration(0), "0s");
    CHECK_TEXT(duration(7e-9), "7ns");
    CHECK_TEXT(duration(15e-6), "15us");
    CHECK_TEXT(duration(1.5e-6), "1.5us");
    CHECK_TEXT(duration(0.25), "250ms");
    CHECK_TEXT(duration(0.0123456), "12.346ms");
    CHECK_TEXT(duration(1), "1s");
    CHECK_TEXT(duration(1.5), "1.5s");
    CHECK_TEXT(duration(30), "30s");
    CHECK_TEXT(duration(60), "1m");
    CHECK_TEXT(duration(150), "2m30s");
    CHECK_TEXT(duration(61), "1m01s");
    CHECK_TEXT(duration(3600), "1h");
    CHECK_TEXT(duration(3 * 3600 + 300), "3h05m");
    CHECK_TEXT(duration(50 * 3600), "2d02h");
    CHECK_TEXT(duration(72 * 3600), "3d");
}

static void durations_round_into_the_next_unit(void) {
    CHECK_TEXT(duration(0.9999999), "1s");
    CHECK_TEXT(duration(0.999), "999ms");
    CHECK_TEXT(duration(59.9996), "1m");
    CHECK_TEXT(duration(59.9994), "59.999s");
    CHECK_TEXT(duration(3599.6), "1h");
    dh_field_write_duration(out, UINT64_MAX);
    CHECK_TEXT(out, "213503d23h");
}

static void seconds_are_exact(void) {
    CHECK_TEXT(seconds(0), "0");
    CHECK_TEXT(seconds(UINT64_C(4000000000)), "4");
    CHECK_TEXT(seconds(250000000), "0.25");
    CHECK_TEXT(seconds(1000000001), "1.000000001");
    CHECK_TEXT(seconds(UINT64_C(100000000000)), "100");
    CHECK_TEXT(seconds(UINT64_MAX), "18446744073.709551615");
}

static const struct check_case cases[] = {
    {"numbers are shortest", numbers_are_shortest},
    {"numbers read back", numbers_read_back},
    {"numbers have a point in any locale", numbers_have_a_point_in_any_locale},
    {"durations as people say them", durations_as_people_say_them},
    {"durations round into the next unit", durations_round_into_the_next_unit},
    {"seconds are exact", seconds_are_exact},
};

CHECK_MAIN(cases)
