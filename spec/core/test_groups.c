/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Groups: E. */
#include "check.h"
#include "world.h"

/* group "g" with members a, b, c that run until told otherwise; booted */
static struct dh_group *host(struct world *world, enum dh_strategy strategy, uint32_t max) {
    struct dh_group *g;

    world_init(world);
    g = world_group(world, "g", strategy, max, 60 * SEC);
    world_try_add(world, "a", NULL, NULL, g, NULL);
    world_try_add(world, "b", NULL, NULL, g, NULL);
    world_try_add(world, "c", NULL, NULL, g, NULL);
    world_boot(world);
    CHECK_STR(world_log(world, "start"), "a:start@0 b:start@0 c:start@0");
    world_clear_log(world);
    return g;
}

static void crash(struct world *world, const char *name) {
    body_end(world_body(world, name), DH_RAISED);
}

static uint32_t run_of(struct world *world, const char *name) {
    return world_body(world, name)->w.run;
}

static void E01_one_for_one_siblings_keep_their_run(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ONE, DH_UNLIMITED);
    crash(&world, "b");
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=running b=backoff c=running");
    world_advance(&world, 5 * SEC);
    CHECK_STR(world_log(&world, "start cancel"), "b:start@1");
    CHECK_EQ(run_of(&world, "a"), 1);
    CHECK_EQ(run_of(&world, "c"), 1);
    world_fini(&world);
}

static void E02_one_for_all_all_are_replaced(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    world_body(&world, "a")->stop_in = 100 * MS;
    world_body(&world, "a")->close_in = 100 * MS;
    world_advance(&world, SEC);
    crash(&world, "b");
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=stopping b=backoff c=waiting");
    world_advance(&world, 500 * MS);
    CHECK_STR(world_states(&world), "a=waiting b=backoff c=waiting");
    CHECK_STR(world_waiting_for(&world, "a"), "group g");
    world_advance(&world, 5 * SEC);
    CHECK_STR(world_log(&world, "cancel restart start group_restart"),
              "b:group_restart@1 c:cancel@1 a:cancel@1 a:restart@2 a:start@2 b:restart@2 "
              "b:start@2 c:restart@2 c:start@2");
    CHECK_EQ(world_last(&world, "group_restart", "b")->delay_ns, SEC);
    CHECK_STR(world_states(&world), "a=running b=running c=running");
    CHECK_EQ(world_body(&world, "a")->w.restarts, 1);
    CHECK_EQ(world_body(&world, "a")->w.streak, 0);
    CHECK_EQ(world_body(&world, "b")->w.streak, 1);
    world_fini(&world);
}

static void E02_nobody_starts_before_the_slowest_is_closed(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    world_body(&world, "c")->close_in = 4 * SEC;
    crash(&world, "a");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "start"), "a:start@4 b:start@4 c:start@4");
    world_fini(&world);
}

static void E03_rest_for_one_earlier_kept_later_replaced(void) {
    struct world world;

    host(&world, DH_REST_FOR_ONE, DH_UNLIMITED);
    crash(&world, "b");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "cancel start"), "c:cancel@0 b:start@1 c:start@1");
    CHECK_EQ(run_of(&world, "a"), 1);
    world_fini(&world);
}

