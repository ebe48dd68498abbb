/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Dependencies, readiness, watches. */
#include "check.h"
#include "core/deps.h"
#include "world.h"

static struct body *add(struct world *world, const char *name, const char *after) {
    return world_try_add(world, name, NULL, after, NULL, NULL);
}

static void A14_cycles_are_refused_with_their_path(void) {
    struct world world;
    struct dh_worker *at;
    struct dh_error err;

    world_init(&world);
    add(&world, "x", NULL);
    add(&world, "a", "x b");
    add(&world, "b", "c");
    add(&world, "c", "x a");
    CHECK(dh_sup_check(&world.sup, &at, &err) == DH_ECYCLE);
    CHECK_STR(err.text, "dependency cycle: a -> b -> c -> a");
    CHECK(strncmp(at->name, "a", at->name_len) == 0);
    CHECK(dh_sup_boot(&world.sup, &err) == DH_ECYCLE);
    world_turn(&world);
    CHECK_STR(world_log(&world, "start"), "");
    world_fini(&world);

    world_init(&world);
    add(&world, "alone", NULL);
    CHECK_EQ(dh_sup_check(&world.sup, &at, &err), 0);
    add(&world, "self", "self");
    CHECK(dh_sup_check(&world.sup, &at, &err) == DH_ECYCLE);
    CHECK_STR(err.text, "dependency cycle: self -> self");
    world_fini(&world);
}

static void A14_a_long_cycle_is_cut_in_the_middle(void) {
    struct world world;
    struct dh_worker *at;
    struct dh_error err;
    char name[64];
    char after[64];

    world_init(&world);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "some-worker-with-a-long-name-%d", i);
        snprintf(after, sizeof after, "some-worker-with-a-long-name-%d", (i + 1) % 1000);
        add(&world, name, after);
    }
    CHECK(dh_sup_check(&world.sup, &at, &err) == DH_ECYCLE);
    CHECK(strstr(err.text, "dependency cycle: some-worker-with-a-long-name-0 -> ... -> some-") !=
          NULL);
    CHECK(strstr(err.text, "name-999 -> some-worker-with-a-long-name-0") != NULL);
    world_fini(&world);
}

static void unknown_dependencies_are_refused_with_their_place(void) {
    struct world world;
    struct dh_worker *at;
    struct dh_error err;

    world_init(&world);
    add(&world, "a", NULL);
    add(&world, "b", "a nobody");
    CHECK(dh_sup_check(&world.sup, &at, &err) == DH_ENOENT);
    CHECK(strncmp(at->name, "b", at->name_len) == 0);
    CHECK(dh_sup_boot(&world.sup, &err) == DH_ENOENT);
    CHECK_STR(err.text, "worker \"b\": after[2]: no worker \"nobody\"");
    add(&world, "nobody", NULL);
    CHECK_EQ(dh_sup_boot(&world.sup, &err), 0);
    CHECK(world_try_add(&world, "c", NULL, "b other", NULL, &err) == NULL);
    CHECK_EQ(err.code, DH_ENOENT);
    CHECK_STR(err.text, "worker \"c\": after[2]: no worker \"other\"");
    CHECK(world_try_add(&world, "somebody", NULL, "nobdoy", NULL, &err) == NULL);
    CHECK_STR(err.text,
              "worker \"somebody\": after[1]: no worker \"nobdoy\"; did you mean \"nobody\"?");
    CHECK(world_body(&world, "c") == NULL);
    CHECK(world_try_add(&world, "d", NULL, "d", NULL, &err) == NULL);
    CHECK_EQ(err.code, DH_ECYCLE);
    world_fini(&world);
}

