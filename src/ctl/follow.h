/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** An answer of lines that goes on: when the host goes away it is looked for, and asked for what comes
** behind the last line that was seen.
**
**   ask --lines--> ended --follows--> look again and again --there--> ask
**                    |                                       (another process: from its first line)
**                    v
**                   over
*/
#ifndef DH_CTL_FOLLOW_H
#define DH_CTL_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/http.h"

/* A line, without its end. Returns false: that is enough. */
typedef bool (*dh_follow_on)(void *arg, const char *line, size_t len);

/* What is to be asked next: fill in target and header. 'is_other': by the host's next life, which knows
** nothing of what was seen. */
typedef void (*dh_follow_next)(void *arg, bool is_other, struct dh_question *ret_question);

struct dh_follow {
    struct dh_http *http;
    bool follows; /* else the answer's end is the end */
    dh_follow_next next;
    dh_follow_on on_line;
    void *arg;
    char *line;
    size_t len;
    size_t cap;
    bool is_enough;
};

/* Returns 0 when it is over: the answer has ended, or on_line wanted no more, or nobody reads stdout any
** more; or an error as dh_http_ask and dh_http_check. */
int dh_follow_run(struct dh_follow *f, struct dh_error *err);

#endif
