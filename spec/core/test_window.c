/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/window.h"

#include "check.h"
#include "core/timerq.h"
#include "world.h"

static void D02_the_edge_is_inclusive(void) {
    struct world world;
    struct dh_window win = {0};
    struct dh_alloc *alloc = &world.memory.alloc;

    world_init(&world);
    CHECK_EQ(dh_window_add(&win, alloc, 100, 60, 5), 1);
    CHECK_EQ(dh_window_add(&win, alloc, 160, 60, 5), 2); /* exactly 60 old still counts */
    CHECK_EQ(dh_window_add(&win, alloc, 161, 60, 5), 2); /* the first is 61 old */
    dh_window_fini(&win, alloc);
    world_fini(&world);
}

static void it_slides(void) {
    struct world world;
    struct dh_window win = {0};
    struct dh_alloc *alloc = &world.memory.alloc;

    world_init(&world);
    for (uint64_t t = 0; t < 100; t++) {
        CHECK_EQ(dh_window_add(&win, alloc, t * 10, 35, 100), t < 3 ? t + 1 : 4);
    }
    dh_window_fini(&win, alloc);
    world_fini(&world);
}

static void memory_is_lazy_and_bounded_by_limit_plus_one(void) {
    struct world world;
    struct dh_window win = {0};
    struct dh_alloc *alloc = &world.memory.alloc;

    world_init(&world);
    CHECK_EQ(world.memory.bytes, 0);
    for (uint32_t i = 1; i <= 50; i++) {
        CHECK_EQ(dh_window_add(&win, alloc, i, 1000, 6), i <= 7 ? i : 7);
        CHECK(win.capacity <= 7);
    }
    dh_window_clear(&win);
    CHECK_EQ(dh_window_add(&win, alloc, 60, 1000, 6), 1);
    dh_window_fini(&win, alloc);
    dh_window_add(&win, alloc, 60, 1000, 0);
    CHECK_EQ(world.memory.bytes, sizeof(uint64_t));
    dh_window_fini(&win, alloc);
    world_fini(&world);
}

static void a_window_without_an_end_forgets_nothing(void) {
    struct world world;
    struct dh_window win = {0};
    struct dh_alloc *alloc = &world.memory.alloc;

    world_init(&world);
    CHECK_EQ(dh_window_add(&win, alloc, 0, DH_NEVER, 9), 1);
    CHECK_EQ(dh_window_add(&win, alloc, DH_NEVER - 1, DH_NEVER, 9), 2);
    dh_window_fini(&win, alloc);
    world_fini(&world);
}

static void without_memory_the_oldest_is_forgotten(void) {
    struct world world;
    struct dh_window win = {0};
    struct dh_alloc *alloc = &world.memory.alloc;

    world_init(&world);
    world.memory.fail_from = 1;
    world.memory.fail_to = UINT64_MAX;
    CHECK_EQ(dh_window_add(&win, alloc, 1, 1000, 9), 1);
    CHECK_EQ(dh_window_add(&win, alloc, 2, 1000, 9), 1);
    world.memory.fail_to = 0;
    for (uint64_t t = 3; t < 3 + DH_WINDOW_FIRST; t++) {
        dh_window_add(&win, alloc, t, 1000, 9);
    }
    world.memory.fail_to = UINT64_MAX;
    CHECK_EQ(dh_window_add(&win, alloc, 9, 1000, 9), DH_WINDOW_FIRST);
    dh_window_fini(&win, alloc);
    world_fini(&world);
}

static void random_use_agrees_with_a_naive_model(void) {
    uint64_t seed = 1;

    for (int game = 0; game < 200; game++) {
        struct world world;
        struct dh_window win = {0};
        uint64_t stamps[300];
        uint64_t now = 0;
        uint32_t limit = (uint32_t)(world_random(&seed) % 20);
        uint64_t within = world_random(&seed) % 50;
        world_init(&world);
        for (int i = 0; i < 300; i++) {
            uint32_t count = 0;
            uint64_t at = now += world_random(&seed) % 6;
            stamps[i] = at;
            for (int j = 0; j <= i; j++) {
                count += at - stamps[j] <= within;
            }
            CHECK_EQ(dh_window_add(&win, &world.memory.alloc, at, within, limit),
                     count < limit + 1 ? count : limit + 1);
        }
        dh_window_fini(&win, &world.memory.alloc);
        world_fini(&world);
    }
}

static void stamps_out_of_order_are_sorted_in(void) {
    struct world world;
    struct dh_window win = {0};
    struct dh_alloc *alloc = &world.memory.alloc;

    world_init(&world);
    dh_window_add(&win, alloc, 100, 10, 9);
    CHECK_EQ(dh_window_add(&win, alloc, 98, 10, 9), 2);
    CHECK_EQ(dh_window_add(&win, alloc, 109, 10, 9), 2); /* 98 is 11 old */
    CHECK_EQ(dh_window_add(&win, alloc, 110, 10, 9), 3);
    dh_window_clear(&win);
    dh_window_add(&win, alloc, 100, 10, 9);
    dh_window_add(&win, alloc, 102, 10, 9);
    CHECK_EQ(dh_window_add(&win, alloc, 101, 10, 9), 3);
    CHECK_EQ(dh_window_add(&win, alloc, 112, 10, 9), 2); /* it and 102 */
    dh_window_fini(&win, alloc);
    world_fini(&world);
}

/* Seed 24038 of the simulator: a reload had lowered max_restarts. */
static void a_lower_limit_forgets_what_is_beyond_it(void) {
    struct world world;
    struct dh_window win = {0};
    struct dh_alloc *alloc = &world.memory.alloc;

    world_init(&world);
    for (uint64_t at = 1; at <= 6; at++) {
        CHECK_EQ(dh_window_add(&win, alloc, at, 100, 9), at);
    }
    CHECK_EQ(dh_window_add(&win, alloc, 7, 100, 2), 3);
    CHECK_EQ(dh_window_add(&win, alloc, 8, 100, 9), 4); /* what is forgotten is */
    CHECK_EQ(dh_window_add(&win, alloc, 9, 100, 0), 1);
    dh_window_fini(&win, alloc);
    world_fini(&world);
}

int main(void) {
    RUN(D02_the_edge_is_inclusive);
    RUN(it_slides);
    RUN(memory_is_lazy_and_bounded_by_limit_plus_one);
    RUN(a_window_without_an_end_forgets_nothing);
    RUN(without_memory_the_oldest_is_forgotten);
    RUN(random_use_agrees_with_a_naive_model);
    RUN(stamps_out_of_order_are_sorted_in);
    RUN(a_lower_limit_forgets_what_is_beyond_it);
    return check_report();
}