static void bad_lists_of_dependencies_are_refused(void) {
    struct world world;
    struct dh_error err;
    struct dh_policy p = world_policy();
    struct dh_worker w;
    static struct dh_name names[DH_AFTER_MAX + 1];
    struct dh_spec spec = {.name = {"a", 1}, .policy = &p, .after = names, .after_count = 1};

    world_init(&world);
    CHECK(dh_sup_add(&world.sup, &w, &spec, &err) == DH_EINVAL);
    CHECK_STR(err.text, "worker \"a\": after[1]: a name must have 1 to 200 bytes");
    spec.after_count = DH_AFTER_MAX + 1;
    CHECK(dh_sup_add(&world.sup, &w, &spec, &err) == DH_EINVAL);
    CHECK_STR(err.text, "worker \"a\": after: more than 4096 names");
    CHECK_EQ(world.sup.worker_count, 0);
    world_fini(&world);
}

static void only_what_is_missing_is_named(void) {
    struct world world;

    world_init(&world);
    add(&world, "db", NULL);
    add(&world, "cache", NULL)->ready_in = DH_NEVER;
    add(&world, "app", "db cache");
    world_boot(&world);
    CHECK_STR(world_waiting_for(&world, "app"), "cache");
    world_fini(&world);
}

static void they_may_be_declared_after_those_that_need_them(void) {
    struct world world;

    world_init(&world);
    add(&world, "app", "cache db");
    add(&world, "cache", "db")->ready_in = SEC;
    add(&world, "db", NULL)->ready_in = 2 * SEC;
    world_boot(&world);
    CHECK_STR(world_waiting_for(&world, "app"), "cache, db");
    CHECK_STR(world_waiting_for(&world, "cache"), "db");
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "start"), "db:start@0 cache:start@2 app:start@3");
    CHECK_STR(world_waiting_for(&world, "app"), "");
    world_fini(&world);
}

static void a_finished_job_counts_as_ready(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = add(&world, "migrate", NULL);
    b->ready_in = DH_NEVER;
    b->end_in = 3 * SEC;
    b->close_in = SEC;
    add(&world, "app", "migrate");
    world_boot(&world);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "start ready done"),
              "migrate:start@0 migrate:done@4 app:start@4 app:ready@4");
    world_fini(&world);
}

static void a_job_that_returns_at_once_was_ready_first(void) {
    struct world world;

    world_init(&world);
    add(&world, "job", NULL)->end_in = 0;
    world_boot(&world);
    CHECK_STR(world_log(&world, "start ready done"), "job:start@0 job:ready@0 job:done@0");
    world_fini(&world);
}

static void notify_waits_for_the_explicit_word(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.notifies = true;
    world_init(&world);
    b = world_try_add(&world, "db", &p, NULL, NULL, NULL);
    b->ready_in = DH_NEVER;
    add(&world, "app", "db");
    world_boot(&world);
    dh_sup_on_ready(&world.sup, &b->w, 1, false);
    world_turn(&world);
    CHECK(!b->w.is_ready);
    world_advance(&world, SEC);
    dh_sup_on_ready(&world.sup, &b->w, 1, true);
    dh_sup_on_ready(&world.sup, &b->w, 1, true);
    world_turn(&world);
    dh_sup_on_ready(&world.sup, &b->w, 1, true);
    world_turn(&world);
    CHECK(b->w.is_ready);
    CHECK_STR(world_log(&world, "ready start"), "db:start@0 db:ready@1 app:start@1 app:ready@1");
    world_fini(&world);
}

static void wake_on_ready_retries_at_once(void) {
    struct world world;
    struct body *db;
    struct body *app;

    world_init(&world);
    db = add(&world, "db", NULL);
    app = add(&world, "app", "db");
    world_boot(&world);
    app->end_in = 0;
    app->ending = DH_RAISED;
    body_end(db, DH_RAISED);
    body_end(app, DH_RAISED);
    world_advance(&world, SEC); /* db is back at 1 s; app would be at 1 s too: let it wait longer */
    world_advance(&world, 20 * SEC);
    world_clear_log(&world);
    CHECK_EQ(body_state(app), DH_BACKOFF);
    CHECK(app->w.streak >= 4);
    body_end(db, DH_RAISED);
    world_turn(&world);
    app->end_in = DH_NEVER;
    world_advance(&world, 5 * SEC);
    CHECK_STR(world_log(&world, "restart ready"),
              "db:restart@23 db:ready@23 app:restart@23 app:ready@23");
    CHECK(app->w.streak >= 4); /* skipped the wait, not the history */
    world_fini(&world);
}

