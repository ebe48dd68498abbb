/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Telling a run's child processes to end.
**
** A child that leads a process group is told with its group. SIGTERM can miss a member: a shell blocks
** signals while it forks, and what it forks just then begins without the signal that waits for the shell.
** So when the leader has ended, those that are left are looked at (/proc, Linux only): who has begun since
** the group was told, and has no parent in it, has missed the signal, and gets it now. Nobody else does:
** many programs take a second one for "at once", and what a member starts to clean up is its own affair.
*/
#ifndef DH_SCRIPT_CHILD_H
#define DH_SCRIPT_CHILD_H

#include <lua.h>

struct dh_handle;

/* Open the functions that decnet/uv.lua calls, in the table on top of the stack:
**   end_child(process, is_rude)  SIGTERM or SIGKILL, once each */
void dh_child_open(lua_State *L);

/* Send SIGTERM or SIGKILL to the child, which lives, unless it has been sent that, or SIGKILL. */
void dh_child_tell(struct dh_handle *h, int signal);

/* The child has exited; who is left of its group and has missed the signal is told. */
void dh_child_ended(const struct dh_handle *h);

#endif
