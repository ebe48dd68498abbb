/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A run: one life of a worker, and everything it owns: its tasks, its deferred functions, the
** handles it opened.
**
**             main ended, a task crashed,          last task             last
**             cancel_run, kill_run                 ended                 deferred function
**   RUN_LIVE ----------------------------> ENDING -----------> CLEANUP ---------------------+
**                                                                                           |
**                          files closed              last close callback                   v
**                 CLOSED <-------------- FILES <------------------------------------- HANDLES
**
** ENDING: its tasks are cancelled, and killed if they are still there after stop_timeout. CLEANUP:
** one more task closes the coroutines that its code left suspended (idle.h), then calls what
** self:defer was given, last first. HANDLES: what it opened is closed, FILES: also what has no handle.
** Killing many tasks, and closing many handles or files, goes on piece by piece in the turns that
** follow (dh_run_work). A run that owns nothing is CLOSED as soon as its last task has ended.
** 'ended' is reported to the supervisor with the first reason to end, 'closed' in CLOSED.
**
** A run lives inside the userdata 'self' (user value: the main task's coroutine; once it is closed,
** the worker handle) and is anchored until CLOSED. The host has a run of its own for what belongs to no
** worker (hooks, shared handles), and so has each load (declare.h): these have no worker and no main
** task.
*/
#ifndef DH_SCRIPT_RUN_H
#define DH_SCRIPT_RUN_H

#include "core/worker.h"
#include "script/task.h"

struct dh_instance;
struct dh_owned;
struct dh_request;
struct dh_unit;

enum dh_run_phase {
    DH_RUN_LIVE,
    DH_RUN_ENDING,
    DH_RUN_CLEANUP,
    DH_RUN_HANDLES,
    DH_RUN_FILES,
    DH_RUN_CLOSED
};

struct dh_run {
    struct dh_instance *instance; /* NULL once the host is gone */
    struct dh_unit *unit;         /* NULL: the host's own */
    struct dh_closing *closing;   /* made when the run ends */
    struct dh_line awake;         /* tasks to go on with, see turn.h */
    struct dh_run *prev_awake;    /* runs that have some */
    struct dh_run *next_awake;
    struct dh_owned *owned; /* what few runs have, NULL: nothing of it yet */
    uint32_t awake_count;
    uint32_t number;
    uint32_t account : 24; /* pays for what its tasks allocate */
    bool has_main : 1;     /* the main task has begun and not ended */
    bool has_gc_modes : 1; /* see gclib.h */
    bool is_in_line : 1;   /* among the runs that are awake */
    bool has_work : 1;     /* for dh_run_work */
    bool is_known : 1;     /* somebody may have a reference to 'self' */
    uint32_t task_count : 24;
    uint32_t phase : 3;
    bool is_cancelled : 1;
    bool is_killed : 1;
    bool is_ready_reported : 1;
    bool is_loading : 1;    /* of a load: its tasks are a script's top level, and cannot wait */
    bool has_preempted : 1; /* one of its tasks stands preempted: the others wait */
    struct dh_task main;    /* first of its tasks, and head of the list of the others */
};

/* Its tasks: the first, NULL if there is none; then next_of_run. */
static inline struct dh_task *dh_run_first_task(const struct dh_run *run) {
    return run->has_main ? (struct dh_task *)&run->main : run->main.next_of_run;
}

/* Handles opened and not yet fully closed. */
uint32_t dh_run_handle_count(const struct dh_run *run);

/* What only a run that ends needs. */
struct dh_closing {
    struct dh_run *run;
    struct dh_closing *next; /* closed, and not yet let go; kept for another run */
    struct dh_outcome outcome;
    struct dh_failure *failure; /* of the outcome; goes to the worker when closed */
    struct dh_timer deadline;   /* kill what has not ended */
    bool is_taken;              /* by a run: see dh_instance.spare_closings */
    bool is_impatient;          /* it was due: what threads still do with files is not waited for */
};

/* The run is gone. */
void dh_closing_free(struct dh_instance *instance, struct dh_closing *closing);

/* The host is over: free those that are kept for the next runs that end. */
void dh_closing_free_kept(struct dh_instance *instance);

/* A run that owns nothing yet. */
void dh_run_init(struct dh_run *run, struct dh_instance *instance, struct dh_unit *unit,
                 uint32_t number);

/* Push 'self' of the run's worker (nil for the host's own run) for somebody who may keep it. */
void dh_run_push_self(lua_State *L, struct dh_run *run);

/* A slice of one of its tasks ended in an await, or its main task returned: by that, a worker that
** does not notify is ready. */
void dh_run_on_slice_end(struct dh_run *run);

void dh_run_add_task(struct dh_run *run, struct dh_task *t);

/* A task of the run has ended; t->ending says how, failure (taken over) with what, or NULL. */
void dh_run_on_task_ended(struct dh_run *run, struct dh_task *t, struct dh_failure *failure);

/* Something that belongs to the run failed outside its tasks: the run crashes with it. Takes
** failure over. */
void dh_run_crash(struct dh_run *run, struct dh_failure *failure);

/* Ask the run to end: politely, or at once. */
void dh_run_cancel(struct dh_run *run);
void dh_run_kill(struct dh_run *run);

/* The next piece of what the run, which has work, has to do. */
void dh_run_work(struct dh_run *run);

/* Close what is still open and can be closed now: a child has ended, or must not be waited for. */
void dh_run_close_again(struct dh_run *run);

/* The host ends: kill the tasks of its own run and close its handles. CLOSED when they are. */
void dh_run_end_own(struct dh_run *run);

/* A handle of the run is fully closed. */
void dh_run_on_handle_closed(struct dh_run *run);

/* A request that threads worked on for the run is done. */
void dh_run_on_request_done(struct dh_run *run, struct dh_request *request);

/* The deadline of an ending run was due. */
void dh_run_on_deadline(struct dh_timer *timer);

/* Is t the main task of a worker's run? */
static inline bool dh_run_is_main(const struct dh_task *t) {
    return t == &t->run->main;
}

static inline bool dh_run_is_over(const struct dh_run *run) {
    return run->phase >= DH_RUN_HANDLES;
}

#endif
