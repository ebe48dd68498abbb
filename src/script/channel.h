/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** decnet.channel: a bounded queue between tasks; capacity 0 is a rendezvous. A channel belongs to
** nobody: a dead run's waits are withdrawn, the values it sent stay.
*/
#ifndef DH_SCRIPT_CHANNEL_H
#define DH_SCRIPT_CHANNEL_H

#include <lua.h>

/* Put 'channel' into the table on top of L's stack. Raises on memory errors. */
void dh_channel_open(lua_State *L);

#endif
