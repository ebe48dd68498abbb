/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Random walks: workers in groups and dependency graphs, with random policies, are crashed,
** finished, ordered about, declared anew, removed and added again; after each event and each step
** invariants are checked. The seeds are printed and can be given as arguments: test_walk SEED [STEPS]. Each seed
** is played twice and must give the same events. What the checks are worth: in a world in which
** something is wrong they must fail.
*/
#include <stdlib.h>

#include "check.h"
#include "core/deps.h"
#include "world.h"

enum { SLOTS = 40, GROUPS = 4, STAMPS = 64 };

/* What is wrong with the world, or with what the observer believes of it. */
enum sabotage {
    SOUND,
    EARLY_DEADLINES,
    LOST_RESTARTS, /* the observer does not hear of them */
    LOST_RECOVERIES,
    LOST_STOPS, /* the supervisor does not */
    LOWER_LIMITS,
    LOWER_GROUP_LIMITS,
    NO_JITTER,
    KEPT_SIBLINGS, /* each group is believed to be one_for_one */
    LOST_CHANGES,  /* the supervisor does not hear of them */
    LOST_TRIALS,   /* nor of those */
    SABOTAGES,
};

/* Restarts that a limit counts. */
struct stamps {
    uint64_t at_ns[STAMPS];
    int count;
};

struct declaration {
    struct dh_policy policy;
    int group; /* -1: none */
    bool is_trial;
};

/* What an observer may know about a worker, from orders and events alone. */
struct model {
    struct body *body; /* NULL: not there */
    struct dh_policy policy;
    struct declaration pending; /* in force when the run under way is closed */
    bool is_pending;
    bool is_on_trial;
    bool is_rejected_next; /* a crash on trial, so that must be next */
    enum dh_state state;
    uint32_t run;
    uint32_t restarts;
    uint32_t streak;
    bool is_wanted;
    bool is_replaced;     /* a restart was ordered and has not been carried out */
    bool is_excused;      /* somebody ordered something, or a dependency came: no deadline holds */
    bool has_given_up;    /* and no order since */
    bool is_restart_next; /* a restart event, so a start must be next */
    uint64_t not_before_ns; /* the earliest automatic restart */
    struct stamps stamps;   /* counted crashes since the last order */
    int group;              /* -1: none */
};

struct group_model {
    struct dh_group *group;
    enum dh_strategy strategy;
    uint32_t max_restarts;
    uint64_t within_ns;
    uint32_t restart_step;
    struct stamps stamps;
};

struct walk {
    struct world world; /* first */
    struct model models[SLOTS];
    struct group_model groups[GROUPS];
    uint64_t seed;
    uint64_t events;
    enum sabotage sabotage;
    bool is_broken;
};

static struct model *model_of(struct walk *walk, const struct dh_worker *w) {
    for (int i = 0; i < SLOTS; i++) {
        if (walk->models[i].body != NULL && &walk->models[i].body->w == w) {
            return &walk->models[i];
        }
    }
    return NULL;
}

#define WALK_CHECK(walk, cond) walk_check((walk), (cond), __LINE__, #cond)

/* The first that fails is reported; the rest of the walk means nothing. */
static void walk_check(struct walk *walk, bool ok, int line, const char *what) {
    if (ok || walk->is_broken) {
        return;
    }
    walk->is_broken = true;
    if (walk->sabotage == SOUND) {
        printf("  at %" PRIu64 " ns, event %" PRIu64 "\n", walk->world.now_ns, walk->events);
        check_here(false, __FILE__, line, what);
    }
}

static void add_stamp(struct stamps *stamps, uint64_t at_ns) {
    if (stamps->count == STAMPS) {
        memmove(stamps->at_ns, stamps->at_ns + 1, sizeof stamps->at_ns - sizeof stamps->at_ns[0]);
        stamps->count--;
    }
    stamps->at_ns[stamps->count++] = at_ns;
}

