/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* How workers and the host stop: F. */
#include "check.h"
#include "world.h"

static struct dh_policy with_stop_timeout(uint64_t ns) {
    struct dh_policy p = world_policy();
    p.stop_timeout_ns = ns;
    return p;
}

static void F01_shutdown_in_reverse_order_all_at_once(void) {
    struct world world;

    world_init(&world);
    world_add(&world, "a", NULL)->stop_in = SEC;
    world_add(&world, "b", NULL)->stop_in = 2 * SEC;
    world_add(&world, "c", NULL)->stop_in = SEC;
    world_boot(&world);
    CHECK_STR(world_log(&world, "start"), "a:start@0 b:start@0 c:start@0");
    world_advance(&world, 5 * SEC);
    dh_sup_shutdown(&world.sup);
    CHECK_STR(world_log(&world, "cancel"), "");
    world_turn(&world);
    CHECK_STR(world_log(&world, "cancel"), "c:cancel@5 b:cancel@5 a:cancel@5");
    CHECK(!dh_sup_is_quiet(&world.sup));
    world_advance(&world, 2 * SEC);
    CHECK_STR(world_log(&world, "stop kill"), "c:stop@6 a:stop@6 b:stop@7");
    CHECK(dh_sup_is_quiet(&world.sup));
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void F02_huge_waits(void) {
    struct world world;
    struct dh_policy p = with_stop_timeout(DH_NEVER);
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", &p);
    b->stop_in = DH_NEVER;
    world_boot(&world);
    CHECK_EQ(dh_sup_stop(&world.sup, &b->w), 0);
    world_advance(&world, UINT64_C(365) * 24 * 3600 * SEC);
    CHECK_EQ(body_state(b), DH_STOPPING);
    CHECK_EQ(world_count(&world, "kill", NULL), 0);
    body_end(b, DH_CANCELLED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_STOPPED);
    world_fini(&world);
}

static void F03_only_the_late_one_is_killed(void) {
    struct world world;
    struct dh_policy p = with_stop_timeout(3 * SEC);

    world_init(&world);
    world_add(&world, "quick", &p)->stop_in = 2 * SEC;
    world_add(&world, "late", &p)->stop_in = DH_NEVER;
    world_boot(&world);
    dh_sup_shutdown(&world.sup);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "cancel kill stop"),
              "late:cancel@0 quick:cancel@0 quick:stop@2 late:kill@3 late:stop@3");
    world_fini(&world);
}

static void F04_zero_kills_at_once(void) {
    struct world world;
    struct dh_policy p = with_stop_timeout(0);
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", &p);
    world_boot(&world);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    CHECK_STR(world_log(&world, "cancel kill stop"), "a:kill@0 a:stop@0");
    world_fini(&world);
}

static void F08_failing_while_stopping_is_recorded_and_the_stop_completes(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;
    const struct record *r;

    p.max_restarts = 0;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->stop_in = SEC;
    b->stop_ending = DH_RAISED;
    world_boot(&world);
    dh_sup_stop(&world.sup, &b->w);
    world_advance(&world, 100 * SEC);
    CHECK_STR(world_log(&world, "start crash give_up stop"), "a:start@0 a:crash@1 a:stop@1");
    r = world_last(&world, "crash", "a");
    CHECK(r->is_stopping);
    CHECK(!r->will_restart);
    CHECK_EQ(r->delay_ns, DH_NEVER);
    CHECK(r->failure == &b->failure);
    CHECK_EQ(b->w.streak, 0);
    CHECK_EQ(body_state(b), DH_STOPPED);
    world_fini(&world);
}

static void F09_not_shorter_than_the_polite_time(void) {
    struct world world;
    struct dh_policy p = with_stop_timeout(3 * SEC);
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", &p);
    b->stop_in = DH_NEVER;
    world_boot(&world);
    world_advance(&world, SEC);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    world_advance(&world, 3 * SEC - 1);
    CHECK_EQ(world_count(&world, "kill", "a"), 0);
    world_advance(&world, 1);
    CHECK_EQ(world_count(&world, "kill", "a"), 1);
    world_fini(&world);
}

static void F11_stop_in_backoff_is_immediate_and_for_good(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->end_in = 0;
    b->ending = DH_RAISED;
    world_boot(&world);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_STOPPED);
    CHECK(!b->w.is_wanted);
    CHECK_STR(world_log(&world, "stop"), "a:stop@0");
    CHECK_EQ(b->w.streak, 0); /* what a user did clears the history */
    CHECK_EQ(dh_timerq_next(&world.timers), DH_NEVER);
    world_advance(&world, UINT64_C(365) * 24 * 3600 * SEC);
    CHECK_EQ(world_count(&world, "start", "a"), 1);
    world_fini(&world);
}

