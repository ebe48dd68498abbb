/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The plain awaits: sleep, await, spawn's join, and what bounds them (atomic, shared).
*/
#ifndef DH_SCRIPT_AWAIT_H
#define DH_SCRIPT_AWAIT_H

#include <lua.h>

/* The function behind every 'resume' that decnet.await hands out; its upvalue is the token. */
int dh_await_resume(lua_State *L);

/* Put the functions into the table on top of L's stack. Raises on memory errors. */
void dh_await_open(lua_State *L);

#endif
