/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** How many requests (files, names, work) one run may have with libuv's threads.
**
** libuv calls back for all that are done in one go, so who starts ten thousand at once would hold the
** loop for as long as it takes to read ten thousand results. The task that starts one more than
** DH_BACKLOG_MAX is left as if it had been preempted, and goes on when one of them is done: no code can
** see it, as none sees a preemption. Where it cannot yield, there is no bound.
**
** It waits DH_BACKLOG_NS at most: while it stands preempted the others of its run wait, and what the
** requests wait for, such as somebody who writes into a fifo, may be one of these.
*/
#ifndef DH_SCRIPT_BACKLOG_H
#define DH_SCRIPT_BACKLOG_H

#include <lua.h>
#include <stdbool.h>

#include "script/task.h"

struct dh_run;
struct dh_vm;

/* Must the caller on L wait before it starts one more for the run? */
bool dh_backlog_is_full(const struct dh_vm *vm, lua_State *L, const struct dh_run *run);

/* Wait, and call k, which starts it, with the stack as it is. To be returned. */
int dh_backlog_wait(lua_State *L, struct dh_run *run, lua_KContext ctx, lua_KFunction k);

/* t has left the CPU for that. */
void dh_backlog_join(struct dh_vm *vm, struct dh_task *t);

/* t, which waits for that, goes on / is taken out, to be ended. */
void dh_backlog_go_on(struct dh_vm *vm, struct dh_task *t);
void dh_backlog_leave(struct dh_vm *vm, struct dh_task *t);

/* One more was started; one is done. */
void dh_backlog_add(struct dh_run *run);
void dh_backlog_remove(struct dh_vm *vm, struct dh_run *run);

#endif
