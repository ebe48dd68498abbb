/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* When a worker is restarted, after which delay, and when it is given up: C, D, H and K. */
#include "check.h"
#include "world.h"

static struct dh_policy with_restart(enum dh_restart restart) {
    struct dh_policy p = world_policy();
    p.restart = (uint8_t)restart;
    return p;
}

/* one worker 'a' that ends after end_in, in that way, with that policy; booted */
static struct body *host(struct world *world, const struct dh_policy *p, uint64_t end_in,
                         enum dh_ending ending) {
    struct body *b;

    world_init(world);
    b = world_add(world, "a", p);
    b->end_in = end_in;
    b->ending = ending;
    world_boot(world);
    return b;
}

static void C01_always_and_finish_is_restarted_after_min_backoff_every_time(void) {
    struct world world;
    struct dh_policy p = with_restart(DH_RESTART_ALWAYS);
    struct body *b = host(&world, &p, 0, DH_RETURNED);

    world_advance(&world, 3500 * MS);
    CHECK_STR(world_log(&world, "start restart crash done"),
              "a:start@0 a:restart@1 a:start@1 a:restart@2 a:start@2 a:restart@3 a:start@3");
    CHECK_EQ(b->w.restarts, 3);
    CHECK_EQ(b->w.streak, 0);
    CHECK(b->w.is_wanted);
    world_fini(&world);
}

static void C03_always_and_fail_is_restarted(void) {
    struct world world;
    struct dh_policy p = with_restart(DH_RESTART_ALWAYS);

    host(&world, &p, 0, DH_RAISED);
    world_advance(&world, 3500 * MS);
    CHECK_STR(world_log(&world, "start crash"),
              "a:start@0 a:crash@0 a:start@1 a:crash@1 a:start@3 a:crash@3");
    world_fini(&world);
}

static void C04_on_failure_and_finish_is_done(void) {
    struct world world;
    struct body *b = host(&world, NULL, 5 * SEC, DH_RETURNED);

    world_advance(&world, 3600 * SEC);
    CHECK_STR(world_log(&world, "start ready restart crash done stop"),
              "a:start@0 a:ready@0 a:done@5");
    CHECK_EQ(body_state(b), DH_DONE);
    CHECK(!b->w.is_wanted);
    CHECK(dh_sup_is_finished(&world.sup));
    CHECK(!dh_sup_has_failed(&world.sup));
    world_fini(&world);
}

static void C06_on_failure_and_fail_is_restarted(void) {
    struct world world;

    host(&world, NULL, 0, DH_RAISED);
    CHECK(!dh_sup_is_finished(&world.sup));
    world_advance(&world, 1 * SEC);
    CHECK_STR(world_log(&world, "start restart"), "a:start@0 a:restart@1 a:start@1");
    world_fini(&world);
}

static void C07_C09_never_is_not_restarted(void) {
    struct world world;
    struct dh_policy p = with_restart(DH_RESTART_NEVER);
    struct body *b = host(&world, &p, SEC, DH_RETURNED);

    world_advance(&world, 3600 * SEC);
    CHECK_STR(world_log(&world, "start done crash give_up"), "a:start@0 a:done@1");
    CHECK_EQ(body_state(b), DH_DONE);
    world_fini(&world);

    b = host(&world, &p, SEC, DH_RAISED);
    world_advance(&world, 3600 * SEC);
    CHECK_STR(world_log(&world, "start done crash give_up"), "a:start@0 a:crash@1 a:give_up@1");
    CHECK_STR(world_last(&world, "give_up", "a")->reason, "restart = \"never\"");
    CHECK(!world_last(&world, "crash", "a")->will_restart);
    CHECK_EQ(world_last(&world, "crash", "a")->delay_ns, DH_NEVER);
    CHECK_EQ(body_state(b), DH_FAILED);
    CHECK(dh_sup_is_finished(&world.sup));
    CHECK(dh_sup_has_failed(&world.sup));
    world_fini(&world);
}

static void C10_two_failures_then_it_stays_exactly_three_starts(void) {
    struct world world;
    struct body *b = host(&world, NULL, 0, DH_RAISED);

    world_advance(&world, 2 * SEC);
    b->end_in = DH_NEVER;
    world_advance(&world, 3600 * SEC);
    CHECK_EQ(world_count(&world, "start", "a"), 3);
    CHECK_EQ(world_count(&world, "restart", "a"), 2);
    CHECK_EQ(b->w.run, 3);
    CHECK_EQ(b->w.restarts, 2);
    world_fini(&world);
}

