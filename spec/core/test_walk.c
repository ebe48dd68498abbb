/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Random walks: workers in groups and dependency graphs, with random policies, are crashed,
** finished, ordered about, removed and added again; after each event and each step invariants are
** checked. The seeds are printed and can be given as arguments: test_walk SEED [STEPS]. Each seed
** is played twice and must give the same events.
*/
#include <stdlib.h>

#include "check.h"
#include "core/deps.h"
#include "world.h"

enum { SLOTS = 40, GROUPS = 4, STAMPS = 64 };

/* What an observer may know about a worker, from orders and events alone. */
struct model {
    struct body *body; /* NULL: not there */
    struct dh_policy policy;
    enum dh_state state;
    uint32_t run;
    uint32_t restarts;
    bool is_wanted;
    bool is_excused;      /* somebody ordered something, or a dependency came: no deadline holds */
    bool has_given_up;    /* and no order since */
    bool is_restart_next; /* a restart event, so a start must be next */
    uint64_t not_before_ns;  /* the earliest automatic restart */
    uint64_t stamps[STAMPS]; /* counted crashes since the last order */
    int stamp_count;
    int group;
};

struct walk {
    struct world world; /* first */
    struct model models[SLOTS];
    struct dh_group *groups[GROUPS];
    uint64_t seed;
    uint64_t events;
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

#define WALK_CHECK(walk, cond)                                                                     \
    do {                                                                                           \
        if (!(cond) && !(walk)->is_broken) {                                                       \
            (walk)->is_broken = true;                                                              \
            printf("  at %" PRIu64 " ns, event %" PRIu64 "\n", (walk)->world.now_ns,               \
                   (walk)->events);                                                                \
            CHECK(cond);                                                                           \
        }                                                                                          \
    } while (0)

/* --- events ----------------------------------------------------------------------------------- */

static void on_state(struct walk *walk, struct model *m, const struct dh_event *ev) {
    WALK_CHECK(walk, ev->from == m->state);
    WALK_CHECK(walk, dh_state_may_become(ev->from, ev->to));
    if (ev->to == DH_STOPPING) {
        /* nobody is stopped for another's sake, but by a strategy that says so */
        bool is_watched =
            m->policy.start_timeout_ns != DH_NEVER || m->policy.watchdog_ns != DH_NEVER;
        WALK_CHECK(walk, !ev->worker->is_wanted || m->is_excused || is_watched || m->group > 0);
    }
    m->state = ev->to;
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
    m->is_excused = false;
    m->not_before_ns = 0;
}

static int count_stamps(const struct model *m, uint64_t at_ns) {
    int n = 0;

    for (int i = 0; i < m->stamp_count; i++) {
        n += at_ns - m->stamps[i] <= m->policy.within_ns;
    }
    return n;
}

static void check_delay(struct walk *walk, const struct model *m, const struct dh_event *ev) {
    const struct dh_policy *p = &m->policy;
    uint64_t least = p->min_backoff_ns < p->max_backoff_ns ? p->min_backoff_ns : p->max_backoff_ns;

    if (ev->outcome != NULL && ev->outcome->retry_after_ns != DH_NEVER) {
        WALK_CHECK(walk, ev->delay_ns == ev->outcome->retry_after_ns);
        return;
    }
    WALK_CHECK(walk, ev->delay_ns <= p->max_backoff_ns);
    WALK_CHECK(walk, (double)ev->delay_ns + 1 >= (double)least * (1 - p->jitter));
}

static void on_crash(struct walk *walk, struct model *m, const struct dh_event *ev) {
    uint64_t ended_ns = ev->outcome != NULL ? ev->outcome->ended_ns : ev->at_ns;
    int count;

    if (ev->is_stopping) {
        WALK_CHECK(walk, !ev->will_restart);
        return;
    }
    if (m->policy.restart == DH_RESTART_NEVER || (ev->outcome != NULL && ev->outcome->is_fatal)) {
        WALK_CHECK(walk, !ev->will_restart);
        return;
    }
    if (m->stamp_count == STAMPS) {
        memmove(m->stamps, m->stamps + 1, sizeof m->stamps - sizeof m->stamps[0]);
        m->stamp_count--;
    }
    m->stamps[m->stamp_count++] = ended_ns;
    count = count_stamps(m, ended_ns);
    if (m->policy.max_restarts != DH_UNLIMITED) {
        WALK_CHECK(walk, (int)ev->window_count == count ||
                             (count > (int)m->policy.max_restarts &&
                              ev->window_count == m->policy.max_restarts + 1));
        WALK_CHECK(walk, !ev->will_restart || count <= (int)m->policy.max_restarts);
    }
    if (ev->will_restart) {
        check_delay(walk, m, ev);
        m->not_before_ns = ended_ns + ev->delay_ns;
        m->is_excused = false;
    } else {
        WALK_CHECK(walk, count > (int)m->policy.max_restarts || m->group >= 0);
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

/* A worker that could start does not wait, one that should stop does not run on. */
static void check_worker(struct walk *walk, const struct model *m) {
    const struct dh_worker *w = &m->body->w;
    bool is_gated = w->extra != NULL && w->extra->gate != DH_GATE_NONE;

    WALK_CHECK(walk, w->state == m->state);
    WALK_CHECK(walk, w->run == m->run);
    WALK_CHECK(walk, w->restarts == m->restarts);
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
        check_group(walk, walk->groups[i]);
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
    p.start_timeout_ns = roll(walk, 5) == 0 ? roll(walk, 10) * SEC : DH_NEVER;
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

static void add_slot(struct walk *walk, int i) {
    struct model *m = &walk->models[i];
    struct dh_policy p = roll_policy(walk);
    int group = roll(walk, 2) == 0 ? (int)roll(walk, GROUPS) : -1;
    char name[8];
    char after[64] = "";

    for (int n = (int)roll(walk, 4); n > 1 && i > 0; n--) {
        snprintf(after + strlen(after), sizeof after - strlen(after), "%sw%d",
                 after[0] != '\0' ? " " : "", (int)roll(walk, (uint64_t)i));
    }
    snprintf(name, sizeof name, "w%d", i);
    *m = (struct model){.policy = p, .state = DH_WAITING, .is_wanted = true, .group = group};
    m->body =
        world_try_add(&walk->world, name, &p, after, group < 0 ? NULL : walk->groups[group], NULL);
    if (m->body != NULL) {
        roll_habits(walk, m->body);
    }
}

static void note_order(struct model *m, bool is_wanted) {
    m->is_wanted = is_wanted;
    m->is_excused = true;
    m->has_given_up = false;
    m->stamp_count = 0;
}

static void order(struct walk *walk, struct model *m) {
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
            if (dh_sup_stop(sup, w) == 0) {
                note_order(m, false);
            }
            break;
        case 2:
            if (dh_sup_restart(sup, w) == 0) {
                note_order(m, true);
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
                m->stamp_count = 0;
            }
            break;
        default:
            if (roll(walk, 4) == 0 && dh_sup_remove(sup, w) == 0) {
                m->is_wanted = false;
            }
            break;
    }
}

/* A hook that meddles. Not from 'crash', or an order would come before the give_up it seems to
** follow. */
static void meddle(struct walk *walk, enum dh_event_kind kind) {
    struct model *m = &walk->models[roll(walk, SLOTS)];
    bool is_fit = kind == DH_EVENT_READY || kind == DH_EVENT_STOP || kind == DH_EVENT_DONE ||
                  kind == DH_EVENT_GIVE_UP || kind == DH_EVENT_RECOVERED ||
                  kind == DH_EVENT_GROUP_RESTART;

    if (is_fit && m->body != NULL && roll(walk, 20) == 0) {
        order(walk, m);
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
    WALK_CHECK(walk, !m->is_restart_next || ev->kind == DH_EVENT_START);
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
        case DH_EVENT_GROUP_RESTART:
        case DH_EVENT_GROUP_FAILED:
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

static uint64_t play(uint64_t seed, uint64_t steps, uint64_t *ret_events) {
    static const enum dh_strategy strategies[GROUPS] = {DH_ONE_FOR_ONE, DH_ONE_FOR_ALL,
                                                        DH_REST_FOR_ONE, DH_ONE_FOR_ALL};
    static const char *const names[GROUPS] = {"g0", "g1", "g2", "g3"};
    struct walk *walk = calloc(1, sizeof *walk);
    uint64_t hash;

    walk->seed = seed;
    world_init(&walk->world);
    walk->world.keeps_no_records = true;
    walk->world.on_event = on_event;
    walk->world.random_state = seed;
    walk->world.is_synchronous = seed % 2 == 1;
    for (int i = 0; i < GROUPS; i++) {
        walk->groups[i] = world_group(&walk->world, names[i], strategies[i],
                                      i < 3 ? 3 + (uint32_t)i : DH_UNLIMITED, 30 * SEC);
    }
    for (int i = 0; i < SLOTS; i++) {
        add_slot(walk, i);
    }
    CHECK_EQ(dh_sup_boot(&walk->world.sup, NULL), 0);
    world_turn(&walk->world);
    check_world(walk);
    for (uint64_t n = 0; n < steps && !walk->is_broken; n++) {
        move(walk);
    }
    settle(walk);
    if (walk->is_broken) {
        printf("  broken by seed %" PRIu64 "\n", seed);
    }
    hash = walk->world.hash;
    *ret_events += walk->events;
    world_fini(&walk->world);
    free(walk);
    return hash;
}

static void play_twice(uint64_t seed, uint64_t steps, uint64_t *ret_events) {
    uint64_t hash = play(seed, steps, ret_events);

    CHECK_EQ(play(seed, steps, ret_events), hash);
}

static void random_walks_keep_every_invariant(void) {
    uint64_t events = 0;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        play_twice(seed, 5000, &events);
    }
    printf("     seeds 1 to 20, %" PRIu64 " events\n", events);
    CHECK(events >= 100000);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        uint64_t events = 0;
        play_twice(strtoull(argv[1], NULL, 10), argc > 2 ? strtoull(argv[2], NULL, 10) : 5000,
                   &events);
        printf("%" PRIu64 " events, %d checks failed\n", events, check_state()->failures);
        return check_state()->failures > 0;
    }
    RUN(random_walks_keep_every_invariant);
    return check_report();
}
