/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Included before Lua's ldo.c, which lets an embedder choose how errors and yields leave C functions: by
** the compiler's own jumps. The C library's hide and check the addresses they jump to; of a switch
** between coroutines that is an eighth.
**
** And lua_resume becomes part of who calls it. A yield jumps out of some calls that never return, and
** the CPU, which keeps a stack of its own of where calls return to, is wrong about each call that
** returns after it and was made before: twenty cycles a call.
*/
#ifndef DH_PATCHES_JUMP_H
#define DH_PATCHES_JUMP_H

typedef void *dh_jump[5];

#define luai_jmpbuf dh_jump
#define LUAI_THROW(L, c) __builtin_longjmp((c)->b, 1)
#define LUAI_TRY(L, c, a)                                                                          \
    if (__builtin_setjmp((c)->b) == 0) {                                                           \
        a                                                                                          \
    }

struct lua_State;
inline __attribute__((always_inline)) int lua_resume(struct lua_State *L, struct lua_State *from,
                                                     int nargs, int *nresults);

#endif
