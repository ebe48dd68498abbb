/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Orders while everything runs: G. */
#include <stdlib.h>

#include "check.h"
#include "core/names.h"
#include "world.h"

static void B01_workers_start_in_declared_order(void) {
    struct world world;

    world_init(&world);
    world_add(&world, "c", NULL);
    world_add(&world, "a", NULL);
    world_add(&world, "b", NULL);
    world_turn(&world);
    CHECK_STR(world_log(&world, "start"), ""); /* not before boot */
    world_boot(&world);
    CHECK_STR(world_log(&world, "start"), "c:start@0 a:start@0 b:start@0");
    world_fini(&world);
}

static void B10_a_first_start_that_fails_is_an_ordinary_crash(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->fail_starts = 1;
    world_boot(&world);
    CHECK_STR(world_log(&world, "state start crash"),
              "a:running@0 a:start@0 a:closing@0 a:crash@0 a:backoff@0");
    world_advance(&world, SEC);
    CHECK_EQ(body_state(b), DH_RUNNING);
    CHECK_EQ(b->w.run, 2);
    CHECK_EQ(b->w.streak, 1);
    world_fini(&world);
}

static void G01_add_starts_at_once(void) {
    struct world world;

    world_init(&world);
    world_boot(&world);
    CHECK(dh_sup_is_finished(&world.sup));
    world_advance(&world, 5 * SEC);
    world_add(&world, "late", NULL);
    CHECK(!dh_sup_is_finished(&world.sup));
    world_turn(&world);
    CHECK_STR(world_log(&world, "start"), "late:start@5");
    world_fini(&world);
}

static void G02_add_a_running_name_is_refused_the_first_untouched(void) {
    struct world world;
    struct dh_error err;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    CHECK(world_try_add(&world, "a", NULL, NULL, NULL, &err) == NULL);
    CHECK_EQ(err.code, DH_EEXIST);
    CHECK_STR(err.text, "worker \"a\" is already declared");
    world_boot(&world);
    CHECK(world_try_add(&world, "a", NULL, NULL, NULL, &err) == NULL);
    CHECK_STR(err.text, "worker \"a\" is already running");
    CHECK(world_body(&world, "a") == b);
    CHECK_EQ(b->w.run, 1);
    CHECK_EQ(world.sup.worker_count, 1);
    world_fini(&world);
}

static void G04_G07_unknown_names_are_not_found(void) {
    struct world world;

    world_init(&world);
    CHECK(dh_sup_find(&world.sup, "a", 1) == NULL);
    world_add(&world, "abc", NULL);
    CHECK(dh_sup_find(&world.sup, "ab", 2) == NULL);
    CHECK(dh_sup_find(&world.sup, "abcd", 4) == NULL);
    CHECK(dh_sup_find(&world.sup, "abcx", 3) != NULL);
    world_fini(&world);
}

static void G05_stop_twice_is_fine(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->stop_in = SEC;
    world_boot(&world);
    CHECK_EQ(dh_sup_stop(&world.sup, &b->w), 0);
    CHECK_EQ(dh_sup_stop(&world.sup, &b->w), 0);
    world_turn(&world);
    CHECK_EQ(dh_sup_stop(&world.sup, &b->w), 0);
    CHECK(!dh_worker_is_settled(&b->w));
    world_advance(&world, 2 * SEC);
    CHECK(dh_worker_is_settled(&b->w));
    CHECK_EQ(dh_sup_stop(&world.sup, &b->w), 0);
    world_turn(&world);
    CHECK_STR(world_log(&world, "cancel stop"), "a:cancel@0 a:stop@1");
    world_fini(&world);
}

static void a_stopped_worker_starts_again_with_its_history_cleared(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->end_in = 0;
    b->ending = DH_RAISED;
    world_boot(&world);
    world_advance(&world, 3 * SEC);
    CHECK_EQ(b->w.streak, 3);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(dh_sup_start(&world.sup, &b->w), 0);
    CHECK(!dh_worker_is_settled(&b->w));
    world_turn(&world);
    CHECK(dh_worker_is_settled(&b->w));
    CHECK_EQ(b->w.streak, 1);
    CHECK_EQ(b->w.run, 4);
    CHECK_EQ(b->w.restarts, 2); /* lifetime: never reset, orders do not count */
    CHECK_EQ(world_count(&world, "restart", NULL), 2);
    world_fini(&world);
}

