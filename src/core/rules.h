/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The state machine as a document: for each state and each input, what a worker does and where it
** may be when the step is over. docs/supervision.md is printed from this table, and the tests
** drive every cell of it through the real supervisor, so that neither can lie.
*/
#ifndef DH_CORE_RULES_H
#define DH_CORE_RULES_H

#include <stdint.h>

#include "core/worker.h"

#define DH_INPUT_MAP(X)                                                                            \
    X(START, "start ordered")                                                                      \
    X(STOP, "stop ordered")                                                                        \
    X(RESTART, "restart ordered")                                                                  \
    X(RETRY, "retry ordered")                                                                      \
    X(RESET, "reset ordered")                                                                      \
    X(REMOVE, "remove ordered")                                                                    \
    X(SHUTDOWN, "the host stops")                                                                  \
    X(SHUTDOWN_NOW, "the host stops at once")                                                      \
    X(READY, "it is ready")                                                                        \
    X(HEALTHY, "it says it is healthy")                                                            \
    X(RETURNED, "the run returned")                                                                \
    X(RAISED, "the run raised")                                                                    \
    X(FATAL, "the run raised a fatal error")                                                       \
    X(CLOSED, "the run is closed")                                                                 \
    X(DEADLINE, "its deadline came")                                                               \
    X(DEPENDENCY_READY, "a dependency became ready")                                               \
    X(DEPENDENCY_LOST, "a dependency ended")

enum dh_input {
#define X(name, text) DH_INPUT_##name,
    DH_INPUT_MAP(X)
#undef X
};
#define DH_INPUT_COUNT (DH_INPUT_DEPENDENCY_LOST + 1)

/* The input in words. */
const char *dh_input_name(enum dh_input input);

struct dh_rule {
    uint16_t may_become; /* bit 1 << state for each state it may be in after the step */
    uint8_t is_stale;    /* the report makes no sense here: counted and ignored */
    const char *text;
};

/* bit of may_become for a worker that is gone */
#define DH_BECOMES_GONE (1U << DH_STATE_COUNT)

const struct dh_rule *dh_rule_at(enum dh_state state, enum dh_input input);

#endif
