/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "observer.h"

#include <stdlib.h>

#include "core/backoff.h"
#include "seen.h"
#include "spec/core/check.h"

const char *mutation_text(enum mutation mutation) {
    static const char *const texts[MUTATIONS] = {
#define X(name, text) text,
        MUTATION_MAP(X)
#undef X
    };
    return texts[mutation];
}

int observer_slot(const struct dh_worker *w) {
    /* the name in the body, for that of a worker that is gone is, too */
    const struct body *b = (const struct body *)w;

    return slot_named(b->name, sizeof b->name);
}

/* --- the world, sound or not ------------------------------------------------------------------ */

static int arm_early(struct dh_env *env, struct dh_timer *t, uint64_t deadline_ns) {
    struct world *world = (struct world *)env;

    return dh_timerq_arm(&world->timers, t, deadline_ns > MS ? deadline_ns - MS : 0);
}

static int arm_late(struct dh_env *env, struct dh_timer *t, uint64_t deadline_ns) {
    return dh_timerq_arm(&((struct world *)env)->timers, t, dh_time_add(deadline_ns, MS));
}

static int arm_mostly(struct dh_env *env, struct dh_timer *t, uint64_t deadline_ns) {
    struct world *world = (struct world *)env;

    return world_random(&world->random_state) % 100 == 0
               ? 0
               : dh_timerq_arm(&world->timers, t, deadline_ns);
}

/* One that may not be asked politely is not. */
static void cancel_checked(struct dh_env *env, struct dh_worker *w) {
    struct observer *o = (struct observer *)env;

    CHECK(!o->is_forced && o->seen[observer_slot(w)].declared.policy.stop_timeout_ns > 0);
    o->cancel_run(env, w);
}

static void ignore_kill(struct dh_env *env, struct dh_worker *w) {
    (void)env;
    (void)w;
}

void observer_init(struct observer *o, enum mutation mutation, uint64_t seed) {
    struct world *world = &o->world;

    memset(o, 0, sizeof *o);
    world_init(world);
    world->keeps_no_records = true;
    world->on_event = observer_on_event;
    world->random_state = seed;
    o->mutation = mutation;
    o->holder = -1;
    o->cancel_run = world->env.cancel_run;
    world->env.cancel_run = cancel_checked;
    if (mutation == EARLY_DEADLINE) {
        world->env.arm = arm_early;
    } else if (mutation == LATE_DEADLINE) {
        world->env.arm = arm_late;
    } else if (mutation == LOST_DEADLINE) {
        world->env.arm = arm_mostly;
    } else if (mutation == BLIND) {
        world->is_blind = true;
    } else if (mutation == LOST_KILL) {
        world->env.kill_run = ignore_kill;
    }
}

void observer_fini(struct observer *o) {
    struct dh_alloc *alloc = &o->world.memory.alloc;
    void *block = o->mutation == LEAK ? alloc->fn(alloc, NULL, 0, 1) : NULL;

    world_fini(&o->world);
    free(block); /* behind the counter's back */
}

/* --- what is declared ------------------------------------------------------------------------- */

/* What the observer is to believe, if it is to be mistaken. */
static struct declared believed(const struct observer *o, int slot, const struct declared *d) {
    struct declared b = *d;

    if (o->mutation == LOWER_LIMIT) {
        b.policy.max_restarts = 0;
    } else if (o->mutation == NO_JITTER) {
        b.policy.jitter = 0;
    } else if (o->mutation == MORE_DEPENDENCIES && slot > 0) {
        b.after |= UINT64_C(1) << (slot - 1);
    }
    return b;
}

static size_t list_names(uint64_t after, char text[SLOTS][8], struct dh_name names[SLOTS]) {
    size_t count = 0;

    for (int i = 0; i < SLOTS; i++) {
        if ((after >> i) & 1) {
            int len = snprintf(text[count], sizeof text[count], "w%d", i);
            names[count] = (struct dh_name){text[count], (size_t)len};
            count++;
        }
    }
    return count;
}