static uint32_t count_stamps(const struct stamps *stamps, uint64_t at_ns, uint64_t within_ns) {
    uint32_t n = 0;

    for (int i = 0; i < stamps->count; i++) {
        /* the ends of runs that are reported together come in any order */
        n += at_ns < stamps->at_ns[i] || at_ns - stamps->at_ns[i] <= within_ns;
    }
    return n;
}

/* --- events ----------------------------------------------------------------------------------- */

static void apply_change(struct model *m) {
    if (m->is_pending) {
        if (m->policy.max_restarts != m->pending.policy.max_restarts ||
            m->policy.within_ns != m->pending.policy.within_ns) {
            m->stamps.count = 0;
        }
        m->policy = m->pending.policy;
        m->group = m->pending.group;
        m->is_on_trial = m->pending.is_trial;
        m->is_pending = false;
    }
}

static void on_state(struct walk *walk, struct model *m, const struct dh_event *ev) {
    WALK_CHECK(walk, ev->from == m->state);
    WALK_CHECK(walk, dh_state_may_become(ev->from, ev->to));
    if (ev->to == DH_STOPPING) {
        /* nobody is stopped for another's sake, but by a strategy that says so */
        bool is_watched =
            m->policy.start_timeout_ns != DH_NEVER || m->policy.watchdog_ns != DH_NEVER;
        bool is_shared = m->group >= 0 && walk->groups[m->group].strategy != DH_ONE_FOR_ONE;
        WALK_CHECK(walk, !ev->worker->is_wanted || m->is_replaced || is_watched || is_shared);
    }
    m->state = ev->to;
    if (ev->from == DH_CLOSING) {
        apply_change(m);
    }
}

static void on_start(struct walk *walk, struct model *m, const struct dh_event *ev) {
    WALK_CHECK(walk, m->state == DH_RUNNING);
    WALK_CHECK(walk, ev->run == m->run + 1);
    WALK_CHECK(walk, m->is_wanted);
    WALK_CHECK(walk, !m->has_given_up);
    WALK_CHECK(walk, !walk->world.sup.is_shutting_down);
    WALK_CHECK(walk, m->is_excused || ev->at_ns >= m->not_before_ns);
    m->run = ev->run;
    m->is_restart_next = false;
    m->is_replaced = false;
    m->is_excused = false;
    m->not_before_ns = 0;
}

static void check_delay(struct walk *walk, const struct model *m, const struct dh_event *ev) {
    const struct dh_policy *p = &m->policy;
    double max = (double)p->max_backoff_ns;
    double delay = (double)p->min_backoff_ns;

    if (ev->outcome != NULL && ev->outcome->retry_after_ns != DH_NEVER) {
        WALK_CHECK(walk, ev->delay_ns == ev->outcome->retry_after_ns);
        return;
    }
    for (uint32_t n = 1; n < m->streak && delay < max; n++) {
        delay *= p->backoff_factor;
    }
    delay = delay < max ? delay : max;
    WALK_CHECK(walk, ev->delay_ns <= p->max_backoff_ns);
    WALK_CHECK(walk, (double)ev->delay_ns <= delay * (1 + p->jitter) + 1);
    WALK_CHECK(walk, (double)ev->delay_ns >= delay * (1 - p->jitter) - 1);
}

/* A member will be restarted. Who fails in the same step as the one whose restart the group has
** begun is not counted. */
static void count_group_restart(struct walk *walk, struct group_model *g, uint64_t ended_ns) {
    uint32_t step = walk->world.sup.step_count;

    if (g->strategy != DH_ONE_FOR_ONE && g->restart_step == step) {
        return;
    }
    g->restart_step = step;
    add_stamp(&g->stamps, ended_ns);
    WALK_CHECK(walk, count_stamps(&g->stamps, ended_ns, g->within_ns) <= g->max_restarts);
}

