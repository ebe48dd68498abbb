/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Preemption: taking the CPU from a task that does not give it up, without a cost while all do.
**
** A slice is one dh_task_resume. The loop thread publishes its number; a monitor thread looks, and
** when it sees the same number twice it begins to watch that slice:
**
**   loop thread                         monitor thread
**   slice = n   ...computing...         n, n again: watch. Is somebody disturbed?
**                                         his I/O is ready    (the loop's poll descriptor)
**                                         his timer is due    (the earliest deadline)
**                                         others are ready, or luv was used, and the slice is used up
**               <--- signal ---------   after min_slice at the earliest; again until it helps
**   handler: arms a count-1 hook on
**   the innermost running coroutine
**   hook: yields to the scheduler
**
** So a CPU-bound worker that disturbs nobody is left in peace. Where the hook cannot yield (a sort
** comparator, decnet.atomic, preempt = false) it tries again with the next signal, and after
** hang_timeout it raises an error there; half a second later at each instruction, because that error
** can be caught. The handler does nothing but arm: lua_sethook on its own thread is the one Lua
** function that is safe in a signal handler.
**
** Its looks also measure who uses the CPU, so that no slice needs a clock: each look bills what has
** passed since the one before to the slice that it finds (status().cpu_s): right on average, and off by
** a cell or so for each of their slices (looks.h).
**
** A slice that lasts is named (struct dh_holder): a signal asks for it, the loop thread writes it down,
** the monitor publishes it. When signal after signal finds that the hook of the one before has not
** run, the task sits in one call that Lua cannot interrupt, such as a long string.find: the monitor
** says so in the log while it lasts.
**
** In C: the hooks and the handler (preempt.c), what the loop tells the monitor (slice.c), the monitor
** (monitor.c, looks.c). It parks when there was no turn and no slice for a few looks: an idle host has no
** wake-ups.
*/
#ifndef DH_SCRIPT_PREEMPT_H
#define DH_SCRIPT_PREEMPT_H

#include <lua.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <uv.h>

#include "core/limits.h"

struct dh_task;
struct dh_vm;

/* The signal that takes the CPU: ignored by default, and used by nearly nobody. */
#define DH_PREEMPT_SIGNAL SIGURG

enum dh_preempt_wish {
    DH_PREEMPT_NOTHING,
    DH_PREEMPT_PROBE, /* disturbs nobody: but is it over its hang_timeout, where it cannot yield? */
    DH_PREEMPT_YIELD,
    DH_PREEMPT_WISHES = 3 /* mask */
};

/* Who has had the CPU for long. */
struct dh_holder {
    uint64_t slice;
    uint64_t since_ns; /* the host's clock */
    uint32_t run;
    char worker[DH_NAME_MAX + 1]; /* "" for a task that belongs to none */
    char place[LUA_IDSIZE + 12];  /* FILE:LINE of the last known Lua code, "" */
};

struct dh_preempt {
    struct dh_vm *vm;

    /* the loop thread's */
    uint64_t number;             /* of the last slice */
    uint64_t turns;              /* odd while one is under way */
    uint64_t billed_ns;          /* of looked_ns: has a worker been charged with */
    lua_State *volatile running; /* innermost coroutine that has the CPU */
    uint64_t unheard;            /* slice whose last signal has not led to a hook */
    const uint64_t *moves;       /* blocks of memory that have moved, ever; NULL: nobody counts */
    uint64_t still_moves;        /* that number, unchanged ... */
    uint64_t still_since_ns;     /* ... since then */
    lua_State *raises_in;        /* the next hook in there raises what the task has to, or NULL */
    uint64_t collect_in_slice;   /* the slice in which the hook is to wait for the collector */
    uint64_t postponed;          /* the slice in which it could not */
    volatile sig_atomic_t is_arming;
    uint64_t refused;       /* slice that should yield and could not yet, 0: none */
    uint64_t overdue_slice; /* one that goes on although it was told to end, 0: none yet */
    bool is_started;

    /* loop thread to monitor */
    _Atomic uint64_t slice;         /* number of the slice under way, 0: none */
    _Atomic uint64_t arming_ns;     /* what the last signal took to handle */
    _Atomic uint64_t deadline_ns;   /* earliest one */
    _Atomic bool has_others;        /* somebody else is ready, or libuv has news for epoll */
    _Atomic uint64_t turn;          /* as 'turns' */
    _Atomic uint64_t turn_until_ns; /* when it should be over */
    _Atomic bool quits;

    /* monitor to loop thread */
    _Atomic uint64_t lasted_ns; /* for so long has it watched ... */
    _Atomic uint64_t noticed;   /* ... this slice */
    _Atomic uint64_t looked_ns; /* CPU time found in use by its looks, ever */
    _Atomic uint64_t wanted;    /* why a signal is on its way: slice * 4 + enum dh_preempt_wish */
    _Atomic bool is_parked;

    /* who asks may not touch the note, who does not may */
    _Atomic uint64_t asked; /* the slice that the monitor wants a note of, 0: none */
    struct dh_holder note;

    /* what does not change while the monitor lives */
    int force_count;     /* for tests: preempt after each so many instructions; 0: off */
    bool uses_cpu_time;  /* a virtual clock: a busy machine must not preempt */
    clockid_t cpu_clock; /* of the loop's thread */
    uint64_t slice_ns;
    uint64_t min_slice_ns;
    int backend_fd;
    uv_thread_t monitor;
    uv_thread_t loop_thread;
    uv_sem_t unpark;

    uv_mutex_t mutex;
    struct dh_holder holder; /* of the last slice that lasted */

    unsigned forced; /* events of the user's hooks, for force_count */

    struct { /* a C module's hook while ours is armed */
        lua_Hook hook;
        int mask;
        int count;
    } user;
};

/* Start the monitor for the loop that runs on the calling thread. slice_ns: what a task may use
** while others wait. Returns 0 or a libuv error code; without a monitor nobody is preempted. */
int dh_preempt_start(struct dh_preempt *p, struct dh_vm *vm, uint64_t slice_ns, bool has_monitor);
void dh_preempt_stop(struct dh_preempt *p);

/* A turn begins, which should be over by until_ns (DH_NEVER: nobody says when); ends. */
void dh_preempt_begin_turn(struct dh_preempt *p, uint64_t until_ns);
void dh_preempt_end_turn(struct dh_preempt *p);

/* A slice begins in co, ends. */
void dh_preempt_begin_slice(struct dh_preempt *p, lua_State *co);
void dh_preempt_end_slice(struct dh_preempt *p);

/* As begin_slice, where no turn may be under way: the monitor may have parked. */
void dh_preempt_begin_slice_between_turns(struct dh_preempt *p, lua_State *co);

/* The number of the slice under way; 0: none. */
static inline uint64_t dh_preempt_slice(const struct dh_preempt *p) {
    return atomic_load_explicit(&p->slice, memory_order_relaxed);
}

/* Within a slice: the next to run is co, which is being closed. Where the slice is long over its
** hang_timeout, what co would still run is broken off at once. */
void dh_preempt_enter(struct dh_preempt *p, lua_State *co);

/* Is the slice under way long over its hang_timeout, so that it is broken off at each instruction? */
static inline bool dh_preempt_is_overdue(const struct dh_preempt *p) {
    return p->overdue_slice != 0 && p->overdue_slice == dh_preempt_slice(p);
}

/* Should the slice under way yield, and could not yet? */
static inline bool dh_preempt_is_refused(const struct dh_preempt *p) {
    return p->refused != 0 && p->refused == dh_preempt_slice(p);
}

/* Has the slice under way been told to yield, and has not? */
static inline bool dh_preempt_is_wanted(const struct dh_preempt *p) {
    return atomic_load_explicit(&p->wanted, memory_order_relaxed) != DH_PREEMPT_NOTHING ||
           dh_preempt_is_refused(p);
}

/* A call has taken as long as a slice should: if somebody waits for the CPU, the slice ends as soon as
** it can, without the monitor and before its min_slice. */
void dh_preempt_after_long_call(struct dh_preempt *p);

/* Let L obey what the slice under way has been told. */
void dh_preempt_rearm(struct dh_preempt *p, lua_State *L);

/* Within a slice: a coroutine that L resumed or closed has left the CPU to L again. What it was told
** was meant for the slice, and may not have reached it: its body was a C function. */
static inline void dh_preempt_back(struct dh_preempt *p, lua_State *L) {
    p->running = L;
    if (dh_preempt_is_wanted(p)) {
        dh_preempt_rearm(p, L);
    }
}

/* How long the last slice to begin has lasted, as the monitor saw it last; 0: it has not seen it. Time
** in which the whole process stood still, which the monitor cannot see either, is no part of it. */
uint64_t dh_preempt_elapsed_ns(const struct dh_preempt *p);

/* Charge the worker that has the CPU with what the looks found since the last bill. dh_preempt_end_slice
** does so too. */
void dh_preempt_bill(struct dh_preempt *p);

/* A timeout of its own now stands around what the slice under way computes. */
static inline void dh_preempt_note_deadline(struct dh_preempt *p, uint64_t deadline_ns) {
    if (!p->uses_cpu_time &&
        deadline_ns < atomic_load_explicit(&p->deadline_ns, memory_order_relaxed)) {
        atomic_store_explicit(&p->deadline_ns, deadline_ns, memory_order_relaxed);
    }
}

/* Somebody became ready, or a luv function was called: the slice under way has a limit. */
static inline void dh_preempt_note_others(struct dh_preempt *p) {
    atomic_store_explicit(&p->has_others, true, memory_order_relaxed);
}

/* The user's hook in L has done its work: preempt here if that is wanted. Returns to Lua at once. */
void dh_preempt_in_hook(lua_State *L);

/* Is this one of preemption's own hooks? */
bool dh_preempt_is_hook(lua_Hook hook);

/* Who has had the CPU for longer than DH_HELD_NS, and has it still? For any thread. Returns false if it
** is nobody. */
bool dh_preempt_holder(struct dh_preempt *p, struct dh_holder *ret_holder);

/* The calling thread's handler and hooks speak of p from now on; NULL: of nobody, also those of a signal
** that is still on its way. The process has the handler. */
void dh_preempt_listen(struct dh_preempt *p);
void dh_preempt_take_signal(void);

/* Within a slice, for tests: preempt co after each force_count instructions. */
void dh_preempt_force(const struct dh_preempt *p, lua_State *co);

/* The monitor's thread; arg is the struct dh_preempt. In monitor.c. */
void dh_preempt_monitor(void *arg);

/* Make co, which was preempted, raise what its task has to (task.h) in the slice that begins now. */
void dh_preempt_raise_in(struct dh_preempt *p, lua_State *co);

/* Make the slice under way wait for the collector as soon as it can. For the allocator: allocates
** nothing, raises nothing, and is cheap if it has been asked before. */
void dh_preempt_ask_to_collect(struct dh_preempt *p);

/* The current task is about to yield from L, in the middle of anything. */
void dh_preempt_leave(struct dh_vm *vm, lua_State *L);

/* Can the current task, which runs on L, be taken off the CPU here? */
bool dh_preempt_can_yield(const struct dh_vm *vm, lua_State *L);

#endif
