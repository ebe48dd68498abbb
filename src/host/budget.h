/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The time until the loop is polled again. It is asked before each task, but looks at the clock, which
** takes half as long as a task that only gives way, after 1, 2, 4, 8, 16, 32, 48, ... of them.
*/
#ifndef DH_HOST_BUDGET_H
#define DH_HOST_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/timerq.h"
#include "host/limits.h"
#include "host/loop.h"

struct dh_budget {
    uint64_t until_ns; /* the machine's clock; DH_NEVER: it has no end */
    unsigned done;
    unsigned next_look;
    bool is_over;
};

static inline void dh_budget_init(struct dh_budget *b, uint64_t until_ns) {
    *b = (struct dh_budget){until_ns, 0, 1, false};
}

/* Whatever the clock says. */
static inline void dh_budget_end(struct dh_budget *b) {
    b->is_over = b->until_ns != DH_NEVER;
}

/* Look at the clock. Only dh_budget_is_used_up calls this. */
void dh_budget_look(struct dh_budget *b);

/* Is there no time for one more? Never before the first. */
static inline bool dh_budget_is_used_up(struct dh_budget *b) {
    if (b->done == b->next_look) {
        dh_budget_look(b);
    }
    b->done++;
    return b->is_over;
}

#endif
