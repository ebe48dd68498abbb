/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What few workers need: dependencies, dependants, a group, a history of crashes, more deadlines
** than one. Allocated by the first who asks, freed with the worker. Private to core.
*/
#ifndef DH_CORE_EXTRA_H
#define DH_CORE_EXTRA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/timerq.h"
#include "core/window.h"

struct dh_change;
struct dh_edge;
struct dh_group;
struct dh_sup;
struct dh_worker;

/* Why a worker is in STOPPING, if it was not ordered there. */
enum dh_cause {
    DH_CAUSE_ORDER,
    DH_CAUSE_NOT_READY, /* start_timeout */
    DH_CAUSE_NO_BEAT,   /* watchdog */
    DH_CAUSE_GROUP,     /* its group restarts */
};

/* Where a member stands in a restart of its group: all pass the gate together. */
enum dh_gate {
    DH_GATE_NONE,    /* not concerned */
    DH_GATE_COMING,  /* has to end first, or its delay has to pass */
    DH_GATE_ARRIVED, /* could start now, waits for the others */
};

struct dh_extra {
    struct dh_worker *worker;

    /* dependencies: see deps.h */
    struct dh_edge *edges; /* what this worker waits for */
    size_t edges_size;     /* bytes allocated for them */
    struct dh_edge *in;    /* who waits for this worker: linked edges of the others */
    uint32_t missing;      /* how many of 'edges' are not ready */
    uint32_t alive_in;     /* how many of 'in' belong to a worker that is alive */
    uint16_t edge_count;
    uint16_t visit_edge; /* search for cycles: the next edge to follow */
    uint32_t visit;      /* in which search it was seen, and whether it is behind us */
    bool is_dangling;    /* in sup->dangling */
    bool is_blocked;     /* WAITING: it has been told that only an order helps */
    struct dh_worker *visit_from;
    struct dh_extra *dangling_prev;
    struct dh_extra *dangling_next;

    /* group: see group.h */
    struct dh_group *group;
    struct dh_worker *group_prev; /* in order of declaration */
    struct dh_worker *group_next;
    uint8_t gate;    /* enum dh_gate */
    bool is_failing; /* goes down because its group has failed */

    /* crashes */
    bool has_outage;
    uint64_t outage_since_ns; /* when the first crashed run of the streak ended */
    struct dh_window window;

    /* a new declaration: see change.h */
    struct dh_change *change; /* in effect when the run under way is closed */
    bool is_on_trial;         /* the declaration in force has yet to last reset_after */

    /* deadlines while it runs */
    uint8_t cause; /* enum dh_cause: in STOPPING */
    bool is_start_due;
    bool is_beat_due;
    struct dh_timer start_timer;
    struct dh_timer beat_timer;
    uint64_t start_ns; /* when the run began; both ... */
    uint64_t beat_ns;  /* the last beat; ... are later if the host stood still since: see watch.c */
};

/* The extra of w, made if need be; NULL when memory is out. */
struct dh_extra *dh_extra_get(struct dh_sup *sup, struct dh_worker *w);

/* Free it, its timers disarmed; dependencies and group must have been left before. */
void dh_extra_free(struct dh_sup *sup, struct dh_worker *w);

#endif
