/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Every allocation fails once, and from every one on all fail for a while. */
#include "check.h"
#include "world.h"

enum { WORKERS = 24 };

static struct body *add(struct world *world, const char *name, const struct dh_policy *p,
                        const char *after, struct dh_group *g) {
    struct dh_error err = {0, ""};
    uint32_t count = world->sup.worker_count;
    struct body *b = world_try_add(world, name, p, after, g, &err);

    if (b == NULL) {
        CHECK(err.code == DH_ENOMEM || err.code == DH_ENOENT);
        CHECK_EQ(world->sup.worker_count, count);
        CHECK(world_body(world, name) == NULL);
    }
    return b;
}

static void crash_all(struct world *world) {
    for (struct dh_worker *w = dh_sup_first(&world->sup); w != NULL; w = dh_sup_next(w)) {
        struct body *b = (struct body *)w;
        if (b->is_live && !b->has_ended) {
            body_end(b, DH_RAISED);
        }
    }
    world_turn(world);
}

/* something of everything */
static void play(struct world *world) {
    struct dh_policy limited = world_policy();
    struct dh_policy watched = world_policy();
    struct dh_group *g = world_group(world, "g", DH_ONE_FOR_ALL, 5, 60 * SEC);
    struct body *b;
    char name[16];

    limited.max_restarts = 9;
    watched.watchdog_ns = 3 * SEC;
    watched.start_timeout_ns = 3 * SEC;
    watched.stop_timeout_ns = SEC;
    add(world, "db", &limited, NULL, NULL);
    add(world, "app", NULL, "db", NULL);
    add(world, "watched", &watched, NULL, NULL);
    add(world, "m1", NULL, NULL, g);
    add(world, "m2", &limited, "db", g);
    for (int i = 0; i < WORKERS; i++) {
        snprintf(name, sizeof name, "w%d", i);
        add(world, name, NULL, NULL, NULL);
    }
    if (dh_sup_boot(&world->sup, NULL) < 0) {
        return;
    }
    world_advance(world, SEC);
    crash_all(world);
    world_advance(world, 2 * SEC);
    crash_all(world);
    world_advance(world, 10 * SEC);
    b = world_body(world, "db");
    if (b != NULL) {
        dh_sup_remove(&world->sup, &b->w);
        world_advance(world, SEC);
    }
    add(world, "db", &limited, NULL, NULL);
    add(world, "late", &watched, "db app", g);
    world_advance(world, SEC);
    crash_all(world);
    world_advance(world, 5 * SEC);
}

/* the number of allocations, if none fails */
static uint64_t count_calls(void) {
    struct world world;
    uint64_t calls;

    world_init(&world);
    play(&world);
    calls = world.memory.calls;
    CHECK(calls > 20);
    world_fini(&world);
    return calls;
}

static void check_recovered(struct world *world) {
    struct dh_error err = {0, ""};

    world->memory.fail_to = 0;
    if (!world->sup.is_booted) {
        int rc = dh_sup_boot(&world->sup, &err);
        CHECK(rc == 0 || rc == DH_ENOENT); /* "app" may have come without its "db" */
        if (rc < 0) {
            return;
        }
    }
    for (struct dh_worker *w = dh_sup_first(&world->sup); w != NULL; w = dh_sup_next(w)) {
        dh_sup_restart(&world->sup, w); /* also those of a group that failed */
    }
    world_advance(world, 2 * SEC); /* shorter than the watchdog */
    if (world_body(world, "db") != NULL) {
        if (!CHECK_EQ(world->sup.counts[DH_RUNNING], world->sup.worker_count)) {
            printf("  %s\n", world_states(world));
        }
    }
    dh_sup_shutdown(&world->sup);
    world_advance(world, 100 * SEC);
    CHECK(dh_sup_is_finished(&world->sup));
}

static void play_failing(uint64_t from, uint64_t to) {
    struct world world;

    world_init(&world);
    world.memory.fail_from = from;
    world.memory.fail_to = to;
    play(&world);
    check_recovered(&world);
    world_fini(&world);
}

static void one_allocation_fails(void) {
    uint64_t calls = count_calls();

    for (uint64_t n = 1; n <= calls + 1; n++) {
        play_failing(n, n);
    }
}

static void all_allocations_fail_from_one_on(void) {
    uint64_t calls = count_calls();

    for (uint64_t n = 1; n <= calls + 1; n++) {
        play_failing(n, UINT64_MAX);
    }
}

static void some_allocations_fail_in_a_row(void) {
    uint64_t calls = count_calls();

    for (uint64_t n = 1; n <= calls + 1; n++) {
        play_failing(n, n + 3);
    }
}

static void a_restart_whose_deadline_finds_no_memory_comes_all_the_same(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    dh_timerq_fini(&world.timers); /* back to no room at all */
    world.memory.fail_from = 1;
    world.memory.fail_to = UINT64_MAX;
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK(world.arm_failures > 0);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    CHECK(dh_sup_has_work(&world.sup)); /* so the host comes back */
    world.now_ns = SEC - 1;
    dh_sup_step(&world.sup);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    world.now_ns = SEC;
    dh_sup_step(&world.sup);
    CHECK_EQ(body_state(b), DH_RUNNING);

    /* and with memory again, by the clock */
    body_end(b, DH_RAISED);
    world_turn(&world);
    world.memory.fail_to = 0;
    world_turn(&world);
    CHECK(!dh_sup_has_work(&world.sup));
    world_advance(&world, 2 * SEC);
    CHECK_EQ(b->w.run, 3);
    world_fini(&world);
}

