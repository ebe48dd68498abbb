/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Wrappers of the functions of luv that make, start, ask, stop and close handles: each handle is a
** run's, and so is what it is given to call.
*/
#ifndef DH_SCRIPT_LUVHANDLE_H
#define DH_SCRIPT_LUVHANDLE_H

#include <lua.h>

/* The wrapper of uv.NAME, a closure of luv's function and dh_luvhandle_callback(NAME): the fitting one
** for any function that is none of luvpool.h's and luvloop.h's. */
lua_CFunction dh_luvhandle_function(const char *name);

/* Where the callback of a handle's request stands among the arguments; 0: it is none. */
int dh_luvhandle_callback(const char *name);

#endif
