/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What Lua says by warn(): to the log, a bounded number of lines. As in lua5.4 a script's own warnings
** are off until warn("@on"). An error in a finalizer (__gc), which Lua reports as a warning and which
** ends nobody, is always logged while there is a host. Whose object it was cannot be told.
*/
#ifndef DH_SCRIPT_WARNING_H
#define DH_SCRIPT_WARNING_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "script/limits.h"

struct dh_vm;

struct dh_warning {
    char text[DH_WARNING_TEXT]; /* so far: it comes in pieces */
    size_t len;
    bool is_continued;
    bool is_on;
    unsigned told; /* lines since began_ns */
    unsigned untold;
    uint64_t began_ns;
};

/* Take over the warnings of the state. */
void dh_warning_open(lua_State *L, struct dh_vm *vm);

#endif
