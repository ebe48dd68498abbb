/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The harness of the C unit tests. A test is a function without arguments whose name is the
** sentence (and begins with the id of its case, where CASES.md has one); a failed CHECK is reported
** with its place and fails the test, which goes on. The last line is "N passed, N failed".
*/
#ifndef DH_SPEC_CHECK_H
#define DH_SPEC_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct check {
    int passed;
    int failed;
    int failures; /* in the current test */

    bool
        is_quiet; /* the first failure is kept and nothing printed: who looks for failures reports */
    const char *file;
    int line;
    const char *what;
};

/* One for the whole program: the linker keeps one of these, whoever includes this. (A static inline
** one would have a state for each file, and what a helper finds would fail no test.) */
struct check *check_state(void);
__attribute__((weak)) struct check *check_state(void) {
    static struct check state;
    return &state;
}

static inline bool check_here(bool ok, const char *file, int line, const char *what) {
    struct check *c;

    if (ok) {
        return true;
    }
    c = check_state();
    if (c->failures++ == 0) {
        c->file = file;
        c->line = line;
        c->what = what;
    }
    if (!c->is_quiet) {
        printf("%s:%d: failed: %s\n", file, line, what);
        fflush(stdout); /* an assert may be next */
    }
    return false;
}

static inline bool check_eq(uint64_t got, uint64_t want, const char *file, int line,
                            const char *what) {
    if (got != want && !check_state()->is_quiet) {
        printf("%s:%d: got %" PRIu64 ", want %" PRIu64 "\n", file, line, got, want);
    }
    return check_here(got == want, file, line, what);
}

static inline bool check_str(const char *got, const char *want, const char *file, int line,
                             const char *what) {
    bool ok = strcmp(got, want) == 0;
    if (!ok) {
        printf("%s:%d:\n  got  \"%s\"\n  want \"%s\"\n", file, line, got, want);
    }
    return check_here(ok, file, line, what);
}

#define CHECK(cond) check_here((cond), __FILE__, __LINE__, #cond)
#define CHECK_EQ(got, want)                                                                        \
    check_eq((uint64_t)(got), (uint64_t)(want), __FILE__, __LINE__, #got " == " #want)
#define CHECK_STR(got, want) check_str((got), (want), __FILE__, __LINE__, #got)

static inline void check_run(void (*test)(void), const char *name) {
    struct check *c = check_state();
    c->failures = 0;
    test();
    if (c->failures == 0) {
        c->passed++;
    } else {
        c->failed++;
    }
    printf("%s %s\n", c->failures == 0 ? "ok  " : "FAIL", name);
    fflush(stdout);
}

#define RUN(test) check_run((test), #test)

static inline int check_report(void) {
    const struct check *c = check_state();
    printf("%d passed, %d failed\n", c->passed, c->failed);
    return c->failed == 0 ? 0 : 1;
}

#endif