static void C11_a_crash_loop_leaves_its_sibling_alone(void) {
    struct world world;
    struct body *b;

    host(&world, NULL, 0, DH_RAISED);
    b = world_add(&world, "b", NULL);
    world_advance(&world, 3600 * SEC);
    CHECK_STR(world_log(&world, "none"), "");
    CHECK_EQ(world_count(&world, "state", "b"), 1);
    CHECK_EQ(b->w.run, 1);
    CHECK(world_count(&world, "crash", "a") > 100);
    world_fini(&world);
}

static void C17_fatal_is_not_restarted_even_with_always(void) {
    struct world world;
    struct dh_policy p = with_restart(DH_RESTART_ALWAYS);
    struct body *b = host(&world, &p, SEC, DH_RAISED);

    b->is_fatal = true;
    world_advance(&world, 3600 * SEC);
    CHECK_STR(world_log(&world, "start crash give_up"), "a:start@0 a:crash@1 a:give_up@1");
    CHECK_STR(world_last(&world, "give_up", "a")->reason, "the error is fatal");
    CHECK_EQ(body_state(b), DH_FAILED);
    world_fini(&world);
}

static void C18_retry_after_is_exact_whatever_jitter_and_cap_say(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.jitter = 1;
    p.max_backoff_ns = 3 * SEC;
    b = host(&world, &p, 0, DH_RAISED);
    world_advance(&world, 0);
    CHECK_EQ(b->w.streak, 1);
    world_fini(&world);

    b = host(&world, &p, SEC, DH_RAISED);
    b->retry_after = 7 * SEC;
    world_advance(&world, 1 * SEC);
    CHECK_EQ(world_last(&world, "crash", "a")->delay_ns, 7 * SEC);
    b->retry_after = 0;
    world_advance(&world, 8 * SEC);
    CHECK_STR(world_log(&world, "start"), "a:start@0 a:start@8 a:start@9");
    world_fini(&world);
}

static void a_cancellation_nobody_asked_for_is_a_crash(void) {
    struct world world;

    host(&world, NULL, 0, DH_CANCELLED);
    world_advance(&world, 0);
    CHECK_STR(world_log(&world, "crash"), "a:crash@0");
    world_fini(&world);
}

/* --- D ---------------------------------------------------------------------------------------- */

static struct dh_policy with_limit(uint32_t max_restarts, uint64_t within_ns) {
    struct dh_policy p = world_policy();
    p.max_restarts = max_restarts;
    p.within_ns = within_ns;
    p.min_backoff_ns = SEC;
    p.backoff_factor = 1;
    return p;
}

static void D01_failures_wider_apart_than_the_window_never_give_up(void) {
    struct world world;
    struct dh_policy p = with_limit(1, 10 * SEC);
    struct body *b = host(&world, &p, 10 * SEC, DH_RAISED); /* one every 11 s */

    world_advance(&world, 3600 * SEC);
    CHECK_EQ(world_count(&world, "give_up", "a"), 0);
    CHECK_EQ(world_count(&world, "crash", "a"), (3600 - 10) / 11 + 1);
    CHECK_EQ(world_last(&world, "crash", "a")->window_count, 1);
    b->end_in = DH_NEVER;
    world_fini(&world);
}

static void D02_n_inside_the_window_pass_n_plus_1_gives_up(void) {
    struct world world;
    struct dh_policy p = with_limit(3, 60 * SEC);
    struct body *b = host(&world, &p, 0, DH_RAISED);

    world_advance(&world, 3600 * SEC);
    CHECK_STR(world_log(&world, "start give_up"),
              "a:start@0 a:start@1 a:start@2 a:start@3 a:give_up@3");
    CHECK_STR(world_last(&world, "give_up", "a")->reason, "more than 3 restarts within 60 s");
    CHECK_EQ(world_last(&world, "crash", "a")->window_count, 4);
    CHECK_EQ(world_last(&world, "crash", "a")->max_restarts, 3);
    CHECK_EQ(body_state(b), DH_FAILED);
    CHECK(b->w.is_wanted);
    world_fini(&world);
}

