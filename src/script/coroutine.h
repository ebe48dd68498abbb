/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** coroutine.* for a state whose functions can be suspended by the host: replaced in place, before
** the first chunk loads, because libraries keep coroutine.resume in locals. Users see the standard
** semantics (Lua 5.4 manual, section 6.2), plus those of API.md for coroutines that are tasks.
*/
#ifndef DH_SCRIPT_COROUTINE_H
#define DH_SCRIPT_COROUTINE_H

#include <lua.h>

struct dh_vm;

/* Replace the functions in the table that _G.coroutine names. Raises on memory errors. */
void dh_coroutine_replace(lua_State *L);

/* Close co, which is suspended or dead, for somebody who runs on L: nobody can wait in its __close.
** Returns the status; unless that is LUA_OK the error value is left on top of co's stack. Raises
** when too many coroutines are being closed, each from the __close of another. */
int dh_coroutine_close(struct dh_vm *vm, lua_State *L, lua_State *co);

/* decnet.park and decnet.yield: lua_CFunctions. */
int dh_coroutine_park(lua_State *L);
int dh_coroutine_turn(lua_State *L);

#endif
