/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** decnet.core: the C half of 'decnet', as a Lua module.
*/
#ifndef DH_SCRIPT_MODULE_H
#define DH_SCRIPT_MODULE_H

#include <lua.h>

/* The lua_CFunction for 'require "decnet.core"'. The first call in a state replaces coroutine.* and
** takes over luv. */
int luaopen_decnet_core(lua_State *L);

#endif
