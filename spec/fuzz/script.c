/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A script's text, as decnet-host loads, checks, plans and runs it: script.lua tells what must hold.
*/
#include "fuzz.h"
#include "state.h"

static lua_State *state;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    state = state_open("script.lua", FUZZ_CANARY);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    state_run(state, data, size, true);
    return 0;
}