static void on_crash(struct walk *walk, struct model *m, const struct dh_event *ev) {
    uint64_t ended_ns = ev->outcome != NULL ? ev->outcome->ended_ns : ev->at_ns;
    uint32_t count;

    if (ev->is_stopping) {
        WALK_CHECK(walk, !ev->will_restart);
        return;
    }
    m->streak++;
    WALK_CHECK(walk, ev->streak == m->streak);
    WALK_CHECK(walk, ev->is_rejected == m->is_on_trial);
    if (m->is_on_trial) { /* neither counted nor final */
        WALK_CHECK(walk, ev->will_restart && ev->delay_ns == DH_TRIAL_DELAY_NS);
        m->not_before_ns = ended_ns + ev->delay_ns;
        m->is_excused = false;
        m->is_rejected_next = true;
        return;
    }
    if (m->policy.restart == DH_RESTART_NEVER || (ev->outcome != NULL && ev->outcome->is_fatal)) {
        WALK_CHECK(walk, !ev->will_restart);
        return;
    }
    add_stamp(&m->stamps, ended_ns);
    count = count_stamps(&m->stamps, ended_ns, m->policy.within_ns);
    if (m->policy.max_restarts != DH_UNLIMITED) {
        WALK_CHECK(walk,
                   ev->window_count == count || (count > m->policy.max_restarts &&
                                                 ev->window_count == m->policy.max_restarts + 1));
        WALK_CHECK(walk, !ev->will_restart || count <= m->policy.max_restarts);
    }
    if (!ev->will_restart) {
        WALK_CHECK(walk, count > m->policy.max_restarts || m->group >= 0);
        return;
    }
    check_delay(walk, m, ev);
    m->not_before_ns = ended_ns + ev->delay_ns;
    m->is_excused = false;
    if (m->group >= 0) {
        count_group_restart(walk, &walk->groups[m->group], ended_ns);
    }
}

/* Whoever depends on a worker that is there again need not wait for his deadline. */
static void excuse_dependants(struct walk *walk, const struct dh_worker *w) {
    const struct dh_edge *e = w->extra != NULL ? w->extra->in : NULL;

    for (; e != NULL; e = e->in_next) {
        model_of(walk, e->from)->is_excused = true;
    }
}

/* --- invariants between steps ----------------------------------------------------------------- */

static void check_edges(struct walk *walk, const struct dh_worker *w) {
    uint32_t missing = 0;
    uint32_t alive = 0;

    for (int i = 0; i < w->extra->edge_count; i++) {
        const struct dh_worker *to = w->extra->edges[i].to;
        missing += to == NULL || !(to->is_ready || to->state == DH_DONE);
        /* whom it names is found, whoever of the two came first */
        WALK_CHECK(walk, to != NULL || dh_sup_find(&walk->world.sup, w->extra->edges[i].name,
                                                   w->extra->edges[i].name_len) == NULL);
    }
    for (const struct dh_edge *e = w->extra->in; e != NULL; e = e->in_next) {
        alive += dh_state_is_alive(e->from->state);
        WALK_CHECK(walk, e->to == w);
    }
    WALK_CHECK(walk, w->extra->missing == missing);
    WALK_CHECK(walk, w->extra->alive_in == alive);
}

static void check_group(struct walk *walk, const struct dh_group *g) {
    uint32_t coming = 0;
    uint32_t arrived = 0;

    for (const struct dh_worker *w = g->first; w != NULL; w = w->extra->group_next) {
        coming += w->extra->gate == DH_GATE_COMING;
        arrived += w->extra->gate == DH_GATE_ARRIVED;
    }
    WALK_CHECK(walk, g->coming == coming);
    WALK_CHECK(walk, g->arrived == arrived);
    WALK_CHECK(walk, coming > 0 || arrived == 0); /* an empty gate does not stay shut */
}

static bool is_declared(const struct dh_policy *p, const struct dh_group *g, struct walk *walk,
                        const struct dh_policy *policy, int group) {
    return dh_policy_is_equal(p, policy) && g == (group >= 0 ? walk->groups[group].group : NULL);
}

