/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "scene.h"

#include <stddef.h>

const char *fault_text(enum fault fault) {
    static const char *const texts[FAULTS] = {
#define X(name, text) text,
        FAULT_MAP(X)
#undef X
    };
    return texts[fault];
}

struct dice scene_dice(const struct scene *scene, enum purpose purpose, uint64_t which) {
    struct dice d = {.state = scene->seed};

    d.state = world_random(&d.state) + (uint64_t)purpose;
    d.state = world_random(&d.state) + which;
    d.state = world_random(&d.state);
    d.tape = purpose != FOR_RUN && purpose != FOR_MEDDLING ? scene->tape : NULL;
    return d;
}

/* As many bytes as it takes to be anything below n. */
static uint64_t read_tape(struct tape *tape, uint64_t n) {
    uint64_t value = 0;

    for (; n > 0 && tape->left > 0; n >>= 8, tape->left--) {
        value = value << 8 | *tape->at++;
    }
    return value;
}

uint64_t roll(struct dice *d, uint64_t n) {
    if (d->tape != NULL && d->tape->left > 0) {
        return read_tape(d->tape, n - 1) % n;
    }
    return world_random(&d->state) % n;
}

uint64_t roll_time(struct dice *d) {
    static const uint64_t scales[] = {0, 1, MS, 100 * MS, SEC, SEC, 10 * SEC};
    uint64_t scale = scales[roll(d, 7)];

    return scale * roll(d, 10);
}

/* Most scenes are small, so that what happens is about few workers; some are not. */
void scene_init(struct scene *scene, uint64_t seed, const struct cut *cut, struct tape *tape) {
    struct dice d;
    bool is_large;

    *scene = (struct scene){.seed = seed, .tape = tape};
    d = scene_dice(scene, FOR_SCENE, 0);
    is_large = roll(&d, 32) == 0;
    scene->slots = 1 + (int)roll(&d, is_large ? SLOTS : 10);
    scene->groups = (int)roll(&d, GROUPS + 1);
    scene->commands = tape != NULL ? COMMANDS : (int)roll(&d, is_large ? COMMANDS : 150);
    scene->is_synchronous = roll(&d, 2) == 0;
    scene->are_bodies_first = roll(&d, 2) == 0;
    scene->faults = (uint32_t)roll(&d, UINT64_C(1) << FAULTS);
    if (cut != NULL) {
        scene->faults &= ~cut->faults;
    }
}

bool scene_has(const struct scene *scene, enum fault fault) {
    return (scene->faults >> fault) & 1;
}

static struct dh_policy roll_policy(struct dice *d) {
    struct dh_policy p = world_policy();

    p.restart = (uint8_t)roll(d, 5);
    p.restart = p.restart > DH_RESTART_NEVER ? DH_RESTART_ON_FAILURE : p.restart;
    p.min_backoff_ns = roll(d, 2) * SEC + roll(d, 1000);
    p.max_backoff_ns = roll(d, 60) * SEC;
    p.backoff_factor = 1 + (double)roll(d, 5) / 2;
    p.jitter = roll(d, 2) == 0 ? 0 : (double)roll(d, 11) / 10;
    p.max_restarts = roll(d, 3) == 0 ? (uint32_t)roll(d, 6) : DH_UNLIMITED;
    p.within_ns = roll(d, 6) == 0 ? DH_NEVER : roll(d, 100) * SEC;
    p.reset_after_ns = roll(d, 6) == 0 ? DH_NEVER : roll(d, 20) * SEC;
    p.stop_timeout_ns = roll(d, 10) == 0 ? DH_NEVER : roll(d, 4) * SEC;
    p.start_timeout_ns = roll(d, 4) == 0 ? (1 + roll(d, 10)) * SEC : DH_NEVER;
    p.watchdog_ns = roll(d, 6) == 0 ? (1 + roll(d, 20)) * SEC : DH_NEVER;
    p.notifies = roll(d, 5) == 0;
    p.is_essential = roll(d, 25) == 0;
    return p;
}