static void F11_stopped_in_any_state_it_stays_stopped_for_a_year(void) {
    /* running, closing towards backoff, backoff, waiting, done, failed */
    for (int how = 0; how < 6; how++) {
        struct world world;
        struct body *b;
        size_t starts;

        world_init(&world);
        world_add(&world, "dep", NULL)->ready_in = DH_NEVER;
        b = world_try_add(&world, "a", NULL, how == 3 ? "dep" : NULL, NULL, NULL);
        b->close_in = how == 1 ? 100 * SEC : 0;
        b->is_fatal = how == 5;
        world_boot(&world);
        if (how == 1 || how == 2 || how == 4 || how == 5) {
            body_end(b, how == 4 ? DH_RETURNED : DH_RAISED);
        }
        world_turn(&world);
        starts = world_count(&world, "start", "a");
        CHECK_EQ(dh_sup_stop(&world.sup, &b->w), 0);
        world_advance(&world, UINT64_C(365) * 24 * 3600 * SEC);
        CHECK_EQ(body_state(b), how == 4 ? DH_DONE : how == 5 ? DH_FAILED : DH_STOPPED);
        CHECK(!b->w.is_wanted);
        CHECK_EQ(world_count(&world, "start", "a"), starts);
        CHECK(dh_worker_is_settled(&b->w));
        world_fini(&world);
    }
}

static void a_stop_that_meets_a_crash_in_the_same_turn_wins(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    body_end(b, DH_RAISED);
    dh_sup_stop(&world.sup, &b->w);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "cancel start crash stop"), "a:start@0 a:crash@0 a:stop@0");
    CHECK(world_last(&world, "crash", "a")->is_stopping);
    world_fini(&world);
}

static void a_clean_return_while_stopping_is_a_stop(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.restart = DH_RESTART_ALWAYS;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->stop_ending = DH_RETURNED;
    world_boot(&world);
    dh_sup_stop(&world.sup, &b->w);
    world_advance(&world, 10 * SEC);
    CHECK_EQ(body_state(b), DH_STOPPED);
    CHECK_EQ(world_count(&world, "done", NULL), 0);
    world_fini(&world);
}

static void F19_orders_during_shutdown_are_refused_at_once(void) {
    struct world world;
    struct body *b;
    struct dh_error err;
    struct dh_group *g = NULL;
    struct dh_group_spec spec = {.name = {"g", 1}};

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->stop_in = SEC;
    world_boot(&world);
    dh_sup_shutdown(&world.sup);
    CHECK(dh_sup_start(&world.sup, &b->w) == DH_ESHUTDOWN);
    CHECK(dh_sup_stop(&world.sup, &b->w) == DH_ESHUTDOWN);
    CHECK(dh_sup_restart(&world.sup, &b->w) == DH_ESHUTDOWN);
    CHECK(dh_sup_retry(&world.sup, &b->w) == DH_ESHUTDOWN);
    CHECK(dh_sup_reset(&world.sup, &b->w) == DH_ESHUTDOWN);
    CHECK(dh_sup_remove(&world.sup, &b->w) == DH_ESHUTDOWN);
    CHECK(world_try_add(&world, "b", NULL, NULL, NULL, &err) == NULL);
    CHECK_EQ(err.code, DH_ESHUTDOWN);
    CHECK(dh_sup_add_group(&world.sup, &spec, &g, &err) == DH_ESHUTDOWN);
    CHECK(g == NULL);
    world_advance(&world, 5 * SEC);
    CHECK_EQ(body_state(b), DH_STOPPED);
    world_fini(&world);
}

static void F21_shutdown_now_kills_everything_once(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    world_add(&world, "db", NULL);
    b = world_try_add(&world, "app", NULL, "db", NULL, NULL);
    b->stop_in = DH_NEVER;
    b->kill_in = SEC;
    world_boot(&world);
    dh_sup_shutdown_now(&world.sup);
    world_advance(&world, 100 * SEC);
    CHECK_STR(world_log(&world, "cancel kill stop"), "app:kill@0 db:kill@0 db:stop@0 app:stop@1");
    world_fini(&world);
}

