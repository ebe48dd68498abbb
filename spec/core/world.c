/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { TIMER_READY = DH_TIMER_OTHERS, TIMER_BEAT, TIMER_END, TIMER_CLOSE };

#define OWNER(t, field) ((struct body *)(void *)((char *)(t)-offsetof(struct body, field)))

uint64_t world_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Behind each block: who writes there is found out when the block goes. */
static const char guard[16] = "not your memory";

static void release(char *block, size_t size) {
    assert(block == NULL || memcmp(block + size, guard, sizeof guard) == 0);
    free(block);
}

static void *count_alloc(struct dh_alloc *self, void *block, size_t old_size, size_t new_size) {
    struct counting_alloc *a = (struct counting_alloc *)self;
    char *fresh;

    assert((block == NULL) == (old_size == 0));
    if (new_size == 0) {
        a->blocks -= block != NULL;
        a->bytes -= old_size;
        release(block, old_size);
        return NULL;
    }
    a->calls++;
    if (a->calls >= a->fail_from && a->calls <= a->fail_to) {
        return NULL;
    }
    fresh = malloc(new_size + sizeof guard); /* moves: who keeps the old address is found out */
    if (block != NULL) {
        memcpy(fresh, block, old_size < new_size ? old_size : new_size);
        release(block, old_size);
    }
    memcpy(fresh + new_size, guard, sizeof guard);
    a->blocks += block == NULL;
    a->bytes += new_size - old_size;
    return fresh;
}

/* --- records ---------------------------------------------------------------------------------- */

static void set_name(struct record *r, const struct dh_worker *w) {
    size_t len = w->name_len < sizeof r->name ? w->name_len : sizeof r->name - 1;

    memcpy(r->name, w->name, len);
    r->name[len] = '\0';
}

/* reason: or NULL. */
static void add_record(struct world *world, const struct record *r, const char *reason) {
    struct record *kept;
    uint64_t h = world->hash ^ (uint64_t)r->kind ^ r->at_ns;

    for (const char *p = r->name; *p != '\0'; p++) {
        h = h * 31 + (unsigned char)*p;
    }
    h ^= ((uint64_t)r->run << 32) ^ ((uint64_t)r->from << 8) ^ r->to ^ r->delay_ns;
    h = world_random(&h) ^ r->outage_ns ^ ((uint64_t)r->streak << 32) ^ r->window_count;
    h ^= ((uint64_t)r->max_restarts << 8) ^ ((uint64_t)r->will_restart << 1) ^ r->is_stopping;
    world->hash = world_random(&h);
    if (world->keeps_no_records) {
        return;
    }
    if (world->record_count == world->record_capacity) {
        world->record_capacity = world->record_capacity * 2 + 64;
        world->records = realloc(world->records, world->record_capacity * sizeof *world->records);
    }
    kept = &world->records[world->record_count++];
    *kept = *r;
    snprintf(kept->reason, sizeof kept->reason, "%s", reason != NULL ? reason : "");
}

static void record_call(struct world *world, struct dh_worker *w, enum world_call call) {
    struct record r = {.kind = (int)call, .at_ns = world->now_ns, .run = w->run};

    set_name(&r, w);
    add_record(world, &r, NULL);
}

