/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/timerq.h"

#include "check.h"
#include "core/env.h"
#include "core/error.h"
#include "world.h"

static void init(struct dh_timerq *q, struct world *world) {
    world_init(world);
    dh_timerq_init(q, &world->memory.alloc);
}

static void fini(struct dh_timerq *q, struct world *world) {
    dh_timerq_fini(q);
    world_fini(world);
}

static void H11_equal_deadlines_fire_in_the_order_armed(void) {
    struct world world;
    struct dh_timerq q;
    struct dh_timer t[100] = {{0, 0}};

    init(&q, &world);
    for (int i = 0; i < 100; i++) {
        t[i].kind = (uint32_t)i;
        CHECK_EQ(dh_timerq_arm(&q, &t[i], i % 2 == 0 ? 500 : 400), 0);
    }
    CHECK(dh_timerq_pop(&q, 399) == NULL);
    for (uint32_t i = 0; i < 100; i++) {
        struct dh_timer *popped = dh_timerq_pop(&q, 1000);
        CHECK_EQ(popped->kind, i < 50 ? 2 * i + 1 : 2 * (i - 50));
        CHECK(!dh_timer_is_armed(popped));
    }
    CHECK(dh_timerq_pop(&q, DH_NEVER) == NULL);
    fini(&q, &world);
}

static void a_timer_armed_again_counts_as_armed_last(void) {
    struct world world;
    struct dh_timerq q;
    struct dh_timer a = {0, 0};
    struct dh_timer b = {0, 0};

    init(&q, &world);
    dh_timerq_arm(&q, &a, 10);
    dh_timerq_arm(&q, &b, 10);
    dh_timerq_arm(&q, &a, 10);
    CHECK_EQ(q.count, 2);
    CHECK(dh_timerq_pop(&q, 10) == &b);
    CHECK(dh_timerq_pop(&q, 10) == &a);
    fini(&q, &world);
}

static void idle_timers_may_be_disarmed_and_have_no_deadline(void) {
    struct world world;
    struct dh_timerq q;
    struct dh_timer t = {0, 0};

    init(&q, &world);
    dh_timerq_disarm(&q, &t);
    CHECK_EQ(dh_timerq_deadline(&q, &t), DH_NEVER);
    CHECK_EQ(dh_timerq_next(&q), DH_NEVER);
    dh_timerq_arm(&q, &t, 7);
    CHECK_EQ(dh_timerq_deadline(&q, &t), 7);
    CHECK_EQ(dh_timerq_next(&q), 7);
    dh_timerq_disarm(&q, &t);
    CHECK_EQ(dh_timerq_next(&q), DH_NEVER);
    fini(&q, &world);
}

static void without_memory_arming_fails_and_changes_nothing(void) {
    struct world world;
    struct dh_timerq q;
    struct dh_timer t[DH_TIMERQ_FIRST + 1] = {{0, 0}};

    init(&q, &world);
    for (uint32_t i = 0; i < DH_TIMERQ_FIRST; i++) {
        CHECK_EQ(dh_timerq_arm(&q, &t[i], i), 0);
    }
    world.memory.fail_from = 1;
    world.memory.fail_to = UINT64_MAX;
    CHECK(dh_timerq_arm(&q, &t[DH_TIMERQ_FIRST], 1) == DH_ENOMEM);
    CHECK(!dh_timer_is_armed(&t[DH_TIMERQ_FIRST]));
    CHECK_EQ(q.count, DH_TIMERQ_FIRST);
    CHECK_EQ(dh_timerq_arm(&q, &t[3], 99), 0);
    fini(&q, &world);
}

/* the model: a list that is searched for the least (deadline, order of arming) */
enum { TIMERS = 200, ROUNDS = 200000 };

struct model {
    uint64_t deadline[TIMERS];
    uint64_t seq[TIMERS];
    bool is_armed[TIMERS];
};

static int least(const struct model *m) {
    int best = -1;

    for (int i = 0; i < TIMERS; i++) {
        if (m->is_armed[i] && (best < 0 || m->deadline[i] < m->deadline[best] ||
                               (m->deadline[i] == m->deadline[best] && m->seq[i] < m->seq[best]))) {
            best = i;
        }
    }
    return best;
}

static void random_use_agrees_with_a_naive_model(void) {
    struct world world;
    struct dh_timerq q;
    struct dh_timer t[TIMERS] = {{0, 0}};
    struct model m = {{0}, {0}, {false}};
    uint64_t seed = 42;
    uint64_t seq = 0;
    int wrong = 0;

    init(&q, &world);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t r = world_random(&seed);
        int i = (int)(r % TIMERS);
        int best;
        if (r >> 60 < 9) {
            m.is_armed[i] = true;
            m.deadline[i] = (r >> 20) % 64; /* many equal ones */
            m.seq[i] = seq++;
            wrong += dh_timerq_arm(&q, &t[i], m.deadline[i]) != 0;
        } else if (r >> 60 < 12) {
            m.is_armed[i] = false;
            dh_timerq_disarm(&q, &t[i]);
        } else {
            struct dh_timer *popped = dh_timerq_pop(&q, 40);
            best = least(&m);
            if (best >= 0 && m.deadline[best] <= 40) {
                wrong += popped != &t[best];
                m.is_armed[best] = false;
            } else {
                wrong += popped != NULL;
            }
        }
        best = least(&m);
        wrong += dh_timerq_next(&q) != (best < 0 ? DH_NEVER : m.deadline[best]);
    }
    CHECK_EQ(wrong, 0);
    fini(&q, &world);
}

static void after_the_end_no_timer_is_armed(void) {
    struct world world;
    struct dh_timerq q;
    struct dh_timer t[3] = {{0, 0}};

    init(&q, &world);
    for (uint32_t i = 0; i < 3; i++) {
        dh_timerq_arm(&q, &t[i], i);
    }
    fini(&q, &world);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(!dh_timer_is_armed(&t[i]));
    }
}

int main(void) {
    RUN(H11_equal_deadlines_fire_in_the_order_armed);
    RUN(a_timer_armed_again_counts_as_armed_last);
    RUN(idle_timers_may_be_disarmed_and_have_no_deadline);
    RUN(without_memory_arming_fails_and_changes_nothing);
    RUN(random_use_agrees_with_a_naive_model);
    RUN(after_the_end_no_timer_is_armed);
    return check_report();
}
