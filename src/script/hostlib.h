/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Hosts as Lua values: what the Lua half of decnet builds decnet-host, run_group and decnet.testing from.
*/
#ifndef DH_SCRIPT_HOSTLIB_H
#define DH_SCRIPT_HOSTLIB_H

#include <lua.h>
#include <stdbool.h>

#include "core/spec.h"

struct dh_instance;
struct dh_sup;

/* What a table of options says. */
struct dh_declared {
    struct dh_policy policy;
    bool has_group; /* it names one */
    bool has_after; /* it names some */
};

/* The host whose userdata is at 1; raises if it is closed. */
struct dh_instance *dh_hostlib_check(lua_State *L);

/* The table at the absolute idx, which lua/decnet/spec.lua has checked and filled; read once. The userdata
** that it is read to is pushed. */
const struct dh_declared *dh_hostlib_policy(lua_State *L, int idx);

/* The group of (name, options) at 2 and 3. */
void dh_hostlib_read_group(lua_State *L, struct dh_group_spec *ret_spec);

/* Is what has been declared sound? Pushes true, or nil, a message, and the name of the worker whose
** 'after' is at fault; returns how many. */
int dh_hostlib_check_all(lua_State *L, struct dh_sup *sup);

/* Has run_group's stop event been set? */
bool dh_hostlib_stop_is_set(struct dh_instance *instance);

/* Put the functions into the table on top of L's stack. Raises on memory errors. */
void dh_hostlib_open(lua_State *L);

#endif
