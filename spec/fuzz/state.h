/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A Lua state with decnet in it, as the program has it, for fuzzers whose inputs Lua reads. libFuzzer
** hears which lines of Lua have run.
*/
#ifndef DH_SPEC_STATE_H
#define DH_SPEC_STATE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A state in which the file, one of spec/fuzz, has been run: what it returned is called with each input.
** In its globals are FUZZ_PATH, the path of a file that nobody else has, FUZZ_BOUND (state.c) and
** FUZZ_CANARY, whether it is to make a mistake. Ends the process where that cannot be. */
lua_State *state_open(const char *file, bool is_canary);

/* Call it with an input; ends the process (fuzz.h) if it raises. bounded: so many lines may run
** and no more, until it says something else by FUZZ_BOUND. */
void state_run(lua_State *L, const uint8_t *data, size_t size, bool bounded);

#endif
