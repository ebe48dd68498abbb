/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Error codes and messages.
**
** Functions return 0 or one negative DH_E* code. Where a person will read why, they fill a
** struct dh_error as well; callers on the way up put their own context in front of the text.
*/
#ifndef DH_CORE_ERROR_H
#define DH_CORE_ERROR_H

#define DH_ERROR_MAP(X)                                                                            \
    X(NOMEM, -1, "out of memory")                                                                  \
    X(INVAL, -2, "invalid argument")                                                               \
    X(EXIST, -3, "already exists")                                                                 \
    X(NOENT, -4, "not found")                                                                      \
    X(BUSY, -5, "busy")                                                                            \
    X(CYCLE, -6, "dependency cycle")                                                               \
    X(STATE, -7, "not possible in this state")                                                     \
    X(SHUTDOWN, -8, "the host is stopping")                                                        \
    X(SYSTEM, -9, "system error")                                                                  \
    X(LIMIT, -10, "limit reached")

enum {
#define X(name, value, text) DH_E##name = (value),
    DH_ERROR_MAP(X)
#undef X
};

struct dh_error {
    int code;
    char text[256];
};

/* The general text of a code: a static string, never NULL. */
const char *dh_error_text(int code);

/* Fill e (which may be NULL) with code and a printf-style text, cut to fit; returns code. */
int dh_error_set(struct dh_error *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put a printf-style prefix and ": " in front of e's text; returns e's code. */
int dh_error_wrap(struct dh_error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
