/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* New declarations for workers that exist: what reload stands on. */
#include "check.h"
#include "world.h"

/* Change a worker to the policy (NULL: defaults), one name to wait for (NULL: none), the group. */
static int change(struct world *world, const char *name, const struct dh_policy *p,
                  const char *after, struct dh_group *group, bool is_trial) {
    return world_change(world_body(world, name), p, after, group, is_trial);
}

static void restart(struct world *world, const char *name) {
    CHECK_EQ(dh_sup_restart(&world->sup, &world_body(world, name)->w), 0);
}

static void crash(struct world *world, const char *name) {
    body_end(world_body(world, name), DH_RAISED);
    world_turn(world);
}

static const struct dh_policy *policy_of(struct world *world, const char *name) {
    return world_body(world, name)->w.policy;
}

static void a_run_ends_under_the_declaration_it_began_with(void) {
    struct world world;
    struct dh_policy p = world_policy();

    world_init(&world);
    world_add(&world, "db", NULL);
    world_try_add(&world, "web", NULL, "db", NULL, NULL);
    world_body(&world, "web")->stop_in = 3 * SEC;
    world_boot(&world);
    p.stop_timeout_ns = SEC; /* would kill it after one */
    restart(&world, "db");
    restart(&world, "web");
    CHECK_EQ(change(&world, "db", &p, NULL, NULL, false), 0);
    CHECK_EQ(change(&world, "web", &p, NULL, NULL, false), 0);
    world_clear_log(&world);
    world_advance(&world, 10 * SEC);
    /* stopped one after the other, though the new web does not wait for db */
    CHECK_STR(world_log(&world, "cancel kill start"),
              "web:cancel@0 db:cancel@3 web:start@3 db:start@3");
    CHECK_EQ(policy_of(&world, "web")->stop_timeout_ns, SEC);
    CHECK_EQ(world_body(&world, "db")->w.extra->alive_in, 0);
    world_fini(&world);
}

static void an_unknown_name_does_not_hide_those_behind_it(void) {
    struct world world;

    world_init(&world);
    world_add(&world, "db", NULL);
    world_add(&world, "web", NULL);
    world_boot(&world);
    dh_sup_stop(&world.sup, &world_body(&world, "web")->w);
    world_turn(&world);
    CHECK_EQ(world_change(world_body(&world, "web"), NULL, "cache db", NULL, false), 0);
    restart(&world, "web");
    world_turn(&world);
    CHECK_STR(world_waiting_for(&world, "web"), "cache (gone)");
    world_add(&world, "cache", NULL);
    world_turn(&world);
    CHECK_STR(world_states(&world), "db=running web=running cache=running");
    world_fini(&world);
}

/* The supervisor tells of a change before anybody else may act on it. */
static void declare_app(struct world *world, const struct dh_event *ev) {
    if (ev->kind == DH_EVENT_READY && world_body(world, "app") == NULL) {
        world_try_add(world, "app", NULL, "db", NULL, NULL);
    }
    if (ev->kind == DH_EVENT_STATE && ev->to == DH_STOPPED) {
        world_try_add(world, "late", NULL, "db", NULL, NULL);
    }
}

static void what_a_hook_declares_counts_its_dependencies_right(void) {
    struct world world;

    world_init(&world);
    world.on_event = declare_app;
    world_add(&world, "db", NULL);
    world_boot(&world);
    CHECK_STR(world_states(&world), "db=running app=running");
    dh_sup_stop(&world.sup, &world_body(&world, "db")->w);
    world_turn(&world);
    CHECK_STR(world_states(&world), "db=stopped app=running late=waiting");
    dh_sup_start(&world.sup, &world_body(&world, "db")->w);
    world_turn(&world);
    CHECK_STR(world_states(&world), "db=running app=running late=running");
    world_fini(&world);
}

