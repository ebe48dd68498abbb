/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Hosts as Lua values: what the Lua half of decnet builds decnet-host, run_group and decnet.testing from.
*/
#ifndef DH_SCRIPT_HOSTLIB_H
#define DH_SCRIPT_HOSTLIB_H

#include <lua.h>
#include <stdbool.h>

struct dh_instance;

/* Has run_group's stop event been set? */
bool dh_hostlib_stop_is_set(struct dh_instance *instance);

/* Put the functions into the table on top of L's stack. Raises on memory errors. */
void dh_hostlib_open(lua_State *L);

#endif
