/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** io.popen for workers: the child is one of luv's, so that it ends with its run; and closing the file
** waits for it as other awaits do, without holding up the others. Reading and writing are io's: they
** hold up everybody until the child has something to say, or listens.
*/
#ifndef DH_SCRIPT_POPEN_H
#define DH_SCRIPT_POPEN_H

#include <lua.h>

/* A lua_CFunction: io.popen(command [, mode]). */
int dh_popen(lua_State *L);

#endif