static void D02_one_exactly_within_old_still_counts(void) {
    struct world world;
    struct dh_policy p = with_limit(1, 11 * SEC); /* crashes every 11 s exactly */
    struct body *b = host(&world, &p, 10 * SEC, DH_RAISED);

    world_advance(&world, 100 * SEC);
    CHECK_STR(world_log(&world, "crash give_up"), "a:crash@10 a:crash@21 a:give_up@21");
    CHECK_EQ(body_state(b), DH_FAILED);
    world_fini(&world);

    p.within_ns -= 1;
    host(&world, &p, 10 * SEC, DH_RAISED);
    world_advance(&world, 100 * SEC);
    CHECK_EQ(world_count(&world, "give_up", "a"), 0);
    world_fini(&world);
}

static void D04_failed_starts_count(void) {
    struct world world;
    struct dh_policy p = with_limit(2, 60 * SEC);
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", &p);
    b->fail_starts = -1;
    world_boot(&world);
    world_advance(&world, 60 * SEC);
    CHECK_STR(world_log(&world, "start crash give_up"),
              "a:start@0 a:crash@0 a:start@1 a:crash@1 a:start@2 a:crash@2 a:give_up@2");
    CHECK_STR(world_last(&world, "crash", "a")->reason, "cannot start: out of memory");
    CHECK_EQ(body_state(b), DH_FAILED);
    world_fini(&world);
}

static void D04_failed_starts_without_a_delay_do_not_spin(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.min_backoff_ns = 0;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->fail_starts = 100;
    CHECK_EQ(dh_sup_boot(&world.sup, NULL), 0);
    dh_sup_step(&world.sup);
    CHECK_EQ(b->w.run, 1); /* each restart takes a deadline, so a turn of the loop */
    CHECK_EQ(body_state(b), DH_BACKOFF);
    world_turn(&world);
    CHECK_EQ(b->w.run, 101);
    world_fini(&world);
}

static void D05_limit_0_the_first_failure_gives_up(void) {
    struct world world;
    struct dh_policy p = with_limit(0, 60 * SEC);

    host(&world, &p, SEC, DH_RAISED);
    world_advance(&world, 60 * SEC);
    CHECK_STR(world_log(&world, "start crash give_up"), "a:start@0 a:crash@1 a:give_up@1");
    world_fini(&world);
}

static void D06_manual_restarts_are_free(void) {
    struct world world;
    struct dh_policy p = with_limit(1, 60 * SEC);
    struct body *b = host(&world, &p, DH_NEVER, DH_RAISED);

    for (int i = 0; i < 10; i++) {
        CHECK_EQ(dh_sup_restart(&world.sup, &b->w), 0);
        world_advance(&world, SEC);
        CHECK_EQ(body_state(b), DH_RUNNING);
    }
    CHECK_EQ(b->w.run, 11);
    CHECK_EQ(b->w.restarts, 0);
    CHECK_EQ(world_count(&world, "give_up", NULL), 0);
    CHECK_EQ(world_count(&world, "restart", NULL), 0);
    world_fini(&world);
}

static void D07_clean_finishes_are_free(void) {
    struct world world;
    struct dh_policy p = with_limit(1, 3600 * SEC);
    struct body *b;

    p.restart = DH_RESTART_ALWAYS;
    b = host(&world, &p, 0, DH_RETURNED);
    world_advance(&world, 100 * SEC);
    CHECK_EQ(b->w.restarts, 100);
    CHECK_EQ(world_count(&world, "give_up", NULL), 0);
    world_fini(&world);
}