/* Is in force what should be, and pending what is to come? */
static void check_declaration(struct walk *walk, const struct model *m) {
    const struct dh_worker *w = &m->body->w;
    bool is_trial = w->extra != NULL && w->extra->is_on_trial;

    if (walk->sabotage == LOWER_LIMITS || walk->sabotage == NO_JITTER) {
        return; /* believed to be wrong */
    }
    WALK_CHECK(walk, is_declared(w->policy, dh_group_of(w), walk, &m->policy, m->group));
    WALK_CHECK(walk, is_trial == m->is_on_trial);
    WALK_CHECK(walk, !m->is_pending || dh_state_is_alive(w->state));
    if (m->is_pending) {
        WALK_CHECK(walk, is_declared(dh_sup_policy(w), dh_sup_group(w), walk, &m->pending.policy,
                                     m->pending.group));
    }
}

/* A worker that could start does not wait, one that should stop does not run on. */
static void check_worker(struct walk *walk, const struct model *m) {
    const struct dh_worker *w = &m->body->w;
    bool is_gated = w->extra != NULL && w->extra->gate != DH_GATE_NONE;

    WALK_CHECK(walk, w->state == m->state);
    WALK_CHECK(walk, w->run == m->run);
    WALK_CHECK(walk, w->restarts == m->restarts);
    WALK_CHECK(walk, w->streak == m->streak);
    /* it may be the policy, or its group, that does not want it any more */
    WALK_CHECK(walk, w->is_wanted == m->is_wanted || m->state == DH_FAILED ||
                         (!w->is_wanted && (m->state == DH_CLOSING || m->group >= 0)));
    WALK_CHECK(walk, !w->is_ready || w->state == DH_RUNNING);
    WALK_CHECK(walk, dh_state_is_alive(w->state) == m->body->is_live);
    WALK_CHECK(walk, !w->has_ended && !w->has_closed && !w->is_dirty);
    if (w->state == DH_WAITING) {
        WALK_CHECK(walk, w->is_wanted);
        WALK_CHECK(walk, is_gated || !dh_deps_are_ready(w));
        WALK_CHECK(walk, !dh_timer_is_armed(&w->timer));
    }
    if (w->state == DH_RUNNING) {
        WALK_CHECK(walk,
                   (w->is_wanted && !w->is_start_asked) || dh_deps_is_held(&walk->world.sup, w));
    }
    if (w->state == DH_BACKOFF) {
        WALK_CHECK(walk, w->is_wanted);
        WALK_CHECK(walk, is_gated || dh_timer_is_armed(&w->timer));
    }
    if (dh_state_is_final(w->state)) {
        WALK_CHECK(walk, !dh_timer_is_armed(&w->timer) && !is_gated && !w->is_start_asked);
        WALK_CHECK(walk, w->state == DH_FAILED || !w->is_wanted);
    }
    if (w->extra != NULL) {
        check_edges(walk, w);
    }
    check_declaration(walk, m);
}

static void check_world(struct walk *walk) {
    uint32_t counts[DH_STATE_COUNT] = {0};
    uint32_t workers = 0;

    for (int i = 0; i < SLOTS; i++) {
        if (walk->models[i].body != NULL) {
            check_worker(walk, &walk->models[i]);
            counts[walk->models[i].state]++;
            workers++;
        }
    }
    WALK_CHECK(walk, memcmp(counts, walk->world.sup.counts, sizeof counts) == 0);
    WALK_CHECK(walk, walk->world.sup.worker_count == workers);
    WALK_CHECK(walk, walk->world.sup.stale_reports == 0);
    for (int i = 0; i < GROUPS; i++) {
        check_group(walk, walk->groups[i].group);
    }
}

/* --- moves ------------------------------------------------------------------------------------ */

static uint64_t roll(struct walk *walk, uint64_t n) {
    return world_random(&walk->seed) % n;
}

static uint64_t roll_time(struct walk *walk) {
    static const uint64_t scales[] = {0, 1, MS, 100 * MS, SEC, SEC, 10 * SEC};
    return scales[roll(walk, 7)] * roll(walk, 10);
}

static struct dh_policy roll_policy(struct walk *walk) {
    struct dh_policy p = world_policy();

