/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "play.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "core/backoff.h"
#include "spec/core/check.h"

/* Crash loops without delay are cut short after that many events: then nothing fails any more. */
#define EVENTS_MAX 20000

struct play {
    struct observer o; /* first */
    struct scene scene;
    const struct cut *cut;
    struct declared before[SLOTS]; /* what a trial replaced */
    uint64_t rejected;             /* a bit for each worker whose trial has failed */
    bool has_faults;
    FILE *timeline;
};

bool play_has_failed(void) {
    return check_state()->failures > 0;
}

/* --- the timeline ----------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void tell(const struct play *p, const char *fmt, ...) {
    va_list args;

    if (p->timeline == NULL) {
        return;
    }
    fprintf(p->timeline, "%14.9f  ", (double)p->o.world.now_ns / 1e9);
    va_start(args, fmt);
    vfprintf(p->timeline, fmt, args);
    va_end(args);
    fputc('\n', p->timeline);
    fflush(p->timeline); /* an assert may be next */
}

static const char *seconds(uint64_t ns, char text[24]) {
    if (ns == DH_NEVER) {
        return "never";
    }
    snprintf(text, 24, "%.10g s", (double)ns / 1e9);
    return text;
}

static void tell_declared(const struct play *p, const char *verb, int slot,
                          const struct declared *d) {
    static const char *const restarts[] = {"on-failure", "always", "never"};
    const struct dh_policy *policy = &d->policy;
    char t[8][24];

    if (p->timeline == NULL) {
        return;
    }
    tell(p,
         "%s w%d: restart %s, backoff %s * %g to %s +- %g, reset %s, stop %s, start %s, beat "
         "%s%s%s%s",
         verb, slot, restarts[policy->restart], seconds(policy->min_backoff_ns, t[0]),
         policy->backoff_factor, seconds(policy->max_backoff_ns, t[1]), policy->jitter,
         seconds(policy->reset_after_ns, t[2]), seconds(policy->stop_timeout_ns, t[3]),
         seconds(policy->start_timeout_ns, t[4]), seconds(policy->watchdog_ns, t[5]),
         policy->is_essential ? ", essential" : "", policy->notifies ? ", notifies" : "",
         d->is_trial ? ", on trial" : "");
    if (policy->max_restarts != DH_UNLIMITED) {
        tell(p, "    at most %" PRIu32 " restarts in %s", policy->max_restarts,
             seconds(policy->within_ns, t[0]));
    }
    if (d->group >= 0) {
        tell(p, "    group g%d", d->group);
    }
    for (int i = 0; i < SLOTS; i++) {
        if ((d->after >> i) & 1) {
            tell(p, "    after w%d", i);
        }
    }
}

static void tell_event(const struct play *p, int slot, const struct dh_event *ev) {
    char t[24];

    if (p->timeline == NULL) {
        return;
    }
    if (ev->kind == DH_EVENT_STATE) {
        tell(p, "    w%d %s", slot, dh_state_name(ev->to));
    } else if (ev->kind == DH_EVENT_CRASH) {
        tell(p, "    w%d #%" PRIu32 " crash: %s, %s %s, streak %" PRIu32, slot, ev->run,
             ev->reason != NULL ? ev->reason : "raised",
             ev->is_stopping ? "while stopping, restart" : "restart in", seconds(ev->delay_ns, t),
             ev->streak);
    } else {
        tell(p, "    w%d #%" PRIu32 " %s%s%s", slot, ev->run, dh_event_name(ev->kind),
             ev->reason != NULL ? ": " : "", ev->reason != NULL ? ev->reason : "");
    }
}

/* --- orders ----------------------------------------------------------------------------------- */

static bool is_there(const struct play *p, int slot) {
    return p->o.seen[slot].body != NULL;
}

static void order(struct play *p, struct dice *d) {
    static const char *const names[ORDER_COUNT] = {"start", "stop",  "restart",
                                                   "retry", "reset", "remove"};
    int slot = (int)roll(d, (uint64_t)p->scene.slots);
    enum order what = (enum order)roll(d, ORDER_COUNT);

    if (what == ORDER_REMOVE && roll(d, 3) > 0) {
        what = ORDER_RESTART;
    }
    if (is_there(p, slot)) {
        int rc = observer_order(&p->o, slot, what);
        tell(p, "%s w%d%s", names[what], slot, rc < 0 ? ": refused" : "");
    }
}