static void D09_nothing_happens_after_giving_up(void) {
    struct world world;
    struct dh_policy p = with_limit(0, 60 * SEC);

    host(&world, &p, SEC, DH_RAISED);
    world_advance(&world, 60 * SEC);
    world_clear_log(&world);
    world_advance(&world, UINT64_C(365) * 24 * 3600 * SEC);
    CHECK_EQ(world.record_count, 0);
    CHECK_EQ(dh_timerq_next(&world.timers), DH_NEVER);
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void D12_an_essential_worker_that_fails_for_good_stops_the_host(void) {
    struct world world;
    struct dh_policy p = with_limit(1, 60 * SEC);
    struct body *b;

    p.is_essential = true;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->end_in = SEC;
    b->ending = DH_RAISED;
    world_add(&world, "other", NULL);
    world_boot(&world);
    world_advance(&world, 2 * SEC);
    CHECK(!dh_sup_essential_failed(&world.sup));
    world_advance(&world, 1 * SEC);
    CHECK(dh_sup_essential_failed(&world.sup));
    CHECK_STR(world_states(&world), "a=failed other=stopped");
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

/* --- H ---------------------------------------------------------------------------------------- */

static void H01_the_restarts_come_at_1_3_7_15_31_61_91(void) {
    struct world world;

    host(&world, NULL, 0, DH_RAISED);
    world_advance(&world, 100 * SEC);
    CHECK_STR(world_log(&world, "restart"), "a:restart@1 a:restart@3 a:restart@7 a:restart@15 "
                                            "a:restart@31 a:restart@61 a:restart@91");
    world_fini(&world);
}

static void H03_the_same_seed_gives_the_same_delays_and_no_jitter_needs_no_dice(void) {
    struct world world;
    struct dh_policy p = world_policy();
    uint64_t hash;

    host(&world, &p, SEC, DH_RAISED);
    world_advance(&world, 200 * SEC);
    CHECK_EQ(world.random_calls, 0);
    world_fini(&world);

    p.jitter = 0.3;
    host(&world, &p, SEC, DH_RAISED);
    world_advance(&world, 200 * SEC);
    hash = world.hash;
    CHECK(world.random_calls > 3);
    world_fini(&world);
    host(&world, &p, SEC, DH_RAISED);
    world_advance(&world, 200 * SEC);
    CHECK_EQ(world.hash, hash);
    world_fini(&world);
}

static void H04_the_streak_ends_after_reset_after_not_before(void) {
    struct world world;
    struct body *b = host(&world, NULL, 0, DH_RAISED);

    world_advance(&world, 7 * SEC); /* three restarts; the next delay would be 8 */
    CHECK_EQ(b->w.streak, 4);
    b->end_in = 60 * SEC - 1;
    world_advance(&world, 8 * SEC);
    world_advance(&world, 60 * SEC);
    CHECK_EQ(b->w.streak, 5);
    CHECK_EQ(world_last(&world, "crash", "a")->delay_ns, 16 * SEC);
    CHECK_EQ(world_count(&world, "recovered", "a"), 0);
    b->end_in = 60 * SEC;
    world_advance(&world, 16 * SEC);
    world_advance(&world, 60 * SEC);
    CHECK_EQ(b->w.streak, 1);
    CHECK_EQ(world_last(&world, "crash", "a")->delay_ns, 1 * SEC);
    CHECK_EQ(world_last(&world, "crash", "a")->streak, 1);
    world_fini(&world);
}

static void H04_reset_after_huge_never_ends_a_streak(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.reset_after_ns = DH_NEVER;
    b = host(&world, &p, 1000000 * SEC, DH_RAISED);
    world_advance(&world, 3000100 * SEC);
    CHECK_EQ(b->w.streak, 3);
    CHECK_EQ(world_count(&world, "recovered", "a"), 0);
    world_fini(&world);
}

static void H07_one_streak_per_worker(void) {
    struct world world;
    struct body *a = host(&world, NULL, 0, DH_RAISED);
    struct body *b = world_add(&world, "b", NULL);

    b->end_in = 3 * SEC;
    b->ending = DH_RAISED;
    world_advance(&world, 3 * SEC);
    CHECK_EQ(a->w.streak, 3);
    CHECK_EQ(b->w.streak, 1);
    CHECK_EQ(world_last(&world, "crash", "b")->delay_ns, SEC);
    world_fini(&world);
}

static void H08_retry_skips_the_wait_and_keeps_the_streak_reset_clears_it(void) {
    struct world world;
    struct body *b = host(&world, NULL, 0, DH_RAISED);

    world_advance(&world, 7 * SEC);
    CHECK_EQ(b->w.streak, 4);
    world_clear_log(&world);
    CHECK_EQ(dh_sup_retry(&world.sup, &b->w), 0);
    CHECK_STR(world_log(&world, "start"), ""); /* orders only note */
    world_turn(&world);
    CHECK_STR(world_log(&world, "restart start crash"), "a:restart@7 a:start@7 a:crash@7");
    CHECK_EQ(b->w.streak, 5);
    CHECK_EQ(dh_sup_reset(&world.sup, &b->w), 0);
    CHECK_EQ(b->w.streak, 0);
    world_advance(&world, 16 * SEC); /* a delay that has begun stays */
    CHECK_STR(world_log(&world, "start"), "a:start@7 a:start@23");
    CHECK_EQ(b->w.streak, 1);
    world_fini(&world);
}

static void H13_the_delay_counts_from_the_end_of_the_run(void) {
    struct world world;
    struct body *b = host(&world, NULL, DH_NEVER, DH_RAISED);

    /* the end is reported late, after a slice of 5 s that nothing could interrupt */
    world_advance(&world, 10 * SEC);
    b->close_in = DH_NEVER;
    body_end(b, DH_RAISED);
    b->outcome.ended_ns = 10 * SEC;
    world.now_ns = 10 * SEC + 400 * MS;
    body_close(b);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "start"), "a:start@0 a:start@11");
    world_fini(&world);
}

