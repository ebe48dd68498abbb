/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Asking for memory before it is needed, where a hundred thousand workers leave nothing in a cache.
*/
#ifndef DH_CORE_FETCH_H
#define DH_CORE_FETCH_H

#include <stddef.h>

#include "core/limits.h"

/* Always inlined: to GCC a function that only fetches does nothing, and need not be called. */
#define DH_FETCH static inline __attribute__((always_inline)) void

/* They are about to be written. Any address will do. */
DH_FETCH dh_fetch_bytes(const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += DH_CACHE_LINE) {
        __builtin_prefetch((const char *)from + at, 1);
    }
}

#endif