static void a_run_fails_under_the_declaration_it_began_with(void) {
    struct world world;
    struct dh_policy p = world_policy();

    world_init(&world);
    p.restart = DH_RESTART_NEVER;
    p.is_essential = true;
    world_add(&world, "web", &p);
    world_boot(&world);
    CHECK_EQ(world_change(world_body(&world, "web"), NULL, NULL, NULL, false), 0);
    crash(&world, "web");
    CHECK_STR(world_states(&world), "web=failed");
    CHECK(dh_sup_essential_failed(&world.sup));
    world_fini(&world);
}

static void what_another_limit_counted_is_forgotten(void) {
    struct world world;
    struct dh_policy p = world_policy();

    world_init(&world);
    p.max_restarts = 2;
    p.min_backoff_ns = p.max_backoff_ns = SEC;
    world_add(&world, "web", &p);
    world_boot(&world);
    crash(&world, "web");
    world_advance(&world, SEC);
    crash(&world, "web");
    p.max_restarts = 1;
    CHECK_EQ(world_change(world_body(&world, "web"), &p, NULL, NULL, false), 0);
    world_advance(&world, SEC);
    crash(&world, "web");
    CHECK_STR(world_states(&world), "web=backoff");
    world_advance(&world, SEC);
    crash(&world, "web");
    CHECK_STR(world_states(&world), "web=failed");
    world_fini(&world);
}

static void at_rest_it_is_in_effect_at_once(void) {
    struct world world;
    struct dh_policy p = world_policy();

    world_init(&world);
    world_add(&world, "db", NULL);
    world_add(&world, "web", NULL);
    world_boot(&world);
    dh_sup_stop(&world.sup, &world_body(&world, "db")->w);
    dh_sup_stop(&world.sup, &world_body(&world, "web")->w);
    world_turn(&world);
    p.max_restarts = 3;
    CHECK_EQ(change(&world, "web", &p, "db", NULL, false), 0);
    CHECK_EQ(policy_of(&world, "web")->max_restarts, 3);
    dh_sup_start(&world.sup, &world_body(&world, "web")->w);
    world_turn(&world);
    CHECK_STR(world_waiting_for(&world, "web"), "db (stopped)");
    CHECK_EQ(change(&world, "web", &p, NULL, NULL, false), 0);
    world_turn(&world);
    CHECK_EQ(body_state(world_body(&world, "web")), DH_RUNNING);
    world_fini(&world);
}

/* Seed 6194 of the simulator: then it would have waited for ever for what was there. Whatever it
** waits for is declared before the change, or while it is pending. */
static void memory_for_its_dependencies_is_there_when_they_take_effect(void) {
    for (int is_late = 0; is_late < 2; is_late++) {
        struct world world;
        world_init(&world);
        world_add(&world, "web", NULL);
        if (!is_late) {
            world_add(&world, "db", NULL);
        }
        world_boot(&world);
        restart(&world, "web");
        CHECK_EQ(change(&world, "web", NULL, "db", NULL, false), 0);
        if (is_late) {
            world_add(&world, "db", NULL);
        }
        world.memory.fail_from = world.memory.calls + 1;
        world.memory.fail_to = UINT64_MAX;
        world_turn(&world);
        CHECK_EQ(body_state(world_body(&world, "web")), DH_RUNNING);
        CHECK_EQ(body_state(world_body(&world, "db")), DH_RUNNING);
        world_fini(&world);
    }
}

static void counters_and_what_is_wanted_stay(void) {
    struct world world;

    world_init(&world);
    world_add(&world, "a", NULL);
    world_boot(&world);
    crash(&world, "a");
    world_advance(&world, SEC);
    dh_sup_stop(&world.sup, &world_body(&world, "a")->w);
    world_turn(&world);
    CHECK_EQ(change(&world, "a", NULL, NULL, NULL, true), 0);
    world_advance(&world, 100 * SEC);
    CHECK_STR(world_states(&world), "a=stopped");
    CHECK_EQ(world_body(&world, "a")->w.restarts, 1);
    CHECK_EQ(world_body(&world, "a")->w.run, 2);
    world_fini(&world);
}