static void on_emit(struct dh_env *env, const struct dh_event *ev) {
    struct world *world = (struct world *)env;
    struct record r = {
        .kind = (int)ev->kind,
        .at_ns = ev->at_ns,
        .run = ev->run,
        .from = ev->from,
        .to = ev->to,
        .delay_ns = ev->delay_ns,
        .outage_ns = ev->outage_ns,
        .streak = ev->streak,
        .window_count = ev->window_count,
        .max_restarts = ev->max_restarts,
        .will_restart = ev->will_restart,
        .is_stopping = ev->is_stopping,
        .failure = ev->outcome != NULL ? ev->outcome->failure : NULL,
    };

    CHECK_EQ(ev->at_ns, world->now_ns);
    set_name(&r, ev->worker);
    if (ev->kind == DH_EVENT_GONE) {
        struct body *b = (struct body *)ev->worker;
        CHECK(!b->is_live);
        CHECK(!b->is_gone);
        CHECK(!dh_timer_is_armed(&b->w.timer));
        b->is_gone = true;
        /* whoever touches it after this shall regret it */
        memset(&b->w, 0xA5, sizeof b->w);
    } else {
        CHECK(!((struct body *)ev->worker)->is_gone);
    }
    if (ev->kind == DH_EVENT_KILL) { /* recorded as the call that must follow */
        ((struct body *)ev->worker)->is_kill_told = true;
        return;
    }
    add_record(world, &r, ev->reason);
    if (world->on_event != NULL) {
        world->on_event(world, ev);
    }
}

static const char *kind_text(const struct record *r) {
    switch (r->kind) {
        case CALL_CANCEL:
            return "cancel";
        case CALL_KILL:
            return "kill";
        default:
            return dh_event_name((enum dh_event_kind)r->kind);
    }
}

static bool is_named(const char *word, const char *list) {
    size_t len = strlen(word);

    for (const char *p = strstr(list, word); p != NULL; p = strstr(p + 1, word)) {
        bool starts = p == list || p[-1] == ' ';
        if (starts && (p[len] == ' ' || p[len] == '\0')) {
            return true;
        }
    }
    return false;
}

const char *world_log(struct world *world, const char *kinds) {
    size_t at = 0;

    world->text[0] = '\0';
    for (size_t i = 0; i < world->record_count; i++) {
        const struct record *r = &world->records[i];
        const char *kind = kind_text(r);
        if (!is_named(kind, kinds) || at + 64 > sizeof world->text) {
            continue;
        }
        at += (size_t)snprintf(
            world->text + at, sizeof world->text - at, "%s%s:%s@%.9g", at > 0 ? " " : "", r->name,
            r->kind == DH_EVENT_STATE ? dh_state_name(r->to) : kind, (double)r->at_ns / 1e9);
    }
    return world->text;
}

size_t world_count(struct world *world, const char *kind, const char *name) {
    size_t n = 0;

    for (size_t i = 0; i < world->record_count; i++) {
        const struct record *r = &world->records[i];
        n += strcmp(kind_text(r), kind) == 0 && (name == NULL || strcmp(r->name, name) == 0);
    }
    return n;
}

const struct record *world_last(struct world *world, const char *kind, const char *name) {
    for (size_t i = world->record_count; i > 0; i--) {
        const struct record *r = &world->records[i - 1];
        if (strcmp(kind_text(r), kind) == 0 && strcmp(r->name, name) == 0) {
            return r;
        }
    }
    return NULL;
}

void world_clear_log(struct world *world) {
    world->record_count = 0;
}

/* --- bodies ----------------------------------------------------------------------------------- */

static void arm_script(struct world *world, struct dh_timer *t, uint64_t in_ns) {
    if (in_ns == DH_NEVER) {
        dh_timerq_disarm(&world->script_timers, t);
    } else {
        dh_timerq_arm(&world->script_timers, t, world->now_ns + in_ns);
    }
}

void body_ready(struct body *b) {
    dh_timerq_disarm(&b->world->script_timers, &b->ready_timer);
    dh_sup_on_ready(&b->world->sup, &b->w, b->run, b->w.policy->notifies);
}

void body_beat(struct body *b) {
    b->beat_ns = b->world->now_ns;
    dh_sup_on_beat(&b->world->sup, &b->w, b->run);
    arm_script(b->world, &b->beat_timer, b->beat_every);
}