static void start_is_idempotent_and_revives_done_and_failed(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.max_restarts = 0;
    world_init(&world);
    b = world_add(&world, "a", &p);
    world_boot(&world);
    CHECK_EQ(dh_sup_start(&world.sup, &b->w), 0);
    world_turn(&world);
    CHECK_EQ(b->w.run, 1);
    body_end(b, DH_RETURNED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_DONE);
    dh_sup_start(&world.sup, &b->w);
    dh_sup_start(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(b->w.run, 2);
    CHECK_EQ(body_state(b), DH_RUNNING);
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_FAILED);
    dh_sup_start(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_RUNNING);
    CHECK(!dh_sup_has_failed(&world.sup));
    world_fini(&world);
}

static void a_restart_asked_for_while_stopping_happens_once_after_it(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->stop_in = SEC;
    b->close_in = SEC;
    world_boot(&world);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    dh_sup_restart(&world.sup, &b->w);
    world_advance(&world, 500 * MS);
    dh_sup_restart(&world.sup, &b->w);
    dh_sup_start(&world.sup, &b->w);
    world_advance(&world, 1 * SEC);
    CHECK_EQ(body_state(b), DH_CLOSING);
    dh_sup_restart(&world.sup, &b->w);
    world_advance(&world, 60 * SEC);
    CHECK_STR(world_log(&world, "start cancel stop"), "a:start@0 a:cancel@0 a:start@2");
    CHECK_EQ(b->w.restarts, 0);
    world_fini(&world);
}

static void a_later_stop_outranks_any_restart(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->stop_in = SEC;
    world_boot(&world);
    dh_sup_restart(&world.sup, &b->w);
    world_turn(&world);
    CHECK(!dh_worker_is_settled(&b->w));
    dh_sup_stop(&world.sup, &b->w);
    world_advance(&world, 60 * SEC);
    CHECK_STR(world_log(&world, "start cancel stop"), "a:start@0 a:cancel@0 a:stop@1");
    world_fini(&world);
}

static void the_last_of_several_orders_in_one_turn_wins(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    dh_sup_stop(&world.sup, &b->w);
    dh_sup_start(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(b->w.run, 1); /* it was never told */
    CHECK_EQ(body_state(b), DH_RUNNING);
    dh_sup_start(&world.sup, &b->w);
    dh_sup_restart(&world.sup, &b->w);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_STOPPED);
    dh_sup_stop(&world.sup, &b->w);
    dh_sup_restart(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(b->w.run, 2);
    world_fini(&world);
}

static void a_restart_in_backoff_starts_now_without_counting(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    dh_sup_restart(&world.sup, &b->w);
    world_turn(&world);
    CHECK_STR(world_log(&world, "restart start"), "a:start@0 a:start@0");
    CHECK_EQ(b->w.streak, 0);
    CHECK_EQ(b->w.restarts, 0);
    world_advance(&world, 100 * SEC);
    CHECK_EQ(b->w.run, 2);
    world_fini(&world);
}

static void a_crash_while_a_restart_is_under_way_does_not_count(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.max_restarts = 0;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->stop_ending = DH_RAISED;
    world_boot(&world);
    dh_sup_restart(&world.sup, &b->w);
    world_advance(&world, 10 * SEC);
    CHECK_EQ(body_state(b), DH_RUNNING);
    CHECK_EQ(b->w.run, 2);
    CHECK(world_last(&world, "crash", "a")->is_stopping);
    CHECK_EQ(world_count(&world, "give_up", NULL), 0);
    world_fini(&world);
}

static void retry_gives_a_failed_worker_another_chance_with_its_history(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *b;

    p.max_restarts = 1;
    world_init(&world);
    b = world_add(&world, "a", &p);
    b->end_in = 0;
    b->ending = DH_RAISED;
    world_boot(&world);
    world_advance(&world, SEC);
    CHECK_EQ(body_state(b), DH_FAILED);
    CHECK_EQ(dh_sup_retry(&world.sup, &b->w), 0);
    world_turn(&world);
    CHECK_EQ(b->w.run, 3);
    CHECK_EQ(body_state(b), DH_FAILED); /* the window is still full */
    CHECK_EQ(dh_sup_start(&world.sup, &b->w), 0);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_BACKOFF); /* this one was cleared */
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    CHECK(dh_sup_retry(&world.sup, &b->w) == DH_ESTATE);
    world_fini(&world);
}