static void H13_an_overdue_restart_begins_when_the_run_is_closed(void) {
    struct world world;
    struct body *b = host(&world, NULL, DH_NEVER, DH_RAISED);

    b->close_in = 2500 * MS;
    body_end(b, DH_RAISED);
    world_advance(&world, 60 * SEC);
    CHECK_STR(world_log(&world, "state"), "a:running@0 a:closing@0 a:backoff@2.5 a:running@2.5");
    world_fini(&world);

    b = host(&world, NULL, DH_NEVER, DH_RAISED);
    b->close_in = 500 * MS;
    body_end(b, DH_RAISED);
    world_advance(&world, 60 * SEC);
    CHECK_STR(world_log(&world, "state"), "a:running@0 a:closing@0 a:backoff@0.5 a:running@1");
    world_fini(&world);
}

static void a_clean_run_under_always_neither_lengthens_nor_ends_a_streak(void) {
    struct world world;
    struct dh_policy p = with_restart(DH_RESTART_ALWAYS);
    struct body *b = host(&world, &p, 0, DH_RAISED);

    world_advance(&world, 1 * SEC);
    CHECK_EQ(b->w.streak, 2);
    b->ending = DH_RETURNED;
    world_advance(&world, 2 * SEC);
    CHECK_EQ(b->w.streak, 2);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    b->ending = DH_RAISED;
    world_advance(&world, 1 * SEC);
    CHECK_EQ(b->w.streak, 3);
    CHECK_EQ(world_last(&world, "crash", "a")->delay_ns, 4 * SEC);
    world_fini(&world);
}

/* --- K ---------------------------------------------------------------------------------------- */

static void K01_a_crash_says_who_which_run_why_and_what_next(void) {
    struct world world;
    struct dh_policy p = with_limit(5, 60 * SEC);
    struct body *b = host(&world, &p, SEC, DH_RAISED);
    const struct record *r;

    world_advance(&world, 3 * SEC);
    r = world_last(&world, "crash", "a");
    CHECK_STR(r->name, "a");
    CHECK_EQ(r->run, 2);
    CHECK(r->failure == &b->failure);
    CHECK(r->will_restart);
    CHECK(!r->is_stopping);
    CHECK_EQ(r->delay_ns, SEC);
    CHECK_EQ(r->streak, 2);
    CHECK_EQ(r->window_count, 2);
    CHECK_EQ(r->max_restarts, 5);
    world_fini(&world);
}

static void K03_recovered_fires_once_after_reset_after_with_the_outage(void) {
    struct world world;
    struct body *b = host(&world, NULL, 2 * SEC, DH_RAISED);

    /* runs: 0-2 crash, 3-5 crash, 7-... */
    world_advance(&world, 5 * SEC);
    b->end_in = DH_NEVER;
    world_advance(&world, 61999 * MS);
    CHECK_EQ(world_count(&world, "recovered", "a"), 0);
    CHECK_EQ(b->w.streak, 2);
    world_advance(&world, 1 * MS);
    CHECK_STR(world_log(&world, "recovered"), "a:recovered@67");
    CHECK_EQ(world_last(&world, "recovered", "a")->outage_ns, 5 * SEC); /* 2 to 7 */
    CHECK_EQ(world_last(&world, "recovered", "a")->run, 3);
    CHECK_EQ(b->w.streak, 0);
    world_advance(&world, 3600 * SEC);
    CHECK_EQ(world_count(&world, "recovered", "a"), 1);
    CHECK_EQ(dh_timerq_next(&world.timers), DH_NEVER);
    world_fini(&world);
}