    p.restart = (uint8_t)roll(walk, 3);
    p.restart = p.restart == DH_RESTART_NEVER && roll(walk, 3) > 0 ? 0 : p.restart;
    p.min_backoff_ns = roll(walk, 2) * SEC + roll(walk, 1000);
    p.max_backoff_ns = roll(walk, 60) * SEC;
    p.backoff_factor = 1 + (double)roll(walk, 5) / 2;
    p.jitter = roll(walk, 2) == 0 ? 0 : (double)roll(walk, 11) / 10;
    p.max_restarts = roll(walk, 3) == 0 ? (uint32_t)roll(walk, 6) : DH_UNLIMITED;
    p.within_ns = roll(walk, 100) * SEC;
    p.reset_after_ns = roll(walk, 20) * SEC;
    p.stop_timeout_ns = roll(walk, 4) * SEC;
    p.start_timeout_ns =
        roll(walk, 5) == 0 ? (1 + roll(walk, 9)) * SEC : DH_NEVER; /* no spinning */
    p.watchdog_ns = roll(walk, 8) == 0 ? (1 + roll(walk, 20)) * SEC : DH_NEVER;
    p.notifies = roll(walk, 6) == 0;
    return p;
}

static void roll_habits(struct walk *walk, struct body *b) {
    b->ready_in = roll(walk, 4) == 0 ? roll_time(walk) : 0;
    b->end_in = roll(walk, 3) == 0 ? SEC + roll_time(walk) : DH_NEVER; /* no spinning */
    b->ending = (enum dh_ending)roll(walk, 2);
    b->stop_ending = (enum dh_ending)roll(walk, 3);
    b->stop_in = roll(walk, 5) == 0 ? DH_NEVER : roll(walk, 3) * SEC;
    b->kill_in = roll(walk, 4) == 0 ? roll(walk, 100) * MS : 0;
    b->close_in = roll(walk, 3) == 0 ? roll_time(walk) : 0;
    b->fail_starts = roll(walk, 10) == 0 ? 1 : 0;
}

static int roll_group(struct walk *walk) {
    return roll(walk, 2) == 0 ? (int)roll(walk, GROUPS) : -1;
}

static struct dh_group *group_at(struct walk *walk, int group) {
    return group < 0 ? NULL : walk->groups[group].group;
}

/* Whom number i waits for: lower numbers, so that there is no cycle. */
static void roll_after(struct walk *walk, int i, char *after, size_t size) {
    after[0] = '\0';
    for (int n = (int)roll(walk, 4); n > 1 && i > 0; n--) {
        snprintf(after + strlen(after), size - strlen(after), "%sw%d", after[0] != '\0' ? " " : "",
                 (int)roll(walk, (uint64_t)i));
    }
}

static struct dh_policy believe(const struct walk *walk, struct dh_policy p) {
    if (walk->sabotage == LOWER_LIMITS) {
        p.max_restarts = 0;
    } else if (walk->sabotage == NO_JITTER) {
        p.jitter = 0;
    }
    return p;
}

static void add_slot(struct walk *walk, int i) {
    struct model *m = &walk->models[i];
    struct dh_policy p = roll_policy(walk);
    int group = roll_group(walk);
    char name[16];
    char after[64];

    roll_after(walk, i, after, sizeof after);
    snprintf(name, sizeof name, "w%d", i);
    *m = (struct model){
        .policy = believe(walk, p), .state = DH_WAITING, .is_wanted = true, .group = group};
    m->body = world_try_add(&walk->world, name, &p, after, group_at(walk, group), NULL);
    if (m->body != NULL) {
        roll_habits(walk, m->body);
    }
}

/* As a reload does: a new declaration, and often a restart with it. */
static void change_slot(struct walk *walk, int i) {
    struct model *m = &walk->models[i];
    struct dh_policy p = roll_policy(walk);
    struct declaration to = {believe(walk, p), roll_group(walk), roll(walk, 2) == 0};
    bool is_trial = to.is_trial && walk->sabotage != LOST_TRIALS;
    char after[64];
    int rc = 0;

    roll_after(walk, i, after, sizeof after);
    if (walk->sabotage != LOST_CHANGES) {
        rc = world_change(m->body, &p, after, group_at(walk, to.group), is_trial);
    }
    if (rc < 0) {
        WALK_CHECK(walk, m->body->w.is_removing || walk->world.sup.is_shutting_down);
        return;
    }
    m->pending = to;
    m->is_pending = true;
    if (!dh_state_is_alive(m->state)) {
        apply_change(m);
    }
    if (roll(walk, 8) == 0) {
        dh_sup_move_last(&walk->world.sup, &m->body->w);
    }
}