static void retry_while_closing_skips_the_delay(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->close_in = 100 * MS;
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_EQ(dh_sup_retry(&world.sup, &b->w), 0);
    world_advance(&world, 10 * SEC);
    CHECK_STR(world_log(&world, "start"), "a:start@0 a:start@0.1");
    world_fini(&world);
}

static void a_retry_that_came_to_nothing_does_not_shorten_the_next_delay(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->close_in = SEC;
    world_boot(&world);
    CHECK(!dh_sup_is_quiet(&world.sup));
    dh_sup_restart(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_CLOSING);
    CHECK_EQ(dh_sup_retry(&world.sup, &b->w), 0);
    world_advance(&world, SEC);
    CHECK(dh_worker_is_settled(&b->w));
    b->close_in = 0;
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    world_fini(&world);
}

static void a_restart_that_will_not_come_is_not_announced(void) {
    struct world world;
    struct dh_status s;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->close_in = SEC;
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_turn(&world);
    dh_sup_status(&world.sup, &b->w, world.now_ns, &s);
    CHECK_EQ(s.next_retry_in_ns, SEC);
    dh_sup_stop(&world.sup, &b->w);
    dh_sup_status(&world.sup, &b->w, world.now_ns, &s);
    CHECK_EQ(s.next_retry_in_ns, DH_NEVER);
    world_fini(&world);
}

static void G09_remove_a_stopped_one_and_it_is_gone(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(dh_sup_remove(&world.sup, &b->w), 0);
    CHECK(world_body(&world, "a") == b);
    world_turn(&world);
    CHECK(b->is_gone);
    CHECK(world_body(&world, "a") == NULL);
    CHECK_STR(world_states(&world), "");
    world_fini(&world);
}

static void G09_remove_a_running_one_stops_it_first(void) {
    struct world world;
    struct dh_error err;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->stop_in = SEC;
    b->close_in = SEC;
    world_boot(&world);
    dh_sup_remove(&world.sup, &b->w);
    dh_sup_remove(&world.sup, &b->w);
    CHECK(dh_sup_start(&world.sup, &b->w) == DH_ESTATE);
    CHECK(dh_sup_restart(&world.sup, &b->w) == DH_ESTATE);
    world_turn(&world);
    CHECK(world_try_add(&world, "a", NULL, NULL, NULL, &err) == NULL);
    CHECK_STR(err.text, "worker \"a\" is being removed");
    world_advance(&world, 3 * SEC);
    CHECK_STR(world_log(&world, "cancel stop gone"), "a:cancel@0 a:stop@2 a:gone@2");
    CHECK(b->is_gone);
    world_fini(&world);
}

static void G10_add_after_remove_starts_with_new_counters(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->end_in = 0;
    b->ending = DH_RAISED;
    world_boot(&world);
    world_advance(&world, 3 * SEC);
    dh_sup_remove(&world.sup, &b->w);
    world_turn(&world);
    b = world_add(&world, "a", NULL);
    world_turn(&world);
    CHECK_EQ(b->w.run, 1);
    CHECK_EQ(b->w.restarts, 0);
    CHECK_EQ(b->w.streak, 0);
    world_fini(&world);
}

