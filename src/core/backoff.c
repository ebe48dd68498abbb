/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/backoff.h"

/* By squaring, so that n = 4,000,000,000 costs 32 multiplications; too large becomes infinite,
** which compares as it should. Exact while the result has 53 bits. */
static double power(double base, uint32_t exponent) {
    double result = 1;

    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) {
            result *= base;
        }
        base *= base;
    }
    return result;
}

/* A double from 2^64 on does not convert. */
static uint64_t to_ns(double d, uint64_t max_ns) {
    uint64_t ns;

    if (d >= 18446744073709551616.0) {
        return max_ns;
    }
    ns = (uint64_t)(d + 0.5);
    return ns < max_ns ? ns : max_ns;
}

uint64_t dh_backoff_delay(const struct dh_policy *p, uint32_t n, uint64_t random) {
    uint64_t max_ns = p->max_backoff_ns < DH_NEVER ? p->max_backoff_ns : DH_NEVER - 1;
    uint64_t delay = p->min_backoff_ns;

    /* not through a double where nothing is multiplied: whole nanoseconds stay exact; and 0 times
    ** infinity is not a number */
    if (n > 1 && delay > 0) {
        delay = to_ns((double)delay * power(p->backoff_factor, n - 1), max_ns);
    }
    if (delay > max_ns) {
        delay = max_ns;
    }
    if (p->jitter > 0) {
        double unit = (double)(random >> 11) / 9007199254740991.0; /* 0 .. 1, both included */
        delay = to_ns((double)delay * (1 - p->jitter + 2 * p->jitter * unit), max_ns);
    }
    return delay;
}

uint64_t dh_time_add(uint64_t a_ns, uint64_t b_ns) {
    return b_ns < DH_NEVER - a_ns ? a_ns + b_ns : DH_NEVER;
}
