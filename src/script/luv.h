/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** luv on the vm's own loop, with ownership: every function of the luv table and every method of its
** handles is wrapped once, when luv is opened. A callback that a run gives is bound to that run and
** called as a task of it; a handle that a run opens is closed when it ends.
*/
#ifndef DH_SCRIPT_LUV_H
#define DH_SCRIPT_LUV_H

#include <lua.h>

struct dh_vm;

/* Make 'require "luv"' give luv on vm's loop. Raises. */
void dh_luv_open(lua_State *L, struct dh_vm *vm);

/* Push uv.NAME as it was when luv was opened: close, fs_closedir, spawn. Raises on memory errors. */
void dh_luv_push_function(lua_State *L, const char *name);

/* Push a list of all handles that luv made. Raises on memory errors. */
void dh_luv_push_all(lua_State *L, struct dh_vm *vm);

#endif