static void G12_list_and_counts_are_right_at_each_step(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    world_add(&world, "a", NULL);
    b = world_add(&world, "b", NULL);
    world_add(&world, "c", NULL);
    CHECK_STR(world_states(&world), "a=waiting b=waiting c=waiting");
    CHECK_EQ(world.sup.counts[DH_WAITING], 3);
    world_boot(&world);
    CHECK_EQ(world.sup.counts[DH_WAITING], 0);
    CHECK_EQ(world.sup.counts[DH_RUNNING], 3);
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=running b=backoff c=running");
    CHECK_EQ(world.sup.counts[DH_BACKOFF], 1);
    dh_sup_remove(&world.sup, &b->w);
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=running c=running");
    CHECK_EQ(world.sup.counts[DH_RUNNING], 2);
    CHECK_EQ(world.sup.counts[DH_BACKOFF], 0);
    CHECK_EQ(world.sup.counts[DH_STOPPED], 0);
    CHECK_EQ(world.sup.worker_count, 2);
    world_add(&world, "b", NULL);
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=running c=running b=running");
    world_fini(&world);
}

static void G15_no_late_event_after_a_removal(void) {
    struct world world;
    struct body *b;

    /* the fake world overwrites a removed worker and checks that it is not spoken of again */
    world_init(&world);
    for (int i = 0; i < 4; i++) {
        b = world_add(&world, "a", NULL);
        b->end_in = i == 1 ? 0 : DH_NEVER;
        b->ending = DH_RAISED;
        b->close_in = i == 2 ? SEC : 0;
        if (i == 0) {
            world_boot(&world);
        }
        world_turn(&world);
        dh_sup_stop(&world.sup, &b->w);
        dh_sup_remove(&world.sup, &b->w);
        world_advance(&world, 100 * SEC);
        CHECK(b->is_gone);
    }
    CHECK_EQ(world_count(&world, "gone", "a"), 4);
    world_fini(&world);
}

static void G16_ten_thousand_added_and_removed_leave_no_memory_behind(void) {
    struct world world;
    struct dh_policy p = world_policy();
    size_t bytes = 0;

    world_init(&world);
    world.keeps_no_records = true;
    world_boot(&world);
    p.max_restarts = 2;
    for (int i = 0; i < 10000; i++) {
        struct body *b;
        p.min_backoff_ns = (uint64_t)i;
        b = world_add(&world, i % 2 == 0 ? "even" : "odd", &p);
        b->end_in = i % 3 == 0 ? 0 : DH_NEVER;
        b->ending = DH_RAISED;
        world_advance(&world, 10);
        dh_sup_remove(&world.sup, &b->w);
        world_turn(&world);
        CHECK(b->is_gone);
        bytes = i == 10 ? world.memory.bytes : bytes;
    }
    CHECK_EQ(world.memory.bytes, bytes);
    world_fini(&world);
}

static void remove_everything(struct world *world, const struct dh_event *ev) {
    if (ev->kind == DH_EVENT_CRASH) {
        for (struct dh_worker *w = dh_sup_first(&world->sup); w != NULL; w = dh_sup_next(w)) {
            dh_sup_remove(&world->sup, w);
        }
        dh_sup_step(&world->sup); /* returns at once: a step is under way */
    }
}

static void removing_all_in_an_env_callback_is_only_noted(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    world_add(&world, "a", NULL);
    b = world_add(&world, "b", NULL);
    world_add(&world, "c", NULL);
    world_boot(&world);
    world.on_event = remove_everything;
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_STR(world_states(&world), "");
    CHECK_EQ(world_count(&world, "gone", NULL), 3);
    world_fini(&world);
}

static void equal_policies_are_stored_once(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *a;
    struct body *b;

    world_init(&world);
    a = world_add(&world, "a", &p);
    b = world_add(&world, "b", &p);
    CHECK(a->w.policy == b->w.policy);
    p.jitter = 0.5;
    b = world_add(&world, "c", &p);
    CHECK(a->w.policy != b->w.policy);
    world_fini(&world);
}

