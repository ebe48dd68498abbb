/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The message handler that a closed coroutine keeps.
**
** Before Lua 5.4.6 lua_resetthread forgets to forget it: a coroutine that was suspended inside
** xpcall (or lua_pcallk with a handler) runs its __close functions with that handler in force, by a
** stack slot in which by then stands something else. An error in a __close so becomes "error in
** error handling", after a recursion that uses up the C stack, and finalizers that the collector
** runs meanwhile are lost (kill_spec, "leaves no handler in force").
**
** lua_State is opaque and has no function for this. So the place of its field is found by looking
** at a coroutine that calls with one handler, with another and with none; if exactly one word tells
** the three apart, it is that.
*/
#ifndef DH_SCRIPT_ERRFUNC_H
#define DH_SCRIPT_ERRFUNC_H

#include <lua.h>
#include <stddef.h>

/* Where the field is, in bytes from the lua_State; 0: not found, or this Lua does not need it. Must
** be called where errors can be raised. */
size_t dh_errfunc_find(lua_State *L);

/* No message handler is in force in co, which does not run. */
void dh_errfunc_clear(lua_State *co, size_t at);

#endif