static void K03_the_next_outage_is_measured_anew(void) {
    struct world world;
    struct body *b = host(&world, NULL, 100 * SEC, DH_RAISED);

    world_advance(&world, 101 * SEC + 99 * SEC); /* crash at 100, restart at 101 */
    CHECK_EQ(world_last(&world, "recovered", "a")->outage_ns, 1 * SEC);
    b->close_in = 3 * SEC;
    world_advance(&world, 1 * SEC); /* crash at 201, closed and restarted at 204 */
    b->close_in = 0;
    world_advance(&world, 70 * SEC);
    CHECK_EQ(world_count(&world, "recovered", "a"), 2);
    CHECK_EQ(world_last(&world, "recovered", "a")->outage_ns, 3 * SEC);
    world_fini(&world);
}

static void K03_healthy_ends_the_streak_now(void) {
    struct world world;
    struct body *b = host(&world, NULL, 0, DH_RAISED);

    world_advance(&world, 1 * SEC);
    b->end_in = DH_NEVER;
    world_advance(&world, 3 * SEC);
    CHECK_EQ(b->w.streak, 2);
    dh_sup_on_healthy(&world.sup, &b->w, b->run);
    world_turn(&world);
    CHECK_EQ(b->w.streak, 0);
    CHECK_STR(world_log(&world, "recovered"), "a:recovered@4");
    CHECK_EQ(world_last(&world, "recovered", "a")->outage_ns, 3 * SEC);
    world_advance(&world, 100 * SEC);
    dh_sup_on_healthy(&world.sup, &b->w, b->run);
    world_turn(&world);
    CHECK_EQ(world_count(&world, "recovered", "a"), 1);
    world_fini(&world);
}

static void healthy_and_a_crash_in_one_turn_make_a_new_streak(void) {
    struct world world;
    struct body *b = host(&world, NULL, 0, DH_RAISED);

    world_advance(&world, 1 * SEC);
    b->end_in = DH_NEVER;
    world_advance(&world, 3 * SEC);
    dh_sup_on_healthy(&world.sup, &b->w, b->run);
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_EQ(b->w.streak, 1);
    CHECK_STR(world_log(&world, "recovered"), "a:recovered@4");
    world_fini(&world);
}

static void a_run_that_ended_just_short_has_not_recovered_though_the_deadline_came(void) {
    struct world world;
    struct body *b = host(&world, NULL, 0, DH_RAISED);
    struct dh_timer *t;

    world_advance(&world, 1 * SEC);
    b->end_in = DH_NEVER;
    world_advance(&world, 2 * SEC); /* run 3 began at 3 */
    world.now_ns = 62999 * MS;
    body_end(b, DH_RAISED);
    world.now_ns = 64 * SEC;
    while ((t = dh_timerq_pop(&world.timers, world.now_ns)) != NULL) {
        dh_sup_on_timer(&world.sup, t);
    }
    world_turn(&world);
    CHECK_EQ(world_count(&world, "recovered", "a"), 0);
    CHECK_EQ(b->w.streak, 3);
    world_fini(&world);
}

static void a_run_of_exactly_reset_after_has_recovered(void) {
    struct world world;
    struct body *b = host(&world, NULL, 0, DH_RAISED);

    world_advance(&world, 1 * SEC);
    b->end_in = DH_NEVER;
    world_advance(&world, 2 * SEC); /* run 3 began at 3 */
    world.now_ns = 63 * SEC;
    body_end(b, DH_RAISED); /* before the deadline is looked at */
    dh_sup_step(&world.sup);
    CHECK_EQ(world_count(&world, "recovered", "a"), 1);
    CHECK_EQ(b->w.streak, 1);
    world_fini(&world);
}