static void a_restart_waits_for_a_dependency_that_is_away(void) {
    struct world world;
    struct body *db;
    struct body *app;

    world_init(&world);
    db = add(&world, "db", NULL);
    app = add(&world, "app", "db");
    world_boot(&world);
    dh_sup_stop(&world.sup, &db->w);
    world_turn(&world);
    CHECK_EQ(body_state(app), DH_RUNNING); /* it only matters when it starts */
    body_end(app, DH_RAISED);
    world_advance(&world, 10 * SEC);
    CHECK_EQ(body_state(app), DH_WAITING);
    CHECK_STR(world_waiting_for(&world, "app"), "db (stopped)");
    CHECK(dh_sup_is_finished(&world.sup));
    dh_sup_start(&world.sup, &db->w);
    CHECK(!dh_sup_is_finished(&world.sup));
    world_advance(&world, SEC);
    CHECK_STR(world_log(&world, "start restart"),
              "db:start@0 app:start@0 db:start@10 app:restart@10 app:start@10");
    world_fini(&world);
}

static void one_that_gives_up_leaves_its_dependants_waiting_visibly(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.restart = DH_RESTART_NEVER;
    world_init(&world);
    b = world_add(&world, "db", &p);
    b->ready_in = DH_NEVER;
    b->end_in = SEC;
    b->ending = DH_RAISED;
    add(&world, "app", "db");
    add(&world, "web", "app");
    world_boot(&world);
    CHECK(!dh_sup_is_finished(&world.sup));
    world_advance(&world, 2 * SEC);
    CHECK_STR(world_states(&world), "db=failed app=waiting web=waiting");
    CHECK_STR(world_waiting_for(&world, "app"), "db (failed)");
    CHECK_STR(world_waiting_for(&world, "web"), "app");
    CHECK(dh_sup_is_finished(&world.sup));
    CHECK(dh_sup_has_failed(&world.sup));
    world_fini(&world);
}

static void F01_shutdown_goes_against_the_dependencies_in_parallel_elsewhere(void) {
    struct world world;

    world_init(&world);
    add(&world, "web", "app")->stop_in = SEC; /* declared in the wrong order on purpose */
    add(&world, "app", "db cache")->stop_in = SEC;
    add(&world, "db", NULL)->stop_in = SEC;
    add(&world, "cache", NULL)->stop_in = SEC;
    add(&world, "alone", NULL)->stop_in = SEC;
    world_boot(&world);
    CHECK_STR(world_log(&world, "start"),
              "db:start@0 cache:start@0 alone:start@0 app:start@0 web:start@0");
    dh_sup_shutdown(&world.sup);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "cancel stop"),
              "alone:cancel@0 web:cancel@0 alone:stop@1 web:stop@1 app:cancel@1 app:stop@2 "
              "cache:cancel@2 db:cancel@2 cache:stop@3 db:stop@3");
    world_fini(&world);
}

static void a_single_stop_does_not_touch_dependants(void) {
    struct world world;
    struct body *db;

    world_init(&world);
    db = add(&world, "db", NULL);
    add(&world, "app", "db");
    world_boot(&world);
    dh_sup_stop(&world.sup, &db->w);
    world_turn(&world);
    CHECK_STR(world_states(&world), "db=stopped app=running");
    world_fini(&world);
}

