/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What the functions of a failing stack had in their variables, as text: locals and upvalues by
** name, of the first DH_VARIABLES_FRAMES Lua functions. Read while the stack still stands, without
** calling anything of the user's; bounded in frames, names, depth and bytes. The values of what
** is called *password*, *token*, *secret* or *key* (in any case, variables and table fields alike)
** are masked.
*/
#ifndef DH_SCRIPT_VARIABLES_H
#define DH_SCRIPT_VARIABLES_H

#include <lua.h>
#include <stddef.h>

/* Write the variables of co's stack from 'level' on to dst, in a form that dh_variables_push reads;
** returns its length, 0 if there are none. Never raises, allocates nothing of Lua's but stack. */
size_t dh_variables_write(lua_State *co, int level, char *dst, size_t cap);

/* Push a list with a table for each function, innermost first: { at = "file:line", name = "function
** 'f'", locals = { { name =, value = }, ... }, upvalues = { ... } }, values as text. Raises on
** memory errors. */
void dh_variables_push(lua_State *L, const char *text, size_t len);

#endif
