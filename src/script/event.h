/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** decnet.event: a flag that tasks can wait for. Belongs to nobody.
*/
#ifndef DH_SCRIPT_EVENT_H
#define DH_SCRIPT_EVENT_H

#include <lua.h>
#include <stdbool.h>

/* Put 'event' into the table on top of L's stack. Raises on memory errors. */
void dh_event_open(lua_State *L);

/* Is the value at idx an event that is set? */
bool dh_event_is_set(lua_State *L, int idx);

#endif