static void E04_E05_E06_at_its_limit_the_group_fails_and_siblings_stop(void) {
    static const enum dh_strategy strategies[] = {DH_ONE_FOR_ONE, DH_ONE_FOR_ALL, DH_REST_FOR_ONE};

    for (int i = 0; i < 3; i++) {
        struct world world;
        struct dh_group *g = host(&world, strategies[i], 1);
        crash(&world, "b");
        world_advance(&world, 5 * SEC);
        CHECK(!dh_group_is_failed(g));
        crash(&world, "a"); /* it is the group's limit, not a member's */
        world_advance(&world, 100 * SEC);
        CHECK(dh_group_is_failed(g));
        CHECK_STR(world_states(&world), "a=failed b=stopped c=stopped");
        CHECK_STR(world_last(&world, "give_up", "a")->reason,
                  "group g: more than 1 restart within 60 s");
        CHECK_EQ(world_last(&world, "crash", "a")->window_count, 2);
        CHECK_EQ(world_count(&world, "group_failed", "a"), 1);
        CHECK_STR(world_last(&world, "stop", "b")->reason, "its group g has failed");
        CHECK(dh_sup_is_finished(&world.sup));
        CHECK(dh_sup_has_failed(&world.sup));
        world_advance(&world, 100000 * SEC);
        CHECK_STR(world_states(&world), "a=failed b=stopped c=stopped");

        /* an order gives it another chance */
        dh_sup_start(&world.sup, &world_body(&world, "b")->w);
        world_turn(&world);
        CHECK(!dh_group_is_failed(g));
        crash(&world, "b");
        world_advance(&world, 5 * SEC);
        CHECK_STR(world_states(&world), "a=failed b=running c=stopped");
        dh_sup_stop(&world.sup, &world_body(&world, "b")->w);
        world_turn(&world);
        CHECK_STR(world_last(&world, "stop", "b")->reason, "");
        world_fini(&world);
    }
}

static void E10_later_ones_stop_in_reverse_and_start_in_order(void) {
    struct world world;
    struct dh_group *g;
    struct body *b;

    world_init(&world);
    g = world_group(&world, "g", DH_REST_FOR_ONE, DH_UNLIMITED, SEC);
    world_try_add(&world, "a", NULL, NULL, g, NULL);
    world_try_add(&world, "b", NULL, "a", g, NULL)->ready_in = SEC;
    b = world_try_add(&world, "c", NULL, "b", g, NULL);
    b->stop_in = 200 * MS;
    world_boot(&world);
    world_advance(&world, 10 * SEC);
    world_clear_log(&world);
    crash(&world, "a");
    world_advance(&world, 10 * SEC);
    /* c depends on b: b goes only when c has ended, and comes back ready before c */
    CHECK_STR(world_log(&world, "cancel start"),
              "c:cancel@10 b:cancel@10.2 a:start@11 b:start@11 c:start@12");
    world_fini(&world);
}

static void E12_while_one_retries_the_earlier_run_and_the_later_wait(void) {
    struct world world;

    host(&world, DH_REST_FOR_ONE, DH_UNLIMITED);
    world_body(&world, "b")->end_in = 0;
    world_body(&world, "b")->ending = DH_RAISED;
    crash(&world, "b");
    world_advance(&world, 6 * SEC);
    CHECK_STR(world_states(&world), "a=running b=backoff c=waiting");
    CHECK_STR(world_waiting_for(&world, "c"), "group g");
    CHECK_EQ(run_of(&world, "a"), 1);
    CHECK(!dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void two_that_fail_in_one_turn_make_one_restart_that_counts_once(void) {
    struct world world;
    struct dh_group *g = host(&world, DH_ONE_FOR_ALL, 1);

    crash(&world, "a");
    crash(&world, "c");
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=backoff b=waiting c=backoff");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "crash cancel start give_up group_restart"),
              "a:crash@0 a:group_restart@0 c:crash@0 b:cancel@0 a:start@1 b:start@1 c:start@1");
    CHECK(!dh_group_is_failed(g));
    CHECK_EQ(run_of(&world, "a"), 2);
    CHECK_EQ(run_of(&world, "b"), 2);
    CHECK_EQ(run_of(&world, "c"), 2);
    world_fini(&world);
}

static void two_with_different_delays_wait_for_the_longer(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    world_body(&world, "a")->retry_after = 5 * SEC;
    crash(&world, "a");
    crash(&world, "c");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "start"), "a:start@5 b:start@5 c:start@5");
    world_fini(&world);
}

