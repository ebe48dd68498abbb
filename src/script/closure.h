/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Which code a Lua function has: closures that a loop makes share theirs.
**
** lua.h has no word for that. So the place where a closure refers to its code is found by looking at
** closures of two pieces of code: it is the word of which there are two kinds.
*/
#ifndef DH_SCRIPT_CLOSURE_H
#define DH_SCRIPT_CLOSURE_H

#include <lua.h>
#include <stddef.h>

/* In bytes from lua_topointer; 0: not found. Raises. */
size_t dh_closure_find_code(lua_State *L);

/* The code of the Lua function at idx, to be compared while the function lives; NULL: not known. */
const void *dh_closure_code(lua_State *L, int idx, size_t code_at);

#endif