static void stops_ordered_together_go_in_order_too(void) {
    struct world world;
    struct body *db;
    struct body *app;

    world_init(&world);
    db = add(&world, "db", NULL);
    app = add(&world, "app", "db");
    app->stop_in = SEC;
    world_boot(&world);
    dh_sup_stop(&world.sup, &db->w);
    dh_sup_stop(&world.sup, &app->w);
    world_turn(&world);
    CHECK_STR(world_states(&world), "db=running app=stopping");
    world_advance(&world, 2 * SEC);
    CHECK_STR(world_log(&world, "cancel"), "app:cancel@0 db:cancel@1");
    world_fini(&world);
}

static void restarts_ordered_together_go_down_in_order_and_come_up_in_order(void) {
    struct world world;
    struct body *db;
    struct body *app;

    world_init(&world);
    db = add(&world, "db", NULL);
    app = add(&world, "app", "db");
    app->stop_in = SEC;
    world_boot(&world);
    dh_sup_restart(&world.sup, &db->w);
    dh_sup_restart(&world.sup, &app->w);
    world_advance(&world, 5 * SEC);
    CHECK_STR(world_log(&world, "cancel start"),
              "db:start@0 app:start@0 app:cancel@0 db:cancel@1 db:start@1 app:start@1");
    world_fini(&world);
}

static void a_watched_worker_leaves_no_deadline_behind(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.watchdog_ns = 3 * SEC;
    p.start_timeout_ns = 30 * SEC;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->ready_in = DH_NEVER;
    world_boot(&world);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(dh_timerq_next(&world.timers), DH_NEVER);
    world_fini(&world);
}

static void a_stop_held_for_a_dependant_that_then_stays_is_carried_out(void) {
    struct world world;
    struct body *db;
    struct body *app;

    world_init(&world);
    db = add(&world, "db", NULL);
    app = add(&world, "app", "db");
    add(&world, "web", "app")->stop_in = 100 * SEC;
    world_boot(&world);
    dh_sup_stop(&world.sup, &db->w);
    dh_sup_stop(&world.sup, &app->w);
    dh_sup_stop(&world.sup, &world_body(&world, "web")->w);
    world_turn(&world);
    CHECK_STR(world_states(&world), "db=running app=running web=stopping");
    dh_sup_start(&world.sup, &app->w); /* it has not been told: it just stays */
    world_turn(&world);
    CHECK_STR(world_states(&world), "db=stopped app=running web=stopping");
    world_fini(&world);
}

/* found by spec/model: it started, if it was looked at before the dependency went */
static void nobody_starts_on_a_dependency_that_is_about_to_go(void) {
    struct world world;
    struct body *db;
    struct body *app;

    world_init(&world);
    db = add(&world, "db", NULL);
    app = add(&world, "app", "db");
    add(&world, "slow", "db")->stop_in = 5 * SEC;
    world_boot(&world);
    body_end(app, DH_RAISED);
    world_turn(&world);
    dh_sup_stop(&world.sup, &world_body(&world, "slow")->w);
    dh_sup_stop(&world.sup, &db->w);
    world_advance(&world, 2 * SEC);
    CHECK_STR(world_states(&world), "db=running app=waiting slow=stopping");
    CHECK_STR(world_waiting_for(&world, "app"), "db");
    dh_sup_start(&world.sup, &db->w); /* it was not told yet and goes on */
    world_turn(&world);
    CHECK_STR(world_states(&world), "db=running app=running slow=stopping");
    CHECK_EQ(db->w.run, 1);
    world_fini(&world);
}

/* found by spec/model: whether it started depended on who was looked at first */
static void nobody_starts_on_a_job_that_is_done_and_removed_in_one_turn(void) {
    for (int order = 0; order < 2; order++) {
        struct world world;
        struct body *db;
        struct body *app;

        world_init(&world);
        db = add(&world, "db", NULL);
        app = add(&world, "app", "db");
        db->close_in = SEC;
        app->close_in = SEC;
        world_boot(&world);
        body_end(order == 0 ? db : app, DH_RETURNED);
        body_end(order == 0 ? app : db, DH_RETURNED);
        world_turn(&world);
        dh_sup_start(&world.sup, &app->w);
        dh_sup_remove(&world.sup, &db->w);
        world_advance(&world, 5 * SEC);
        CHECK_STR(world_states(&world), "app=waiting");
        CHECK_STR(world_waiting_for(&world, "app"), "db (gone)");
        world_fini(&world);
    }
}