static void D08_a_sibling_that_fails_while_the_group_restarts_is_free(void) {
    struct world world;
    struct dh_group *g = host(&world, DH_ONE_FOR_ALL, 1);
    struct body *b = world_body(&world, "b");

    b->stop_in = 500 * MS;
    b->stop_ending = DH_RAISED;
    crash(&world, "a");
    world_advance(&world, 10 * SEC);
    CHECK(world_last(&world, "crash", "b")->is_stopping);
    CHECK_EQ(b->w.streak, 0);
    CHECK(!dh_group_is_failed(g));
    CHECK_STR(world_log(&world, "start"), "a:start@1 b:start@1 c:start@1");
    world_fini(&world);
}

static void a_sibling_that_returns_when_cancelled_is_revived_all_the_same(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    world_body(&world, "b")->stop_ending = DH_RETURNED;
    crash(&world, "a");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world), "a=running b=running c=running");
    CHECK_EQ(run_of(&world, "b"), 2);
    world_fini(&world);
}

static void a_member_that_cannot_start_in_the_restart_begins_another(void) {
    struct world world;
    struct dh_group *g = host(&world, DH_ONE_FOR_ALL, 5);

    world_body(&world, "b")->fail_starts = 1;
    crash(&world, "a");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "start cancel group_restart"),
              "a:group_restart@0 c:cancel@0 b:cancel@0 a:start@1 b:start@1 b:group_restart@1 "
              "a:cancel@1 a:start@2 b:start@2 c:start@2");
    CHECK_STR(world_states(&world), "a=running b=running c=running");
    CHECK(!dh_group_is_failed(g));
    world_fini(&world);
}

static void done_stopped_and_never_are_not_revived(void) {
    struct world world;
    struct dh_policy never = world_policy();
    struct dh_group *g;

    never.restart = DH_RESTART_NEVER;
    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ALL, DH_UNLIMITED, SEC);
    world_try_add(&world, "done", NULL, NULL, g, NULL)->end_in = 0;
    world_try_add(&world, "stopped", NULL, NULL, g, NULL);
    world_try_add(&world, "never", &never, NULL, g, NULL);
    world_try_add(&world, "a", NULL, NULL, g, NULL);
    world_try_add(&world, "outside", NULL, NULL, NULL, NULL);
    world_boot(&world);
    dh_sup_stop(&world.sup, &world_body(&world, "stopped")->w);
    world_turn(&world);
    crash(&world, "a");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world),
              "done=done stopped=stopped never=stopped a=running outside=running");
    CHECK_EQ(run_of(&world, "done"), 1);
    CHECK_EQ(run_of(&world, "never"), 1);
    CHECK_EQ(run_of(&world, "outside"), 1);
    world_fini(&world);
}

/* found by spec/model: the strategy wiped out what a user had ordered */
static void a_restart_ordered_for_one_that_is_never_restarted_outlives_the_strategy(void) {
    struct world world;
    struct dh_policy never = world_policy();
    struct dh_group *g;
    struct body *b;

    never.restart = DH_RESTART_NEVER;
    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ALL, DH_UNLIMITED, SEC);
    world_try_add(&world, "a", NULL, NULL, g, NULL);
    b = world_try_add(&world, "never", &never, NULL, g, NULL);
    b->stop_in = 100 * MS;
    world_boot(&world);
    dh_sup_restart(&world.sup, &b->w);
    world_turn(&world);
    crash(&world, "a");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world), "a=running never=running");
    CHECK_EQ(b->w.run, 2);
    CHECK_EQ(b->w.restarts, 0);
    world_fini(&world);
}

static void a_failure_that_is_not_restarted_leaves_the_siblings_alone(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    world_body(&world, "b")->is_fatal = true;
    crash(&world, "b");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world), "a=running b=failed c=running");
    CHECK_EQ(run_of(&world, "a"), 1);
    world_fini(&world);
}

static void a_manual_restart_is_the_members_own_affair(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, 0);
    dh_sup_restart(&world.sup, &world_body(&world, "b")->w);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "cancel start"), "b:cancel@0 b:start@0");
    world_fini(&world);
}

