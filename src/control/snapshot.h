/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What is known of every worker, as plain records under one mutex, so that it can be read while the
** loop is stuck.
**
**   loop thread                               control thread
**   on_event: the worker's record at once     version: is it fresh? else
**   step: a refresh, a chunk a turn     <---  ask for the rest
**                                       --->  is_done? or, in the end, what there is
**                                             copy: of each record
**
** The mutex is held for one record at a time. A refresh costs the loop a few hundred nanoseconds a
** worker: what it found is fresh for DH_REFRESH_NS, or until something happens, but for
** DH_REFRESH_REST times of what it took in any case.
*/
#ifndef DH_CONTROL_SNAPSHOT_H
#define DH_CONTROL_SNAPSHOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "script/port.h"

/* Why the policy restarted a worker. */
#define DH_RESTART_CAUSES(X)                                                                       \
    X(ERROR, "error")       /* it crashed */                                                       \
    X(DEADLINE, "deadline") /* not ready in time, or no beat */                                    \
    X(NO_START, "no_start") /* the run could not begin */                                          \
    X(RETURNED, "returned") /* restart = "always" */                                               \
    X(GROUP, "group")       /* with another member of its group */

enum dh_restart_cause {
#define X(name, text) DH_RESTARTED_##name,
    DH_RESTART_CAUSES(X)
#undef X
        DH_RESTART_CAUSE_COUNT
};

const char *dh_restart_cause_name(enum dh_restart_cause cause);

struct dh_last_error {
    uint64_t at_ns;
    uint32_t run;
    size_t message_len;
    size_t traceback_len;
    char text[]; /* the message, then the traceback */
};

/* A worker as it was when the loop last looked. */
struct dh_view {
    char *name;
    size_t name_len;
    enum dh_state state;
    bool is_wanted;
    bool is_ready;
    uint32_t run;
    uint32_t restarts;
    uint32_t restarted[DH_RESTART_CAUSE_COUNT];
    uint32_t streak;
    uint32_t tasks;
    uint32_t handles;
    uint64_t since_ns;
    uint64_t retry_at_ns;   /* DH_NEVER: none is planned */
    uint64_t cpu_ns;        /* of the current or last run */
    uint64_t cpu_before_ns; /* of those before */
    uint64_t preemptions;
    uint64_t slice_max_ns;
    uint64_t held_bytes;         /* of Lua's memory by its run, */
    uint64_t allocated_bytes;    /* ever, */
    uint64_t leftover_bytes;     /* and by its last one after its end */
    char *waiting_for;           /* NULL: for nothing */
    struct dh_last_error *error; /* or NULL */
};

void dh_view_fini(struct dh_view *view);

struct dh_record;

struct dh_snapshot {
    struct dh_instance *instance;
    pthread_mutex_t mutex;

    /* under the mutex */
    struct dh_record *first;
    struct dh_record *last;
    struct dh_record *reading; /* where the control thread is, when it goes through them */
    struct dh_port_host host;
    uint32_t counts[DH_STATE_COUNT];
    uint32_t unready;        /* should be up and is not, or is not ready */
    uint64_t asked;          /* number of the last refresh asked for, */
    uint64_t done;           /* and carried out */
    uint64_t rest_until_ns;  /* the loop is not asked before */
    uint64_t fresh_until_ns; /* nor before this, if nothing happens */
    uint64_t changes;        /* of anything above, ever */

    /* the loop thread's */
    struct dh_unit *walk; /* where the refresh under way is */
    uint64_t walk_ns;     /* what it has taken */
    bool is_walking;

    /* the control thread's */
    uint64_t asked_ns; /* when the first ask was made that has not been answered */
};

void dh_snapshot_init(struct dh_snapshot *s, struct dh_instance *instance);
void dh_snapshot_fini(struct dh_snapshot *s);

/* Loop thread */

/* Make a record of every worker. */
void dh_snapshot_fill(struct dh_snapshot *s);

void dh_snapshot_on_event(struct dh_snapshot *s, const struct dh_event *ev);

/* Is there something for dh_snapshot_step to do? */
bool dh_snapshot_has_work(struct dh_snapshot *s);
void dh_snapshot_step(struct dh_snapshot *s);

/* A copy of a worker as it is now; false when memory is out. */
bool dh_snapshot_look(struct dh_snapshot *s, struct dh_unit *unit, struct dh_view *ret_view);

/* Control thread */

/* A number, another one after each change; 0: what is known is not fresh. */
uint64_t dh_snapshot_version(struct dh_snapshot *s, uint64_t now_ns);

/* What is known is not fresh: who gave an order finds what came of it. */
void dh_snapshot_expire(struct dh_snapshot *s);

/* Ask for a refresh; returns its number. The caller wakes the loop. */
uint64_t dh_snapshot_ask(struct dh_snapshot *s);

/* Has it been carried out? */
bool dh_snapshot_is_done(struct dh_snapshot *s, uint64_t number);

/* When an answer must not wait for the loop any longer: some time after the first unanswered ask. */
uint64_t dh_snapshot_patience_ns(const struct dh_snapshot *s);

/* For how long has the loop not answered? 0: it has. */
uint64_t dh_snapshot_silence_ns(struct dh_snapshot *s, uint64_t now_ns);

/* Copies of all workers, in order of declaration. */
struct dh_views {
    struct dh_view *list;
    size_t count;
};

/* Returns 0, or DH_ENOMEM. */
int dh_snapshot_copy(struct dh_snapshot *s, struct dh_views *ret_views);
void dh_views_fini(struct dh_views *views);

/* The worker of that name; a walk over all. */
bool dh_snapshot_find(struct dh_snapshot *s, const char *name, size_t len,
                      struct dh_view *ret_view);

/* The numbers of the host. */
struct dh_totals {
    struct dh_port_host host;
    uint32_t counts[DH_STATE_COUNT];
    uint32_t workers;
    uint32_t unready;
};

void dh_snapshot_totals(struct dh_snapshot *s, struct dh_totals *ret_totals);

#endif
