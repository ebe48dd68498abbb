/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The restart-intensity window: how many failures lie inside the last 'within' nanoseconds.
**
** Exact timestamps in a ring, oldest first; a zeroed window is an empty one and owns no memory. It
** grows to at most limit + 1 timestamps: one more than allowed is all that anybody needs to know.
*/
#ifndef DH_CORE_WINDOW_H
#define DH_CORE_WINDOW_H

#include <stdint.h>

struct dh_alloc;

struct dh_window {
    uint64_t *stamps;
    uint32_t capacity;
    uint32_t first; /* index of the oldest */
    uint32_t count;
};

/* Give the memory back; the window is empty again. */
void dh_window_fini(struct dh_window *win, struct dh_alloc *alloc);

/* Forget all, keep the memory. */
void dh_window_clear(struct dh_window *win);

/*
** Note a failure at at_ns and return how many lie in [at_ns - within_ns, at_ns], this one counted:
** one exactly within_ns old still counts. At most limit + 1 is returned. If memory runs out the
** oldest is forgotten instead: too few are counted, never too many. limit is not DH_UNLIMITED.
*/
uint32_t dh_window_add(struct dh_window *win, struct dh_alloc *alloc, uint64_t at_ns,
                       uint64_t within_ns, uint32_t limit);

#endif