bool observer_add(struct observer *o, int slot, const struct declared *d) {
    struct seen *s = &o->seen[slot];
    char after[SLOTS * 4] = "";
    char name[8];

    o->slots = slot < o->slots ? o->slots : slot + 1;
    for (int i = 0; i < SLOTS; i++) {
        if ((d->after >> i) & 1) {
            size_t at = strlen(after);
            snprintf(after + at, sizeof after - at, at > 0 ? " w%d" : "w%d", i);
        }
    }
    snprintf(name, sizeof name, "w%d", slot);
    *s = (struct seen){
        .declared = believed(o, slot, d),
        .state = DH_WAITING,
        .since_ns = o->world.now_ns,
        .is_wanted = true,
        .gone_by_ns = DH_NEVER,
        .rank = -1,
        .body = world_try_add(&o->world, name, &d->policy, after,
                              d->group < 0 ? NULL : o->groups[d->group].group, NULL),
    };
    return is_there(s);
}

void observer_apply_change(struct seen *s) {
    const struct dh_policy *old = &s->declared.policy;
    const struct dh_policy *new = &s->change.policy;

    if (old->max_restarts != new->max_restarts || old->within_ns != new->within_ns) {
        s->stamps.count = 0; /* they were counted for another limit */
    }
    s->declared = s->change;
    s->is_on_trial = s->change.is_trial;
    s->has_change = false;
}

int observer_change(struct observer *o, int slot, const struct declared *d) {
    struct seen *s = &o->seen[slot];
    char text[SLOTS][8];
    struct dh_name names[SLOTS];
    struct dh_spec spec = {
        .name = {s->body->name, strlen(s->body->name)},
        .policy = &d->policy,
        .after = names,
        .after_count = list_names(d->after, text, names),
        .group = d->group < 0 ? NULL : o->groups[d->group].group,
    };
    int rc = dh_sup_change(&o->world.sup, &s->body->w, &spec, d->is_trial, NULL);

    CHECK((rc == DH_ESHUTDOWN) == o->is_shutting_down);
    if (rc == 0) {
        s->change = believed(o, slot, d);
        s->has_change = true;
        if (!dh_state_is_alive(s->state)) {
            observer_apply_change(s);
        }
    }
    return rc;
}

void observer_add_group(struct observer *o, int group, enum dh_strategy strategy,
                        uint32_t max_restarts, uint64_t within_ns) {
    struct seen_group *g = &o->groups[group];
    char name[8];

    snprintf(name, sizeof name, "g%d", group);
    *g = (struct seen_group){
        .group = world_group(&o->world, name, strategy, max_restarts, within_ns),
        .strategy = o->mutation == KEPT_SIBLINGS ? DH_ONE_FOR_ONE : strategy,
        .max_restarts = o->mutation == LOWER_GROUP_LIMIT ? 0 : max_restarts,
        .within_ns = within_ns,
    };
}

void observer_change_group(struct observer *o, int group, enum dh_strategy strategy,
                           uint32_t max_restarts, uint64_t within_ns) {
    struct seen_group *g = &o->groups[group];
    struct dh_group_spec spec = {
        .strategy = strategy, .max_restarts = max_restarts, .within_ns = within_ns};

    if (o->mutation != SOUND || dh_sup_change_group(&o->world.sup, g->group, &spec, NULL) < 0) {
        return;
    }
    if (g->max_restarts != max_restarts || g->within_ns != within_ns) {
        g->stamps.count = 0;
    }
    g->strategy = strategy;
    g->max_restarts = max_restarts;
    g->within_ns = within_ns;
}

/* --- orders ----------------------------------------------------------------------------------- */

static void clear_history(struct seen *s) {
    s->stamps.count = 0;
    s->streak = 0;
}

static void note_order(struct seen *s, bool is_wanted, bool is_replaced) {
    s->is_wanted = is_wanted;
    s->is_ordered = is_wanted;
    s->is_excused = true;
    s->is_replaced = is_replaced;
    s->is_taken_along &= is_gated(&s->body->w); /* else it is the order that counts now */
    s->has_given_up = false;
    clear_history(s);
}

static int start(struct observer *o, struct seen *s) {
    bool is_up = s->body->w.is_wanted && (s->state == DH_RUNNING || s->state == DH_WAITING);
    bool has_changed = s->state == DH_RUNNING && s->has_change;
    int rc = dh_sup_start(&o->world.sup, &s->body->w);

    if (rc == 0 && !is_up) {
        note_order(s, true, s->state == DH_STOPPING || has_changed);
    }
    return rc;
}