static void a_removed_dependency_is_missed_until_its_name_is_back(void) {
    struct world world;
    struct body *db;
    struct body *app;

    world_init(&world);
    db = add(&world, "db", NULL);
    app = add(&world, "app", "db");
    world_boot(&world);
    dh_sup_remove(&world.sup, &db->w);
    world_turn(&world);
    CHECK_STR(world_states(&world), "app=running");
    body_end(app, DH_RAISED);
    world_advance(&world, 10 * SEC);
    CHECK_EQ(body_state(app), DH_WAITING);
    CHECK_STR(world_waiting_for(&world, "app"), "db (gone)");
    add(&world, "db", NULL);
    world_turn(&world);
    CHECK_STR(world_states(&world), "app=running db=running");
    world_fini(&world);
}

static void a_name_that_comes_back_must_not_close_a_circle(void) {
    struct world world;
    struct dh_error err;
    struct body *db;

    world_init(&world);
    db = add(&world, "db", NULL);
    add(&world, "app", "db");
    world_boot(&world);
    dh_sup_remove(&world.sup, &db->w);
    world_turn(&world);
    CHECK(world_try_add(&world, "db", NULL, "app", NULL, &err) == NULL);
    CHECK_EQ(err.code, DH_ECYCLE);
    CHECK_STR(err.text, "dependency cycle: db -> app -> db");
    CHECK(world_body(&world, "db") == NULL);
    add(&world, "db", NULL);
    world_turn(&world);
    CHECK_STR(world_states(&world), "app=running db=running");
    world_fini(&world);
}

static void a_removed_dependant_is_not_woken(void) {
    struct world world;
    struct body *db;
    struct body *app;

    world_init(&world);
    db = add(&world, "db", NULL);
    db->ready_in = SEC;
    app = add(&world, "app", "db");
    world_boot(&world);
    dh_sup_remove(&world.sup, &app->w);
    world_advance(&world, 10 * SEC);
    CHECK(app->is_gone);
    CHECK_STR(world_log(&world, "start"), "db:start@0");
    body_end(db, DH_RAISED);
    world_advance(&world, 10 * SEC);
    world_fini(&world);
}

static void a_long_chain_needs_no_deep_stack(void) {
    struct world world;
    char name[24];
    char after[24];

    world_init(&world);
    world.keeps_no_records = true;
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "w%d", i);
        snprintf(after, sizeof after, "w%d", i + 1);
        add(&world, name, i < 19999 ? after : NULL);
    }
    CHECK_EQ(dh_sup_boot(&world.sup, NULL), 0);
    for (int i = 0; i < 20000; i++) {
        world_turn(&world);
        if (world.sup.counts[DH_WAITING] == 0) {
            break;
        }
    }
    CHECK_EQ(world.sup.counts[DH_RUNNING], 20000);
    dh_sup_shutdown(&world.sup);
    world_advance(&world, 0);
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void waiting_for_is_cut_when_it_is_too_long(void) {
    struct world world;
    char after[512] = "";
    char name[DH_NAME_MAX + 1];

    world_init(&world);
    for (int i = 0; i < 3; i++) {
        memset(name, 'a' + i, 100);
        name[100] = '\0';
        add(&world, name, NULL)->ready_in = DH_NEVER;
        strcat(after, i > 0 ? " " : "");
        strcat(after, name);
    }
    add(&world, "app", after);
    world_boot(&world);
    CHECK_EQ(strlen(world_waiting_for(&world, "app")), 100 + 2 + 100 + 5);
    CHECK(strstr(world_waiting_for(&world, "app"), "b, ...") != NULL);
    world_fini(&world);
}

