/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The collector at its most aggressive: -DDECNET_GCSTRESS includes this in front of Lua's own files.
**
** A *point* is where Lua may collect: in each function of its API that allocates, behind the allocation,
** and in instructions that do. HARDMEMTESTS of Lua's own tests makes a full collection at every one of
** them, which takes hours. Here a *place* has one when it is passed for the 1st, 2nd, 4th, 8th ... time: a
** place is who calls the API (an instruction of the program, whoever's C it is) and which function runs
** in Lua meanwhile. So every line of C has full collections under each of its callers, early and late.
**
** HARDSTACKTESTS moves a stack wherever it might have to grow; a deep one would be copied for hours.
*/
#ifndef SPEC_GCSTRESS_POINTS_H
#define SPEC_GCSTRESS_POINTS_H

#include "lprefix.h"

#define LUA_CORE /* luaconf.h: what is unlikely */

#include "ldo.h"
#include "lgc.h"

#define GCSTRESS_DEEP 400

/* Should there be a full collection at this point? For any thread. */
int gcstress_is_due(lua_State *L, const void *caller);

#undef luaC_condGC
#define luaC_condGC(L, pre, pos)                                                                   \
    {                                                                                              \
        if (gcstress_is_due(L, __builtin_return_address(0))) {                                     \
            pre;                                                                                   \
            luaC_fullgc(L, 0);                                                                     \
            pos;                                                                                   \
        } else if (G(L)->GCdebt > 0) {                                                             \
            pre;                                                                                   \
            luaC_step(L);                                                                          \
            pos;                                                                                   \
        }                                                                                          \
    }

#undef condmovestack
#define condmovestack(L, pre, pos)                                                                 \
    if (stacksize(L) <= GCSTRESS_DEEP) {                                                           \
        pre;                                                                                       \
        luaD_reallocstack(L, stacksize(L), 0);                                                     \
        pos;                                                                                       \
    }

#endif
