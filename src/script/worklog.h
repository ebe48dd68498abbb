/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** self.log: a worker's lines in the host's log.
*/
#ifndef DH_SCRIPT_WORKLOG_H
#define DH_SCRIPT_WORKLOG_H

#include <lua.h>

/* Push the log of the 'self' at idx: an object with debug, info, warn and error, each taking a
** message and a table of fields. Raises on memory errors. */
void dh_worklog_push(lua_State *L, int idx);

/* Create the metatable. Raises on memory errors. */
void dh_worklog_open(lua_State *L);

#endif