static void bad_specs_are_refused_with_the_worker_named(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct dh_error err;
    struct dh_spec too_long = {0};
    struct dh_worker w;
    char name[DH_NAME_MAX + 2];

    world_init(&world);
    p.backoff_factor = 0.5;
    CHECK(world_try_add(&world, "a", &p, NULL, NULL, &err) == NULL);
    CHECK_EQ(err.code, DH_EINVAL);
    CHECK_STR(err.text, "worker \"a\": backoff_factor must be at least 1");
    p = world_policy();
    p.jitter = strtod("nan", NULL);
    CHECK(world_try_add(&world, "a", &p, NULL, NULL, &err) == NULL);
    p = world_policy();
    p.restart = 17;
    CHECK(world_try_add(&world, "a", &p, NULL, NULL, &err) == NULL);
    p = world_policy();
    p.jitter = 1.1;
    CHECK(world_try_add(&world, "a", &p, NULL, NULL, &err) == NULL);
    p.jitter = -0.1;
    CHECK(world_try_add(&world, "a", &p, NULL, NULL, &err) == NULL);
    CHECK_STR(err.text, "worker \"a\": jitter must be between 0 and 1");
    CHECK(world_try_add(&world, "", NULL, NULL, NULL, &err) == NULL);
    memset(name, 'x', sizeof name);
    name[DH_NAME_MAX] = '\0';
    CHECK(world_try_add(&world, name, NULL, NULL, NULL, &err) != NULL);
    CHECK_EQ(world.sup.worker_count, 1);
    too_long.name = (struct dh_name){name, DH_NAME_MAX + 1};
    too_long.policy = &p;
    CHECK(dh_sup_add(&world.sup, &w, &too_long, &err) == DH_EINVAL);
    CHECK_STR(err.text, "the name of a worker must have 1 to 200 bytes");
    world_fini(&world);
}

static void a_hundred_thousand_start_in_one_step(void) {
    struct world world;
    char name[24];

    world_init(&world);
    world.keeps_no_records = true;
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "worker-%d", i);
        world_add(&world, name, NULL)->ready_in = DH_NEVER;
    }
    CHECK(world.memory.bytes < 100000 * 24); /* the table of names, one policy */
    CHECK_EQ(dh_sup_boot(&world.sup, NULL), 0);
    dh_sup_step(&world.sup);
    CHECK_EQ(world.sup.counts[DH_RUNNING], 100000);
    CHECK(world_body(&world, "worker-99999") != NULL);
    dh_sup_shutdown(&world.sup);
    world_turn(&world);
    CHECK(dh_sup_is_finished(&world.sup));
    world_fini(&world);
}

static void an_order_before_the_boot_waits_for_it(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    CHECK_EQ(dh_sup_restart(&world.sup, &b->w), 0);
    dh_sup_step(&world.sup);
    CHECK_EQ(body_state(b), DH_WAITING);
    CHECK(!dh_sup_is_finished(&world.sup));
    world_boot(&world);
    CHECK_STR(world_log(&world, "start"), "a:start@0");
    world_fini(&world);
}

static void a_host_that_is_told_to_stop_before_the_boot_starts_nobody(void) {
    struct world world;

    world_init(&world);
    world_add(&world, "a", NULL);
    dh_sup_shutdown(&world.sup);
    dh_sup_step(&world.sup);
    CHECK(dh_sup_is_finished(&world.sup));
    CHECK_STR(world_states(&world), "a=stopped");
    CHECK_STR(world_log(&world, "start"), "");
    world_fini(&world);
}

static void what_has_ended_is_work_until_the_next_step(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    CHECK(!dh_sup_has_work(&world.sup));
    body_end(b, DH_RETURNED);
    CHECK(dh_sup_has_work(&world.sup));
    world_turn(&world);
    CHECK(!dh_sup_has_work(&world.sup));
    world_fini(&world);
}

static void a_retry_is_not_settled_before_it_is_carried_out(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    body_end(b, DH_RAISED);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_BACKOFF);
    CHECK(dh_worker_is_settled(&b->w));
    CHECK_EQ(dh_sup_retry(&world.sup, &b->w), 0);
    CHECK(!dh_worker_is_settled(&b->w));
    world_turn(&world);
    CHECK(dh_worker_is_settled(&b->w));
    world_fini(&world);
}

