/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/alarms.h"

#include <stdlib.h>

#include "core/check.h"
#include "core/timerq.h"
#include "host/limits.h"

#define US UINT64_C(1000)
#define SLACK (160 * US)
#define PACE (SLACK + DH_GAP_NS)

/* The first alarm rings; returns when that is. */
static uint64_t ring(struct dh_alarms *a) {
    unsigned first = dh_alarms_first(a);
    uint64_t at_ns = a->at_ns[first];
    dh_alarms_on_ring(a, first);
    return at_ns;
}

/* n waits, each for the next deadline that comes gap_ns after the end of the one before. Returns when the
** last one ended. */
static uint64_t wait_often(struct dh_alarms *a, uint64_t now_ns, unsigned n, uint64_t gap_ns) {
    for (unsigned i = 0; i < n; i++) {
        dh_alarms_plan(a, now_ns + gap_ns);
        now_ns = ring(a);
    }
    return now_ns;
}

/* A wait for at_ns, over all that rings before. Returns when it ended; *in_vain counts what rang before. */
static uint64_t wait_for(struct dh_alarms *a, uint64_t at_ns, unsigned *in_vain) {
    uint64_t now_ns;
    for (;;) {
        dh_alarms_plan(a, at_ns);
        if ((now_ns = ring(a)) >= at_ns) {
            return now_ns;
        }
        ++*in_vain;
    }
}

static void a_single_wait_ends_one_slack_after_its_deadline(void) {
    struct dh_alarms a;
    dh_alarms_init(&a, SLACK);
    CHECK_EQ(a.at_ns[dh_alarms_first(&a)], DH_NEVER);
    CHECK_EQ(dh_alarms_plan(&a, 1000 * US), 1);
    CHECK_EQ(a.at_ns[0], 1000 * US + SLACK);
    CHECK_EQ(a.at_ns[1], DH_NEVER);
}

static void what_rings_in_time_is_not_armed_again(void) {
    struct dh_alarms a;
    dh_alarms_init(&a, SLACK);
    dh_alarms_plan(&a, 1000 * US);
    CHECK_EQ(dh_alarms_plan(&a, 1000 * US + SLACK - PACE), 0);
    CHECK_EQ(dh_alarms_plan(&a, 2000 * US), 0); /* rings in vain first */
    CHECK_EQ(dh_alarms_plan(&a, 1000 * US + SLACK - PACE - 1), 2);
    CHECK_EQ(a.at_ns[1], 1000 * US + 2 * SLACK - PACE - 1);
}

static void of_two_that_are_too_late_the_later_one_is_moved(void) {
    struct dh_alarms a;
    dh_alarms_init(&a, SLACK);
    dh_alarms_plan(&a, 9000 * US);
    dh_alarms_plan(&a, 5000 * US);
    CHECK_EQ(dh_alarms_plan(&a, 1000 * US), 1);
    CHECK_EQ(a.at_ns[0], 1000 * US + SLACK);
    CHECK_EQ(a.at_ns[1], 5000 * US + SLACK);
    CHECK_EQ(dh_alarms_first(&a), 0);
}

static void dense_waits_are_armed_ahead(void) {
    struct dh_alarms a;
    uint64_t now_ns = 1000 * US;
    dh_alarms_init(&a, SLACK);
    now_ns = wait_often(&a, now_ns, DH_HITS_ENOUGH, 50 * US);
    CHECK_EQ(a.at_ns[dh_alarms_first(&a)], DH_NEVER);
    CHECK_EQ(dh_alarms_plan(&a, now_ns + 50 * US), 3);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t rang_ns = ring(&a);
        unsigned first = dh_alarms_first(&a);
        CHECK_EQ(a.at_ns[first], rang_ns + PACE);
        CHECK_EQ(dh_alarms_plan(&a, rang_ns + 50 * US), 1u << !first); /* never the first */
        CHECK_EQ(a.at_ns[!first], rang_ns + 2 * PACE);
    }
}

static void sparse_waits_are_not(void) {
    struct dh_alarms a;
    uint64_t now_ns = 1000 * US;
    dh_alarms_init(&a, SLACK);
    for (unsigned i = 0; i < 100; i++) {
        unsigned changed = dh_alarms_plan(&a, now_ns + 1000 * US);
        CHECK(changed == 1 || changed == 2);
        now_ns = ring(&a);
        CHECK_EQ(a.at_ns[dh_alarms_first(&a)], DH_NEVER);
    }
}

static void what_rang_in_vain_is_not_armed_ahead_for_ever(void) {
    struct dh_alarms a;
    uint64_t now_ns = 1000 * US;
    unsigned in_vain = 0;
    dh_alarms_init(&a, SLACK);
    now_ns = wait_often(&a, now_ns, 100, 50 * US);
    for (unsigned i = 0; i < 100; i++) { /* the load has gone: one wait every 10 ms */
        now_ns = wait_for(&a, now_ns + 10000 * US, &in_vain);
    }
    CHECK(in_vain > 0);
    CHECK(in_vain < 4);
}

static void a_load_that_gaps_is_armed_ahead_no_more_often_than_it_is_worth(void) {
    struct dh_alarms a;
    uint64_t now_ns = 1000 * US;
    unsigned in_vain = 0;
    dh_alarms_init(&a, SLACK);
    for (unsigned i = 0; i < 1000; i++) { /* every second wait is short */
        now_ns = wait_for(&a, now_ns + (i % 2 == 0 ? 50 : 2000) * US, &in_vain);
    }
    CHECK_EQ(in_vain, 0);
}

static void one_rings_in_time_whatever_comes(void) {
    struct dh_alarms a;
    uint64_t now_ns = 1000 * US;
    dh_alarms_init(&a, SLACK);
    for (unsigned i = 0; i < 1000000; i++) {
        uint64_t spread_ns = (UINT64_C(1) << rand() % 24) * 10;
        uint64_t at_ns = now_ns + (uint64_t)rand() % spread_ns;
        struct dh_alarms before = a;
        unsigned changed = dh_alarms_plan(&a, at_ns);
        uint64_t first_ns = a.at_ns[dh_alarms_first(&a)];
        CHECK(first_ns <= at_ns + PACE);
        for (unsigned k = 0; k < DH_ALARMS; k++) {
            CHECK_EQ(a.at_ns[k] != before.at_ns[k], (changed & 1u << k) != 0);
        }
        if (first_ns > now_ns && rand() % 4 == 0) { /* something else ends the wait */
            now_ns += (uint64_t)rand() % (first_ns - now_ns);
        } else {
            uint64_t rang_ns = ring(&a);
            now_ns = rang_ns > now_ns ? rang_ns : now_ns;
        }
    }
}

int main(void) {
    RUN(a_single_wait_ends_one_slack_after_its_deadline);
    RUN(what_rings_in_time_is_not_armed_again);
    RUN(of_two_that_are_too_late_the_later_one_is_moved);
    RUN(dense_waits_are_armed_ahead);
    RUN(sparse_waits_are_not);
    RUN(what_rang_in_vain_is_not_armed_ahead_for_ever);
    RUN(a_load_that_gaps_is_armed_ahead_no_more_often_than_it_is_worth);
    RUN(one_rings_in_time_whatever_comes);
    return check_report();
}