static int stop(struct observer *o, struct seen *s) {
    int rc = o->mutation == LOST_STOP ? 0 : dh_sup_stop(&o->world.sup, &s->body->w);

    if (rc == 0) {
        note_order(s, false, false);
    }
    return rc;
}

static int restart(struct observer *o, struct seen *s) {
    int rc = dh_sup_restart(&o->world.sup, &s->body->w);

    if (rc == 0) {
        note_order(s, true, s->state != DH_WAITING);
    }
    return rc;
}

static int retry(struct observer *o, struct seen *s) {
    bool is_lost = s->state == DH_FAILED || s->state == DH_CLOSING;
    int rc = dh_sup_retry(&o->world.sup, &s->body->w);

    if (rc == 0) {
        s->is_excused = true;
        s->has_given_up &= !is_lost;
        s->is_wanted |= is_lost;
        s->is_ordered |= is_lost;
    }
    return rc;
}

static int reset(struct observer *o, struct seen *s) {
    int rc = dh_sup_reset(&o->world.sup, &s->body->w);

    if (rc == 0) {
        clear_history(s);
    }
    return rc;
}

static int remove_worker(struct observer *o, struct seen *s) {
    int rc = dh_sup_remove(&o->world.sup, &s->body->w);

    if (rc == 0) {
        s->is_wanted = false;
        s->is_replaced = false;
        s->is_removing = true;
    }
    return rc;
}

int observer_order(struct observer *o, int slot, enum order order) {
    static int (*const orders[ORDER_COUNT])(struct observer *, struct seen *) = {
        start, stop, restart, retry, reset, remove_worker};
    struct seen *s = &o->seen[slot];
    struct seen_group *g = group_of(o, s);
    bool had_failed = g != NULL && dh_group_is_failed(g->group);
    bool was_removing = s->is_removing;
    int rc = orders[order](o, s);

    if (had_failed && !dh_group_is_failed(g->group)) {
        g->stamps.count = 0; /* a failed group is forgiven */
    }
    CHECK((rc == DH_ESHUTDOWN) == o->is_shutting_down || o->mutation == LOST_STOP);
    CHECK(rc == 0 || o->is_shutting_down || was_removing || order == ORDER_RETRY);
    return rc;
}

void observer_healthy(struct observer *o, int slot) {
    struct seen *s = &o->seen[slot];

    dh_sup_on_healthy(&o->world.sup, &s->body->w, s->body->run);
    s->is_healthy = true;
}

void observer_late_report(struct observer *o, int slot, unsigned which) {
    struct dh_sup *sup = &o->world.sup;
    struct dh_worker *w = &o->seen[slot].body->w;
    struct dh_outcome outcome; /* not kept, as nobody listens */
    uint32_t run = w->run - 1;

    dh_outcome_init(&outcome, DH_RAISED, o->world.now_ns);
    switch (which % 5) {
        case 0:
            dh_sup_on_ready(sup, w, run, true);
            break;
        case 1:
            dh_sup_on_beat(sup, w, run);
            break;
        case 2:
            dh_sup_on_healthy(sup, w, run);
            break;
        case 3:
            dh_sup_on_ended(sup, w, run, &outcome);
            break;
        default:
            dh_sup_on_closed(sup, w, run);
            break;
    }
    o->stale_reports++;
}

static uint64_t time_to_stop(const struct observer *o, const struct seen *s) {
    const struct body *b = s->body;
    uint64_t timeout = o->is_forced ? 0 : s->declared.policy.stop_timeout_ns;
    uint64_t ns = b->stop_in;

    if (b->stop_in >= timeout) {
        ns = dh_time_add(timeout, b->kill_in);
    } else if (o->was_short_of_memory && b->kill_in > ns) {
        ns = b->kill_in; /* without a deadline it is killed at once */
    }
    return dh_time_add(ns, b->close_in);
}

/* When each must have ended, by its own stop_timeout and after what depends on it. */
static void reckon_shutdown(struct observer *o) {
    for (int i = o->slots - 1; i >= 0; i--) {
        struct seen *s = &o->seen[i];
        const struct body *b = s->body;
        uint64_t from_ns = o->world.now_ns;
        if (b == NULL) {
            continue;
        }
        /* dependencies lead to lower slots: who waits for this one has been reckoned */
        for (int k = i + 1; k < o->slots && !o->is_forced; k++) {
            const struct seen *d = &o->seen[k];
            if (is_there(d) && has_dependency(d, i) && d->gone_by_ns > from_ns) {
                from_ns = d->gone_by_ns;
            }
        }
        s->gone_by_ns = b->is_live ? dh_time_add(from_ns, time_to_stop(o, s)) : o->world.now_ns;
    }
}