static void on_event(struct observer *o, int slot, const struct dh_event *ev) {
    struct play *p = (struct play *)o;
    struct seen *s = &o->seen[slot];
    bool is_fit = ev->kind == DH_EVENT_READY || ev->kind == DH_EVENT_STOP ||
                  ev->kind == DH_EVENT_DONE || ev->kind == DH_EVENT_GIVE_UP ||
                  ev->kind == DH_EVENT_RECOVERED || ev->kind == DH_EVENT_GROUP_RESTART ||
                  ev->kind == DH_EVENT_KILL || ev->kind == DH_EVENT_BLOCKED;

    tell_event(p, slot, ev);
    if (o->events > EVENTS_MAX) {
        p->has_faults = false;
    }
    if (ev->kind == DH_EVENT_START) {
        struct dice d = scene_dice(&p->scene, FOR_RUN, ((uint64_t)slot << 32) | ev->run);
        roll_habits(&d, &p->scene, s->body, &s->declared.policy, p->has_faults);
        if (o->mutation == LOST_CLOSED && roll(&d, 10) == 0) {
            s->body->close_in = DH_NEVER;
        }
    } else if (ev->kind == DH_EVENT_REJECTED) {
        p->rejected |= UINT64_C(1) << slot;
    }
    /* A hook that meddles. Not from 'crash', or an order would come before the give_up it seems to
    ** follow. */
    if (is_fit && p->has_faults && scene_has(&p->scene, FAULT_MEDDLING)) {
        struct dice d = scene_dice(&p->scene, FOR_MEDDLING, o->events);
        if (roll(&d, 8) == 0) {
            order(p, &d);
        }
    }
}

/* What reload does when a new declaration does not last. */
static void change_back(struct play *p) {
    for (int i = 0; i < SLOTS; i++) {
        struct seen *s = &p->o.seen[i];
        if (((p->rejected >> i) & 1) && is_there(p, i) && !s->is_removing && i % 4 > 0 &&
            !p->o.is_shutting_down) {
            tell_declared(p, "change back", i, &p->before[i]);
            observer_change(&p->o, i, &p->before[i]);
            observer_order(&p->o, i, ORDER_RESTART);
        }
    }
    p->rejected = 0;
}

/* --- time ------------------------------------------------------------------------------------- */

static void turn_once(struct play *p) {
    observer_look(&p->o);
    world_turn(&p->o.world);
    observer_check(&p->o);
}

static void turn(struct play *p) {
    turn_once(p);
    if (p->rejected != 0) {
        change_back(p);
        turn_once(p);
    }
}

/* Everything that is due in the next ns, with a check after each turn. */
static void advance(struct play *p, uint64_t ns) {
    struct world *world = &p->o.world;
    uint64_t target = dh_time_add(world->now_ns, ns);

    turn(p);
    while (!play_has_failed()) {
        uint64_t next = dh_timerq_next(&world->timers);
        uint64_t body = dh_timerq_next(&world->script_timers);
        next = body < next ? body : next;
        if (next > target || next == DH_NEVER) {
            break;
        }
        world->now_ns = next;
        turn(p);
    }
    if (!play_has_failed()) {
        world->now_ns = target;
        observer_check(&p->o);
    }
}

/* --- commands --------------------------------------------------------------------------------- */

static uint64_t present(const struct play *p) {
    uint64_t slots = 0;

    for (int i = 0; i < SLOTS; i++) {
        slots |= (uint64_t)is_there(p, i) << i;
    }
    return slots;
}

static void add(struct play *p, struct dice *d, int slot) {
    struct declared declared = roll_declared(d, &p->scene, slot, present(p));

    if ((p->cut != NULL && ((p->cut->slots >> slot) & 1)) || is_there(p, slot)) {
        return;
    }
    tell_declared(p, "add", slot, &declared);
    observer_add(&p->o, slot, &declared);
}

