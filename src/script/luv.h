/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** luv on the vm's own loop, with ownership: every function of the luv table and every method of its
** handles is wrapped once, when luv is opened. A callback that a run gives is bound to that run and
** called as a task of it; a handle that a run opens is closed when it ends.
*/
#ifndef DH_SCRIPT_LUV_H
#define DH_SCRIPT_LUV_H

#include <lua.h>
#include <stdbool.h>

struct dh_run;
struct dh_vm;

/* Make 'require "luv"' give luv on vm's loop. Raises. */
void dh_luv_open(lua_State *L, struct dh_vm *vm);

/* Push uv.NAME as it was when luv was opened: close, fs_closedir, spawn. Raises on memory errors. */
void dh_luv_push_function(lua_State *L, const char *name);

/* Push a list of all handles that luv made. Raises on memory errors. */
void dh_luv_push_all(lua_State *L, struct dh_vm *vm);

/* Close what the run opened, cancel what it asked for: each handle counts itself out with
** dh_run_on_handle_closed, each request with dh_run_on_request_done. Children are asked to end, and
** their handles closed when they have. After 'begin', close_owned looks at n handles a call, and
** returns true when it has seen all. */
void dh_luv_begin_closing(struct dh_run *run);
bool dh_luv_close_owned(struct dh_run *run, unsigned n);

/* A child of the run has ended. */
void dh_luv_on_exit(struct dh_run *run);

/* Close every handle on the loop that is not the host's and let the close callbacks run. */
void dh_luv_close_all(struct dh_vm *vm);

#endif
