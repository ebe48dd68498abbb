/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Fingerprints: did a function change between two loads of a script, and who shares what with whom?
**
** A value is a graph. Its nodes are what the script made: tables, functions (code by bytecode.h),
** the upvalue cells that closures share, coroutines, userdata (by type alone). Everything else
** counts by its value or, when it is not the script's (a library, Lua's globals), by its identity.
** _ENV is no node: a function is tied to the globals of the script that it names.
**
**   hash of a node = its own content + an unordered sum over its edges; within a cycle, where that
**                    has no beginning, four rounds of it, and the sum of the whole cycle
**
** Every node is explored and hashed once, however many workers reach it, so that a hundred thousand
** that share a function cost a look-up each; closures of one piece of code that share its cells too,
** one after the other, have one hash and one node. Nothing recurs in C.
**
** State is what somebody may write to: a table, a userdata, a coroutine, a cell that some function
** assigns. Those who reach the same state belong together.
**
** In Lua: decnet.core.fingerprints{ foreign =, globals =, environments =, code = } returns a session
** whose methods are hash(value) -> integer and link(list) -> list: which of the values belong
** together, by number; 0: with none. 'foreign', 'environments' and 'code' are sets (tables with the
** values as keys): what is not the script's (a value other than true: what it stands for); the tables that _ENV may be; tables that hold no state.
** 'globals' maps names to what the script made of them. What was hashed must not be collected before
** the session is closed.
*/
#ifndef DH_SCRIPT_FINGERPRINT_H
#define DH_SCRIPT_FINGERPRINT_H

#include <lua.h>
#include <stdint.h>

/* The hash of the value at idx in the session at the absolute index 'session', folded: one change in
** four thousand million is missed, and a hundred thousand workers stay cheap. Raises. */
uint32_t dh_fingerprint(lua_State *L, int session, int idx);

void dh_fingerprint_open(lua_State *L);

#endif
