/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What the wrappers of luv's functions (luvhandle.h, luvpool.h, luvloop.h) have in common.
**
** A wrapper is a C function with luv's as upvalue 1. That one has no upvalues of its own, so it is
** called as the C function it is: it finds its arguments where it expects them, and its messages name
** the caller's line and the name by which it was called.
*/
#ifndef DH_SCRIPT_LUVCALL_H
#define DH_SCRIPT_LUVCALL_H

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

struct dh_run;
struct dh_vm;

/* Call luv's function for the wrapper that runs on L; lua_CFunctions. 'noted': it may start or stop
** something, of which epoll hears at the next poll only. */
int dh_luv_call(lua_State *L);
int dh_luv_call_noted(lua_State *L);

/* The same for a function that uses what it allocates without a look: ENOMEM where there is nothing to be
** had. */
int dh_luv_call_with_slack(lua_State *L);

/* The handle at idx, or NULL. */
uv_handle_t *dh_luv_handle_at(lua_State *L, int idx);
bool dh_luv_is_handle(lua_State *L, int idx);

/* The last argument that can be called; 0: none. */
int dh_luv_find_callback(lua_State *L);

/* The run whose code calls; NULL: no worker's. */
struct dh_run *dh_luv_current_run(const struct dh_vm *vm);

/* Push what luv returns for an error of libuv's: nil, "CODE: text" and "CODE"; returns 3. With a text of
** our own where that says what to do. Raises on memory errors. */
int dh_luv_fail(lua_State *L, int err);
int dh_luv_fail_with(lua_State *L, int err, const char *text);

/* luv is open. Raises on memory errors. */
void dh_luvcall_open(lua_State *L);

#endif