static void clear_history(struct model *m) {
    m->stamps.count = 0;
    m->streak = 0;
}

static void note_order(struct model *m, bool is_wanted) {
    m->is_wanted = is_wanted;
    m->is_excused = true;
    m->is_replaced = false;
    m->has_given_up = false;
    clear_history(m);
}

static int stop(struct walk *walk, struct dh_worker *w) {
    return walk->sabotage == LOST_STOPS ? 0 : dh_sup_stop(&walk->world.sup, w);
}

static void order_any(struct walk *walk, struct model *m) {
    struct dh_sup *sup = &walk->world.sup;
    struct dh_worker *w = &m->body->w;

    switch (roll(walk, 6)) {
        case 0:
            if (!(m->is_wanted && (m->state == DH_RUNNING || m->state == DH_WAITING)) &&
                dh_sup_start(sup, w) == 0) {
                note_order(m, true);
            }
            break;
        case 1:
            if (stop(walk, w) == 0) {
                note_order(m, false);
            }
            break;
        case 2:
            if (dh_sup_restart(sup, w) == 0) {
                note_order(m, true);
                m->is_replaced = true;
            }
            break;
        case 3:
            if (dh_sup_retry(sup, w) == 0) {
                m->is_excused = true;
                m->has_given_up &= m->state != DH_FAILED && m->state != DH_CLOSING;
                m->is_wanted |= m->state == DH_FAILED || m->state == DH_CLOSING;
            }
            break;
        case 4:
            if (dh_sup_reset(sup, w) == 0) {
                clear_history(m);
            }
            break;
        default:
            if (roll(walk, 4) == 0 && dh_sup_remove(sup, w) == 0) {
                m->is_wanted = false;
            }
            break;
    }
}

static void order(struct walk *walk, struct model *m) {
    struct group_model *g = m->group >= 0 ? &walk->groups[m->group] : NULL;
    bool had_failed = g != NULL && dh_group_is_failed(g->group);

    order_any(walk, m);
    if (had_failed && !dh_group_is_failed(g->group)) {
        g->stamps.count = 0; /* a failed group is forgiven */
    }
}

/* A hook that meddles. Not from 'crash', or an order would come before the give_up it seems to
** follow. */
static void meddle(struct walk *walk, enum dh_event_kind kind) {
    int i = (int)roll(walk, SLOTS);
    struct model *m = &walk->models[i];
    bool is_fit = kind == DH_EVENT_READY || kind == DH_EVENT_STOP || kind == DH_EVENT_DONE ||
                  kind == DH_EVENT_GIVE_UP || kind == DH_EVENT_RECOVERED ||
                  kind == DH_EVENT_GROUP_RESTART;

    if (is_fit && m->body != NULL && roll(walk, 20) == 0) {
        order(walk, m);
        if (m->body != NULL && roll(walk, 4) == 0) {
            change_slot(walk, i);
        }
    }
}

