/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Included before Lua's ldo.c, which lets an embedder choose how errors and yields leave C functions: by
** the compiler's own jumps. The C library's hide and check the addresses they jump to; of a switch
** between coroutines that is an eighth.
*/
#ifndef DH_PATCHES_JUMP_H
#define DH_PATCHES_JUMP_H

typedef void *dh_jump[5];

#define luai_jmpbuf dh_jump
#define LUAI_THROW(L, c) __builtin_longjmp((c)->b, 1)
#define LUAI_TRY(L, c, a) \
    if (__builtin_setjmp((c)->b) == 0) { \
        a \
    }

#endif