void body_end(struct body *b, enum dh_ending ending) {
    assert(b->is_live && !b->has_ended);
    if (dh_timer_is_armed(&b->ready_timer) && ending == DH_RETURNED) {
        body_ready(b); /* a return is a first await, too */
    }
    dh_timerq_disarm(&b->world->script_timers, &b->ready_timer);
    dh_timerq_disarm(&b->world->script_timers, &b->beat_timer);
    dh_timerq_disarm(&b->world->script_timers, &b->end_timer);
    b->has_ended = true;
    dh_outcome_init(&b->outcome, ending, b->world->now_ns);
    b->outcome.is_fatal = b->is_fatal;
    b->outcome.retry_after_ns = b->retry_after;
    b->outcome.was_killed = b->was_killed;
    b->outcome.failure = ending == DH_RAISED ? &b->failure : NULL;
    dh_sup_on_ended(&b->world->sup, &b->w, b->run, &b->outcome);
    if (b->close_in == 0) {
        body_close(b);
    } else {
        arm_script(b->world, &b->close_timer, b->close_in);
    }
}

void body_close(struct body *b) {
    assert(b->is_live && b->has_ended);
    dh_timerq_disarm(&b->world->script_timers, &b->close_timer);
    b->is_live = false;
    dh_sup_on_closed(&b->world->sup, &b->w, b->run);
}

static int start_run(struct dh_env *env, struct dh_worker *w) {
    struct world *world = (struct world *)env;
    struct body *b = (struct body *)w;

    CHECK(!b->is_live);
    CHECK(!b->is_gone);
    CHECK_EQ(w->state, DH_RUNNING);
    if (b->fail_starts != 0) {
        b->fail_starts -= b->fail_starts > 0;
        return DH_ENOMEM;
    }
    b->is_live = true;
    b->has_ended = false;
    b->was_cancelled = false;
    b->was_killed = false;
    b->run = w->run;
    b->beat_ns = 0;
    arm_script(world, &b->ready_timer, b->ready_in);
    arm_script(world, &b->beat_timer, b->beat_every);
    arm_script(world, &b->end_timer, b->end_in);
    return 0;
}

static void stop_body(struct body *b, uint64_t in_ns) {
    if (in_ns == 0 && b->world->is_synchronous) {
        body_end(b, b->stop_ending);
    } else if (in_ns != DH_NEVER) {
        arm_script(b->world, &b->end_timer, in_ns);
    }
}

static void cancel_run(struct dh_env *env, struct dh_worker *w) {
    struct body *b = (struct body *)w;

    CHECK(b->is_live && !b->has_ended && !b->was_cancelled && !b->was_killed);
    record_call((struct world *)env, w, CALL_CANCEL);
    b->was_cancelled = true;
    stop_body(b, b->stop_in);
}

static void kill_run(struct dh_env *env, struct dh_worker *w) {
    struct body *b = (struct body *)w;

    CHECK(b->is_live && !b->has_ended && !b->was_killed && b->is_kill_told);
    b->is_kill_told = false;
    record_call((struct world *)env, w, CALL_KILL);
    b->was_killed = true;
    stop_body(b, b->kill_in);
}

static void on_script_timer(struct world *world, struct dh_timer *t) {
    struct body *b;

    (void)world;
    switch (t->kind) {
        case TIMER_READY:
            body_ready(OWNER(t, ready_timer));
            break;
        case TIMER_BEAT:
            body_beat(OWNER(t, beat_timer));
            break;
        case TIMER_END:
            b = OWNER(t, end_timer);
            body_end(b, b->was_cancelled || b->was_killed ? b->stop_ending : b->ending);
            break;
        case TIMER_CLOSE:
            body_close(OWNER(t, close_timer));
            break;
        default:
            CHECK(false);
    }
}

/* --- the rest of the table -------------------------------------------------------------------- */

static uint64_t env_now(struct dh_env *env) {
    return ((struct world *)env)->now_ns;
}

static uint64_t env_random(struct dh_env *env) {
    struct world *world = (struct world *)env;

    world->random_calls++;
    return world->use_fixed_random ? world->fixed_random : world_random(&world->random_state);
}

