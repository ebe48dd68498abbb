/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The garbage collector as the host runs it: incremental, in small steps, between slices.
**
** Lua steps it by itself as workers allocate. The host steps it, too, while nothing else is to be done
** (so that workers meet it less often), and on behalf of tasks that wait for a complete cycle:
**
**   running  --over its run's line (cap.h), or collectgarbage()--> waiting --cycle complete--> tired
**
** So nobody ever stops the neighbours for a full collection. A cycle under way when the wait began
** does not count as complete: it may have passed by what became garbage since.
**
** That a cycle is complete is told by an object that is always garbage, the witness: its finalizer
** runs once a cycle, whoever stepped.
*/
#ifndef DH_SCRIPT_COLLECTOR_H
#define DH_SCRIPT_COLLECTOR_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "script/task.h"

struct dh_vm;

struct dh_collector {
    uint64_t cycles; /* completed */
    uint64_t
        spent_ns; /* by the host, between slices; what Lua does as workers allocate is theirs */
    const void *witness;
    unsigned missed;        /* cycles that it has not told of */
    bool is_heard;          /* it has told of the one under way */
    uint64_t seen_cycles;   /* of these, the ones that the host has acted upon */
    size_t base_bytes;      /* held when the last one was */
    struct dh_line waiting; /* tasks, until a cycle is complete; all are preempted */
    int pause;              /* of the host, while a run has its own: see gclib.h */
    int stepmul;
    size_t stopped_to_bytes; /* by the run that has the CPU, until so much is held; or 0 */
    bool is_idle_done;       /* no slice since the last cycle: an idle host must not collect on */
};

/* The collector of vm's state: mode, steps, and the object that counts cycles. Raises. */
void dh_collector_open(lua_State *L, struct dh_vm *vm);

/* Bytes that Lua holds. */
size_t dh_collector_held(const struct dh_vm *vm);

/* Is so much allocated since the last cycle that time with nothing else to do should be used? */
bool dh_collector_has_debt(const struct dh_vm *vm);

/* So many workers will start: what they begin with stays, so it is no reason to collect. */
void dh_collector_expect(struct dh_vm *vm, uint32_t workers);

/* Collect for a moment (DH_COLLECT_IDLE_NS). */
void dh_collector_idle(struct dh_vm *vm);

/* At the end of a turn: collect for those who wait, if there are any, and let go those who need
** wait no longer. */
void dh_collector_turn(struct dh_vm *vm);

/* t has left the CPU and waits for a complete cycle. */
void dh_collector_join(struct dh_vm *vm, struct dh_task *t);

/* Is there something to do for dh_collector_turn? */
bool dh_collector_is_ready(const struct dh_vm *vm);

/* Does a finalizer run, so that whose allocation it is cannot be told? */
bool dh_collector_is_finalizing(lua_State *L);

#endif
