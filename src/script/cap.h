/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** max_memory: the most that a run may hold, its garbage not counted.
**
**   held:  0 ............ max_memory .... line ............ 2 * max_memory
**          |   nothing    |  garbage may    |  the collector   |  refused
**          |   happens    |  reach here     |  is asked        |
**
** A growth past the line only arms the hook; the hook takes the CPU from the task, which waits for a
** complete cycle (collector.h). What is held then is no garbage: if it is more than max_memory, the
** memory error is raised in the task where it was; a run that is still above it at its next check, and
** has not let go of anything to speak of, is crashed and killed. Else the line is drawn anew, a
** quarter of max_memory above what is held, so that a run which lives close below its max_memory does not
** collect all the time. It comes down again with what is held after a cycle.
**
** Where the hook cannot yield, the line is moved on, the collector is waited for as soon as it can, and
** above 1.5 * max_memory the error is raised there. Above 2 * max_memory the allocator refuses. That costs a full collection of everybody's heap
** in most cases (Lua tries again after one), so a run that is refused too often is crashed, too.
**
** --max-memory is the same for the host as a whole: the run that holds most is crashed.
*/
#ifndef DH_SCRIPT_CAP_H
#define DH_SCRIPT_CAP_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dh_failure;
struct dh_run;
struct dh_task;
struct dh_unit;
struct dh_vm;

/* Of the current run of a worker. */
struct dh_cap {
    int64_t line;     /* of its account; 0: none has been drawn */
    uint64_t refused; /* bytes: the last block refused */
    uint8_t refusals; /* blocks refused to this run */
    bool is_told;     /* the memory error has been raised in it */
    uint64_t freed;   /* bytes that it had freed by then */
};

/* Of the host as a whole: --max-memory. */
struct dh_ceiling {
    uint64_t bytes; /* 0: none */
    uint64_t since_cycle;
    bool is_due; /* it was crossed: a complete cycle, then dh_cap_check_ceiling */
};

/* Watch vm's ledger, if it has one. */
void dh_cap_open(struct dh_vm *vm);

/* The most that all of Lua may hold; 0: no limit. */
void dh_cap_set_ceiling(struct dh_vm *vm, uint64_t bytes);

/* Before a run of the unit is made: is there memory to keep what its cap needs? */
bool dh_cap_make_room(const struct dh_vm *vm, struct dh_unit *unit);

/* The run, whose account is open, starts: draw its line. */
void dh_cap_start(struct dh_vm *vm, struct dh_run *run);

/* It is closed: its account has no line any more. */
void dh_cap_end(struct dh_vm *vm, struct dh_run *run);

/* Bytes that the run holds now. */
uint64_t dh_cap_held(const struct dh_vm *vm, const struct dh_run *run);

/* t is over its line and cannot wait for the collector here. Returns whether it must raise there. */
bool dh_cap_postpone(struct dh_vm *vm, struct dh_task *t);

/* The collector has done what it could for t, which waits for it; is_complete: a whole cycle. Returns
** false if t must wait on. Otherwise t may go on, with t->raises set, or its run has crashed. */
bool dh_cap_check(struct dh_vm *vm, struct dh_task *t, bool is_complete);

/* A cycle is complete: runs that have let go get their lines back. */
void dh_cap_on_cycle(struct dh_vm *vm);

/* The ceiling was crossed, and a cycle has been completed since: crash the run that holds most if that
** did not help. Returns whether it is settled; else to be called again after another cycle. */
bool dh_cap_check_ceiling(struct dh_vm *vm);

/* A memory error of Lua's own is about to end the run: what it should say, if it is because a block
** was refused; else NULL. */
struct dh_failure *dh_cap_explain(const struct dh_run *run);

/* Push the memory error of the run, which is raised now: it has been told. */
void dh_cap_push_error(lua_State *L, struct dh_run *run);

#endif
