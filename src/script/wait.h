/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Waits: how a C function called from Lua suspends the task it runs in.
**
** An awaitable C function
**   1. asks dh_wait_begin for the task (it raises where nobody can wait);
**   2. returns dh_wait_cancelled at once if a cancellation is in force;
**   3. else registers with whatever will wake it, and returns dh_wait_suspend;
**   4. in its continuation asks dh_wait_end how the wait ended (it raises the cancellation).
** Whoever wakes the task calls dh_wake, after it has put results on the stack of t->inner.
*/
#ifndef DH_SCRIPT_WAIT_H
#define DH_SCRIPT_WAIT_H

#include "script/task.h"

/* The task that would wait if 'what' (a name for messages) were called from L now. Raises where
** waiting is impossible: outside a task, inside decnet.atomic, across a C function that cannot be
** suspended (the message names it), while a run is being killed. */
struct dh_task *dh_wait_begin(lua_State *L, const char *what);

/* Give way for one turn, then raise the cancellation: what every await does while one is in force,
** so that a worker that swallows it cannot hold the loop. To be returned. */
int dh_wait_cancelled(lua_State *L, struct dh_task *t);

/* Suspend until dh_wake, or deadline_ns (DH_NEVER: none), or cancellation. 'data' is for the wait
** type. k is called with ctx and the results on top of the stack. To be returned. Raises on memory
** errors, after withdrawing. */
int dh_wait_suspend(lua_State *L, struct dh_task *t, const struct dh_wait_type *type, void *data,
                    uint64_t deadline_ns, lua_KContext ctx, lua_KFunction k);

/* As dh_wait_suspend, in the queue 'line', which is the wait's data. */
int dh_wait_in_line(lua_State *L, struct dh_task *t, const struct dh_wait_type *type,
                    struct dh_line *line, uint64_t deadline_ns, lua_KContext ctx, lua_KFunction k);

/* Join the end of a line; leave it from wherever one stands. */
void dh_line_join(struct dh_line *line, struct dh_task *t);
void dh_line_leave(struct dh_line *line, struct dh_task *t);

/* The withdraw function of waits made by dh_wait_in_line. */
void dh_wait_leave_line(struct dh_task *t);

/* Give way for one turn, which nothing ends before its time. k is called when it goes on; NULL: what
** was called returns, and nothing. To be returned. */
int dh_wait_turn(lua_State *L, struct dh_task *t, lua_KContext ctx, lua_KFunction k);

/* In a continuation: how the wait of the task that runs on L ended. Raises the cancellation. */
enum dh_wake dh_wait_end(lua_State *L);

/* A continuation for waits that return what they were woken with, or nil and "timeout". */
int dh_wait_results_k(lua_State *L, int status, lua_KContext ctx);

/* Push nil and why there is no result ("timeout", "closed"); returns 2. To be returned. */
int dh_wait_answer(lua_State *L, const char *why);

/* End t's wait. nresults values are on top of t->inner's stack (only for DH_WAKE_DONE). Nothing
** happens, and it is counted, unless t is WAITING; returns whether it was. */
bool dh_wake(struct dh_vm *vm, struct dh_task *t, enum dh_wake wake, int nresults);

/* Wake everybody in the line, in order, with nresults copies of the values on top of L's stack,
** which are popped. */
void dh_wake_line(struct dh_vm *vm, lua_State *L, struct dh_line *line, int nresults);

/* Deadline for a wait of 'seconds' from now: saturates at DH_NEVER. */
uint64_t dh_wait_deadline(const struct dh_vm *vm, double seconds);

/* The optional argument 'arg' as seconds >= 0: absent or math.huge is DH_NEVER, else a deadline.
** Raises an error that names the argument. */
uint64_t dh_wait_opt_deadline(lua_State *L, const struct dh_vm *vm, int arg, const char *name);

/* The argument 'arg' as seconds >= 0 (math.huge allowed). Raises. */
double dh_wait_seconds(lua_State *L, int arg, const char *name);

/* The argument 'arg' must be a function, or an object that can be called. Raises. */
void dh_wait_check_callable(lua_State *L, int arg, const char *name);

#endif
