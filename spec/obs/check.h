/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The harness of these tests: a table of named cases, each of which passes or fails as a whole.
** The last line of a program is "N passed, N failed", its exit code 0 if none failed.
*/
#ifndef DH_SPEC_OBS_CHECK_H
#define DH_SPEC_OBS_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct check_case {
    const char *name;
    void (*fn)(void);
};

static int check_failures; /* in the running case */

static inline bool check_that(bool is_true, const char *file, int line, const char *text) {
    if (!is_true) {
        check_failures++;
        printf("  %s:%d: %s\n", file, line, text);
    }
    return is_true;
}

static inline bool check_bytes(const char *actual, size_t len, const char *expected,
                               const char *file, int line) {
    bool is_equal = len == strlen(expected) && memcmp(actual, expected, len) == 0;
    if (!check_that(is_equal, file, line, "texts differ")) {
        printf("    expected: [%s]\n    but got:  [%.*s]\n", expected, (int)len, actual);
    }
    return is_equal;
}

static inline bool check_int(long long actual, long long expected, const char *file, int line) {
    if (!check_that(actual == expected, file, line, "numbers differ")) {
        printf("    expected %lld, got %lld\n", expected, actual);
    }
    return actual == expected;
}

#define CHECK(cond) check_that((cond), __FILE__, __LINE__, #cond)
#define CHECK_INT(actual, expected)                                                                \
    check_int((long long)(actual), (long long)(expected), __FILE__, __LINE__)
#define CHECK_TEXT(actual, expected)                                                               \
    check_bytes((actual), strlen(actual), (expected), __FILE__, __LINE__)
#define CHECK_BYTES(actual, len, expected)                                                         \
    check_bytes((actual), (len), (expected), __FILE__, __LINE__)

static inline int check_run(const struct check_case *cases, size_t ncases) {
    int passed = 0;
    int failed = 0;
    for (size_t i = 0; i < ncases; i++) {
        check_failures = 0;
        cases[i].fn();
        if (check_failures > 0) {
            printf("FAILED: %s\n", cases[i].name);
            failed++;
        } else {
            passed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}

#define CHECK_MAIN(cases)                                                                          \
    int main(void) {                                                                               \
        return check_run(cases, sizeof(cases) / sizeof *(cases));                                  \
    }

#endif
