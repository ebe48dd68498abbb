/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What a seed makes: how many workers, in which groups, what they are declared to be, which faults
** there are, and what is ordered. Each part has random numbers of its own, so that one can be left
** out (struct cut) and the others stay as they are. A tape may stand in for the numbers of all parts but
** those that come in an order of the supervisor's own (how runs behave, who meddles).
*/
#ifndef DH_SPEC_SCENE_H
#define DH_SPEC_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "observer.h"

enum { COMMANDS = 600 };

/* Each is in a scene with probability 1/2; then it happens now and then. */
#define FAULT_MAP(X)                                                                               \
    X(CRASH_AT_START, "crashes at start")                                                          \
    X(CRASH_LATER, "crashes later")                                                                \
    X(FATAL, "fatal errors")                                                                       \
    X(RETRY_AFTER, "retry_after")                                                                  \
    X(CANNOT_START, "runs that cannot start")                                                      \
    X(NEVER_READY, "runs that are never ready")                                                    \
    X(SLOW_READY, "runs that are ready late")                                                      \
    X(NO_BEAT, "missing beats")                                                                    \
    X(CRASH_WHILE_STOPPING, "crashes while stopping")                                              \
    X(ENDLESS_STOP, "refused cancels")                                                             \
    X(SLOW_KILL, "kills that take time")                                                           \
    X(SLOW_CLOSE, "handles that close slowly")                                                     \
    X(LONG_SLICE, "long slices")                                                                   \
    X(NO_MEMORY, "no memory")                                                                      \
    X(LATE_REPORT, "reports about runs that are no more")                                          \
    X(MEDDLING, "orders from within events")                                                       \
    X(STANDSTILL, "a host that stands still")

enum fault {
#define X(name, text) FAULT_##name,
    FAULT_MAP(X)
#undef X
        FAULTS
};

const char *fault_text(enum fault fault);

/* What is left out of a scene, to see whether it still fails. */
struct cut {
    uint64_t slots;
    uint32_t faults;
    bool commands[COMMANDS];
};

/* Bytes that decide, one or more for each roll; behind their end the seed does. */
struct tape {
    const uint8_t *at;
    size_t left;
};

struct scene {
    uint64_t seed;
    struct tape *tape; /* or NULL */
    int slots;
    int groups;
    int commands;
    uint32_t faults; /* a bit for each */
    bool is_synchronous;
    bool are_bodies_first;
};

/* Random numbers for one purpose. */
struct dice {
    uint64_t state;
    struct tape *tape; /* or NULL */
};

enum purpose { FOR_SCENE, FOR_GROUP, FOR_SLOT, FOR_RUN, FOR_COMMAND, FOR_MEDDLING, FOR_SHUTDOWN };

struct dice scene_dice(const struct scene *scene, enum purpose purpose, uint64_t which);
uint64_t roll(struct dice *d, uint64_t n); /* 0 .. n - 1 */
uint64_t roll_time(struct dice *d);        /* from nothing to a minute and a half */

/* cut, tape: or NULL. With a tape there are commands as long as it lasts. */
void scene_init(struct scene *scene, uint64_t seed, const struct cut *cut, struct tape *tape);
bool scene_has(const struct scene *scene, enum fault fault);

/* How a worker may be declared; 'present' are the slots that it may wait for. */
struct declared roll_declared(struct dice *d, const struct scene *scene, int slot,
                              uint64_t present);
void roll_group(struct dice *d, enum dh_strategy *ret_strategy, uint32_t *ret_max_restarts,
                uint64_t *ret_within_ns);

/* How the next run of b will behave; without faults it does nothing but run, beat and obey. */
void roll_habits(struct dice *d, const struct scene *scene, struct body *b,
                 const struct dh_policy *p, bool has_faults);

/* How it will stop, with the faults of the scene. */
void roll_stopping(struct dice *d, const struct scene *scene, struct body *b,
                   const struct dh_policy *p);

#endif