static void the_last_change_wins(void) {
    struct world world;
    struct dh_policy p = world_policy();

    world_init(&world);
    world_add(&world, "a", NULL);
    world_boot(&world);
    for (uint32_t i = 1; i <= 3; i++) {
        p.max_restarts = i;
        CHECK_EQ(change(&world, "a", &p, NULL, NULL, false), 0);
    }
    CHECK_EQ(policy_of(&world, "a")->max_restarts, DH_UNLIMITED);
    restart(&world, "a");
    world_turn(&world);
    CHECK_EQ(policy_of(&world, "a")->max_restarts, 3);
    world_fini(&world);
}

static void a_crash_on_trial_is_not_final_whatever_the_policy_says(void) {
    struct world world;
    struct dh_policy p = world_policy();

    world_init(&world);
    world_add(&world, "a", NULL);
    world_boot(&world);
    p.restart = DH_RESTART_NEVER;
    p.is_essential = true;
    p.max_restarts = 0;
    restart(&world, "a");
    CHECK_EQ(change(&world, "a", &p, NULL, NULL, true), 0);
    world_advance(&world, SEC);
    world_clear_log(&world);
    world_body(&world, "a")->is_fatal = true;
    crash(&world, "a");
    CHECK_STR(world_log(&world, "crash rejected give_up"), "a:crash@1 a:rejected@1");
    CHECK(!dh_sup_essential_failed(&world.sup));
    CHECK_EQ(body_state(world_body(&world, "a")), DH_BACKOFF);

    /* changed back, it starts at once, and a crash is a crash again */
    restart(&world, "a");
    CHECK_EQ(change(&world, "a", NULL, NULL, NULL, false), 0);
    world_turn(&world);
    CHECK_EQ(body_state(world_body(&world, "a")), DH_RUNNING);
    CHECK_EQ(policy_of(&world, "a")->restart, DH_RESTART_ON_FAILURE);
    crash(&world, "a");
    CHECK_STR(world_states(&world), "a=failed");
    world_fini(&world);
}

static void nobody_changes_it_back_then_it_goes_on_as_it_is(void) {
    struct world world;
    struct dh_policy p = world_policy();

    world_init(&world);
    world_add(&world, "a", NULL);
    world_boot(&world);
    p.max_restarts = 0;
    restart(&world, "a");
    CHECK_EQ(change(&world, "a", &p, NULL, NULL, true), 0);
    world_turn(&world);
    crash(&world, "a");
    world_advance(&world, SEC);
    CHECK_STR(world_states(&world), "a=running");
    crash(&world, "a");
    CHECK_STR(world_states(&world), "a=failed");
    world_fini(&world);
}

static void a_trial_ends_well_by_time_by_return_and_by_healthy(void) {
    static const char *const names[] = {"time", "return", "healthy", "late"};
    struct world world;

    world_init(&world);
    for (int i = 0; i < 4; i++) {
        world_add(&world, names[i], NULL);
    }
    world_boot(&world);
    for (int i = 0; i < 4; i++) {
        restart(&world, names[i]);
        CHECK_EQ(change(&world, names[i], NULL, NULL, NULL, true), 0);
    }
    world_advance(&world, SEC);
    body_end(world_body(&world, "return"), DH_RETURNED);
    dh_sup_on_healthy(&world.sup, &world_body(&world, "healthy")->w,
                      world_body(&world, "healthy")->w.run);
    dh_sup_reset(&world.sup, &world_body(&world, "time")->w); /* an order is no proof */
    world_turn(&world);
    CHECK_STR(world_log(&world, "proven"), "return:proven@1 healthy:proven@1");
    restart(&world, "late"); /* its time begins again */
    world_advance(&world, 59 * SEC);
    CHECK_STR(world_log(&world, "proven"), "return:proven@1 healthy:proven@1 time:proven@60");
    world_advance(&world, SEC);
    CHECK_EQ(world_count(&world, "proven", "late"), 1);
    crash(&world, "late");
    CHECK_EQ(world_count(&world, "rejected", "late"), 0);
    world_fini(&world);
}