static void a_stop_during_the_restart_stands(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    world_body(&world, "c")->stop_in = 500 * MS;
    crash(&world, "a");
    world_turn(&world);
    dh_sup_stop(&world.sup, &world_body(&world, "b")->w); /* waiting */
    dh_sup_stop(&world.sup, &world_body(&world, "c")->w); /* stopping */
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world), "a=running b=stopped c=stopped");
    world_fini(&world);
}

static void stopping_the_failing_member_lets_the_others_go_on(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    crash(&world, "a");
    world_turn(&world);
    dh_sup_stop(&world.sup, &world_body(&world, "a")->w);
    world_advance(&world, 500 * MS);
    CHECK_STR(world_states(&world), "a=stopped b=running c=running");
    world_fini(&world);
}

static void retry_skips_the_delay_for_the_whole_group(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    crash(&world, "a");
    world_turn(&world);
    dh_sup_retry(&world.sup, &world_body(&world, "a")->w);
    world_turn(&world);
    CHECK_STR(world_log(&world, "start"), "a:start@0 b:start@0 c:start@0");
    world_fini(&world);
}

static void removing_a_member_during_the_restart_does_not_block_it(void) {
    struct world world;
    struct dh_group *g = host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);

    world_body(&world, "b")->stop_in = 30 * SEC;
    crash(&world, "a");
    world_turn(&world);
    dh_sup_remove(&world.sup, &world_body(&world, "b")->w);
    world_advance(&world, 60 * SEC);
    CHECK_STR(world_states(&world), "a=running c=running");
    CHECK(dh_sup_remove_group(&world.sup, g) == DH_EBUSY);
    dh_sup_remove(&world.sup, &world_body(&world, "a")->w);
    dh_sup_remove(&world.sup, &world_body(&world, "c")->w);
    world_turn(&world);
    CHECK_EQ(dh_sup_remove_group(&world.sup, g), 0);
    CHECK(dh_sup_find_group(&world.sup, "g", 1) == NULL);
    world_fini(&world);
}

static void shutdown_during_the_restart_of_a_group_ends(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    world_body(&world, "b")->stop_in = 500 * MS;
    crash(&world, "a");
    world_turn(&world);
    dh_sup_shutdown(&world.sup);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world), "a=stopped b=stopped c=stopped");
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void an_essential_member_of_a_failed_group_stops_the_host(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct dh_group *g;

    p.is_essential = true;
    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ONE, 0, SEC);
    world_try_add(&world, "a", NULL, NULL, g, NULL);
    world_try_add(&world, "b", &p, NULL, g, NULL);
    world_add(&world, "other", NULL);
    world_boot(&world);
    crash(&world, "a");
    world_turn(&world);
    CHECK(dh_sup_essential_failed(&world.sup));
    CHECK_STR(world_states(&world), "a=failed b=stopped other=stopped");
    world_fini(&world);
}

static void a_clean_finish_under_always_takes_the_group_along_for_free(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct dh_group *g;

    p.restart = DH_RESTART_ALWAYS;
    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ALL, 0, SEC);
    world_try_add(&world, "a", &p, NULL, g, NULL);
    world_try_add(&world, "b", &p, NULL, g, NULL);
    world_boot(&world);
    body_end(world_body(&world, "a"), DH_RETURNED);
    world_advance(&world, 5 * SEC);
    CHECK_STR(world_states(&world), "a=running b=running");
    CHECK_EQ(run_of(&world, "b"), 2);
    world_fini(&world);
}