static void the_next_run_is_not_ready_because_the_last_one_was(void) {
    struct world world;
    struct dh_policy p = with_restart(DH_RESTART_ALWAYS);
    struct body *b = host(&world, &p, 0, DH_RETURNED);

    CHECK_EQ(world_count(&world, "ready", "a"), 1);
    b->ready_in = DH_NEVER;
    b->end_in = DH_NEVER;
    world_advance(&world, 5 * SEC);
    CHECK_EQ(body_state(b), DH_RUNNING);
    CHECK(!b->w.is_ready);
    world_fini(&world);
}

static void status_tells_what_is_and_what_comes(void) {
    struct world world;
    struct body *b = host(&world, NULL, 2 * SEC, DH_RAISED);
    struct dh_status s;

    world_advance(&world, 2500 * MS);
    dh_sup_status(&world.sup, &b->w, world.now_ns, &s);
    CHECK_EQ(s.state, DH_BACKOFF);
    CHECK_EQ(s.since_ns, 2 * SEC);
    CHECK_EQ(s.next_retry_in_ns, 500 * MS);
    CHECK_EQ(s.run, 1);
    CHECK_EQ(s.streak, 1);
    CHECK(s.is_wanted && !s.is_ready);
    CHECK_STR(s.waiting_for, "");
    world_advance(&world, 1 * SEC);
    dh_sup_status(&world.sup, &b->w, world.now_ns, &s);
    CHECK_EQ(s.state, DH_RUNNING);
    CHECK_EQ(s.next_retry_in_ns, DH_NEVER);
    CHECK_EQ(s.restarts, 1);
    CHECK(s.is_ready);
    world_fini(&world);
}

static void stale_reports_are_counted_and_ignored(void) {
    struct world world;
    struct body *b = host(&world, NULL, SEC, DH_RAISED);
    struct dh_outcome late;

    dh_outcome_init(&late, DH_RAISED, 0);
    world_advance(&world, 1500 * MS); /* backoff */
    world_clear_log(&world);
    dh_sup_on_ended(&world.sup, &b->w, 1, &late);
    dh_sup_on_closed(&world.sup, &b->w, 1);
    dh_sup_on_ready(&world.sup, &b->w, 1, false);
    CHECK_EQ(world.sup.stale_reports, 3);
    world_advance(&world, 600 * MS); /* running, run 2 */
    dh_sup_on_ended(&world.sup, &b->w, 1, &late);
    dh_sup_on_closed(&world.sup, &b->w, 1);
    dh_sup_on_closed(&world.sup, &b->w, 2);
    dh_sup_on_ended(&world.sup, &b->w, 3, &late);
    dh_sup_on_healthy(&world.sup, &b->w, 1);
    dh_sup_on_beat(&world.sup, &b->w, 1);
    CHECK_EQ(world.sup.stale_reports, 9);
    b->close_in = DH_NEVER;
    body_end(b, DH_RETURNED);
    dh_sup_on_ended(&world.sup, &b->w, 2, &late);
    body_close(b);
    dh_sup_on_closed(&world.sup, &b->w, 2);
    dh_sup_on_ready(&world.sup, &b->w, 2, false);
    CHECK_EQ(world.sup.stale_reports, 12);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_DONE);
    CHECK_STR(world_log(&world, "crash"), "");
    world_fini(&world);
}

static void after_the_last_number_runs_are_counted_from_one_again(void) {
    struct world world;
    struct body *b = host(&world, NULL, DH_NEVER, DH_RAISED);

    b->run = b->w.run = UINT32_MAX;
    body_end(b, DH_RAISED);
    world_advance(&world, SEC);
    CHECK_EQ(b->w.run, 1);
    CHECK_EQ(body_state(b), DH_RUNNING);
    world_fini(&world);
}

static void a_delay_without_an_end_shows_none(void) {
    struct world world;
    struct dh_status status;
    struct body *b = host(&world, NULL, DH_NEVER, DH_RAISED);

    body_end(b, DH_RAISED);
    world_advance(&world, 2 * SEC);
    CHECK(dh_timer_is_armed(&b->w.timer)); /* the end of the streak */
    b->retry_after = DH_NEVER - 1;
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    dh_sup_status(&world.sup, &b->w, world.now_ns, &status);
    CHECK_EQ(status.next_retry_in_ns, DH_NEVER);
    CHECK_EQ(dh_timerq_next(&world.timers), DH_NEVER);
    world_fini(&world);
}

