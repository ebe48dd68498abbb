/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** `top` without a terminal: what it draws is looked at, its keys come from an input.
*/
#ifndef DH_SPEC_SCREEN_H
#define DH_SPEC_SCREEN_H

#include "fuzz.h"

/* From now on: so many lines and columns, and these keys. A byte 0 is a moment without a key; behind the
** last one are those that end it. */
void screen_begin(int lines, int columns, struct fuzz_input keys);

/* Call as time goes by: ns later, for all of ctl. */
void screen_pass(uint64_t ns);

#endif
