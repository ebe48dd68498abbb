/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A task: a coroutine that belongs to a run.
**
**              resume                    await                     wake
**   READY ----------------> RUNNING --------------> WAITING ----------------> READY
**     |                        |                       |
**     | kill                   | returned, raised      | kill
**     +-----------------> ENDED <----------------------+
**
** READY tasks stand in the run queue of their state; a RUNNING one has the CPU; a WAITING one is
** woken by whatever its wait registered with (wait.h), by its deadline, or by cancellation.
**
** A struct dh_task lives inside a Lua userdata (the worker's 'self' for a run's main task, the task
** handle for a spawned one), whose user value is the coroutine. The task anchors that
** userdata until it has ended, so that a pointer to a task that has not ended is always good.
**
** The extra space of a coroutine tells what it is, so that any C function can ask in O(1):
**   struct dh_vm *              a coroutine of the user's (or the main thread)
**   struct dh_task * | 1        the root coroutine of a task
**   parent lua_State * | 2      a coroutine of the user's that is part of a task's wait: it was left
**                               by a host call and can be resumed by nobody but its parent
**   struct dh_vm * | 3          the root coroutine of a task that has ended: dead, though its results
**                               may still be on its stack
*/
#ifndef DH_SCRIPT_TASK_H
#define DH_SCRIPT_TASK_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/timerq.h"

struct dh_failure;
struct dh_run;
struct dh_scope;
struct dh_task;
struct dh_vm;

enum dh_task_state { DH_TASK_READY, DH_TASK_RUNNING, DH_TASK_WAITING, DH_TASK_ENDED };

/* Why a wait ended. */
enum dh_wake { DH_WAKE_DONE, DH_WAKE_TIMEOUT, DH_WAKE_CANCEL };

/* What a preempted task raises when it goes on. */
enum dh_raise { DH_RAISE_NOTHING, DH_RAISE_CANCELLATION, DH_RAISE_MEMORY };

/* What a preempted task waits for before it is one of the tired: for the collector, because its run is
** over its line, or because it asked for a cycle; for one of its run's requests to be done (backlog.h). */
enum dh_pause { DH_PAUSE_NOT, DH_PAUSE_OVER, DH_PAUSE_CYCLE, DH_PAUSE_REQUESTS };

/* How a task ended. */
enum dh_task_ending {
    DH_TASK_RETURNED,
    DH_TASK_CANCELLED, /* by the cancellation that somebody asked for */
    DH_TASK_CRASHED,
    DH_TASK_KILLED
};

/* A kind of wait. 'withdraw' is the wait's cleanup slot: it is called once when the wait ends in
** another way than by DH_WAKE_DONE, and must undo the registration. NULL: nothing to undo. */
struct dh_wait_type {
    const char *name;
    void (*withdraw)(struct dh_task *t);
};

/* A line of tasks, first come first served: those that are ready to run, or those that wait for
** the same thing. A task stands in one line at most. */
struct dh_line {
    struct dh_task *first; /* before it stands the last */
};