/* What it will wait for may be missing, now or for ever. */
static void change(struct play *p, struct dice *d, int slot) {
    struct seen *s = &p->o.seen[slot];
    struct declared declared = roll_declared(d, &p->scene, slot, UINT64_MAX);

    if (s->is_removing) {
        return;
    }
    declared.is_trial = roll(d, 2) == 0;
    tell_declared(p, "change", slot, &declared);
    p->before[slot] = s->declared;
    p->before[slot].is_trial = false;
    if (observer_change(&p->o, slot, &declared) == 0 && roll(d, 2) == 0) {
        observer_order(&p->o, slot, ORDER_RESTART);
    }
}

static void change_group(struct play *p, struct dice *d) {
    enum dh_strategy strategy;
    uint32_t max_restarts;
    uint64_t within_ns;
    int group;

    if (p->scene.groups == 0) {
        return;
    }
    group = (int)roll(d, (uint64_t)p->scene.groups);
    roll_group(d, &strategy, &max_restarts, &within_ns);
    tell(p, "change g%d: %s, at most %" PRIu32 " restarts in %g s", group,
         dh_strategy_name(strategy), max_restarts, (double)within_ns / 1e9);
    observer_change_group(&p->o, group, strategy, max_restarts, within_ns);
}

static void end_body(struct play *p, struct dice *d, struct body *b, int slot) {
    enum dh_ending ending = roll(d, 3) == 0 ? DH_RETURNED : DH_RAISED;

    tell(p, "w%d %s", slot, ending == DH_RETURNED ? "returns" : "raises");
    body_end(b, ending);
}

/* Something that the body of a worker does. */
static void disturb(struct play *p, struct dice *d, int slot) {
    struct body *b = p->o.seen[slot].body;
    uint64_t what = roll(d, 4);

    if (!b->is_live || b->has_ended) {
        return;
    }
    if (what < 2) {
        end_body(p, d, b, slot);
    } else if (what == 2) {
        tell(p, "w%d says it is healthy", slot);
        observer_healthy(&p->o, slot);
    } else {
        tell(p, "w%d says it is ready", slot);
        dh_sup_on_ready(&p->o.world.sup, &b->w, b->run, true);
    }
}

static void lose_memory(struct play *p, struct dice *d) {
    struct counting_alloc *memory = &p->o.world.memory;

    memory->fail_from = memory->calls + 1 + roll(d, 4);
    memory->fail_to = memory->fail_from + roll(d, 8);
    p->o.was_short_of_memory = true;
    tell(p, "no memory for %d allocations", (int)(memory->fail_to - memory->fail_from + 1));
}

static void shut_down(struct play *p, bool is_forced) {
    tell(p, "shutdown%s", is_forced ? " at once" : "");
    observer_shutdown(&p->o, is_forced);
}

static void command(struct play *p, struct dice *d) {
    int slot = (int)roll(d, (uint64_t)p->scene.slots);
    uint64_t what = roll(d, 32);

    if (what == 31) {
        if (roll(d, 10) == 0) {
            shut_down(p, roll(d, 3) == 0);
        }
    } else if (what == 30) {
        change_group(p, d);
    } else if (what == 29) {
        if (scene_has(&p->scene, FAULT_NO_MEMORY)) {
            lose_memory(p, d);
        }
    } else if (!is_there(p, slot)) {
        add(p, d, slot);
    } else if (what == 28 && !p->o.is_shutting_down) {
        tell(p, "w%d moves to the end", slot);
        dh_sup_move_last(&p->o.world.sup, &p->o.seen[slot].body->w);
    } else if (what < 12) {
        order(p, d);
    } else if (what < 16) {
        change(p, d, slot);
    } else if (what < 18) {
        if (scene_has(&p->scene, FAULT_LATE_REPORT)) {
            observer_late_report(&p->o, slot, (unsigned)roll(d, 5));
        }
    } else {
        disturb(p, d, slot);
    }
}

/* The clock jumps over deadlines: because a worker does not give up the CPU, or for everybody. */
static void stand_still(struct play *p, struct dice *d, enum fault fault) {
    uint64_t ns = roll_time(d);
    int slot = fault == FAULT_LONG_SLICE ? (int)roll(d, (uint64_t)p->scene.slots) : -1;

    if (slot >= 0 && !(is_there(p, slot) && p->o.seen[slot].body->is_live)) {
        slot = -1; /* the host itself */
    }
    tell(p, "nothing turns for %g s: w%d", (double)ns / 1e9, slot);
    observer_jump(&p->o, slot, ns);
}