static int env_arm(struct dh_env *env, struct dh_timer *t, uint64_t deadline_ns) {
    struct world *world = (struct world *)env;
    int rc = dh_timerq_arm(&world->timers, t, deadline_ns);

    world->arm_failures += rc < 0;
    return rc;
}

static uint64_t env_deadline(const struct dh_env *env, const struct dh_timer *t) {
    return dh_timerq_deadline(&((const struct world *)env)->timers, t);
}

static void env_disarm(struct dh_env *env, struct dh_timer *t) {
    dh_timerq_disarm(&((struct world *)env)->timers, t);
}

void world_init(struct world *world) {
    memset(world, 0, sizeof *world);
    world->memory.alloc.fn = count_alloc;
    world->script_memory.alloc.fn = count_alloc;
    world->env = (struct dh_env){
        .alloc = &world->memory.alloc,
        .now = env_now,
        .random = env_random,
        .arm = env_arm,
        .disarm = env_disarm,
        .deadline = env_deadline,
        .start_run = start_run,
        .cancel_run = cancel_run,
        .kill_run = kill_run,
        .emit = on_emit,
    };
    dh_timerq_init(&world->timers, &world->memory.alloc);
    dh_timerq_init(&world->script_timers, &world->script_memory.alloc);
    dh_sup_init(&world->sup, &world->env);
}

