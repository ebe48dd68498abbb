/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The invariants of the supervisor. An observer knows of each worker what may be known from
** declarations, orders, reports and events alone, and holds it against every event as it comes and
** against the supervisor itself after every turn. Orders are given through it, so that it knows
** them. What is violated is a failed CHECK.
**
** What it cannot know is when a group's gate opens; there it reads the supervisor's mind.
*/
#ifndef DH_SPEC_OBSERVER_H
#define DH_SPEC_OBSERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "spec/core/world.h"

enum { SLOTS = 40, GROUPS = 3, STAMPS = 64 };

/*
** What is wrong with the world, with the observer's hearing or with what it believes: canaries. The
** text says what the simulation must find out.
*/
#define MUTATION_MAP(X)                                                                            \
    X(SOUND, "nothing is wrong")                                                                   \
    X(EARLY_DEADLINE, "a deadline comes a millisecond early")                                      \
    X(LATE_DEADLINE, "a deadline comes a millisecond late")                                        \
    X(LOST_DEADLINE, "a deadline in a hundred never comes")                                        \
    X(EXTRA_RESTART, "a worker is restarted that nobody restarted")                                \
    X(LOST_STOP, "an order to stop is lost")                                                       \
    X(LOST_CLOSED, "that a run is closed is reported in nine cases of ten")                        \
    X(LOST_RESTART, "a restart event is lost")                                                     \
    X(LOST_RECOVERED, "a recovered event is lost")                                                 \
    X(LOST_READY, "a ready event is lost")                                                         \
    X(LOST_KILL, "kill is not called")                                                             \
    X(LEAK, "a block is not given back")                                                           \
    X(LOWER_LIMIT, "workers restart more often than they are believed to be allowed to")           \
    X(LOWER_GROUP_LIMIT, "groups restart more often than they are believed to be allowed to")      \
    X(NO_JITTER, "delays that are believed to be exact are spread")                                \
    X(KEPT_SIBLINGS, "a group that is believed to be one_for_one restarts siblings")               \
    X(MORE_DEPENDENCIES, "a worker starts before, and stops after, what it is believed to need")   \
    X(BLIND, "time in which the host stood still is held against workers")                         \
    X(DEAF, "time in which a worker held the host is given back to it")                            \
    X(CHANCE, "the same seed does not give the same events")

enum mutation {
#define X(name, text) name,
    MUTATION_MAP(X)
#undef X
        MUTATIONS
};

const char *mutation_text(enum mutation mutation);

/* What a worker is declared to be. */
struct declared {
    struct dh_policy policy;
    uint64_t after; /* a bit for each slot it waits for */
    int group;      /* -1: none */
    bool is_trial;
};

/* Something that a worker is given time for, and how much of it did not count as the host stood still. */
struct seen_watch {
    uint64_t from_ns;
    uint64_t lost_ns;
};

/* Restarts that a limit counts. */
struct stamps {
    uint64_t at_ns[STAMPS];
    int count;
};

struct seen {
    struct body *body;        /* NULL: not there */
    struct declared declared; /* in force */
    struct declared change;   /* in force when the run under way is closed, if has_change */
    bool has_change;
    enum dh_state state;
    uint64_t since_ns; /* when it was seen to enter it */
    uint64_t started_ns;
    uint64_t ready_ns;
    uint64_t outage_since_ns;
    uint32_t run;
    uint32_t restarts;
    uint32_t streak;
    bool is_ready;
    bool is_wanted;
    bool is_removing;
    bool is_replaced;     /* a restart was ordered and has not been carried out */
    bool is_ordered;      /* the next run may be somebody's order, not the policy's */
    bool is_excused;      /* somebody ordered something, or a dependency came: no deadline holds */
    bool is_awake;        /* what it waits for is there again: it must not wait out its delay */
    bool is_blocked;      /* it has been told that it waits for what only an order starts */
    bool is_taken_along;  /* its group stops this run, perhaps for good */
    bool is_healthy;      /* this run said so */
    bool is_on_trial;     /* its declaration is */
    bool is_condemned;    /* crashed on trial: rejected must be next */
    bool has_given_up;    /* and no order since */
    bool is_restart_next; /* a restart event, so a start must be next */
    uint64_t not_before_ns; /* the earliest automatic restart */
    uint64_t gone_by_ns;    /* shutdown: when it must have ended */
    struct seen_watch start;
    struct seen_watch beat;
    struct seen_watch stop;
    int rank;             /* shutdown: where it comes in order of declaration, or -1 */
    struct stamps stamps; /* counted crashes since the last order */
};

struct seen_group {
    struct dh_group *group;
    enum dh_strategy strategy;
    uint32_t max_restarts;
    uint64_t within_ns;
    uint32_t restart_step;
    struct stamps stamps;
};

enum order { ORDER_START, ORDER_STOP, ORDER_RESTART, ORDER_RETRY, ORDER_RESET, ORDER_REMOVE };
#define ORDER_COUNT 6

struct observer {
    struct world world; /* first */
    struct seen seen[SLOTS];
    int slots; /* so many have been used */
    struct seen_group groups[GROUPS];
    enum mutation mutation;
    uint64_t events;
    uint64_t stale_reports; /* how many there must have been */
    uint64_t looked_ns;     /* when the host last looked at its deadlines, */
    uint64_t jumped_ns;     /* how far the clock has jumped since, */
    uint64_t held_ns;       /* and how much of that was the doing of ... */
    int holder;             /* this slot, or -1 */
    bool was_short_of_memory;
    bool is_shutting_down;
    bool is_forced;
    int last_rank; /* shutdown: of the worker that was told last */
    void (*cancel_run)(struct dh_env *env, struct dh_worker *w); /* the world's */

    /* called after the observer has seen the event; may give orders. May be NULL. */
    void (*on_event)(struct observer *o, int slot, const struct dh_event *ev);
};

void observer_init(struct observer *o, enum mutation mutation, uint64_t seed);
/* Checks that nothing leaked. */
void observer_fini(struct observer *o);

/* Workers are called "w3", groups "g1". */
int observer_slot(const struct dh_worker *w);

void observer_add_group(struct observer *o, int group, enum dh_strategy strategy,
                        uint32_t max_restarts, uint64_t within_ns);
void observer_change_group(struct observer *o, int group, enum dh_strategy strategy,
                           uint32_t max_restarts, uint64_t within_ns);

/* Declare a worker in a slot that is empty; false if it is refused (an unknown dependency). */
bool observer_add(struct observer *o, int slot, const struct declared *d);

int observer_order(struct observer *o, int slot, enum order order);
int observer_change(struct observer *o, int slot, const struct declared *d);
/* The body says so; it must not have ended. */
void observer_healthy(struct observer *o, int slot);
void observer_shutdown(struct observer *o, bool is_forced);

/* Only the clock moves: the run in a slot holds the thread, or, slot being -1, nobody does. */
void observer_jump(struct observer *o, int slot, uint64_t ns);

/* Before a turn, which begins with a look at the deadlines: does it come late? */
void observer_look(struct observer *o);

/* A report about a run that is no more. */
void observer_late_report(struct observer *o, int slot, unsigned which);

/* After a turn, nothing being left to decide: everything that must hold. */
void observer_check(struct observer *o);

/* Will it run, sooner or later, if nothing fails any more? */
bool observer_should_run(const struct observer *o, int slot);

/* How long it may take until all that should run does, if nothing fails any more. */
uint64_t observer_longest_delay(const struct observer *o);

#endif
