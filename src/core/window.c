/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/window.h"

#include <stdbool.h>
#include <string.h>

#include "core/env.h"
#include "core/limits.h"

void dh_window_fini(struct dh_window *win, struct dh_alloc *alloc) {
    if (win->stamps != NULL) {
        alloc->fn(alloc, win->stamps, win->capacity * sizeof *win->stamps, 0);
    }
    *win = (struct dh_window){0};
}

void dh_window_clear(struct dh_window *win) {
    win->count = 0;
}

static uint64_t *stamp_at(struct dh_window *win, uint32_t i) {
    return &win->stamps[((uint64_t)win->first + i) % win->capacity];
}

static void forget_oldest(struct dh_window *win) {
    win->first = (uint32_t)(((uint64_t)win->first + 1) % win->capacity);
    win->count--;
}

static bool has_expired(struct dh_window *win, uint64_t at_ns, uint64_t within_ns) {
    uint64_t oldest_ns = *stamp_at(win, 0);

    return oldest_ns < at_ns && at_ns - oldest_ns > within_ns;
}

static bool grow(struct dh_window *win, struct dh_alloc *alloc, uint64_t bound) {
    uint64_t wanted = win->capacity == 0 ? DH_WINDOW_FIRST : (uint64_t)win->capacity * 2;
    uint64_t *stamps;
    uint32_t tail;

    if (wanted > bound) {
        wanted = bound;
    }
    stamps = alloc->fn(alloc, NULL, 0, (size_t)wanted * sizeof *stamps);
    if (stamps == NULL) {
        return false;
    }
    if (win->stamps != NULL) {
        tail = win->capacity - win->first;
        memcpy(stamps, win->stamps + win->first, tail * sizeof *stamps);
        memcpy(stamps + tail, win->stamps, win->first * sizeof *stamps);
        alloc->fn(alloc, win->stamps, win->capacity * sizeof *stamps, 0);
    }
    win->stamps = stamps;
    win->capacity = (uint32_t)wanted;
    win->first = 0;
    return true;
}

uint32_t dh_window_add(struct dh_window *win, struct dh_alloc *alloc, uint64_t at_ns,
                       uint64_t within_ns, uint32_t limit) {
    uint64_t bound = (uint64_t)limit + 1;
    uint32_t i;

    /* beyond the bound there are several if the limit was a higher one before */
    while (win->count >= bound || (win->count > 0 && has_expired(win, at_ns, within_ns))) {
        forget_oldest(win);
    }
    if (win->count == win->capacity && !grow(win, alloc, bound)) {
        if (win->capacity == 0) {
            return 1;
        }
        forget_oldest(win);
    }
    /* the members of a group are not reported in order of their ends: keep the ring sorted */
    for (i = win->count; i > 0 && *stamp_at(win, i - 1) > at_ns; i--) {
        *stamp_at(win, i) = *stamp_at(win, i - 1);
    }
    *stamp_at(win, i) = at_ns;
    win->count++;
    return win->count;
}