void world_fini(struct world *world) {
    struct body *next;

    dh_sup_fini(&world->sup);
    CHECK_EQ(world->timers.count, 0);
    dh_timerq_fini(&world->timers);
    CHECK_EQ(world->memory.blocks, 0);
    CHECK_EQ(world->memory.bytes, 0);
    dh_timerq_fini(&world->script_timers);
    for (struct body *b = world->bodies; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    free(world->records);
}

struct dh_policy world_policy(void) {
    struct dh_policy p;

    dh_policy_init_defaults(&p);
    return p;
}

static size_t split(const char *list, struct dh_name *names, size_t max) {
    size_t n = 0;

    while (list != NULL && *list != '\0' && n < max) {
        size_t len = strcspn(list, " ");
        names[n++] = (struct dh_name){list, len};
        list += len;
        list += *list == ' ';
    }
    return n;
}

struct body *world_try_add(struct world *world, const char *name, const struct dh_policy *p,
                           const char *after, struct dh_group *group, struct dh_error *err) {
    struct dh_policy defaults = world_policy();
    struct dh_name names[32];
    struct body *b = calloc(1, sizeof *b);
    struct dh_spec spec = {
        .policy = p != NULL ? p : &defaults,
        .after = names,
        .after_count = split(after, names, 32),
        .group = group,
    };
    int rc;

    snprintf(b->name, sizeof b->name, "%s", name);
    spec.name = (struct dh_name){b->name, strlen(b->name)};
    b->world = world;
    b->beat_every = DH_NEVER;
    b->end_in = DH_NEVER;
    b->retry_after = DH_NEVER;
    b->stop_ending = DH_CANCELLED;
    b->ready_timer.kind = TIMER_READY;
    b->beat_timer.kind = TIMER_BEAT;
    b->end_timer.kind = TIMER_END;
    b->close_timer.kind = TIMER_CLOSE;
    rc = dh_sup_add(&world->sup, &b->w, &spec, err);
    if (rc < 0) {
        CHECK(err == NULL || (err->code == rc && err->text[0] != '\0'));
        free(b);
        return NULL;
    }
    b->next = world->bodies;
    world->bodies = b;
    return b;
}

int world_change(struct body *b, const struct dh_policy *p, const char *after,
                 struct dh_group *group, bool is_trial) {
    struct dh_policy defaults = world_policy();
    struct dh_name names[32];
    struct dh_spec spec = {
        .policy = p != NULL ? p : &defaults,
        .after = names,
        .after_count = split(after, names, 32),
        .group = group,
    };

    return dh_sup_change(&b->world->sup, &b->w, &spec, is_trial, NULL);
}

struct body *world_add(struct world *world, const char *name, const struct dh_policy *p) {
    return world_try_add(world, name, p, NULL, NULL, NULL);
}

struct dh_group *world_group(struct world *world, const char *name, enum dh_strategy strategy,
                             uint32_t max_restarts, uint64_t within_ns) {
    struct dh_group *group = NULL;
    struct dh_group_spec spec = {
        .name = {name, strlen(name)},
        .strategy = strategy,
        .max_restarts = max_restarts,
        .within_ns = within_ns,
    };

    dh_sup_add_group(&world->sup, &spec, &group, NULL);
    return group;
}

struct body *world_body(struct world *world, const char *name) {
    return (struct body *)dh_sup_find(&world->sup, name, strlen(name));
}

enum dh_state body_state(const struct body *b) {
    return (enum dh_state)b->w.state;
}

/* --- time ------------------------------------------------------------------------------------- */

void world_boot(struct world *world) {
    struct dh_error err = {0, ""};

    if (!CHECK_EQ(dh_sup_boot(&world->sup, &err), 0)) {
        printf("%s\n", err.text);
    }
    world_turn(world);
}

/* Both return whether there was anything to do. */
static bool play_bodies(struct world *world) {
    struct dh_timer *t;
    bool is_busy = false;

    while ((t = dh_timerq_pop(&world->script_timers, world->now_ns)) != NULL) {
        on_script_timer(world, t);
        is_busy = true;
    }
    return is_busy;
}

static bool report_deadlines(struct world *world) {
    struct dh_timer *t;
    bool is_busy = false;

    while ((t = dh_timerq_pop(&world->timers, world->now_ns)) != NULL) {
        dh_sup_on_timer(&world->sup, t);
        is_busy = true;
    }
    return is_busy;
}

void world_turn(struct world *world) {
    if (!world->is_blind) {
        dh_sup_on_look(&world->sup, world->now_ns, dh_timerq_next(&world->timers));
    }
    dh_sup_step(&world->sup);
    for (int rounds = 0;; rounds++) {
        bool is_busy;
        if (rounds > 100000) {
            CHECK_EQ(rounds, 0); /* it stands still at one instant */
            return;
        }
        is_busy = world->are_bodies_first && play_bodies(world);
        is_busy |= report_deadlines(world);
        is_busy |= !world->are_bodies_first && play_bodies(world);
        dh_sup_step(&world->sup);
        if (!is_busy && dh_timerq_next(&world->timers) > world->now_ns &&
            dh_timerq_next(&world->script_timers) > world->now_ns) {
            return;
        }
    }
}

void world_advance(struct world *world, uint64_t ns) {
    uint64_t target = world->now_ns + ns;

    world_turn(world);
    for (;;) {
        uint64_t next = dh_timerq_next(&world->timers);
        uint64_t script = dh_timerq_next(&world->script_timers);
        next = script < next ? script : next;
        if (next > target) {
            break;
        }
        world->now_ns = next;
        world_turn(world);
    }
    world->now_ns = target;
    dh_sup_step(&world->sup);
}

const char *world_states(struct world *world) {
    size_t at = 0;

    world->text[0] = '\0';
    for (struct dh_worker *w = dh_sup_first(&world->sup); w != NULL; w = dh_sup_next(w)) {
        at += (size_t)snprintf(world->text + at, sizeof world->text - at, "%s%.*s=%s",
                               at > 0 ? " " : "", w->name_len, w->name, dh_state_name(w->state));
    }
    return world->text;
}

const char *world_waiting_for(struct world *world, const char *name) {
    struct dh_status status;

    dh_sup_status(&world->sup, &world_body(world, name)->w, world->now_ns, &status);
    snprintf(world->text, sizeof world->text, "%s", status.waiting_for);
    return world->text;
}