/* found by a random walk: the free restart made the failure free, too */
static void a_failure_in_the_turn_of_a_clean_finish_counts(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct dh_group *g;

    p.restart = DH_RESTART_ALWAYS;
    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ALL, 1, 60 * SEC);
    world_try_add(&world, "a", &p, NULL, g, NULL);
    world_try_add(&world, "b", &p, NULL, g, NULL);
    world_boot(&world);
    for (int i = 0; i < 2; i++) {
        CHECK(!dh_group_is_failed(g));
        body_end(world_body(&world, "a"), DH_RETURNED);
        crash(&world, "b");
        world_advance(&world, 10 * SEC);
    }
    CHECK(dh_group_is_failed(g));
    CHECK_EQ(world_last(&world, "crash", "b")->window_count, 2);
    CHECK_EQ(body_state(world_body(&world, "b")), DH_FAILED);
    world_fini(&world);
}

static void rest_for_one_an_earlier_failure_widens_the_restart(void) {
    struct world world;

    host(&world, DH_REST_FOR_ONE, DH_UNLIMITED);
    world_body(&world, "c")->retry_after = 10 * SEC;
    crash(&world, "c");
    world_advance(&world, 3 * SEC);
    CHECK_STR(world_states(&world), "a=running b=running c=backoff");
    crash(&world, "a");
    world_advance(&world, 3 * SEC);
    CHECK_STR(world_states(&world), "a=backoff b=waiting c=backoff");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "start group_restart"),
              "c:group_restart@0 a:group_restart@3 a:start@10 b:start@10 c:start@10");
    world_fini(&world);
}

static void failures_in_different_turns_count_separately(void) {
    struct world world;
    struct dh_group *g = host(&world, DH_REST_FOR_ONE, 1);

    world_body(&world, "c")->retry_after = 10 * SEC;
    crash(&world, "c");
    world_advance(&world, 3 * SEC);
    crash(&world, "a");
    world_turn(&world);
    CHECK(dh_group_is_failed(g));
    CHECK_STR(world_states(&world), "a=failed b=stopped c=stopped");
    world_fini(&world);
}

static void the_group_does_not_wait_for_one_that_will_not_come(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, DH_UNLIMITED);
    world_body(&world, "b")->close_in = 100 * SEC;
    world_body(&world, "b")->is_fatal = true;
    crash(&world, "b");
    world_body(&world, "c")->close_in = 100 * SEC;
    body_end(world_body(&world, "c"), DH_RETURNED);
    world_turn(&world);
    crash(&world, "a");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world), "a=running b=closing c=closing");
    world_fini(&world);
}

static void restart_once_given_up(struct world *world, const struct dh_event *ev) {
    if (ev->kind == DH_EVENT_GIVE_UP && world_count(world, "give_up", NULL) == 1) {
        CHECK_EQ(dh_sup_restart(&world->sup, ev->worker), 0);
    }
}

/* Seed 23105 of the simulator: the second failure in one step took the first for the beginning of
** a restart, and was free. */
static void what_fails_again_in_the_step_in_which_its_group_failed_is_not_free(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, 1);
    world_body(&world, "c")->close_in = 100 * SEC;
    dh_sup_stop(&world.sup, &world_body(&world, "a")->w);
    world_turn(&world);
    crash(&world, "b");
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=stopped b=backoff c=closing");
    world_body(&world, "a")->fail_starts = -1;
    world.on_event = restart_once_given_up;
    dh_sup_start(&world.sup, &world_body(&world, "a")->w);
    world_turn(&world);
    CHECK_EQ(run_of(&world, "a"), 3);
    CHECK_STR(world_states(&world), "a=failed b=stopped c=closing");
    world_fini(&world);
}

static void two_that_fail_in_one_turn_of_one_for_one_count_twice_whoever_waits(void) {
    struct world world;
    struct dh_group *g = host(&world, DH_ONE_FOR_ALL, 5);
    struct dh_group_spec spec;

    dh_sup_stop(&world.sup, &world_body(&world, "b")->w);
    dh_sup_stop(&world.sup, &world_body(&world, "c")->w);
    world_turn(&world);
    crash(&world, "a"); /* its gate is still shut when the strategy changes */
    world_turn(&world);
    dh_group_spec_init_defaults(&spec);
    spec.strategy = DH_ONE_FOR_ONE;
    spec.max_restarts = 1;
    CHECK_EQ(dh_sup_change_group(&world.sup, g, &spec, NULL), 0);
    dh_sup_start(&world.sup, &world_body(&world, "b")->w);
    dh_sup_start(&world.sup, &world_body(&world, "c")->w);
    world_turn(&world);
    crash(&world, "b");
    crash(&world, "c");
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=stopped b=stopped c=failed");
    world_fini(&world);
}

