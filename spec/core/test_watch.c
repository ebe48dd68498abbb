/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Watches (start_timeout, watchdog, stop_timeout) of a host that stands still. */
#include "check.h"
#include "world.h"

/* A worker with all of them, five seconds each, that is ready, beats and stops when it is told to. */
static struct body *add_watched(struct world *world, const char *name) {
    struct dh_policy p = world_policy();
    struct body *b;

    p.start_timeout_ns = 5 * SEC;
    p.watchdog_ns = 5 * SEC;
    p.stop_timeout_ns = 5 * SEC;
    b = world_add(world, name, &p);
    b->stop_in = DH_NEVER;
    return b;
}

/* Nobody turns for so long; then comes a look. */
static void stand_still(struct world *world, uint64_t ns) {
    world->now_ns += ns;
    world_turn(world);
}

/* Each time after one turn, so that there is nothing but standstills. */
static void who_is_silent_is_found_though_the_host_is_held_at_every_turn(void) {
    struct world world;
    struct dh_policy p = world_policy();
    int turns = 0;

    p.start_timeout_ns = 5 * SEC;
    world_init(&world);
    add_watched(&world, "silent");
    world_add(&world, "late", &p)->ready_in = DH_NEVER;
    world_boot(&world);
    for (; turns < 50 && world_count(&world, "cancel", "silent") == 0; turns++) {
        dh_sup_on_look(&world.sup, world.now_ns, world.now_ns); /* something is due at every turn */
        world.now_ns += 10 * DH_STANDSTILL_NS;
        dh_sup_on_look(&world.sup, world.now_ns, 0);
        world_turn(&world);
    }
    CHECK_EQ(turns, 50);
    CHECK_EQ(world_count(&world, "cancel", "silent"), 1);
    CHECK_EQ(world_count(&world, "cancel", "late"), 1);
    world_fini(&world);
}

static void a_standstill_is_held_against_no_watchdog(void) {
    struct world world;

    world_init(&world);
    add_watched(&world, "a");
    world_boot(&world);
    world_advance(&world, 3 * SEC);
    world_turn(&world);
    stand_still(&world, 60 * SEC);
    world_advance(&world, 2 * SEC - DH_STANDSTILL_NS - 1);
    CHECK_STR(world_log(&world, "cancel"), "");
    world_advance(&world, 1);
    CHECK_STR(world_log(&world, "cancel"), "a:cancel@64.9");
    world_fini(&world);
}

static void a_standstill_is_held_against_no_start_timeout(void) {
    struct world world;
    struct dh_policy p = world_policy();

    p.start_timeout_ns = 5 * SEC;
    world_init(&world);
    world_add(&world, "a", &p)->ready_in = DH_NEVER;
    world_boot(&world);
    world_advance(&world, 4 * SEC);
    world_turn(&world);
    stand_still(&world, 60 * SEC);
    world_advance(&world, SEC - DH_STANDSTILL_NS - 1);
    CHECK_STR(world_log(&world, "cancel"), "");
    world_advance(&world, 1);
    CHECK_STR(world_log(&world, "cancel"), "a:cancel@64.9");
    CHECK_STR(world_last(&world, "crash", "a")->reason, "not ready within 5 s");
    world_fini(&world);
}

static void who_was_told_to_stop_before_a_standstill_has_his_time_after_it(void) {
    struct world world;
    struct body *b;

    world_init(&world);
    b = add_watched(&world, "a");
    world_boot(&world);
    world_advance(&world, SEC);
    dh_sup_stop(&world.sup, &b->w);
    world_turn(&world);
    world_advance(&world, SEC);
    world_turn(&world);
    stand_still(&world, 60 * SEC);
    stand_still(&world, 60 * SEC); /* and again */
    world_advance(&world, 4 * SEC - 2 * DH_STANDSTILL_NS - 1);
    CHECK_STR(world_log(&world, "kill"), "");
    world_advance(&world, 1);
    CHECK_STR(world_log(&world, "cancel kill"), "a:cancel@1 a:kill@125.8");
    world_fini(&world);
}