struct dh_task {
    lua_State *co;    /* root coroutine */
    lua_State *inner; /* innermost coroutine while it waits: gets the results */
    struct dh_run *run;
    struct dh_task *prev_of_run;  /* tasks of the run but its main one; of that: the last */
    struct dh_task *next_of_run;  /* of the main one: the first */
    struct dh_task *prev_in_line; /* run queue, or what it waits for */
    struct dh_task *next_in_line;
    const struct dh_wait_type *wait;
    void *wait_data;
    struct dh_scope *scopes;    /* timeouts, shields and the like, innermost first */
    struct dh_failure *failure; /* captured while the stack stood; on its way to the run */
    struct dh_timer timer;      /* deadline of the wait */
    int anchor;                 /* reference that keeps the userdata alive */
    int early;         /* reference of what it was resumed with before it yielded, 0: nothing */
    uint16_t nresults; /* values for 'inner' on top of its stack */
    uint8_t state;
    uint8_t wake;   /* enum dh_wake of the last wait */
    uint8_t ending; /* enum dh_task_ending, once ENDED */
    uint8_t atomic_depth;
    bool is_started : 1;
    bool is_cancelled : 1;    /* t:cancel() */
    bool is_killed : 1;       /* being closed from outside: no more awaits */
    bool forbids_waits : 1;   /* cleanup of a killed run: no awaits either */
    bool handed_out : 1;      /* coroutine.running() gave co away in this slice */
    bool is_preempted : 1;    /* left by the hook, in the middle of anything; in 'tired' */
    bool has_seen_cancel : 1; /* its own cancellation, or its run's, has been raised in it */
    bool is_callback : 1;     /* of luv's: runs although its run is ending */
    bool holds_host : 1;      /* the host does not end before it has */
    bool is_factory_done : 1; /* main: what it returned has been taken as the body */
    bool is_known : 1;        /* somebody may have a reference to co */
    bool has_unwound : 1;     /* co has returned to its bottom: it could be started again */
    uint8_t raises : 2;       /* enum dh_raise: as soon as it goes on, where it was preempted */
    uint8_t pause : 2;        /* enum dh_pause: preempted, and not in 'tired' yet */
};

/* NULL: nobody stands there. */
static inline struct dh_task *dh_line_last(const struct dh_line *line) {
    return line->first != NULL ? line->first->prev_in_line : NULL;
}

/* A task with a handle: any but a run's main one. */
struct dh_spawned {
    struct dh_task task;    /* first member */
    struct dh_line joiners; /* tasks that wait for its end */
};

/* Make co the root coroutine of t, which is queued to run: co's stack holds the function and nargs
** arguments, and has room for two more; the value on top of L's stack is the userdata that t lives in. Pops it. Raises on
** memory errors, and then t is untouched. */
void dh_task_start(lua_State *L, struct dh_task *t, struct dh_run *run, lua_State *co, int nargs);

/* The same in two steps, of a task whose userdata has this anchor: the first comes before the function
** and its arguments, the second after them. Raises nothing if co is a coroutine that has been a task
** before. */
void dh_task_push_entry(lua_State *co);
void dh_task_begin(struct dh_task *t, struct dh_run *run, lua_State *co, int anchor);

/* Run t until it waits, gives way or ends. Only the scheduler calls this. */
void dh_task_resume(struct dh_vm *vm, struct dh_task *t);

/* Close t from outside: its wait is withdrawn, its coroutines are closed from the inside out. It
** must not be RUNNING. Nothing happens to one that has ended. */
void dh_task_kill(struct dh_vm *vm, struct dh_task *t);

/* Cancellation was asked for (for t or its run): wake t if that reaches it where it waits. */
void dh_task_on_cancel(struct dh_vm *vm, struct dh_task *t);

/* Was t preempted in the middle of a cleanup, which no error from outside may interrupt? */
bool dh_task_is_cleaning_up(const struct dh_task *t);

/* The cancellation that is in force for t is raised in it now. */
void dh_task_see_cancel(struct dh_task *t);

/* Push what t has to raise, which is raised now. */
void dh_task_push_raised(lua_State *L, struct dh_task *t);

/* Is a cancellation in force for code that would wait now in t (shields and timeouts considered)? */
bool dh_task_is_cancelled(const struct dh_task *t);

/* Keep a record of the error value at idx of co, with co's traceback from 'level' on, in case it
** ends t. An error that is on its way up keeps the record made where it was raised. It may have ended
** co; L can run. */
void dh_task_note_error(struct dh_task *t, lua_State *L, lua_State *co, int idx, int level);

/* The message handler of every pcall between a task and its errors: notes the error. */
int dh_task_on_error(lua_State *L);

/* Is co a coroutine of the user's that has not started, so that its function, which alone stands on
** its stack, can be taken over? */
bool dh_task_can_take(lua_State *co);

/* The task whose root coroutine is co, or of whose wait co is a part; else NULL. */
struct dh_task *dh_task_of(lua_State *co);

#endif