static void sabotage(struct play *p, struct dice *d) {
    int slot = (int)roll(d, (uint64_t)p->scene.slots);

    if (p->o.mutation == EXTRA_RESTART && is_there(p, slot) && roll(d, 10) == 0) {
        dh_sup_restart(&p->o.world.sup, &p->o.seen[slot].body->w);
    }
}

/* --- the acts --------------------------------------------------------------------------------- */

static void declare(struct play *p) {
    struct dice d;

    for (int i = 0; i < p->scene.groups; i++) {
        enum dh_strategy strategy;
        uint32_t max_restarts;
        uint64_t within_ns;
        d = scene_dice(&p->scene, FOR_GROUP, (uint64_t)i);
        roll_group(&d, &strategy, &max_restarts, &within_ns);
        tell(p, "g%d: %s, at most %" PRIu32 " restarts in %g s", i, dh_strategy_name(strategy),
             max_restarts, (double)within_ns / 1e9);
        observer_add_group(&p->o, i, strategy, max_restarts, within_ns);
    }
    for (int i = 0; i < p->scene.slots; i++) {
        d = scene_dice(&p->scene, FOR_SLOT, (uint64_t)i);
        add(p, &d, i);
    }
}

static bool is_at_end(const struct scene *scene) {
    return scene->tape != NULL && scene->tape->left == 0;
}

static void act_1(struct play *p) {
    p->has_faults = true;
    CHECK_EQ(dh_sup_boot(&p->o.world.sup, NULL), 0);
    turn(p);
    for (int i = 0; i < p->scene.commands && !play_has_failed() && !is_at_end(&p->scene); i++) {
        struct dice d = scene_dice(&p->scene, FOR_COMMAND, (uint64_t)i);
        if (p->cut != NULL && p->cut->commands[i]) {
            continue;
        }
        command(p, &d);
        sabotage(p, &d);
        /* several things in one turn are the interesting ones */
        if (roll(&d, 3) == 0) {
            turn(p);
        }
        if (roll(&d, 3) == 0) {
            advance(p, roll_time(&d));
        } else if (roll(&d, 8) == 0 && scene_has(&p->scene, FAULT_LONG_SLICE)) {
            stand_still(p, &d, FAULT_LONG_SLICE);
        } else if (roll(&d, 8) == 0 && scene_has(&p->scene, FAULT_STANDSTILL)) {
            stand_still(p, &d, FAULT_STANDSTILL);
        }
    }
}

/* From now on b does what it should. */
static void behave(struct play *p, int slot) {
    struct body *b = p->o.seen[slot].body;
    struct dh_timerq *q = &p->o.world.script_timers;

    dh_timerq_disarm(q, &b->end_timer);
    b->fail_starts = 0;
    b->stop_in = 0;
    b->kill_in = 0;
    b->close_in = p->o.mutation == LOST_CLOSED ? b->close_in : 0;
    b->stop_ending = DH_CANCELLED;
    if (!b->is_live) {
        return;
    }
    if (!b->has_ended && (b->was_cancelled || b->was_killed)) {
        body_end(b, DH_CANCELLED);
    } else if (!b->has_ended) {
        uint64_t watchdog = b->w.policy->watchdog_ns;
        body_ready(b);
        b->beat_every = watchdog != DH_NEVER ? watchdog / 2 : DH_NEVER;
        body_beat(b);
    } else if (b->close_in != DH_NEVER) {
        body_close(b);
    }
}

static void check_all_run(struct play *p, uint32_t runs[SLOTS]) {
    for (int i = 0; i < SLOTS; i++) {
        const struct seen *s = &p->o.seen[i];
        if (observer_should_run(&p->o, i)) {
            CHECK(s->state == DH_RUNNING);
            CHECK(s->is_ready);
            CHECK(runs[i] == 0 || runs[i] == s->run); /* nobody restarts what runs */
            runs[i] = s->run;
        }
    }
}