/* What comes after the last look and before the standstill's end does not get more than its time. */
static void what_begins_late_in_a_standstill_gets_its_time_once(void) {
    struct world world;
    struct body *a;
    struct body *b;

    world_init(&world);
    a = add_watched(&world, "a");
    b = add_watched(&world, "b");
    world_boot(&world);
    world.now_ns += 30 * SEC;
    dh_sup_on_beat(&world.sup, &a->w, a->run);
    dh_sup_stop(&world.sup, &b->w);
    dh_sup_step(&world.sup);
    world.now_ns += 30 * SEC;
    world_turn(&world);
    world_advance(&world, 5 * SEC);
    CHECK_STR(world_log(&world, "cancel kill"), "b:cancel@30 b:kill@64.9 a:cancel@64.9");
    world_fini(&world);
}

static void a_host_that_had_nothing_to_do_did_not_stand_still(void) {
    struct world world;

    world_init(&world);
    add_watched(&world, "a");
    world_boot(&world);
    stand_still(&world, 5 * SEC + DH_STANDSTILL_NS);
    CHECK_STR(world_log(&world, "cancel"), "a:cancel@5.1");
    world_fini(&world);
}

static void one_that_is_late_by_more_did(void) {
    struct world world;

    world_init(&world);
    add_watched(&world, "a");
    world_boot(&world);
    stand_still(&world, 5 * SEC + DH_STANDSTILL_NS + 1);
    CHECK_STR(world_log(&world, "cancel"), "");
    world_advance(&world, 5 * SEC);
    CHECK_EQ(world_count(&world, "cancel", "a"), 1);
    world_fini(&world);
}

/* Its deadlines were due long ago, but it looked at them just now, and had no memory for more. */
static void a_deadline_that_is_armed_late_is_no_standstill(void) {
    struct world world;

    world_init(&world);
    add_watched(&world, "a");
    world_boot(&world);
    world_advance(&world, 4 * SEC);
    world_turn(&world);
    dh_sup_on_look(&world.sup, world.now_ns + DH_STANDSTILL_NS, SEC);
    world.now_ns += DH_STANDSTILL_NS;
    world_advance(&world, SEC - DH_STANDSTILL_NS);
    CHECK_STR(world_log(&world, "cancel"), "a:cancel@5");
    world_fini(&world);
}

static void who_holds_the_host_is_charged_with_it(void) {
    struct world world;
    struct body *a;
    struct body *b;

    world_init(&world);
    a = add_watched(&world, "a");
    b = add_watched(&world, "b");
    world_boot(&world);
    dh_sup_on_held(&world.sup, &a->w, a->run, 60 * SEC);
    dh_sup_on_held(&world.sup, &b->w, b->run, SEC); /* the longest slice is what counts */
    stand_still(&world, 62 * SEC);
    CHECK_STR(world_log(&world, "cancel"), "a:cancel@62");
    stand_still(&world, 60 * SEC); /* that was then: a is killed late, but not for this */
    CHECK_STR(world_log(&world, "cancel kill"), "a:cancel@62");
    world_advance(&world, 5 * SEC);
    CHECK_STR(world_log(&world, "cancel kill"), "a:cancel@62 b:cancel@126.8 a:kill@126.9");
    world_fini(&world);
}

static void who_held_the_host_where_nobody_waited_is_not(void) {
    struct world world;
    struct body *a;

    world_init(&world);
    a = add_watched(&world, "a");
    world_boot(&world);
    dh_sup_on_held(&world.sup, &a->w, a->run, 3 * SEC);
    stand_still(&world, 3 * SEC);
    dh_sup_on_beat(&world.sup, &a->w, a->run);
    stand_still(&world, 60 * SEC);
    world_advance(&world, 5 * SEC - DH_STANDSTILL_NS - 1);
    CHECK_STR(world_log(&world, "cancel"), "");
    world_fini(&world);
}

