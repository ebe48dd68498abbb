/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** How long to wait before a restart. Pure arithmetic.
*/
#ifndef DH_CORE_BACKOFF_H
#define DH_CORE_BACKOFF_H

#include <stdint.h>

#include "core/spec.h"

/*
** The delay before restart n (from 1) of a streak:
**
**     min(min_backoff * factor^(n-1), max_backoff)          the cap binds the first delay too
**
** then, with jitter j, uniform in d*(1-j) .. d*(1+j), then again at most max_backoff: so that a
** crowd that has reached the cap is still spread out, below it. random is 64 uniform bits, read
** only if there is a jitter. Never DH_NEVER; rounded to the nearest nanosecond.
*/
uint64_t dh_backoff_delay(const struct dh_policy *p, uint32_t n, uint64_t random);

/* a + b, or DH_NEVER when that is too far away. */
uint64_t dh_time_add(uint64_t a_ns, uint64_t b_ns);

#endif