/* --- start_timeout, watchdog ------------------------------------------------------------------ */

static void not_ready_in_time_is_a_crash(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.start_timeout_ns = 5 * SEC;
    p.stop_timeout_ns = 2 * SEC;
    world_init(&world);
    b = world_try_add(&world, "slow", &p, NULL, NULL, NULL);
    b->ready_in = 6 * SEC;
    b->stop_in = DH_NEVER;
    world_boot(&world);
    world_advance(&world, 8 * SEC);
    CHECK_STR(world_log(&world, "state ready cancel kill crash restart"),
              "slow:running@0 slow:stopping@5 slow:cancel@5 slow:kill@7 slow:closing@7 "
              "slow:crash@7 slow:backoff@7 slow:running@8 slow:restart@8");
    CHECK_STR(world_last(&world, "crash", "slow")->reason, "not ready within 5 s");
    CHECK(!world_last(&world, "crash", "slow")->is_stopping);
    CHECK_EQ(b->w.streak, 1);
    world_fini(&world);
}

static void ready_in_time_is_fine(void) {
    struct world world;
    struct dh_policy p = world_policy();

    p.start_timeout_ns = 5 * SEC;
    world_init(&world);
    world_add(&world, "quick", &p)->ready_in = 5 * SEC - 1;
    world_boot(&world);
    world_advance(&world, 3600 * SEC);
    CHECK_STR(world_log(&world, "start cancel crash"), "quick:start@0");
    CHECK_EQ(dh_timerq_next(&world.timers), DH_NEVER);
    world_fini(&world);
}

static void a_stop_outranks_a_start_timeout_under_way(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.start_timeout_ns = 5 * SEC;
    world_init(&world);
    b = world_add(&world, "slow", &p);
    b->ready_in = DH_NEVER;
    b->stop_in = SEC;
    world_boot(&world);
    world_advance(&world, 5500 * MS);
    CHECK_EQ(body_state(b), DH_STOPPING);
    dh_sup_stop(&world.sup, &b->w);
    world_advance(&world, 100 * SEC);
    CHECK_STR(world_log(&world, "start cancel crash stop"),
              "slow:start@0 slow:cancel@5 slow:stop@6");
    world_fini(&world);
}

static void a_missed_beat_is_a_crash(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.watchdog_ns = 3 * SEC;
    world_init(&world);
    b = world_add(&world, "a", &p);
    world_boot(&world);
    for (int i = 0; i < 10; i++) {
        world_advance(&world, 2 * SEC);
        dh_sup_on_beat(&world.sup, &b->w, b->run);
    }
    world_advance(&world, 2999 * MS);
    CHECK_EQ(body_state(b), DH_RUNNING);
    world_advance(&world, 1 * MS);
    CHECK_STR(world_log(&world, "start crash cancel"), "a:start@0 a:cancel@23 a:crash@23");
    CHECK_STR(world_last(&world, "crash", "a")->reason, "no beat within 3 s");
    world_advance(&world, 1 * SEC);
    CHECK_EQ(body_state(b), DH_RUNNING);
    CHECK_EQ(b->w.run, 2);
    world_fini(&world);
}

static void a_missed_beat_counts_for_the_limit(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.watchdog_ns = 3 * SEC;
    p.max_restarts = 1;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->stop_ending = DH_RETURNED; /* however it ends */
    world_boot(&world);
    world_advance(&world, 100 * SEC);
    CHECK_STR(world_log(&world, "start give_up"), "a:start@0 a:start@4 a:give_up@7");
    world_fini(&world);
}

