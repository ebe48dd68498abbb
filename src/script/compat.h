/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What differs between the patch releases of Lua 5.4.
*/
#ifndef DH_SCRIPT_COMPAT_H
#define DH_SCRIPT_COMPAT_H

#include <lua.h>

#if LUA_VERSION_NUM != 504
#error "decnet-host is written for Lua 5.4"
#endif

/* Close a suspended or dead coroutine: its pending to-be-closed variables run. Returns the status;
** unless that is LUA_OK the error value is left on top of co's stack. */
static inline int dh_close_thread(lua_State *co, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
    return lua_closethread(co, from);
#elif LUA_VERSION_RELEASE_NUM == 50405
    return lua_resetthread(co, from);
#else
    (void)from;
    return lua_resetthread(co);
#endif
}

#endif
