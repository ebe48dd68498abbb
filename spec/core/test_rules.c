/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Every state against every input, the senseless ones too: what the real supervisor does must be
** what core/rules.c says, and all that the table allows must be seen to happen.
*/
#include "core/rules.h"

#include "check.h"
#include "world.h"

/* One worker "w" that does nothing by itself and depends on "dep", brought into a state in one of
** several ways. */
struct scene {
    struct world world;
    struct body *w;
    struct body *dep;
};

enum { VARIANTS = 7 };

#define DAY (UINT64_C(86400) * SEC)

static void lose_dependency(struct scene *s) {
    dh_sup_stop(&s->world.sup, &s->dep->w);
    world_turn(&s->world);
}

static void regain_dependency(struct scene *s) {
    dh_sup_start(&s->world.sup, &s->dep->w);
    world_turn(&s->world);
    if (s->dep->is_live && !s->dep->w.is_ready) {
        body_ready(s->dep);
        world_turn(&s->world);
    }
}

static void close_body(struct scene *s) {
    body_close(s->w);
    world_turn(&s->world);
}

static void end(struct scene *s, enum dh_ending ending, bool is_fatal) {
    s->w->is_fatal = is_fatal;
    body_end(s->w, ending);
    s->w->is_fatal = false;
    world_turn(&s->world);
}

/* false: there is no such variant */
static bool set_running(struct scene *s, int variant) {
    switch (variant) {
        case 0:
            return true;
        case 1: /* after a crash: a deadline for recovered */
            end(s, DH_RAISED, false);
            close_body(s);
            world_advance(&s->world, SEC);
            return true;
        case 2: /* not ready yet: start_timeout */
            return true;
        default:
            return false;
    }
}

static bool set_stopping(struct scene *s, int variant) {
    switch (variant) {
        case 0:
            dh_sup_stop(&s->world.sup, &s->w->w);
            break;
        case 1:
            dh_sup_restart(&s->world.sup, &s->w->w);
            break;
        case 2: /* not ready in time */
            world_advance(&s->world, 5 * SEC);
            break;
        default:
            return false;
    }
    world_turn(&s->world);
    return true;
}

static bool set_closing(struct scene *s, int variant) {
    switch (variant) {
        case 0: /* towards backoff */
            end(s, DH_RAISED, false);
            return true;
        case 1: /* done */
            end(s, DH_RETURNED, false);
            return true;
        case 2: /* failed */
            end(s, DH_RAISED, true);
            return true;
        case 3: /* stopped */
        case 4: /* a restart was ordered */
            if (variant == 3) {
                dh_sup_stop(&s->world.sup, &s->w->w);
            } else {
                dh_sup_restart(&s->world.sup, &s->w->w);
            }
            world_turn(&s->world);
            end(s, DH_CANCELLED, false);
            return true;
        case 5: /* towards backoff, overdue */
            end(s, DH_RAISED, false);
            world_advance(&s->world, 3 * SEC);
            return true;
        case 6: /* overdue, and what it depends on is away */
            end(s, DH_RAISED, false);
            lose_dependency(s);
            world_advance(&s->world, 3 * SEC);
            return true;
        default:
            return false;
    }
}

/* BACKOFF and the final states: with the dependency, and without it */
static bool set_ended(struct scene *s, enum dh_state state, int variant) {
    if (variant > 1) {
        return false;
    }
    if (state == DH_STOPPED) {
        dh_sup_stop(&s->world.sup, &s->w->w);
        world_turn(&s->world);
        end(s, DH_CANCELLED, false);
    } else {
        end(s, state == DH_DONE ? DH_RETURNED : DH_RAISED, state == DH_FAILED);
    }
    close_body(s);
    if (variant == 1) {
        lose_dependency(s);
    }
    return true;
}

static bool set_scene(struct scene *s, enum dh_state state, int variant) {
    struct dh_policy p = world_policy();
    bool exists = true;

    if (variant == 2) {
        p.start_timeout_ns = 5 * SEC;
    }
    world_init(&s->world);
    s->dep = world_add(&s->world, "dep", NULL);
    s->dep->ready_in = state == DH_WAITING ? DH_NEVER : 0;
    s->w = world_try_add(&s->world, "w", &p, "dep", NULL, NULL);
    s->w->ready_in = DH_NEVER;
    s->w->stop_in = DH_NEVER;
    s->w->kill_in = DH_NEVER;
    s->w->close_in = DH_NEVER;
    world_boot(&s->world);
    switch (state) {
        case DH_WAITING:
            exists = variant == 0;
            break;
        case DH_RUNNING:
            exists = set_running(s, variant);
            break;
        case DH_STOPPING:
            exists = set_stopping(s, variant);
            break;
        case DH_CLOSING:
            exists = set_closing(s, variant);
            break;
        case DH_BACKOFF:
        case DH_DONE:
        case DH_FAILED:
        case DH_STOPPED:
            exists = set_ended(s, state, variant);
            break;
    }
    if (exists) {
        CHECK_EQ(body_state(s->w), state);
    }
    return exists;
}