static void act_2(struct play *p) {
    uint32_t runs[SLOTS] = {0};
    uint64_t patience_ns = SEC;

    p->has_faults = false;
    p->o.world.memory.fail_to = 0;
    tell(p, "no faults any more");
    turn(p);                                  /* what is due already */
    for (int round = 0; round < 2; round++) { /* in the first some trial may be called off */
        for (int i = 0; i < SLOTS; i++) {
            if (is_there(p, i)) {
                behave(p, i);
            }
        }
        turn(p);
    }
    advance(p, observer_longest_delay(&p->o));
    if (play_has_failed()) {
        return;
    }
    check_all_run(p, runs);
    for (int i = 0; i < SLOTS; i++) {
        uint64_t reset_after = is_there(p, i) ? p->o.seen[i].declared.policy.reset_after_ns : 0;
        if (reset_after != DH_NEVER && reset_after > patience_ns) {
            patience_ns = reset_after;
        }
    }
    advance(p, patience_ns); /* the observer checks that streaks and trials end */
    if (!play_has_failed()) {
        check_all_run(p, runs);
    }
}

static void act_3(struct play *p) {
    struct observer *o = &p->o;
    uint64_t last_ns = o->world.now_ns;
    struct dice d;

    for (int i = 0; i < SLOTS; i++) {
        if (is_there(p, i) && o->seen[i].body->is_live && !o->is_shutting_down) {
            d = scene_dice(&p->scene, FOR_SHUTDOWN, (uint64_t)i);
            roll_stopping(&d, &p->scene, o->seen[i].body, &o->seen[i].declared.policy);
        }
    }
    d = scene_dice(&p->scene, FOR_SHUTDOWN, SLOTS);
    if (!o->is_shutting_down) {
        shut_down(p, roll(&d, 8) == 0);
    }
    if (roll(&d, 4) == 0) {
        advance(p, roll_time(&d));
        if (!play_has_failed()) {
            shut_down(p, true);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        if (is_there(p, i) && o->seen[i].gone_by_ns > last_ns) {
            last_ns = o->seen[i].gone_by_ns;
        }
    }
    if (!play_has_failed()) {
        advance(p, last_ns - o->world.now_ns);
    }
    if (!play_has_failed()) {
        CHECK(dh_sup_is_finished(&o->world.sup));
        CHECK(dh_timerq_next(&o->world.timers) == DH_NEVER);
    }
}

static struct outcome play_scene(const struct scene *scene, enum mutation mutation,
                                 const struct cut *cut, FILE *timeline) {
    struct play *p = calloc(1, sizeof *p);
    struct check *check = check_state();
    struct outcome outcome;

    check->is_quiet = true;
    check->failures = 0;
    observer_init(&p->o, mutation, scene->seed + (mutation == CHANCE ? (uint64_t)rand() : 0));
    p->scene = *scene;
    p->cut = cut;
    p->timeline = timeline;
    p->o.on_event = on_event;
    p->o.world.is_synchronous = p->scene.is_synchronous;
    p->o.world.are_bodies_first = p->scene.are_bodies_first;
    for (int i = 0; i < FAULTS && timeline != NULL; i++) {
        if (scene_has(&p->scene, (enum fault)i)) {
            tell(p, "fault: %s", fault_text((enum fault)i));
        }
    }
    declare(p);
    act_1(p);
    if (!play_has_failed()) {
        act_2(p);
    }
    if (!play_has_failed()) {
        act_3(p);
    }
    outcome = (struct outcome){.events = p->o.events, .hash = p->o.world.hash};
    if (timeline != NULL && play_has_failed()) {
        tell(p, "failed: %s:%d: %s", check->file, check->line, check->what);
    }
    observer_fini(&p->o);
    free(p);
    return outcome;
}

struct outcome play(uint64_t seed, enum mutation mutation, const struct cut *cut, FILE *timeline) {
    struct scene scene;

    scene_init(&scene, seed, cut, NULL);
    return play_scene(&scene, mutation, cut, timeline);
}

struct outcome play_tape(uint64_t seed, struct tape tape, enum mutation mutation, FILE *timeline) {
    struct scene scene;

    scene_init(&scene, seed, NULL, &tape);
    return play_scene(&scene, mutation, NULL, timeline);
}
