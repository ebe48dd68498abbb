/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A world for the supervisor: a virtual clock, scripted bodies, an allocator that counts (and can
** be told to fail), and a record of everything that happened.
**
** A body does by itself what its delays say, on the virtual clock; DH_NEVER means it does not, and
** the test does it with body_*. Time moves in world_advance only, through each deadline in turn.
*/
#ifndef DH_SPEC_WORLD_H
#define DH_SPEC_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/group.h"
#include "core/supervisor.h"

#define MS UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

/* what was asked of the world, recorded among the events */
enum world_call { CALL_CANCEL = 100, CALL_KILL };

struct record {
    int kind; /* enum dh_event_kind or enum world_call */
    uint64_t at_ns;
    char name[24];
    uint32_t run;
    enum dh_state from;
    enum dh_state to;
    uint64_t delay_ns;
    uint64_t outage_ns;
    uint32_t streak;
    uint32_t window_count;
    uint32_t max_restarts;
    bool will_restart;
    bool is_stopping;
    const void *failure;
    char reason[DH_REASON_MAX];
};

struct counting_alloc {
    struct dh_alloc alloc; /* first */
    size_t bytes;          /* in use */
    size_t blocks;
    uint64_t calls;     /* that asked for memory */
    uint64_t fail_from; /* the calls from this one (from 1) ... */
    uint64_t fail_to;   /* ... up to this one get nothing; 0: none */
};

struct world {
    struct dh_env env; /* first */
    struct counting_alloc memory;
    struct dh_sup sup;
    struct dh_timerq timers;
    struct dh_timerq script_timers; /* of the bodies: other memory, never fails */
    struct counting_alloc script_memory;
    uint64_t now_ns;
    uint64_t random_state;
    uint64_t fixed_random; /* returned instead, if use_fixed_random */
    bool use_fixed_random;
    uint64_t random_calls;
    struct body *bodies;
    struct record *records;
    size_t record_count;
    size_t record_capacity;
    uint64_t hash; /* of all records */
    char text[16384];
    void (*on_event)(struct world *world, const struct dh_event *ev);
    bool is_synchronous;   /* bodies answer cancel and kill inside the call */
    bool are_bodies_first; /* of what is due at once, bodies act before deadlines are reported */
    bool keeps_no_records;
    bool is_blind; /* it does not tell when it looks at its deadlines */
    uint64_t arm_failures;
};

/* One run of a body at a time; core may never start two. */
struct body {
    struct dh_worker w; /* first */
    struct world *world;
    struct body *next;
    char name[DH_NAME_MAX + 1];

    /* what it does; set after world_add, kept over runs */
    uint64_t ready_in;
    uint64_t beat_every;
    uint64_t end_in;
    enum dh_ending ending;
    bool is_fatal;
    uint64_t retry_after;
    uint64_t stop_in;  /* from cancel to its end */
    uint64_t kill_in;  /* from kill to its end */
    uint64_t close_in; /* from its end to closed */
    int fail_starts;   /* so many starts fail; -1: all */
    enum dh_ending stop_ending;

    /* what it is doing */
    bool is_live; /* has a run that is not closed */
    bool has_ended;
    bool was_cancelled;
    bool was_killed;
    bool is_kill_told;
    bool is_gone;
    uint32_t run;
    uint64_t beat_ns; /* the last beat, or 0 */
    struct dh_outcome outcome;
    struct dh_timer ready_timer;
    struct dh_timer beat_timer;
    struct dh_timer end_timer;
    struct dh_timer close_timer;
    int failure; /* something to point to */
};

void world_init(struct world *world);
/* Checks that nothing leaked. */
void world_fini(struct world *world);

/* Add a worker; p NULL: defaults. Bodies await at once, never beat, run for ever, end at once when
** cancelled, and close at once. NULL with the reason in err. */
struct body *world_add(struct world *world, const char *name, const struct dh_policy *p);
/* The same with dependencies ("a b c", NULL for none) and a group. */
struct body *world_try_add(struct world *world, const char *name, const struct dh_policy *p,
                           const char *after, struct dh_group *group, struct dh_error *err);
/* dh_sup_change */
int world_change(struct body *b, const struct dh_policy *p, const char *after,
                 struct dh_group *group, bool is_trial);
struct dh_group *world_group(struct world *world, const char *name, enum dh_strategy strategy,
                             uint32_t max_restarts, uint64_t within_ns);
struct dh_policy world_policy(void);
struct body *world_body(struct world *world, const char *name);

/* Boot (checked) and one turn. */
void world_boot(struct world *world);
/* What is due now, and steps. */
void world_turn(struct world *world);
void world_advance(struct world *world, uint64_t ns);

void body_ready(struct body *b);
/* Beat now, and every beat_every from now on. */
void body_beat(struct body *b);
void body_end(struct body *b, enum dh_ending ending);
void body_close(struct body *b);

/* Records as text: those whose kind is named in 'kinds' ("start crash", "state", "cancel kill"),
** "name:kind@seconds" each, a state as "name:running@1.5". */
const char *world_log(struct world *world, const char *kinds);
size_t world_count(struct world *world, const char *kind, const char *name);
/* The last record of that kind about that worker, or NULL. */
const struct record *world_last(struct world *world, const char *kind, const char *name);
void world_clear_log(struct world *world);

/* "a=running b=backoff", in order of declaration. */
const char *world_states(struct world *world);
const char *world_waiting_for(struct world *world, const char *name);
enum dh_state body_state(const struct body *b);

/* SplitMix64 */
uint64_t world_random(uint64_t *state);

#endif