static void nothing_is_due_for_a_run_that_has_ended_well(void) {
    struct world world;
    struct body *b = host(&world, NULL, DH_NEVER, DH_RAISED);

    b->close_in = SEC;
    body_end(b, DH_RAISED);
    world_advance(&world, 3 * SEC);
    CHECK(dh_timer_is_armed(&b->w.timer)); /* the end of the streak */
    body_end(b, DH_RETURNED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_CLOSING);
    CHECK_EQ(dh_timerq_next(&world.timers), DH_NEVER);
    world_fini(&world);
}

/* The end is told with a time that was read a little before the start. */
static void a_run_that_seems_to_end_before_it_began_was_not_long(void) {
    struct world world;
    struct body *b;

    host(&world, NULL, DH_NEVER, DH_RAISED);
    b = world_body(&world, "a");
    body_end(b, DH_RAISED);
    world_advance(&world, SEC);
    CHECK_EQ(b->w.streak, 1);
    body_end(b, DH_RAISED);
    b->outcome.ended_ns = b->w.started_ns - 1;
    world_turn(&world);
    CHECK_EQ(b->w.streak, 2);
    world_fini(&world);
}

int main(void) {
    RUN(C01_always_and_finish_is_restarted_after_min_backoff_every_time);
    RUN(C03_always_and_fail_is_restarted);
    RUN(C04_on_failure_and_finish_is_done);
    RUN(C06_on_failure_and_fail_is_restarted);
    RUN(C07_C09_never_is_not_restarted);
    RUN(C10_two_failures_then_it_stays_exactly_three_starts);
    RUN(C11_a_crash_loop_leaves_its_sibling_alone);
    RUN(C17_fatal_is_not_restarted_even_with_always);
    RUN(C18_retry_after_is_exact_whatever_jitter_and_cap_say);
    RUN(a_cancellation_nobody_asked_for_is_a_crash);
    RUN(D01_failures_wider_apart_than_the_window_never_give_up);
    RUN(D02_n_inside_the_window_pass_n_plus_1_gives_up);
    RUN(D02_one_exactly_within_old_still_counts);
    RUN(D04_failed_starts_count);
    RUN(D04_failed_starts_without_a_delay_do_not_spin);
    RUN(D05_limit_0_the_first_failure_gives_up);
    RUN(D06_manual_restarts_are_free);
    RUN(D07_clean_finishes_are_free);
    RUN(D09_nothing_happens_after_giving_up);
    RUN(D12_an_essential_worker_that_fails_for_good_stops_the_host);
    RUN(H01_the_restarts_come_at_1_3_7_15_31_61_91);
    RUN(H03_the_same_seed_gives_the_same_delays_and_no_jitter_needs_no_dice);
    RUN(H04_the_streak_ends_after_reset_after_not_before);
    RUN(H04_reset_after_huge_never_ends_a_streak);
    RUN(H07_one_streak_per_worker);
    RUN(H08_retry_skips_the_wait_and_keeps_the_streak_reset_clears_it);
    RUN(H13_the_delay_counts_from_the_end_of_the_run);
    RUN(H13_an_overdue_restart_begins_when_the_run_is_closed);
    RUN(a_clean_run_under_always_neither_lengthens_nor_ends_a_streak);
    RUN(K01_a_crash_says_who_which_run_why_and_what_next);
    RUN(K03_recovered_fires_once_after_reset_after_with_the_outage);
    RUN(K03_the_next_outage_is_measured_anew);
    RUN(K03_healthy_ends_the_streak_now);
    RUN(healthy_and_a_crash_in_one_turn_make_a_new_streak);
    RUN(a_run_that_ended_just_short_has_not_recovered_though_the_deadline_came);
    RUN(a_run_of_exactly_reset_after_has_recovered);
    RUN(the_next_run_is_not_ready_because_the_last_one_was);
    RUN(status_tells_what_is_and_what_comes);
    RUN(stale_reports_are_counted_and_ignored);
    RUN(after_the_last_number_runs_are_counted_from_one_again);
    RUN(a_delay_without_an_end_shows_none);
    RUN(nothing_is_due_for_a_run_that_has_ended_well);
    RUN(a_run_that_seems_to_end_before_it_began_was_not_long);
    return check_report();
}