static void recovered_and_watches_do_not_disturb_each_other(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.watchdog_ns = 1000 * SEC;
    p.start_timeout_ns = 50 * SEC;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->ready_in = 49 * SEC;
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_advance(&world, 1060 * SEC);
    CHECK_STR(world_log(&world, "ready recovered cancel"),
              "a:ready@50 a:recovered@61 a:cancel@1050");
    world_fini(&world);
}

static void of_several_unknown_names_the_first_is_told(void) {
    struct world world;
    struct dh_error err;

    world_init(&world);
    world_boot(&world);
    CHECK(world_try_add(&world, "a", NULL, "no none", NULL, &err) == NULL);
    CHECK_STR(err.text, "worker \"a\": after[1]: no worker \"no\"");
    world_fini(&world);
}

static void a_ladder_of_dependencies_is_checked_in_no_time(void) {
    struct world world;
    char names[2][24];
    char after[64] = "";

    world_init(&world);
    for (int i = 0; i < 60; i++) { /* 2^60 ways lead down */
        for (int side = 0; side < 2; side++) {
            snprintf(names[side], sizeof names[side], "%c%d", 'a' + side, i);
            CHECK(world_try_add(&world, names[side], NULL, i > 0 ? after : NULL, NULL, NULL) !=
                  NULL);
        }
        snprintf(after, sizeof after, "%s %s", names[0], names[1]);
    }
    world_boot(&world);
    CHECK_EQ(world.sup.counts[DH_RUNNING], 120);
    world_fini(&world);
}

static void one_that_waits_for_others_and_for_itself_is_refused(void) {
    struct world world;
    struct dh_error err;

    world_init(&world);
    world_add(&world, "b", NULL);
    world_boot(&world);
    CHECK(world_try_add(&world, "a", NULL, "b a", NULL, &err) == NULL);
    CHECK_STR(err.text, "dependency cycle: a -> a");
    world_fini(&world);
}

static void what_it_crashed_for_is_back_before_it_has_closed(void) {
    struct world world;
    struct dh_policy p = world_policy();

    p.min_backoff_ns = p.max_backoff_ns = 30 * SEC;
    world_init(&world);
    world_add(&world, "db", NULL);
    world_try_add(&world, "a", &p, "db", NULL, NULL);
    world_body(&world, "a")->close_in = 5 * SEC;
    world_boot(&world);
    world_clear_log(&world);
    body_end(world_body(&world, "db"), DH_RAISED);
    body_end(world_body(&world, "a"), DH_RAISED);
    world_advance(&world, 40 * SEC);
    CHECK_STR(world_log(&world, "crash start"), "db:crash@0 a:crash@0 db:start@1 a:start@5");
    world_fini(&world);
}

/* What it waits for, in so many bytes. */
static const char *described(struct world *world, const char *name, size_t size) {
    static char text[512];

    memset(text, '#', sizeof text - 1);
    dh_deps_describe(&world_body(world, name)->w, text, size);
    return text;
}

static void what_it_waits_for_is_told_as_far_as_there_is_room(void) {
    struct world world;
    char name[DH_NAME_MAX + 1];
    char want[DH_NAME_MAX + 16];

    memset(name, 'n', sizeof name);
    name[DH_NAME_MAX] = '\0';
    world_init(&world);
    world_add(&world, "x", NULL)->ready_in = DH_NEVER;
    world_add(&world, "y", NULL)->ready_in = DH_NEVER;
    world_add(&world, name, NULL)->ready_in = DH_NEVER;
    world_try_add(&world, "a", NULL, "x y", NULL, NULL);
    world_try_add(&world, "b", NULL, name, NULL, NULL);
    world_boot(&world);
    CHECK_STR(described(&world, "a", 512), "x, y");
    CHECK_STR(described(&world, "a", 7), "x, ...");
    CHECK_STR(described(&world, "a", 6), ", ...");
    CHECK_STR(described(&world, "b", 512), name);
    dh_sup_stop(&world.sup, &world_body(&world, name)->w);
    body_ready(world_body(&world, "x"));
    body_ready(world_body(&world, "y"));
    world_turn(&world);
    snprintf(want, sizeof want, "%s (stopped)", name);
    CHECK_STR(described(&world, "b", 512), want);
    CHECK_STR(described(&world, "a", 512), "");
    world_fini(&world);
}