/* However long the slice is said to have been. */
static void nobody_is_charged_with_more_than_there_was(void) {
    struct world world;
    struct body *a;

    world_init(&world);
    a = add_watched(&world, "a");
    world_boot(&world);
    world_advance(&world, 4 * SEC);
    world_turn(&world);
    dh_sup_on_held(&world.sup, &a->w, a->run, 60 * SEC);
    dh_sup_on_look(&world.sup, world.now_ns + SEC - 1, 0);
    world.now_ns += SEC - 1;
    world_turn(&world);
    CHECK_STR(world_log(&world, "cancel"), "");
    world_advance(&world, 1);
    CHECK_STR(world_log(&world, "cancel"), "a:cancel@5");
    world_fini(&world);
}

static void another_run_is_not_charged_with_what_the_last_one_held(void) {
    struct world world;
    struct body *a;

    world_init(&world);
    a = add_watched(&world, "a");
    world_boot(&world);
    dh_sup_on_held(&world.sup, &a->w, a->run - 1, 60 * SEC);
    stand_still(&world, 60 * SEC);
    world_advance(&world, 5 * SEC - DH_STANDSTILL_NS - 1);
    CHECK_STR(world_log(&world, "cancel"), "");
    world_fini(&world);
}

/* A holder that is removed is not looked at any more. */
static void who_held_the_host_may_be_removed(void) {
    struct world world;
    struct body *a;

    world_init(&world);
    a = add_watched(&world, "a");
    a->stop_in = 0;
    add_watched(&world, "b");
    world_boot(&world);
    dh_sup_on_held(&world.sup, &a->w, a->run, 60 * SEC);
    world.is_synchronous = true;
    dh_sup_remove(&world.sup, &a->w);
    dh_sup_step(&world.sup);
    CHECK_EQ(world_count(&world, "gone", "a"), 1);
    CHECK(world.sup.holder == NULL);
    stand_still(&world, 60 * SEC);
    CHECK_STR(world_log(&world, "cancel"), "a:cancel@0");
    world_fini(&world);
}

/* A worker without watches, one that waits for ever to stop, and delays, which go by the clock. */
static void a_standstill_changes_nothing_else(void) {
    struct world world;
    struct dh_policy p = world_policy();
    struct body *plain;
    struct body *patient;

    p.stop_timeout_ns = DH_NEVER;
    world_init(&world);
    plain = world_add(&world, "plain", NULL);
    patient = world_add(&world, "patient", &p);
    patient->stop_in = DH_NEVER;
    world_add(&world, "quiet", NULL);
    world_boot(&world);
    body_end(plain, DH_RAISED);
    dh_sup_stop(&world.sup, &patient->w);
    world_turn(&world);
    stand_still(&world, 60 * SEC);
    CHECK_STR(world_log(&world, "start restart kill"),
              "plain:start@0 patient:start@0 quiet:start@0 plain:restart@60 plain:start@60");
    body_end(patient, DH_CANCELLED);
    world_fini(&world);
}

int main(void) {
    RUN(who_is_silent_is_found_though_the_host_is_held_at_every_turn);
    RUN(a_standstill_is_held_against_no_watchdog);
    RUN(a_standstill_is_held_against_no_start_timeout);
    RUN(who_was_told_to_stop_before_a_standstill_has_his_time_after_it);
    RUN(what_begins_late_in_a_standstill_gets_its_time_once);
    RUN(a_host_that_had_nothing_to_do_did_not_stand_still);
    RUN(one_that_is_late_by_more_did);
    RUN(a_deadline_that_is_armed_late_is_no_standstill);
    RUN(who_holds_the_host_is_charged_with_it);
    RUN(who_held_the_host_where_nobody_waited_is_not);
    RUN(nobody_is_charged_with_more_than_there_was);
    RUN(another_run_is_not_charged_with_what_the_last_one_held);
    RUN(who_held_the_host_may_be_removed);
    RUN(a_standstill_changes_nothing_else);
    return check_report();
}
