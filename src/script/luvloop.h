/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** uv.run, uv.stop, uv.walk and what else speaks of a loop. A worker's loop is what its run owns:
**
**   uv.run()          waits until no handle and no request of the run keeps a loop alive, and no other
**                     task of the run is left; uv.stop() ends the wait
**   uv.run "once"     until a callback of the run has been called
**   uv.run "nowait"   until libuv has been polled once
**
** Whether the wait is over is asked only when a task or a callback of the run has ended: nothing
** else can stop, unref or close a handle.
**
** Without a host they are luv's own.
*/
#ifndef DH_SCRIPT_LUVLOOP_H
#define DH_SCRIPT_LUVLOOP_H

#include <lua.h>

struct dh_run;
struct dh_vm;

/* The function that takes the place of uv.NAME, whose upvalue 1 it is; NULL: it is not about loops. */
lua_CFunction dh_luvloop_function(const char *name);

/* A task or a callback of the run has ended. */
void dh_luvloop_on_ended(struct dh_run *run);

/* libuv has been polled. */
void dh_luvloop_on_polled(struct dh_vm *vm);

#endif
