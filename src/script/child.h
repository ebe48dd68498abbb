/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Telling a run's child processes to end.
**
** A child that leads a process group is told with its group. SIGTERM can miss a member: a shell blocks
** signals while it forks, and what it forks just then begins without the signal that waits for the shell.
** So when the leader has ended, those that are left are looked at (/proc, Linux only): who has SIGTERM's
** default action cannot have got it, and is told now. Who catches it may have, and is left to end; twice
** would be rude, as many take a second one for "at once".
*/
#ifndef DH_SCRIPT_CHILD_H
#define DH_SCRIPT_CHILD_H

#include <lua.h>

struct dh_handle;

/* Open the functions that decnet/uv.lua calls, in the table on top of the stack:
**   end_child(process, is_rude)  SIGTERM or SIGKILL, once each */
void dh_child_open(lua_State *L);

/* Send SIGTERM or SIGKILL to the child, which lives, unless it was the last that it was sent. */
void dh_child_tell(struct dh_handle *h, int signal);

/* The child has exited; what is left of its group is told what the group was told. */
void dh_child_ended(const struct dh_handle *h);

#endif
