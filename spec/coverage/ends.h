/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Included into each file of the build that counts: these functions of Lua do not return, which its
** headers do not say. Else gcc counts two branches more wherever luaL_argcheck tests "their result".
*/
#ifndef SPEC_COVERAGE_ENDS_H
#define SPEC_COVERAGE_ENDS_H

struct lua_State;
extern __attribute__((noreturn)) int lua_error(struct lua_State *L);
extern __attribute__((noreturn)) int luaL_error(struct lua_State *L, const char *fmt, ...);
extern __attribute__((noreturn)) int luaL_argerror(struct lua_State *L, int arg, const char *text);
extern __attribute__((noreturn)) int luaL_typeerror(struct lua_State *L, int arg, const char *name);

#endif