static void a_member_goes_to_its_new_group_in_order_of_declaration(void) {
    struct world world;
    struct dh_group *old;
    struct dh_group *g;

    world_init(&world);
    old = world_group(&world, "old", DH_ONE_FOR_ONE, DH_UNLIMITED, SEC);
    g = world_group(&world, "g", DH_REST_FOR_ONE, DH_UNLIMITED, SEC);
    world_try_add(&world, "a", NULL, NULL, g, NULL);
    world_try_add(&world, "b", NULL, NULL, old, NULL);
    world_try_add(&world, "c", NULL, NULL, g, NULL);
    world_boot(&world);
    restart(&world, "b");
    CHECK_EQ(change(&world, "b", NULL, NULL, g, false), 0);
    dh_sup_drop_group(&world.sup, old);
    CHECK(dh_sup_find_group(&world.sup, "old", 3) == old); /* b is still in it */
    world_turn(&world);
    CHECK(dh_sup_find_group(&world.sup, "old", 3) == NULL);
    world_clear_log(&world);
    crash(&world, "b");
    world_advance(&world, SEC);
    CHECK_STR(world_log(&world, "start"), "b:start@1 c:start@1");
    dh_sup_move_last(&world.sup, &world_body(&world, "b")->w);
    CHECK_STR(world_states(&world), "a=running c=running b=running");
    CHECK(g->last == &world_body(&world, "b")->w);
    world_fini(&world);
}

static void leaving_a_group_that_restarts_does_not_keep_the_others_waiting(void) {
    struct world world;
    struct dh_group *g;

    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ALL, DH_UNLIMITED, SEC);
    world_try_add(&world, "a", NULL, NULL, g, NULL);
    world_try_add(&world, "b", NULL, NULL, g, NULL);
    world_boot(&world);
    crash(&world, "a");
    CHECK_EQ(body_state(world_body(&world, "a")), DH_BACKOFF);
    CHECK_EQ(change(&world, "a", NULL, NULL, NULL, false), 0);
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=backoff b=running");
    world_advance(&world, SEC);
    CHECK_STR(world_states(&world), "a=running b=running");
    world_fini(&world);
}

static void who_leaves_a_group_that_has_failed_ends_with_it(void) {
    struct world world;
    struct dh_group *old, *new;

    world_init(&world);
    old = world_group(&world, "old", DH_ONE_FOR_ONE, 0, SEC);
    new = world_group(&world, "new", DH_ONE_FOR_ONE, 0, SEC);
    world_try_add(&world, "a", NULL, NULL, old, NULL);
    world_try_add(&world, "b", NULL, NULL, old, NULL);
    world_boot(&world);
    CHECK_EQ(change(&world, "b", NULL, NULL, new, false), 0);
    crash(&world, "a");
    CHECK_STR(world_states(&world), "a=failed b=stopped");
    CHECK_STR(world_last(&world, "stop", "b")->reason, "its group old has failed");
    CHECK(dh_group_of(&world_body(&world, "b")->w) == new);
    world_fini(&world);
}

static void a_group_changes_its_strategy_and_limit(void) {
    struct world world;
    struct dh_group_spec spec;
    struct dh_group *g;

    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ONE, DH_UNLIMITED, SEC);
    world_try_add(&world, "a", NULL, NULL, g, NULL);
    world_try_add(&world, "b", NULL, NULL, g, NULL);
    world_boot(&world);
    dh_group_spec_init_defaults(&spec);
    spec.strategy = DH_ONE_FOR_ALL;
    spec.max_restarts = 1;
    spec.within_ns = 10 * SEC;
    CHECK_EQ(dh_sup_change_group(&world.sup, g, &spec, NULL), 0);
    crash(&world, "a");
    world_advance(&world, SEC);
    CHECK_EQ(world_body(&world, "b")->w.run, 2);
    crash(&world, "a");
    CHECK_STR(world_states(&world), "a=failed b=stopped");
    world_fini(&world);
}

