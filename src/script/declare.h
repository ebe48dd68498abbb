/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Declarations on their way from Lua into a supervisor: into the host's, or into that of a load.
**
** A load is a script that is loaded beside what runs (lua/decnet/reload.lua). What it declares goes
** into a supervisor of its own, in which nothing happens but that mistakes are found as they would
** be in the host's; what it opens belongs to a run of its own, so that it can be closed again. When
** it is kept, the host's supervisor is given what it declared; what it opened stays open.
*/
#ifndef DH_SCRIPT_DECLARE_H
#define DH_SCRIPT_DECLARE_H

#include <lauxlib.h>
#include <lua.h>

#include "core/supervisor.h"
#include "script/run.h"

struct dh_instance;
struct dh_vm;

struct dh_load {
    struct dh_run run;    /* first member: owns what the script opens; no worker's */
    struct dh_sup staged; /* what it declares, until it is kept or dropped */
    struct dh_load *next; /* of the instance's */
};

/* Methods of the host, for its table; the userdata is at 1. */
extern const luaL_Reg dh_declare_host_methods[];

/* Push the load that the code running is part of; false: none, and nothing is pushed. */
bool dh_load_push(lua_State *L);

/* Raise, at the line 'level' functions up, if a load asks: it may be refused yet, so it gives no orders
** to the workers that run nor to their host. */
void dh_load_refuse_order(lua_State *L, int level);

/* The run of a load is closed: its memory is Lua's again. */
void dh_load_on_closed(struct dh_run *run);

/* The host ends: end the runs of its loads. */
void dh_load_end_all(struct dh_instance *instance);

/* Register the type of loads and put the functions into the table on top of the stack. Raises. */
void dh_declare_open(lua_State *L);

#endif
