/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/backoff.h"

#include "check.h"
#include "world.h"

static void H01_exact_sequence_to_the_nanosecond(void) {
    struct dh_policy p = world_policy();
    static const uint64_t want[] = {1, 2, 4, 8, 16, 30, 30, 30};

    for (uint32_t n = 1; n <= 8; n++) {
        CHECK_EQ(dh_backoff_delay(&p, n, UINT64_MAX), want[n - 1] * SEC);
    }
}

static void H01_other_factors(void) {
    struct dh_policy p = world_policy();

    p.backoff_factor = 1.5;
    CHECK_EQ(dh_backoff_delay(&p, 4, 0), 3375 * MS);
    p.backoff_factor = 1;
    CHECK_EQ(dh_backoff_delay(&p, UINT32_MAX, 0), SEC);
    p.backoff_factor = 3;
    p.min_backoff_ns = 7;
    CHECK_EQ(dh_backoff_delay(&p, 5, 0), 567);
}

static void the_cap_binds_the_first_delay_too(void) {
    struct dh_policy p = world_policy();

    p.max_backoff_ns = 10 * MS;
    CHECK_EQ(dh_backoff_delay(&p, 1, 0), 10 * MS);
    p.max_backoff_ns = 0;
    CHECK_EQ(dh_backoff_delay(&p, 1, 0), 0);
}

static void exponents_never_overflow(void) {
    struct dh_policy p = world_policy();

    CHECK_EQ(dh_backoff_delay(&p, UINT32_MAX, 0), 30 * SEC);
    p.max_backoff_ns = DH_NEVER; /* math.huge: no cap; but a delay is never 'never' */
    CHECK_EQ(dh_backoff_delay(&p, 34, 0), SEC << 33);
    CHECK_EQ(dh_backoff_delay(&p, 64, 0), DH_NEVER - 1);
    CHECK_EQ(dh_backoff_delay(&p, UINT32_MAX, 0), DH_NEVER - 1);
    p.backoff_factor = 1e308;
    CHECK_EQ(dh_backoff_delay(&p, 3, 0), DH_NEVER - 1);
    p.min_backoff_ns = 0;
    CHECK_EQ(dh_backoff_delay(&p, UINT32_MAX, 0), 0);
    p.min_backoff_ns = DH_NEVER;
    CHECK_EQ(dh_backoff_delay(&p, 1, 0), DH_NEVER - 1);
}

static void nanoseconds_are_exact_where_a_double_has_them(void) {
    struct dh_policy p = world_policy();

    p.max_backoff_ns = DH_NEVER;
    p.min_backoff_ns = (UINT64_C(1) << 53) + 1; /* no double; but nothing is multiplied */
    CHECK_EQ(dh_backoff_delay(&p, 1, 7), (UINT64_C(1) << 53) + 1);
    p.min_backoff_ns = 1;
    CHECK_EQ(dh_backoff_delay(&p, 3, 0), 4);
    p.min_backoff_ns = (UINT64_C(1) << 53) - 1;
    p.backoff_factor = 2048;
    CHECK_EQ(dh_backoff_delay(&p, 2, 0), UINT64_MAX - 2047); /* the last double that is a time */
    p.min_backoff_ns = UINT64_C(1) << 53;
    CHECK_EQ(dh_backoff_delay(&p, 2, 0), DH_NEVER - 1);
}

static void H03_jitter_stays_in_bounds_at_the_extremes(void) {
    struct dh_policy p = world_policy();

    p.jitter = 0.25;
    CHECK_EQ(dh_backoff_delay(&p, 2, 0), 1500 * MS);
    CHECK_EQ(dh_backoff_delay(&p, 2, UINT64_MAX), 2500 * MS);
    /* at the cap it can only be shorter */
    CHECK_EQ(dh_backoff_delay(&p, 9, 0), 22500 * MS);
    CHECK_EQ(dh_backoff_delay(&p, 9, UINT64_MAX), 30 * SEC);
    p.jitter = 1;
    CHECK_EQ(dh_backoff_delay(&p, 1, 0), 0);
    CHECK_EQ(dh_backoff_delay(&p, 1, UINT64_MAX), 2 * SEC);
}

static void H03_jitter_is_uniform_enough_and_the_same_for_the_same_seed(void) {
    struct dh_policy p = world_policy();
    uint64_t a = 7;
    uint64_t b = 7;
    int buckets[10] = {0};

    p.jitter = 0.5;
    for (int i = 0; i < 100000; i++) {
        uint64_t d = dh_backoff_delay(&p, 1, world_random(&a));
        CHECK(d >= SEC / 2 && d <= 3 * SEC / 2);
        CHECK_EQ(d, dh_backoff_delay(&p, 1, world_random(&b)));
        buckets[d == 3 * SEC / 2 ? 9 : (d - SEC / 2) / (SEC / 10)]++;
    }
    for (int i = 0; i < 10; i++) {
        CHECK(buckets[i] > 9000 && buckets[i] < 11000);
    }
}

static void times_add_up_to_never_at_most(void) {
    CHECK_EQ(dh_time_add(1, 2), 3);
    CHECK_EQ(dh_time_add(DH_NEVER - 1, 1), DH_NEVER);
    CHECK_EQ(dh_time_add(DH_NEVER, 1), DH_NEVER);
    CHECK_EQ(dh_time_add(5, DH_NEVER), DH_NEVER);
    CHECK_EQ(dh_time_add(0, DH_NEVER - 1), DH_NEVER - 1);
}

int main(void) {
    RUN(H01_exact_sequence_to_the_nanosecond);
    RUN(H01_other_factors);
    RUN(the_cap_binds_the_first_delay_too);
    RUN(exponents_never_overflow);
    RUN(nanoseconds_are_exact_where_a_double_has_them);
    RUN(H03_jitter_stays_in_bounds_at_the_extremes);
    RUN(H03_jitter_is_uniform_enough_and_the_same_for_the_same_seed);
    RUN(times_add_up_to_never_at_most);
    return check_report();
}