static void groups_are_found_and_refused(void) {
    struct world world;
    struct dh_group *g = NULL;
    struct dh_group *other = NULL;
    struct dh_group_spec spec;
    struct dh_error err;
    char name[DH_NAME_MAX + 1] = "too long";

    world_init(&world);
    dh_group_spec_init_defaults(&spec);
    CHECK(dh_sup_add_group(&world.sup, &spec, &g, &err) == DH_EINVAL);
    spec.name = (struct dh_name){name, sizeof name};
    CHECK(dh_sup_add_group(&world.sup, &spec, &g, &err) == DH_EINVAL);
    spec.name.len = DH_NAME_MAX;
    CHECK_EQ(dh_sup_add_group(&world.sup, &spec, &g, &err), 0);
    spec.name = (struct dh_name){"pair", 4};
    spec.strategy = (enum dh_strategy)3;
    CHECK(dh_sup_add_group(&world.sup, &spec, &g, &err) == DH_EINVAL);
    spec.strategy = DH_ONE_FOR_ONE;
    CHECK_EQ(dh_sup_add_group(&world.sup, &spec, &g, &err), 0);
    CHECK(dh_sup_add_group(&world.sup, &spec, &other, &err) == DH_EEXIST);
    CHECK_STR(err.text, "group \"pair\" is already declared");
    spec.name = (struct dh_name){"trio", 4};
    CHECK_EQ(dh_sup_add_group(&world.sup, &spec, &other, &err), 0);
    CHECK_EQ(dh_sup_remove_group(&world.sup, other), 0);
    CHECK(dh_sup_find_group(&world.sup, "trio", 4) == NULL);
    CHECK(dh_sup_find_group(&world.sup, "pair", 4) == g);
    CHECK_EQ(dh_group_name(g).len, 4);
    CHECK_EQ(dh_group_strategy(g), DH_ONE_FOR_ONE);
    CHECK_EQ(dh_group_max_restarts(g), DH_UNLIMITED);
    CHECK_EQ(dh_group_within_ns(g), 60 * SEC);
    CHECK_STR(dh_strategy_name(DH_REST_FOR_ONE), "rest_for_one");
    CHECK(dh_group_of(&world_try_add(&world, "a", NULL, NULL, g, NULL)->w) == g);
    CHECK_EQ(dh_sup_remove_group(&world.sup, g), DH_EBUSY);
    CHECK(dh_group_of(&world_add(&world, "b", NULL)->w) == NULL);
    world_fini(&world);
}

static void who_goes_down_with_the_group_is_known(void) {
    struct world world;

    host(&world, DH_REST_FOR_ONE, DH_UNLIMITED);
    world_body(&world, "c")->stop_in = SEC;
    CHECK(!dh_group_takes(&world_body(&world, "c")->w));
    crash(&world, "b");
    world_turn(&world);
    CHECK(!dh_group_takes(&world_body(&world, "a")->w));
    CHECK(dh_group_takes(&world_body(&world, "b")->w));
    CHECK(dh_group_takes(&world_body(&world, "c")->w));
    world_advance(&world, 5 * SEC);
    CHECK(!dh_group_takes(&world_body(&world, "c")->w));
    world_fini(&world);
}