static void what_was_never_set_up_is_torn_down_without_harm(void) {
    struct dh_sup sup = {0};

    dh_sup_fini(NULL);
    dh_sup_fini(&sup);
    dh_timerq_fini(NULL);
}

static void names_that_no_more_memory_can_sort_are_found_more_slowly(void) {
    struct world world;
    uint32_t count;

    world_init(&world);
    world_add(&world, "a", NULL);
    count = world.sup.name_slots;
    world.sup.name_slots = UINT32_MAX;
    world.sup.worker_count = UINT32_MAX - 2;
    CHECK_EQ(dh_names_reserve(&world.sup), 0);
    CHECK_EQ(world.sup.name_slots, UINT32_MAX);
    world.sup.worker_count = UINT32_MAX - 1;
    CHECK_EQ(dh_names_reserve(&world.sup), DH_ENOMEM);
    world.sup.name_slots = count;
    world.sup.worker_count = 1;
    world_fini(&world);
}

/* Three in ten of 2,000 come and go in turns, so that the holes they leave are everywhere. */
static void who_stays_is_found_whoever_goes(void) {
    enum { COUNT = 2000 };
    struct world world;
    struct dh_worker *w;
    char name[24];

    world_init(&world);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "worker-%d", i);
        world_add(&world, name, NULL);
    }
    for (int turn = 0; turn < 7; turn++) {
        for (int i = 0; i < COUNT; i++) {
            snprintf(name, sizeof name, "worker-%d", i);
            w = dh_sup_find(&world.sup, name, strlen(name));
            CHECK(w != NULL && strcmp(w->name, name) == 0);
            if ((i * 7 + turn) % 10 < 3) {
                dh_names_remove(&world.sup, w);
                CHECK(dh_sup_find(&world.sup, name, strlen(name)) == NULL);
            }
        }
        for (w = dh_sup_first(&world.sup); w != NULL; w = dh_sup_next(w)) {
            if (dh_sup_find(&world.sup, w->name, w->name_len) == NULL) {
                dh_names_insert(&world.sup, w);
            }
        }
    }
    world_fini(&world);
}

/* Words whose 32 bits of FNV-1a are equal, of different and of equal length. */
static void names_of_one_hash_are_told_apart(void) {
    static const char *const pairs[][2] = {{"costarring", "liquid"}, {"declinate", "macallums"}};
    struct world world;

    world_init(&world);
    for (int i = 0; i < 2; i++) {
        const char *one = pairs[i][0];
        const char *other = pairs[i][1];
        world_add(&world, one, NULL);
        CHECK(dh_sup_find(&world.sup, other, strlen(other)) == NULL);
        world_add(&world, other, NULL);
        CHECK_STR(dh_sup_find(&world.sup, one, strlen(one))->name, one);
        CHECK_STR(dh_sup_find(&world.sup, other, strlen(other))->name, other);
    }
    world_fini(&world);
}

static void a_name_that_waits_for_its_restart_is_taken(void) {
    struct world world;
    struct dh_error err;

    world_init(&world);
    world_add(&world, "a", NULL);
    world_boot(&world);
    body_end(world_body(&world, "a"), DH_RAISED);
    world_turn(&world);
    CHECK_STR(world_states(&world), "a=backoff");
    CHECK(world_try_add(&world, "a", NULL, NULL, NULL, &err) == NULL);
    CHECK_STR(err.text, "worker \"a\" is already running");
    world_fini(&world);
}

static void nobody_waits_for_anything_before_the_boot(void) {
    struct world world;

    world_init(&world);
    CHECK(dh_sup_is_finished(&world.sup)); /* without workers there is nothing to wait for */
    world_add(&world, "db", NULL);
    world_try_add(&world, "a", NULL, "db", NULL, NULL);
    world_body(&world, "db")->ready_in = DH_NEVER;
    CHECK_STR(world_waiting_for(&world, "a"), "");
    CHECK_STR(world_waiting_for(&world, "db"), "");
    world_boot(&world);
    CHECK_STR(world_waiting_for(&world, "a"), "db");
    CHECK_STR(world_waiting_for(&world, "db"), "");
    world_fini(&world);
}