static void what_cannot_be_changed_is_refused(void) {
    struct world world;
    struct dh_policy p = world_policy();
    char name[DH_NAME_MAX + 2];

    world_init(&world);
    world_add(&world, "a", NULL);
    world_boot(&world);
    p.backoff_factor = 0.5;
    CHECK_EQ(change(&world, "a", &p, NULL, NULL, false), DH_EINVAL);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CHECK_EQ(change(&world, "a", NULL, name, NULL, false), DH_EINVAL);
    world_body(&world, "a")->stop_in = SEC;
    dh_sup_remove(&world.sup, &world_body(&world, "a")->w);
    CHECK_EQ(change(&world, "a", NULL, NULL, NULL, false), DH_ESTATE);
    dh_sup_shutdown(&world.sup);
    CHECK_EQ(change(&world, "a", NULL, NULL, NULL, false), DH_ESHUTDOWN);
    world_fini(&world);
}

static void without_memory_nothing_has_changed(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct dh_group *g;
    int rc = DH_ENOMEM;

    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ONE, DH_UNLIMITED, SEC);
    world_add(&world, "db", NULL);
    world_add(&world, "a", NULL);
    world_boot(&world);
    p.max_restarts = 7;
    restart(&world, "a");
    for (uint64_t n = 1; rc == DH_ENOMEM && n < 20; n++) {
        size_t bytes = world.memory.bytes;
        bool has_extra = world_body(&world, "a")->w.extra != NULL;
        world.memory.fail_from = world.memory.calls + n;
        world.memory.fail_to = world.memory.fail_from;
        rc = change(&world, "a", &p, "db", g, false);
        CHECK(rc == 0 || has_extra == false || world.memory.bytes == bytes);
    }
    CHECK_EQ(rc, 0);
    world.memory.fail_to = 0;
    world_turn(&world);
    CHECK_EQ(policy_of(&world, "a")->max_restarts, 7);
    CHECK(dh_group_of(&world_body(&world, "a")->w) == g);
    world_fini(&world); /* checks that nothing leaked */
}

static void what_is_pending_at_the_end_is_freed(void) {
    struct world world;
    struct dh_group *g;

    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ONE, DH_UNLIMITED, SEC);
    world_add(&world, "db", NULL);
    world_add(&world, "a", NULL);
    world_boot(&world);
    CHECK_EQ(change(&world, "a", NULL, "db", g, true), 0);
    CHECK_EQ(dh_sup_remove_group(&world.sup, g), DH_EBUSY);
    dh_sup_drop_group(&world.sup, g);
    world_fini(&world);
}

static void what_is_declared_is_what_will_be_in_effect(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct dh_group *g;
    struct dh_worker *w;

    p.jitter = 0.5;
    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ONE, DH_UNLIMITED, SEC);
    world_add(&world, "db", NULL);
    w = &world_add(&world, "a", NULL)->w;
    world_boot(&world);
    CHECK(dh_sup_policy(w) == w->policy && dh_sup_group(w) == NULL && dh_sup_after_count(w) == 0);
    CHECK_EQ(change(&world, "a", &p, "db", g, false), 0);
    CHECK(dh_sup_policy(w) != w->policy && dh_sup_policy(w)->jitter > 0);
    CHECK(dh_sup_group(w) == g && dh_group_of(w) == NULL);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(dh_sup_after_count(w), 1);
        CHECK_EQ(dh_sup_after(w, 0).len, 2);
        CHECK(memcmp(dh_sup_after(w, 0).text, "db", 2) == 0);
        restart(&world, "a"); /* now it is in effect */
        world_turn(&world);
    }
    CHECK(dh_sup_policy(w) == w->policy && dh_sup_group(w) == g && dh_group_of(w) == g);
    world_fini(&world);
}