static void two_of_two_that_fail_in_one_turn_are_one_restart(void) {
    struct world world;

    host(&world, DH_ONE_FOR_ALL, 1);
    dh_sup_stop(&world.sup, &world_body(&world, "c")->w);
    world_turn(&world);
    crash(&world, "a");
    crash(&world, "b");
    world_advance(&world, 5 * SEC);
    CHECK_STR(world_log(&world, "group_restart start"), "a:group_restart@0 a:start@1 b:start@1");
    CHECK_EQ(world_last(&world, "crash", "a")->window_count, 1);
    CHECK_EQ(world_last(&world, "crash", "b")->window_count, 0); /* free */
    world_fini(&world);
}

static void retry_once(struct world *world, const struct dh_event *ev) {
    if (ev->kind == DH_EVENT_GROUP_RESTART && world_count(world, "group_restart", NULL) <= 1) {
        dh_sup_retry(&world->sup, ev->worker);
    }
}

/* The group has started again, and failed again, before the step was over. */
static void a_restart_that_fails_in_the_step_that_ordered_it_counts(void) {
    struct world world;
    struct dh_group *g = host(&world, DH_ONE_FOR_ALL, 1);

    dh_sup_stop(&world.sup, &world_body(&world, "b")->w);
    dh_sup_stop(&world.sup, &world_body(&world, "c")->w);
    world_turn(&world);
    world_body(&world, "a")->fail_starts = 1;
    world.on_event = retry_once;
    crash(&world, "a");
    world_turn(&world);
    CHECK(dh_group_is_failed(g));
    CHECK_STR(world_states(&world), "a=failed b=stopped c=stopped");
    world_fini(&world);
}

int main(void) {
    RUN(E01_one_for_one_siblings_keep_their_run);
    RUN(E02_one_for_all_all_are_replaced);
    RUN(E02_nobody_starts_before_the_slowest_is_closed);
    RUN(E03_rest_for_one_earlier_kept_later_replaced);
    RUN(E04_E05_E06_at_its_limit_the_group_fails_and_siblings_stop);
    RUN(E10_later_ones_stop_in_reverse_and_start_in_order);
    RUN(E12_while_one_retries_the_earlier_run_and_the_later_wait);
    RUN(two_that_fail_in_one_turn_make_one_restart_that_counts_once);
    RUN(two_with_different_delays_wait_for_the_longer);
    RUN(D08_a_sibling_that_fails_while_the_group_restarts_is_free);
    RUN(a_sibling_that_returns_when_cancelled_is_revived_all_the_same);
    RUN(a_member_that_cannot_start_in_the_restart_begins_another);
    RUN(done_stopped_and_never_are_not_revived);
    RUN(a_restart_ordered_for_one_that_is_never_restarted_outlives_the_strategy);
    RUN(a_failure_that_is_not_restarted_leaves_the_siblings_alone);
    RUN(a_manual_restart_is_the_members_own_affair);
    RUN(a_stop_during_the_restart_stands);
    RUN(stopping_the_failing_member_lets_the_others_go_on);
    RUN(retry_skips_the_delay_for_the_whole_group);
    RUN(removing_a_member_during_the_restart_does_not_block_it);
    RUN(shutdown_during_the_restart_of_a_group_ends);
    RUN(an_essential_member_of_a_failed_group_stops_the_host);
    RUN(a_clean_finish_under_always_takes_the_group_along_for_free);
    RUN(a_failure_in_the_turn_of_a_clean_finish_counts);
    RUN(rest_for_one_an_earlier_failure_widens_the_restart);
    RUN(failures_in_different_turns_count_separately);
    RUN(the_group_does_not_wait_for_one_that_will_not_come);
    RUN(what_fails_again_in_the_step_in_which_its_group_failed_is_not_free);
    RUN(two_that_fail_in_one_turn_of_one_for_one_count_twice_whoever_waits);
    RUN(groups_are_found_and_refused);
    RUN(who_goes_down_with_the_group_is_known);
    RUN(two_of_two_that_fail_in_one_turn_are_one_restart);
    RUN(a_restart_that_fails_in_the_step_that_ordered_it_counts);
    return check_report();
}