static void a_restart_that_was_ordered_has_no_delay_to_show(void) {
    struct world world;
    struct dh_status status;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    b->close_in = SEC;
    world_boot(&world);
    CHECK(!dh_sup_is_quiet(&world.sup));
    dh_sup_restart(&world.sup, &b->w);
    world_turn(&world);
    CHECK_EQ(body_state(b), DH_CLOSING);
    CHECK(!dh_sup_is_quiet(&world.sup));
    dh_sup_status(&world.sup, &b->w, world.now_ns, &status);
    CHECK_EQ(status.next_retry_in_ns, DH_NEVER);
    world_fini(&world);
}

static void an_order_is_work_until_the_next_step(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = world_add(&world, "a", NULL);
    world_boot(&world);
    body_end(b, DH_RETURNED);
    world_turn(&world);
    CHECK(dh_sup_is_quiet(&world.sup));
    dh_sup_start(&world.sup, &b->w);
    CHECK(!dh_sup_is_quiet(&world.sup));
    world_turn(&world);
    CHECK(!dh_sup_has_work(&world.sup));
    dh_sup_remove(&world.sup, &b->w);
    CHECK(!dh_worker_is_settled(&b->w));
    world_turn(&world);
    CHECK(b->is_gone);
    dh_sup_shutdown(&world.sup);
    CHECK(dh_sup_has_work(&world.sup));
    world_turn(&world);
    CHECK(!dh_sup_has_work(&world.sup));
    world_fini(&world);
}

int main(void) {
    RUN(B01_workers_start_in_declared_order);
    RUN(B10_a_first_start_that_fails_is_an_ordinary_crash);
    RUN(G01_add_starts_at_once);
    RUN(G02_add_a_running_name_is_refused_the_first_untouched);
    RUN(G04_G07_unknown_names_are_not_found);
    RUN(G05_stop_twice_is_fine);
    RUN(a_stopped_worker_starts_again_with_its_history_cleared);
    RUN(start_is_idempotent_and_revives_done_and_failed);
    RUN(a_restart_asked_for_while_stopping_happens_once_after_it);
    RUN(a_later_stop_outranks_any_restart);
    RUN(the_last_of_several_orders_in_one_turn_wins);
    RUN(a_restart_in_backoff_starts_now_without_counting);
    RUN(a_crash_while_a_restart_is_under_way_does_not_count);
    RUN(retry_gives_a_failed_worker_another_chance_with_its_history);
    RUN(retry_while_closing_skips_the_delay);
    RUN(a_retry_that_came_to_nothing_does_not_shorten_the_next_delay);
    RUN(a_restart_that_will_not_come_is_not_announced);
    RUN(G09_remove_a_stopped_one_and_it_is_gone);
    RUN(G09_remove_a_running_one_stops_it_first);
    RUN(G10_add_after_remove_starts_with_new_counters);
    RUN(G12_list_and_counts_are_right_at_each_step);
    RUN(G15_no_late_event_after_a_removal);
    RUN(G16_ten_thousand_added_and_removed_leave_no_memory_behind);
    RUN(removing_all_in_an_env_callback_is_only_noted);
    RUN(equal_policies_are_stored_once);
    RUN(bad_specs_are_refused_with_the_worker_named);
    RUN(a_hundred_thousand_start_in_one_step);
    RUN(an_order_before_the_boot_waits_for_it);
    RUN(a_host_that_is_told_to_stop_before_the_boot_starts_nobody);
    RUN(what_has_ended_is_work_until_the_next_step);
    RUN(a_retry_is_not_settled_before_it_is_carried_out);
    RUN(what_was_never_set_up_is_torn_down_without_harm);
    RUN(names_that_no_more_memory_can_sort_are_found_more_slowly);
    RUN(who_stays_is_found_whoever_goes);
    RUN(names_of_one_hash_are_told_apart);
    RUN(a_name_that_waits_for_its_restart_is_taken);
    RUN(nobody_waits_for_anything_before_the_boot);
    RUN(a_restart_that_was_ordered_has_no_delay_to_show);
    RUN(an_order_is_work_until_the_next_step);
    return check_report();
}