/* its own deadline, if it has one; otherwise a deadline out of nowhere, which must do no harm */
static void fire(struct scene *s) {
    struct dh_timer *own = &s->w->w.timer;
    struct dh_timer *watch = s->w->w.extra != NULL ? &s->w->w.extra->start_timer : own;

    if (!dh_timer_is_armed(own) && dh_timer_is_armed(watch)) {
        own = watch;
    }
    if (dh_timer_is_armed(own)) {
        s->world.now_ns = dh_timerq_deadline(&s->world.timers, own);
        dh_timerq_disarm(&s->world.timers, own);
    }
    dh_sup_on_timer(&s->world.sup, own);
}

static void report_end(struct scene *s, struct dh_outcome *o, enum dh_ending ending,
                       bool is_fatal) {
    dh_outcome_init(o, ending, s->world.now_ns);
    o->is_fatal = is_fatal;
    if (body_state(s->w) == DH_RUNNING || body_state(s->w) == DH_STOPPING) {
        s->w->has_ended = true;
    }
    dh_sup_on_ended(&s->world.sup, &s->w->w, s->w->w.run, o);
}

static void apply(struct scene *s, enum dh_input input, struct dh_outcome *outcome) {
    struct dh_sup *sup = &s->world.sup;
    struct dh_worker *w = &s->w->w;

    switch (input) {
        case DH_INPUT_START:
            dh_sup_start(sup, w);
            break;
        case DH_INPUT_STOP:
            dh_sup_stop(sup, w);
            break;
        case DH_INPUT_RESTART:
            dh_sup_restart(sup, w);
            break;
        case DH_INPUT_RETRY:
            dh_sup_retry(sup, w);
            break;
        case DH_INPUT_RESET:
            dh_sup_reset(sup, w);
            break;
        case DH_INPUT_REMOVE:
            dh_sup_remove(sup, w);
            break;
        case DH_INPUT_SHUTDOWN:
            dh_sup_shutdown(sup);
            break;
        case DH_INPUT_SHUTDOWN_NOW:
            dh_sup_shutdown_now(sup);
            break;
        case DH_INPUT_READY:
            dh_sup_on_ready(sup, w, w->run, true);
            break;
        case DH_INPUT_HEALTHY:
            dh_sup_on_healthy(sup, w, w->run);
            break;
        case DH_INPUT_RETURNED:
            report_end(s, outcome, DH_RETURNED, false);
            break;
        case DH_INPUT_RAISED:
            report_end(s, outcome, DH_RAISED, false);
            break;
        case DH_INPUT_FATAL:
            report_end(s, outcome, DH_RAISED, true);
            break;
        case DH_INPUT_CLOSED:
            s->w->is_live &= body_state(s->w) != DH_CLOSING;
            dh_sup_on_closed(sup, w, w->run);
            break;
        case DH_INPUT_DEADLINE:
            fire(s);
            break;
        case DH_INPUT_DEPENDENCY_READY:
            if (s->dep->w.is_ready) {
                lose_dependency(s);
            }
            regain_dependency(s);
            break;
        case DH_INPUT_DEPENDENCY_LOST:
            if (!s->dep->w.is_ready) {
                regain_dependency(s);
            }
            lose_dependency(s);
            break;
    }
    world_turn(&s->world);
}

static uint16_t observe(const struct scene *s) {
    if (s->w->is_gone) {
        return DH_BECOMES_GONE;
    }
    return (uint16_t)(1U << s->w->w.state);
}

