/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** decnet.offload: Lua functions on threads of their own.
**
** A state has at most DH_OFFLOAD_THREADS threads for this, made as they are needed and joined when
** the state closes. A call is a job: the function's bytecode and its arguments as plain bytes. Each
** job runs in a fresh lua_State, so that no call sees another one's globals; only plain bytes cross
** between threads, and only the loop's thread touches the caller's state.
**
**            taken by a thread          ended             the loop collects it
**   QUEUED ---------------------> RUNNING -----> ENDED ------------------------> wakes its task
**     |                              |
**     | abandoned: taken out         | abandoned: a hook in its state leaves the function
**     v                              v
**    gone                          ENDED: nobody is woken
**
** A job is abandoned when its task is cancelled or killed. Its function ends within 1000 instructions
** and no pcall sees it; <close> variables do not run. One that sits in a C function which does not
** return, or in a __gc metamethod, cannot be ended: it keeps its thread, and another one may be made
** in its place.
*/
#ifndef DH_SCRIPT_OFFLOAD_H
#define DH_SCRIPT_OFFLOAD_H

#include <lua.h>

struct dh_vm;

/* Put 'offload' into the table on top of L's stack. Raises on memory errors. */
void dh_offload_open(lua_State *L);

/* End all jobs and join the threads. A thread that stays in a C function for DH_OFFLOAD_CLOSE_S is
** left behind. */
void dh_offload_close(struct dh_vm *vm);

#endif