static void on_event(struct world *world, const struct dh_event *ev) {
    struct walk *walk = (struct walk *)world;
    struct model *m = model_of(walk, ev->worker);

    walk->events++;
    WALK_CHECK(walk, m != NULL);
    if (m == NULL) {
        return;
    }
    if ((walk->sabotage == LOST_RESTARTS && ev->kind == DH_EVENT_RESTART) ||
        (walk->sabotage == LOST_RECOVERIES && ev->kind == DH_EVENT_RECOVERED)) {
        return;
    }
    WALK_CHECK(walk, !m->is_restart_next || ev->kind == DH_EVENT_START);
    WALK_CHECK(walk, !m->is_rejected_next || ev->kind == DH_EVENT_REJECTED);
    switch (ev->kind) {
        case DH_EVENT_STATE:
            on_state(walk, m, ev);
            break;
        case DH_EVENT_RESTART:
            m->is_restart_next = true;
            m->restarts++;
            break;
        case DH_EVENT_START:
            on_start(walk, m, ev);
            break;
        case DH_EVENT_CRASH:
            on_crash(walk, m, ev);
            break;
        case DH_EVENT_GIVE_UP:
            m->has_given_up = true;
            break;
        case DH_EVENT_DONE:
            WALK_CHECK(walk, m->state == DH_DONE);
            m->is_wanted = false;
            excuse_dependants(walk, ev->worker);
            break;
        case DH_EVENT_STOP:
            WALK_CHECK(walk, m->state == DH_STOPPED);
            m->is_wanted = false; /* by its group, perhaps */
            break;
        case DH_EVENT_READY:
            WALK_CHECK(walk, m->state == DH_RUNNING);
            excuse_dependants(walk, ev->worker);
            break;
        case DH_EVENT_RECOVERED:
            WALK_CHECK(walk, m->streak > 0);
            m->streak = 0;
            break;
        case DH_EVENT_GROUP_RESTART:
        case DH_EVENT_GROUP_FAILED:
            break;
        case DH_EVENT_KILL:
        case DH_EVENT_BLOCKED:
            break;
        case DH_EVENT_PROVEN:
            WALK_CHECK(walk, m->is_on_trial);
            m->is_on_trial = false;
            break;
        case DH_EVENT_REJECTED:
            WALK_CHECK(walk, m->is_rejected_next);
            m->is_rejected_next = false;
            m->is_on_trial = false;
            break;
        case DH_EVENT_GONE:
            WALK_CHECK(walk, dh_state_is_final(m->state));
            m->body = NULL;
            break;
    }
    meddle(walk, ev->kind);
}

static void disturb(struct walk *walk, struct model *m) {
    struct dh_sup *sup = &walk->world.sup;
    struct body *b = m->body;

    if (!b->is_live || b->has_ended) {
        return;
    }
    switch (roll(walk, 6)) {
        case 0:
            b->is_fatal = roll(walk, 8) == 0;
            b->retry_after = roll(walk, 8) == 0 ? roll_time(walk) : DH_NEVER;
            body_end(b, DH_RAISED);
            b->is_fatal = false;
            b->retry_after = DH_NEVER;
            break;
        case 1:
            if (roll(walk, 3) == 0) {
                body_end(b, DH_RETURNED);
            }
            break;
        case 2:
            dh_sup_on_ready(sup, &b->w, b->run, true);
            break;
        case 3:
            dh_sup_on_healthy(sup, &b->w, b->run);
            break;
        case 4:
            dh_sup_on_beat(sup, &b->w, b->run);
            break;
        default:
            roll_habits(walk, b);
            break;
    }
}

static void move(struct walk *walk) {
    int i = (int)roll(walk, SLOTS);
    struct model *m = &walk->models[i];

    if (m->body == NULL) {
        add_slot(walk, i);
    } else if (roll(walk, 5) < 2) {
        order(walk, m);
    } else if (roll(walk, 6) == 0) {
        change_slot(walk, i);
        if (roll(walk, 2) == 0) {
            order(walk, m);
        }
    } else {
        disturb(walk, m);
    }
    /* several things in one turn are the interesting ones */
    if (roll(walk, 3) == 0) {
        world_turn(&walk->world);
        check_world(walk);
    }
    if (roll(walk, 4) == 0) {
        world_advance(&walk->world, roll_time(walk));
        check_world(walk);
    }
}

static void settle(struct walk *walk) {
    world_turn(&walk->world);
    for (int i = 0; i < SLOTS; i++) {
        walk->models[i].is_wanted = false;
        if (walk->models[i].body != NULL) {
            walk->models[i].body->kill_in = 0;
        }
    }
    dh_sup_shutdown(&walk->world.sup);
    world_advance(&walk->world, 10000 * SEC);
    WALK_CHECK(walk, dh_sup_is_finished(&walk->world.sup));
    WALK_CHECK(walk, dh_timerq_next(&walk->world.timers) == DH_NEVER);
}

