/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** decnet.control: the control plane as a Lua module, which decnet-host loads unless --no-control.
*/
#ifndef DH_CONTROL_MODULE_H
#define DH_CONTROL_MODULE_H

#include <lua.h>

/* The lua_CFunction for 'require "decnet.control"': a table with
**   start(host, { script =, version =, socket = path or nil, listen = address or nil })
** which returns an object with stop(), the path of the socket and the port of listen, or nil, a message and a code:
** "EBUSY" (somebody has the socket) or "ESYSTEM". */
int luaopen_decnet_control(lua_State *L);

#endif
