/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** error, replaced in place. It does what Lua's does, but writes the position and the message in one go:
** Lua's makes three strings of them, one by snprintf, and a worker that crashes in a loop raises a
** million errors a second.
*/
#ifndef DH_SCRIPT_RAISE_H
#define DH_SCRIPT_RAISE_H

#include <lua.h>

/* Replace the global. Raises on memory errors. */
void dh_raise_open(lua_State *L);

#endif