static void check_cell(enum dh_state state, enum dh_input input) {
    const struct dh_rule *rule = dh_rule_at(state, input);
    uint16_t seen = 0;

    for (int variant = 0; variant < VARIANTS; variant++) {
        struct scene s;
        struct dh_outcome outcome;
        bool is_lost_cause;
        uint64_t stale;
        uint16_t is;
        if (!set_scene(&s, state, variant)) {
            world_fini(&s.world);
            continue;
        }
        /* with the dependency away, its coming back is the other input */
        is_lost_cause = input == DH_INPUT_DEPENDENCY_LOST && !s.dep->w.is_ready;
        if (is_lost_cause) {
            world_fini(&s.world);
            continue;
        }
        stale = s.world.sup.stale_reports;
        apply(&s, input, &outcome);
        CHECK_EQ(s.world.sup.stale_reports - stale, rule->is_stale);
        is = observe(&s);
        seen |= is;
        if (!CHECK((is & rule->may_become) != 0)) {
            printf("  %s, %s, variant %d: became %x, rule says %x\n", dh_state_name(state),
                   dh_input_name(input), variant, is, rule->may_become);
        }
        world_fini(&s.world);
    }
    if (state == DH_WAITING && input == DH_INPUT_DEPENDENCY_LOST) {
        return; /* it has none to lose */
    }
    if (!CHECK_EQ(seen, rule->may_become)) {
        printf("  %s, %s: not everything that the rule allows was seen\n", dh_state_name(state),
               dh_input_name(input));
    }
}

static void every_state_against_every_input(void) {
    for (int state = 0; state < DH_STATE_COUNT; state++) {
        for (int input = 0; input < DH_INPUT_COUNT; input++) {
            check_cell((enum dh_state)state, (enum dh_input)input);
        }
    }
}

/* the same, and then life goes on: a year later nothing is stuck, and the host can stop */
static void after_every_cell_the_host_can_still_stop(void) {
    for (int cell = 0; cell < DH_STATE_COUNT * DH_INPUT_COUNT * VARIANTS; cell++) {
        struct scene s;
        struct dh_outcome outcome;
        int variant = cell % VARIANTS;
        int input = cell / VARIANTS % DH_INPUT_COUNT;
        int state = cell / VARIANTS / DH_INPUT_COUNT;
        if (set_scene(&s, (enum dh_state)state, variant)) {
            apply(&s, (enum dh_input)input, &outcome);
            s.w->kill_in = 0;
            s.w->close_in = 0;
            if (!s.w->is_gone && s.w->is_live && s.w->has_ended) {
                body_close(s.w);
            }
            world_advance(&s.world, 100 * SEC);
            dh_sup_shutdown(&s.world.sup);
            world_advance(&s.world, 100 * SEC);
            if (!s.w->is_gone && s.w->was_killed && s.w->is_live && !s.w->has_ended) {
                body_end(s.w, DH_CANCELLED);
                world_turn(&s.world);
            }
            CHECK(dh_sup_is_finished(&s.world.sup));
        }
        world_fini(&s.world);
    }
}

/* Whatever it did before, what it depends on, crash and come back each month: nothing starts it. */
static void check_year(struct scene *s) {
    enum dh_state rest;
    uint32_t run = s->w->w.run;

    dh_sup_stop(&s->world.sup, &s->w->w);
    s->w->kill_in = 0;
    if (s->w->is_live && s->w->has_ended) {
        body_close(s->w);
    }
    s->w->close_in = 0;
    if (s->w->was_killed && !s->w->has_ended) {
        body_end(s->w, DH_CANCELLED);
    }
    world_advance(&s->world, 20 * SEC);
    rest = body_state(s->w);
    CHECK(dh_state_is_final(rest));
    for (int month = 0; month < 12; month++) {
        lose_dependency(s);
        world_advance(&s->world, DAY);
        regain_dependency(s);
        body_end(s->dep, DH_RAISED);
        world_advance(&s->world, 30 * DAY);
        dh_sup_reset(&s->world.sup, &s->w->w);
    }
    CHECK_EQ(body_state(s->w), rest);
    CHECK_EQ(s->w->w.run, run);
    CHECK(!s->w->w.is_wanted);
}

static void F11_stopped_in_every_scene_it_stays_stopped_for_a_year(void) {
    int scenes = 0;

    for (int i = 0; i < DH_STATE_COUNT * VARIANTS; i++) {
        struct scene s;
        if (set_scene(&s, (enum dh_state)(i / VARIANTS), i % VARIANTS)) {
            check_year(&s);
            scenes++;
        }
        world_fini(&s.world);
    }
    CHECK_EQ(scenes, 22);
}

int main(void) {
    RUN(every_state_against_every_input);
    RUN(F11_stopped_in_every_scene_it_stays_stopped_for_a_year);
    RUN(after_every_cell_the_host_can_still_stop);
    return check_report();
}