/* Who runs, is to go on running as far as he knows and holds up nobody is told in reverse order of
** declaration. */
static void rank_shutdown(struct observer *o) {
    int rank = 0;

    o->last_rank = SLOTS;
    for (struct dh_worker *w = dh_sup_first(&o->world.sup); w != NULL; w = dh_sup_next(w)) {
        int slot = observer_slot(w);
        struct seen *s = &o->seen[slot];
        bool is_held = false;
        for (int i = slot + 1; i < o->slots && !o->is_forced; i++) {
            is_held |= is_there(&o->seen[i]) && has_dependency(&o->seen[i], slot) &&
                       dh_state_is_alive(o->seen[i].state);
        }
        s->rank = s->state == DH_RUNNING && !is_leaving(s) && !s->is_taken_along && !is_held
                      ? rank++
                      : -1;
    }
}

void observer_note_shutdown(struct observer *o) {
    o->is_shutting_down = true;
    rank_shutdown(o);
    reckon_shutdown(o);
    for (int i = 0; i < o->slots; i++) {
        o->seen[i].is_wanted = false;
        o->seen[i].is_replaced = false;
    }
}

void observer_shutdown(struct observer *o, bool is_forced) {
    if (is_forced) {
        o->is_forced = true;
        dh_sup_shutdown_now(&o->world.sup);
    } else {
        dh_sup_shutdown(&o->world.sup);
    }
    observer_note_shutdown(o);
}

/* --- time ------------------------------------------------------------------------------------- */

static void delay_end(struct observer *o, uint64_t ns) {
    for (int i = 0; i < o->slots; i++) {
        o->seen[i].gone_by_ns = dh_time_add(o->seen[i].gone_by_ns, ns);
    }
}

void observer_jump(struct observer *o, int slot, uint64_t ns) {
    o->world.now_ns += ns;
    o->jumped_ns += ns;
    delay_end(o, ns);
    if (slot >= 0 && ns > o->held_ns) {
        struct body *b = o->seen[slot].body;
        o->holder = slot;
        o->held_ns = ns;
        if (o->mutation != DEAF) {
            dh_sup_on_held(&o->world.sup, &b->w, b->run, ns);
        }
    }
}

/* What has passed since the last look is given back, but for what no look is too late, and not to
** whoever held the host meanwhile. */
static void give_back(const struct observer *o, int slot, struct seen_watch *v, uint64_t from_ns) {
    uint64_t at_ns = watch_from(v, from_ns);
    uint64_t lost_ns = o->world.now_ns - (at_ns > o->looked_ns ? at_ns : o->looked_ns);
    uint64_t held_ns = slot == o->holder ? o->held_ns : 0;
    uint64_t counted_ns = held_ns > DH_STANDSTILL_NS ? held_ns : DH_STANDSTILL_NS;

    v->lost_ns = at_ns - from_ns + (lost_ns > counted_ns ? lost_ns - counted_ns : 0);
    v->from_ns = from_ns;
}

void observer_look(struct observer *o) {
    uint64_t now = o->world.now_ns;
    uint64_t due_ns = dh_timerq_next(&o->world.timers);

    due_ns = due_ns > o->looked_ns ? due_ns : o->looked_ns;
    if (due_ns < now && now - due_ns > DH_STANDSTILL_NS) {
        for (int i = 0; i < o->slots; i++) {
            struct seen *s = &o->seen[i];
            if (is_there(s) && s->state == DH_STOPPING) {
                give_back(o, i, &s->stop, s->since_ns);
            } else if (is_there(s)) {
                give_back(o, i, &s->start, s->started_ns);
                give_back(o, i, &s->beat, last_beat(s));
            }
        }
        delay_end(o, now - o->looked_ns - o->jumped_ns); /* it was waiting when it began */
    }
    o->looked_ns = now;
    o->jumped_ns = 0;
    o->held_ns = 0;
    o->holder = -1;
}
