/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Plays the scene of a seed, in three acts:
**
**   1. with faults: the commands, with time between them or none
**   2. without:     what should run must run when the longest delay is over, and go on running;
**                   streaks and trials must end
**   3. shutdown:    everything must have ended within its stop_timeout, after what depends on it
**
** The observer checks after every turn. A play ends at the first check that fails.
*/
#ifndef DH_SPEC_PLAY_H
#define DH_SPEC_PLAY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "scene.h"

struct outcome {
    uint64_t events;
    uint64_t hash; /* of all events and calls */
};

/* cut: what is left out, or NULL. timeline: where everything that happens is told, or NULL.
** Failures are those of check_state(), which is set up for them and quiet. */
struct outcome play(uint64_t seed, enum mutation mutation, const struct cut *cut, FILE *timeline);

/* The same with a tape. */
struct outcome play_tape(uint64_t seed, struct tape tape, enum mutation mutation, FILE *timeline);

/* Has the last play found anything wrong? */
bool play_has_failed(void);

#endif
