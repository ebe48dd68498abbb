/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Declarations from a byte program: declare.lua makes them, and tells what must hold.
*/
#include "fuzz.h"
#include "state.h"

static lua_State *state;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    state = state_open("declare.lua", FUZZ_CANARY);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    state_run(state, data, size, false);
    return 0;
}