static void F21_a_second_signal_kills_what_is_left(void) {
    struct world world;
    struct dh_policy p = with_stop_timeout(DH_NEVER);
    struct body *b;

    world_init(&world);
    b = world_add(&world, "db", &p);
    b->stop_in = DH_NEVER;
    b = world_try_add(&world, "app", &p, "db", NULL, NULL);
    b->stop_in = DH_NEVER;
    b->kill_in = SEC;
    world_boot(&world);
    dh_sup_shutdown(&world.sup);
    world_advance(&world, 100 * SEC);
    CHECK_STR(world_log(&world, "cancel kill"), "app:cancel@0");
    dh_sup_shutdown_now(&world.sup);
    dh_sup_shutdown_now(&world.sup);
    world_advance(&world, 100 * SEC);
    CHECK_STR(world_log(&world, "cancel kill stop"),
              "app:cancel@0 app:kill@100 db:kill@100 db:stop@100 app:stop@101");
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void shutdown_meets_every_state(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    world_add(&world, "never_ready", NULL)->ready_in = DH_NEVER;
    world_try_add(&world, "waiting", NULL, "never_ready", NULL, NULL);
    b = world_add(&world, "backoff", NULL);
    b->end_in = 0;
    b->ending = DH_RAISED;
    b = world_add(&world, "closing", NULL);
    b->end_in = 0;
    b->ending = DH_RAISED;
    b->close_in = 5 * SEC;
    b = world_add(&world, "done", NULL);
    b->end_in = 0;
    b = world_add(&world, "failed", NULL);
    b->end_in = 0;
    b->ending = DH_RAISED;
    b->is_fatal = true;
    b = world_add(&world, "restarting", NULL);
    b->stop_in = 2 * SEC;
    world_boot(&world);
    dh_sup_restart(&world.sup, &b->w);
    world_turn(&world);
    CHECK_STR(world_states(&world), "never_ready=running waiting=waiting backoff=backoff "
                                    "closing=closing done=done failed=failed restarting=stopping");
    dh_sup_shutdown(&world.sup);
    world_turn(&world);
    CHECK(!dh_sup_is_finished(&world.sup));
    world_advance(&world, 60 * SEC);
    CHECK_STR(world_states(&world), "never_ready=stopped waiting=stopped backoff=stopped "
                                    "closing=stopped done=done failed=failed restarting=stopped");
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void nothing_starts_in_the_turn_in_which_the_shutdown_comes(void) {
    struct world world;
    struct dh_timer *t;
    struct body *dep;
    struct body *b;

    world_init(&world);
    dep = world_add(&world, "dep", NULL);
    dep->ready_in = DH_NEVER;
    world_try_add(&world, "waiting", NULL, "dep", NULL, NULL);
    b = world_add(&world, "backoff", NULL);
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_turn(&world);
    world_clear_log(&world);
    world.now_ns = SEC;
    body_ready(dep);
    while ((t = dh_timerq_pop(&world.timers, world.now_ns)) != NULL) {
        dh_sup_on_timer(&world.sup, t);
    }
    dh_sup_shutdown(&world.sup);
    world_turn(&world);
    CHECK_STR(world_log(&world, "start stop"), "backoff:stop@1 waiting:stop@1 dep:stop@1");
    world_fini(&world);
}

static void shutdown_before_boot_leaves_nothing_to_wait_for(void) {
    struct world world;

    world_init(&world);
    world_add(&world, "a", NULL);
    CHECK(!dh_sup_is_finished(&world.sup));
    dh_sup_shutdown(&world.sup);
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=stopped");
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void bodies_that_answer_inside_the_call_change_nothing(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    world.is_synchronous = true;
    world_add(&world, "db", NULL);
    b = world_try_add(&world, "app", NULL, "db", NULL, NULL);
    world_boot(&world);
    dh_sup_restart(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(b->w.run, 2);
    dh_sup_shutdown(&world.sup);
    dh_sup_step(&world.sup);
    CHECK_STR(world_log(&world, "cancel stop"),
              "app:cancel@0 app:cancel@0 app:stop@0 db:cancel@0 db:stop@0");
    world_fini(&world);
}

int main(void) {
    RUN(F01_shutdown_in_reverse_order_all_at_once);
    RUN(F02_huge_waits);
    RUN(F03_only_the_late_one_is_killed);
    RUN(F04_zero_kills_at_once);
    RUN(F08_failing_while_stopping_is_recorded_and_the_stop_completes);
    RUN(F09_not_shorter_than_the_polite_time);
    RUN(F11_stop_in_backoff_is_immediate_and_for_good);
    RUN(F11_stopped_in_any_state_it_stays_stopped_for_a_year);
    RUN(a_stop_that_meets_a_crash_in_the_same_turn_wins);
    RUN(a_clean_return_while_stopping_is_a_stop);
    RUN(F19_orders_during_shutdown_are_refused_at_once);
    RUN(F21_shutdown_now_kills_everything_once);
    RUN(F21_a_second_signal_kills_what_is_left);
    RUN(shutdown_meets_every_state);
    RUN(nothing_starts_in_the_turn_in_which_the_shutdown_comes);
    RUN(shutdown_before_boot_leaves_nothing_to_wait_for);
    RUN(bodies_that_answer_inside_the_call_change_nothing);
    return check_report();
}