static int arm_early(struct dh_env *env, struct dh_timer *t, uint64_t deadline_ns) {
    struct world *world = (struct world *)env;

    return dh_timerq_arm(&world->timers, t, deadline_ns > MS ? deadline_ns - MS : 0);
}

static void add_groups(struct walk *walk) {
    static const enum dh_strategy strategies[GROUPS] = {DH_ONE_FOR_ONE, DH_ONE_FOR_ALL,
                                                        DH_REST_FOR_ONE, DH_ONE_FOR_ALL};
    static const char *const names[GROUPS] = {"g0", "g1", "g2", "g3"};

    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group_model *g = &walk->groups[i];
        uint32_t limit = i < 3 ? 3 + i : DH_UNLIMITED;
        *g = (struct group_model){
            .group = world_group(&walk->world, names[i], strategies[i], limit, 30 * SEC),
            .strategy = walk->sabotage == KEPT_SIBLINGS ? DH_ONE_FOR_ONE : strategies[i],
            .max_restarts = walk->sabotage == LOWER_GROUP_LIMITS ? 1 : limit,
            .within_ns = 30 * SEC,
        };
    }
}

static void start_walk(struct walk *walk, uint64_t seed, enum sabotage sabotage) {
    walk->seed = seed;
    walk->sabotage = sabotage;
    world_init(&walk->world);
    walk->world.keeps_no_records = true;
    walk->world.on_event = on_event;
    walk->world.random_state = seed;
    walk->world.is_synchronous = seed % 2 == 1;
    if (sabotage == EARLY_DEADLINES) {
        walk->world.env.arm = arm_early;
    }
    add_groups(walk);
    for (int i = 0; i < SLOTS; i++) {
        add_slot(walk, i);
    }
    CHECK_EQ(dh_sup_boot(&walk->world.sup, NULL), 0);
    world_turn(&walk->world);
    check_world(walk);
}

struct result {
    uint64_t events;
    uint64_t hash;
    bool is_broken;
};

static struct result play(uint64_t seed, uint64_t steps, enum sabotage sabotage) {
    struct walk *walk = calloc(1, sizeof *walk);
    struct result result;

    start_walk(walk, seed, sabotage);
    for (uint64_t n = 0; n < steps && !walk->is_broken; n++) {
        move(walk);
    }
    settle(walk);
    result = (struct result){walk->events, walk->world.hash, walk->is_broken};
    if (walk->is_broken && sabotage == SOUND) {
        printf("  broken by seed %" PRIu64 "\n", seed);
    }
    world_fini(&walk->world);
    free(walk);
    return result;
}

static struct result play_twice(uint64_t seed, uint64_t steps) {
    struct result first = play(seed, steps, SOUND);
    struct result second = play(seed, steps, SOUND);

    CHECK_EQ(second.hash, first.hash);
    CHECK_EQ(second.events, first.events);
    return first;
}

static void random_walks_keep_every_invariant(void) {
    uint64_t events = 0;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        events += play_twice(seed, 5100).events;
    }
    printf("     seeds 1 to 20, %" PRIu64 " events, twice\n", events);
    CHECK(events >= 1000000);
}

static void whatever_is_wrong_is_found(void) {
    for (int sabotage = SOUND + 1; sabotage < SABOTAGES; sabotage++) {
        if (!CHECK(play(1, 5000, (enum sabotage)sabotage).is_broken)) {
            printf("  sabotage %d was not found\n", sabotage);
        }
    }
}

int main(int argc, char **argv) {
    if (argc > 1) {
        uint64_t seed = strtoull(argv[1], NULL, 10);
        struct result result = play_twice(seed, argc > 2 ? strtoull(argv[2], NULL, 10) : 5000);
        printf("seed %" PRIu64 ", %" PRIu64 " events, twice with hash %016" PRIx64
               ", %d checks failed\n",
               seed, result.events, result.hash, check_state()->failures);
        return check_state()->failures > 0;
    }
    RUN(random_walks_keep_every_invariant);
    RUN(whatever_is_wrong_is_found);
    return check_report();
}
