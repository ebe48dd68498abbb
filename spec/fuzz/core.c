/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The supervisor: scenes of the simulator (spec/sim) in which an input decides instead of a seed who is
** declared, what is ordered and how much time goes by. Its observer holds the invariants against every
** event and every turn.
**
** Input: a byte that seeds how runs behave, then what decides.
*/
#include "fuzz.h"
#include "spec/core/check.h"
#include "spec/sim/play.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum mutation mutation = FUZZ_CANARY ? LOST_RECOVERED : SOUND;
    struct fuzz_input in = {data, size};
    uint64_t seed = fuzz_byte(&in);
    struct tape tape = {in.at, in.left};
    play_tape(seed, tape, mutation, NULL);
    if (play_has_failed()) {
        play_tape(seed, tape, mutation, stderr);
        const struct check *c = check_state();
        fuzz_fail(c->file, c->line, c->what);
    }
    return 0;
}