static void who_goes_on_after_all_no_longer_holds_what_it_waits_for(void) {
    struct world world;

    world_init(&world);
    world_add(&world, "db1", NULL);
    world_add(&world, "db2", NULL);
    world_try_add(&world, "a", NULL, "db1 db2", NULL, NULL);
    world_try_add(&world, "c", NULL, "a", NULL, NULL);
    world_body(&world, "c")->stop_in = 10 * SEC;
    world_boot(&world);
    dh_sup_restart(&world.sup, &world_body(&world, "c")->w);
    world_turn(&world);
    dh_sup_stop(&world.sup, &world_body(&world, "a")->w);
    dh_sup_restart(&world.sup, &world_body(&world, "db2")->w);
    world_turn(&world);
    CHECK_STR(world_log(&world, "cancel"), "c:cancel@0"); /* which holds a, which holds db2 */
    dh_sup_start(&world.sup, &world_body(&world, "a")->w);
    world_turn(&world);
    CHECK_STR(world_log(&world, "cancel"), "c:cancel@0 db2:cancel@0");
    world_fini(&world);
}

int main(void) {
    RUN(A14_cycles_are_refused_with_their_path);
    RUN(A14_a_long_cycle_is_cut_in_the_middle);
    RUN(unknown_dependencies_are_refused_with_their_place);
    RUN(bad_lists_of_dependencies_are_refused);
    RUN(only_what_is_missing_is_named);
    RUN(they_may_be_declared_after_those_that_need_them);
    RUN(a_finished_job_counts_as_ready);
    RUN(a_job_that_returns_at_once_was_ready_first);
    RUN(notify_waits_for_the_explicit_word);
    RUN(wake_on_ready_retries_at_once);
    RUN(a_restart_waits_for_a_dependency_that_is_away);
    RUN(one_that_gives_up_leaves_its_dependants_waiting_visibly);
    RUN(F01_shutdown_goes_against_the_dependencies_in_parallel_elsewhere);
    RUN(a_single_stop_does_not_touch_dependants);
    RUN(stops_ordered_together_go_in_order_too);
    RUN(restarts_ordered_together_go_down_in_order_and_come_up_in_order);
    RUN(a_watched_worker_leaves_no_deadline_behind);
    RUN(a_stop_held_for_a_dependant_that_then_stays_is_carried_out);
    RUN(nobody_starts_on_a_dependency_that_is_about_to_go);
    RUN(nobody_starts_on_a_job_that_is_done_and_removed_in_one_turn);
    RUN(a_removed_dependency_is_missed_until_its_name_is_back);
    RUN(a_name_that_comes_back_must_not_close_a_circle);
    RUN(a_removed_dependant_is_not_woken);
    RUN(a_long_chain_needs_no_deep_stack);
    RUN(waiting_for_is_cut_when_it_is_too_long);
    RUN(not_ready_in_time_is_a_crash);
    RUN(ready_in_time_is_fine);
    RUN(a_stop_outranks_a_start_timeout_under_way);
    RUN(a_missed_beat_is_a_crash);
    RUN(a_missed_beat_counts_for_the_limit);
    RUN(recovered_and_watches_do_not_disturb_each_other);
    RUN(of_several_unknown_names_the_first_is_told);
    RUN(a_ladder_of_dependencies_is_checked_in_no_time);
    RUN(one_that_waits_for_others_and_for_itself_is_refused);
    RUN(what_it_crashed_for_is_back_before_it_has_closed);
    RUN(what_it_waits_for_is_told_as_far_as_there_is_room);
    RUN(who_goes_on_after_all_no_longer_holds_what_it_waits_for);
    return check_report();
}