static void a_group_keeps_what_it_has_counted_unless_its_limit_changes(void) {
    for (int i = 0; i < 3; i++) {
        struct world world;
        struct dh_group_spec spec;
        struct dh_group *g;

        world_init(&world);
        g = world_group(&world, "g", DH_ONE_FOR_ONE, 1, 60 * SEC);
        world_try_add(&world, "a", NULL, NULL, g, NULL);
        world_boot(&world);
        crash(&world, "a");
        world_advance(&world, 5 * SEC);
        dh_group_spec_init_defaults(&spec);
        spec.strategy = DH_ONE_FOR_ALL;
        spec.max_restarts = i == 1 ? 2 : 1;
        spec.within_ns = i == 2 ? 50 * SEC : 60 * SEC;
        CHECK_EQ(dh_sup_change_group(&world.sup, g, &spec, NULL), 0);
        crash(&world, "a");
        CHECK_EQ(world_last(&world, "crash", "a")->window_count, i == 0 ? 2 : 1);
        world_fini(&world);
    }
}

static void a_group_is_busy_as_long_as_somebody_may_join_it(void) {
    struct world world;
    struct dh_group *g;

    world_init(&world);
    g = world_group(&world, "g", DH_ONE_FOR_ONE, DH_UNLIMITED, SEC);
    world_add(&world, "a", NULL);
    world_boot(&world);
    CHECK_EQ(change(&world, "a", NULL, NULL, g, false), 0);
    CHECK_EQ(dh_sup_remove_group(&world.sup, g), DH_EBUSY);
    CHECK_EQ(change(&world, "a", NULL, NULL, NULL, false), 0); /* after all not */
    CHECK_EQ(dh_sup_remove_group(&world.sup, g), 0);
    world_fini(&world);
}

static void once_a_change_is_over_plain_workers_are_small_again(void) {
    struct world world;

    world_init(&world);
    world_add(&world, "a", NULL);
    world_boot(&world);
    CHECK_EQ(change(&world, "a", NULL, NULL, NULL, false), 0);
    CHECK(world_add(&world, "b", NULL)->w.extra != NULL); /* the change may come to wait for it */
    restart(&world, "a");
    world_turn(&world);
    CHECK(world_add(&world, "c", NULL)->w.extra == NULL);
    world_fini(&world);
}

static void a_worker_keeps_what_it_has_counted_unless_its_limit_changes(void) {
    for (int i = 0; i < 3; i++) {
        struct world world;
        struct dh_policy p = world_policy();

        p.max_restarts = 1;
        world_init(&world);
        world_add(&world, "a", &p);
        world_boot(&world);
        crash(&world, "a");
        p.jitter = 1;
        p.max_restarts = i == 1 ? 2 : 1;
        p.within_ns = i == 2 ? 50 * SEC : 60 * SEC;
        CHECK_EQ(change(&world, "a", &p, NULL, NULL, false), 0);
        world_advance(&world, 5 * SEC);
        crash(&world, "a");
        CHECK_EQ(world_last(&world, "crash", "a")->window_count, i == 0 ? 2 : 1);
        world_fini(&world);
    }
}

/* "slow" waits for "a" and takes 5 s to stop; until then "a", which is to stop, runs. */
static void begin_with_a_stop_held(struct world *world) {
    world_init(world);
    world_add(world, "a", NULL);
    world_try_add(world, "slow", NULL, "a", NULL, NULL);
    world_body(world, "slow")->stop_in = 5 * SEC;
    world_boot(world);
    dh_sup_stop(&world->sup, &world_body(world, "slow")->w);
    dh_sup_stop(&world->sup, &world_body(world, "a")->w);
    world_turn(world);
    world_clear_log(world);
}

