/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Making tasks: decnet.spawn, callbacks, hooks.
*/
#ifndef DH_SCRIPT_SPAWN_H
#define DH_SCRIPT_SPAWN_H

#include <lua.h>
#include <stdbool.h>

#include "script/task.h"

struct dh_run;

/* Push the userdata of a new task that has no coroutine yet. Raises on memory errors. */
struct dh_task *dh_task_new(lua_State *L);

/* Make the function and nargs arguments on top of L's stack a task of the run; they are popped and
** the task's userdata is pushed. Raises on memory errors. */
struct dh_task *dh_spawn(lua_State *L, struct dh_run *run, int nargs);

/* The same for a callback: protected, nothing is pushed, and it runs although the run may be ending
** by then. Returns false when memory is out. */
bool dh_spawn_callback(lua_State *L, struct dh_run *run, int nargs);

/* The task whose handle is at idx; raises if there is none. */
struct dh_task *dh_spawn_check(lua_State *L, int idx);

/* decnet.spawn and the metatable of task handles. Raises on memory errors. */
void dh_spawn_open(lua_State *L);

#endif
