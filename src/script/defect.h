/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A defect of the Lua we run on, looked for so that who meets it has been told.
**
** Debian's 5.4.4 keeps a pointer into the stack over a call of __concat. If the call makes the stack
** move, as deep recursion does, 'a'..object..'b' goes on in memory that is no longer its own: a
** segmentation fault, which nothing contains. Lua is sound from 5.4.6 on, and so is Debian's with
** src/patches/lua-5.4.4-concat.patch (./dev build repaired).
*/
#ifndef DH_SCRIPT_DEFECT_H
#define DH_SCRIPT_DEFECT_H

#include <stdbool.h>

/* Has it the defect? Costs a few microseconds, does not crash; false as well when memory is out. */
bool dh_defect_concat(void);

#endif