static void recovered_whose_deadline_finds_no_memory_comes_all_the_same(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_turn(&world);
    world_advance(&world, SEC - 1);
    dh_timerq_fini(&world.timers);
    world.memory.fail_from = 1;
    world.memory.fail_to = UINT64_MAX;
    dh_sup_retry(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_RUNNING);
    world.now_ns = 61 * SEC - 2;
    dh_sup_step(&world.sup);
    CHECK_EQ(world_count(&world, "recovered", "a"), 0);
    world.now_ns = 61 * SEC - 1;
    dh_sup_step(&world.sup);
    CHECK_EQ(world_count(&world, "recovered", "a"), 1);
    CHECK(!dh_sup_has_work(&world.sup));
    world_fini(&world);
}

static void a_stop_timeout_that_finds_no_memory_kills_at_once(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    world.memory.fail_from = 1;
    world.memory.fail_to = UINT64_MAX;
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    CHECK_STR(world_log(&world, "cancel kill stop"), "a:kill@0 a:stop@0");
    world_fini(&world);
}

static void an_unarmed_worker_can_be_stopped_and_removed(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    world.memory.fail_from = 1;
    world.memory.fail_to = UINT64_MAX;
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    dh_sup_remove(&world.sup, &b->w);
    world_turn(&world);
    CHECK(b->is_gone);
    CHECK(!dh_sup_has_work(&world.sup));
    world_fini(&world);
}

/* A queue of so many deadlines cannot become twice as long. */
static void a_queue_that_cannot_grow_any_more_refuses(void) {
    struct world world;
    struct dh_timerq q;
    struct dh_timer t = {0, 0};

    world_init(&world);
    dh_timerq_init(&q, &world.memory.alloc);
    q.count = q.capacity = UINT32_C(1) << 31;
    CHECK(dh_timerq_arm(&q, &t, 1) == DH_ENOMEM);
    CHECK(!dh_timer_is_armed(&t));
    CHECK_EQ(world.memory.calls, 0);
    world_fini(&world);
}

/* Three deadlines of one run, none of which finds memory when it begins; each passes meanwhile. */
static void watches_whose_deadlines_find_no_memory_are_kept_all_the_same(void) {
    for (int which = 0; which < 2; which++) {
        struct world world;
        struct dh_policy p = world_policy();
        struct body *b;

        p.start_timeout_ns = which == 0 ? 2 * SEC : DH_NEVER;
        p.watchdog_ns = which == 1 ? 2 * SEC : DH_NEVER;
        world_init(&world);
        b = world_add(&world, "a", &p);
        b->ready_in = DH_NEVER;
        dh_sup_boot(&world.sup, NULL);
        world.memory.fail_from = 1;
        world.memory.fail_to = UINT64_MAX;
        dh_sup_step(&world.sup);
        CHECK_EQ(body_state(b), DH_RUNNING);
        CHECK(world.arm_failures > 0);
        world.now_ns = 2 * SEC - 1;
        dh_sup_step(&world.sup);
        CHECK_EQ(body_state(b), DH_RUNNING);
        world.now_ns = 2 * SEC;
        dh_sup_step(&world.sup);
        CHECK_STR(world_log(&world, "kill"), "a:kill@2");
        world_turn(&world);
        CHECK_STR(world_last(&world, "crash", "a")->reason,
                  which == 0 ? "not ready within 2 s" : "no beat within 2 s");
        world_fini(&world);
    }
}

/* One deadline has come, another one still lacks memory. */
static void what_is_due_is_not_armed_once_more(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.start_timeout_ns = 100 * SEC;
    p.reset_after_ns = 5 * SEC;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->ready_in = DH_NEVER;
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_turn(&world);
    dh_timerq_fini(&world.timers);
    world.memory.fail_from = 1;
    world.memory.fail_to = UINT64_MAX;
    dh_sup_retry(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_RUNNING);
    dh_sup_on_healthy(&world.sup, &b->w, b->w.run);
    dh_sup_step(&world.sup);
    CHECK_STR(world_log(&world, "recovered"), "a:recovered@0");
    CHECK_EQ(b->w.streak, 0);
    world_fini(&world);
}

static void a_deadline_beyond_the_end_of_time_is_none(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.reset_after_ns = DH_NEVER - 1;
    world_init(&world);
    b = world_add(&world, "a", &p);
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_advance(&world, SEC);
    CHECK_EQ(b->w.run, 2);
    CHECK_EQ(dh_timerq_next(&world.timers), DH_NEVER);
    world_fini(&world);
}

int main(void) {
    RUN(one_allocation_fails);
    RUN(all_allocations_fail_from_one_on);
    RUN(some_allocations_fail_in_a_row);
    RUN(a_restart_whose_deadline_finds_no_memory_comes_all_the_same);
    RUN(recovered_whose_deadline_finds_no_memory_comes_all_the_same);
    RUN(a_stop_timeout_that_finds_no_memory_kills_at_once);
    RUN(an_unarmed_worker_can_be_stopped_and_removed);
    RUN(a_queue_that_cannot_grow_any_more_refuses);
    RUN(watches_whose_deadlines_find_no_memory_are_kept_all_the_same);
    RUN(what_is_due_is_not_armed_once_more);
    RUN(a_deadline_beyond_the_end_of_time_is_none);
    return check_report();
}