struct declared roll_declared(struct dice *d, const struct scene *scene, int slot,
                              uint64_t present) {
    struct declared declared = {.policy = roll_policy(d), .group = -1};
    int after = (int)roll(d, 4) - 1;

    if (scene->groups > 0 && roll(d, 2) == 0) {
        declared.group = (int)roll(d, (uint64_t)scene->groups);
    }
    for (int n = 0; n < after && slot > 0; n++) {
        declared.after |= UINT64_C(1) << roll(d, (uint64_t)slot);
    }
    declared.after &= present;
    return declared;
}

void roll_group(struct dice *d, enum dh_strategy *ret_strategy, uint32_t *ret_max_restarts,
                uint64_t *ret_within_ns) {
    *ret_strategy = (enum dh_strategy)roll(d, 3);
    *ret_max_restarts = roll(d, 3) == 0 ? DH_UNLIMITED : (uint32_t)roll(d, 6);
    *ret_within_ns = roll(d, 60) * SEC;
}

static bool strikes(struct dice *d, const struct scene *scene, enum fault fault, uint64_t n) {
    return roll(d, n) == 0 && scene_has(scene, fault);
}

void roll_stopping(struct dice *d, const struct scene *scene, struct body *b,
                   const struct dh_policy *p) {
    if (strikes(d, scene, FAULT_ENDLESS_STOP, 3) && p->stop_timeout_ns != DH_NEVER) {
        b->stop_in = DH_NEVER;
    }
    if (strikes(d, scene, FAULT_CRASH_WHILE_STOPPING, 2)) {
        b->stop_ending = DH_RAISED;
    }
    if (strikes(d, scene, FAULT_SLOW_KILL, 3)) {
        b->kill_in = roll(d, 100) * MS;
    }
    if (strikes(d, scene, FAULT_SLOW_CLOSE, 3)) {
        b->close_in = roll_time(d);
    }
}

/* Things that happen at the very moment of a deadline are the interesting ones. */
static uint64_t roll_time_or(struct dice *d, uint64_t deadline_ns) {
    uint64_t ns = roll_time(d);

    return roll(d, 6) == 0 && deadline_ns != DH_NEVER ? deadline_ns : ns;
}

static void roll_faults(struct dice *d, const struct scene *scene, struct body *b,
                        const struct dh_policy *p) {
    if (roll(d, 6) == 0) { /* no fault */
        b->end_in = roll_time_or(d, p->reset_after_ns);
        b->ending = DH_RETURNED;
    }
    if (strikes(d, scene, FAULT_CRASH_LATER, 2)) {
        b->end_in = roll_time_or(d, p->reset_after_ns);
        b->ending = DH_RAISED;
    }
    if (strikes(d, scene, FAULT_CRASH_AT_START, 3)) {
        b->end_in = 0;
        b->ending = DH_RAISED;
    }
    b->is_fatal = strikes(d, scene, FAULT_FATAL, 12);
    if (strikes(d, scene, FAULT_RETRY_AFTER, 6)) {
        b->retry_after = roll_time(d);
    }
    b->fail_starts = strikes(d, scene, FAULT_CANNOT_START, 8);
    if (strikes(d, scene, FAULT_SLOW_READY, 3)) {
        b->ready_in = roll_time_or(d, p->start_timeout_ns);
    }
    if (strikes(d, scene, FAULT_NEVER_READY, 4)) {
        b->ready_in = DH_NEVER;
    }
    if (strikes(d, scene, FAULT_NO_BEAT, 3)) {
        b->beat_every = DH_NEVER;
    }
}

void roll_habits(struct dice *d, const struct scene *scene, struct body *b,
                 const struct dh_policy *p, bool has_faults) {
    b->ready_in = 0;
    b->beat_every = p->watchdog_ns != DH_NEVER ? p->watchdog_ns / 2 : DH_NEVER;
    b->end_in = DH_NEVER;
    b->is_fatal = false;
    b->retry_after = DH_NEVER;
    b->stop_in = roll(d, 3) == 0 ? roll(d, 3) * SEC : 0;
    b->kill_in = 0;
    b->close_in = 0;
    b->fail_starts = 0;
    b->stop_ending = roll(d, 3) == 0 ? DH_RETURNED : DH_CANCELLED;
    if (has_faults) {
        roll_faults(d, scene, b, p);
        roll_stopping(d, scene, b, p);
    }
}