static void who_was_to_stop_starts_anew_if_it_has_changed(void) {
    for (int i = 0; i < 2; i++) {
        struct world world;
        struct dh_policy p = world_policy();

        p.max_restarts = 0;
        begin_with_a_stop_held(&world);
        if (i == 1) {
            CHECK_EQ(change(&world, "a", &p, NULL, NULL, false), 0);
        }
        CHECK_EQ(dh_sup_start(&world.sup, &world_body(&world, "a")->w), 0);
        world_advance(&world, 10 * SEC);
        CHECK_STR(world_log(&world, "cancel start"), i == 1 ? "a:cancel@5 a:start@5" : "");
        CHECK_EQ(policy_of(&world, "a")->max_restarts, i == 1 ? 0 : DH_UNLIMITED);
        world_fini(&world);
    }
}

static void two_do_not_come_to_wait_for_each_other(void) {
    struct world world;

    begin_with_a_stop_held(&world);
    world_add(&world, "b", NULL);
    CHECK_EQ(change(&world, "a", NULL, "b", NULL, false), 0);
    dh_sup_start(&world.sup, &world_body(&world, "a")->w);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world), "a=running slow=stopped b=running");
    dh_sup_stop(&world.sup, &world_body(&world, "b")->w);
    world_advance(&world, SEC);
    dh_sup_start(&world.sup, &world_body(&world, "slow")->w);
    world_turn(&world);
    dh_sup_stop(&world.sup, &world_body(&world, "slow")->w);
    dh_sup_stop(&world.sup, &world_body(&world, "a")->w);
    world_turn(&world);
    /* the other way round */
    CHECK_EQ(change(&world, "a", NULL, NULL, NULL, false), 0);
    CHECK_EQ(change(&world, "b", NULL, "a", NULL, false), 0);
    dh_sup_start(&world.sup, &world_body(&world, "a")->w);
    dh_sup_start(&world.sup, &world_body(&world, "b")->w);
    world_advance(&world, SEC);
    CHECK_STR(world_waiting_for(&world, "b"), "a");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_states(&world), "a=running slow=stopped b=running");
    dh_sup_shutdown(&world.sup);
    world_advance(&world, SEC);
    CHECK_STR(world_states(&world), "a=stopped slow=stopped b=stopped");
    world_fini(&world);
}

int main(void) {
    RUN(a_run_ends_under_the_declaration_it_began_with);
    RUN(an_unknown_name_does_not_hide_those_behind_it);
    RUN(what_a_hook_declares_counts_its_dependencies_right);
    RUN(a_run_fails_under_the_declaration_it_began_with);
    RUN(what_another_limit_counted_is_forgotten);
    RUN(at_rest_it_is_in_effect_at_once);
    RUN(memory_for_its_dependencies_is_there_when_they_take_effect);
    RUN(counters_and_what_is_wanted_stay);
    RUN(the_last_change_wins);
    RUN(a_crash_on_trial_is_not_final_whatever_the_policy_says);
    RUN(nobody_changes_it_back_then_it_goes_on_as_it_is);
    RUN(a_trial_ends_well_by_time_by_return_and_by_healthy);
    RUN(a_member_goes_to_its_new_group_in_order_of_declaration);
    RUN(leaving_a_group_that_restarts_does_not_keep_the_others_waiting);
    RUN(who_leaves_a_group_that_has_failed_ends_with_it);
    RUN(a_group_changes_its_strategy_and_limit);
    RUN(what_cannot_be_changed_is_refused);
    RUN(without_memory_nothing_has_changed);
    RUN(what_is_pending_at_the_end_is_freed);
    RUN(what_is_declared_is_what_will_be_in_effect);
    RUN(a_group_keeps_what_it_has_counted_unless_its_limit_changes);
    RUN(a_group_is_busy_as_long_as_somebody_may_join_it);
    RUN(once_a_change_is_over_plain_workers_are_small_again);
    RUN(a_worker_keeps_what_it_has_counted_unless_its_limit_changes);
    RUN(who_was_to_stop_starts_anew_if_it_has_changed);
    RUN(two_do_not_come_to_wait_for_each_other);
    return check_report();
}
