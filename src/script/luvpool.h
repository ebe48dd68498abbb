/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Wrappers of the functions of luv that libuv's threads do the work of: files, names, random numbers,
** queue_work; and of those that open files in another way. Without a callback luv does it at once.
*/
#ifndef DH_SCRIPT_LUVPOOL_H
#define DH_SCRIPT_LUVPOOL_H

#include <lua.h>

/* The wrapper of uv.NAME, a closure of luv's function; NULL: none of these. */
lua_CFunction dh_luvpool_function(const char *name);

#endif
