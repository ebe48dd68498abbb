/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/rules.h"

const char *dh_input_name(enum dh_input input) {
    static const char *const names[] = {
#define X(name, text) [DH_INPUT_##name] = (text),
        DH_INPUT_MAP(X)
#undef X
    };
    return names[input];
}

#define W (1U << DH_WAITING)
#define R (1U << DH_RUNNING)
#define P (1U << DH_STOPPING)
#define C (1U << DH_CLOSING)
#define B (1U << DH_BACKOFF)
#define D (1U << DH_DONE)
#define F (1U << DH_FAILED)
#define S (1U << DH_STOPPED)
#define GONE DH_BECOMES_GONE

#define STALE(state, input)                                                                        \
    [state][DH_INPUT_##input] = {(uint16_t)(1U << (state)), 1, "stale: counted and ignored"}
#define RULE(state, input, to, text) [state][DH_INPUT_##input] = {(uint16_t)(to), 0, text}

#define NO_BODY(state)                                                                             \
    STALE(state, READY), STALE(state, HEALTHY), STALE(state, RETURNED), STALE(state, RAISED),      \
        STALE(state, FATAL)

/* DONE, FAILED and STOPPED differ only in what a retry means. */
#define AT_REST(state)                                                                             \
    NO_BODY(state), STALE(state, CLOSED),                                                          \
        RULE(state, START, R | W, "starts, history cleared; waits if a dependency is not ready"),  \
        RULE(state, STOP, 1U << (state), "stays; wanted = down"),                                  \
        RULE(state, RESTART, R | W,                                                                \
             "starts, history cleared; waits if a dependency is not ready"),                       \
        RULE(state, RESET, 1U << (state), "history cleared"),                                      \
        RULE(state, REMOVE, GONE, "gone at once"), RULE(state, SHUTDOWN, 1U << (state), "stays"),  \
        RULE(state, SHUTDOWN_NOW, 1U << (state), "stays"),                                         \
        RULE(state, DEADLINE, 1U << (state), "has none"),                                          \
        RULE(state, DEPENDENCY_READY, 1U << (state), "stays: only an order starts it"),            \
        RULE(state, DEPENDENCY_LOST, 1U << (state), "stays")

static const struct dh_rule rules[DH_STATE_COUNT][DH_INPUT_COUNT] = {
    NO_BODY(DH_WAITING),
    STALE(DH_WAITING, CLOSED),
    RULE(DH_WAITING, START, W, "stays: it will start as soon as it can"),
    RULE(DH_WAITING, STOP, S, "stopped at once"),
    RULE(DH_WAITING, RESTART, W, "stays: it will start as soon as it can"),
    RULE(DH_WAITING, RETRY, W, "stays: there is no delay to skip"),
    RULE(DH_WAITING, RESET, W, "history cleared"),
    RULE(DH_WAITING, REMOVE, GONE, "stopped, then gone, at once"),
    RULE(DH_WAITING, SHUTDOWN, S, "stopped at once"),
    RULE(DH_WAITING, SHUTDOWN_NOW, S, "stopped at once"),
    RULE(DH_WAITING, DEADLINE, W, "has none"),
    RULE(DH_WAITING, DEPENDENCY_READY, R, "starts if it was the last that was missing"),
    RULE(DH_WAITING, DEPENDENCY_LOST, W, "stays"),

    STALE(DH_RUNNING, CLOSED),
    RULE(DH_RUNNING, START, R, "stays: it is up"),
    RULE(DH_RUNNING, STOP, P, "cancelled; killed after stop_timeout"),
    RULE(DH_RUNNING, RESTART, P, "cancelled; starts again once, when closed"),
    RULE(DH_RUNNING, RETRY, R, "stays: it is up"),
    RULE(DH_RUNNING, RESET, R, "history cleared"),
    RULE(DH_RUNNING, REMOVE, P, "cancelled; gone when closed"),
    RULE(DH_RUNNING, SHUTDOWN, P, "cancelled, after what depends on it has ended"),
    RULE(DH_RUNNING, SHUTDOWN_NOW, P, "killed"),
    RULE(DH_RUNNING, READY, R, "ready: dependants start, or retry if they are in backoff"),
    RULE(DH_RUNNING, HEALTHY, R, "its streak ends; recovered, if it had one"),
    RULE(DH_RUNNING, RETURNED, C, "closes; then done, or with restart = always a new run"),
    RULE(DH_RUNNING, RAISED, C, "a crash: counted; closes, then backoff or failed"),
    RULE(DH_RUNNING, FATAL, C, "a crash; closes, then failed"),
    RULE(DH_RUNNING, DEADLINE, R | P,
         "reset_after: recovered; start_timeout, watchdog: cancelled, and that is a crash"),
    RULE(DH_RUNNING, DEPENDENCY_READY, R, "stays"),
    RULE(DH_RUNNING, DEPENDENCY_LOST, R, "stays: dependencies matter when it starts"),

    STALE(DH_STOPPING, CLOSED),
    RULE(DH_STOPPING, START, P, "remembered: starts once, when closed"),
    RULE(DH_STOPPING, STOP, P, "wipes out a restart that was asked for"),
    RULE(DH_STOPPING, RESTART, P, "remembered: starts once, when closed"),
    RULE(DH_STOPPING, RETRY, P, "changes nothing; refused if it is to stay down"),
    RULE(DH_STOPPING, RESET, P, "history cleared"),
    RULE(DH_STOPPING, REMOVE, P, "gone when closed"),
    RULE(DH_STOPPING, SHUTDOWN, P, "wipes out a restart that was asked for"),
    RULE(DH_STOPPING, SHUTDOWN_NOW, P, "killed"),
    RULE(DH_STOPPING, READY, P, "too late: ignored"),
    RULE(DH_STOPPING, HEALTHY, P, "too late: ignored"),
    RULE(DH_STOPPING, RETURNED, C, "closes; then stopped, or the restart that was asked for"),
    RULE(DH_STOPPING, RAISED, C,
         "recorded, never counted; but after start_timeout or watchdog this is the crash"),
    RULE(DH_STOPPING, FATAL, C,
         "recorded, never counted; but after start_timeout or watchdog this is the crash"),
    RULE(DH_STOPPING, DEADLINE, P, "stop_timeout: killed"),
    RULE(DH_STOPPING, DEPENDENCY_READY, P, "stays"),
    RULE(DH_STOPPING, DEPENDENCY_LOST, P, "stays"),

    NO_BODY(DH_CLOSING),
    RULE(DH_CLOSING, START, C, "remembered: starts once, when closed"),
    RULE(DH_CLOSING, STOP, C, "no restart any more: will be stopped (done and failed stand)"),
    RULE(DH_CLOSING, RESTART, C, "remembered: starts once, when closed"),
    RULE(DH_CLOSING, RETRY, C, "the delay is skipped; refused if it is to stay down"),
    RULE(DH_CLOSING, RESET, C, "history cleared; a delay that has begun stays"),
    RULE(DH_CLOSING, REMOVE, C, "gone when closed"),
    RULE(DH_CLOSING, SHUTDOWN, C, "no restart any more"),
    RULE(DH_CLOSING, SHUTDOWN_NOW, C, "no restart any more"),
    RULE(DH_CLOSING, CLOSED, R | W | B | D | F | S,
         "to where its end leads; a restart that is overdue or asked for begins at once"),
    RULE(DH_CLOSING, DEADLINE, C, "the restart is due, but begins only when all is closed"),
    RULE(DH_CLOSING, DEPENDENCY_READY, C, "the delay is skipped"),
    RULE(DH_CLOSING, DEPENDENCY_LOST, C, "stays"),

    NO_BODY(DH_BACKOFF),
    STALE(DH_BACKOFF, CLOSED),
    RULE(DH_BACKOFF, START, R | W, "starts now, history cleared"),
    RULE(DH_BACKOFF, STOP, S, "stopped at once, for good"),
    RULE(DH_BACKOFF, RESTART, R | W, "starts now, history cleared"),
    RULE(DH_BACKOFF, RETRY, R | W, "starts now, history kept"),
    RULE(DH_BACKOFF, RESET, B, "history cleared; a delay that has begun stays"),
    RULE(DH_BACKOFF, REMOVE, GONE, "stopped, then gone, at once"),
    RULE(DH_BACKOFF, SHUTDOWN, S, "stopped at once"),
    RULE(DH_BACKOFF, SHUTDOWN_NOW, S, "stopped at once"),
    RULE(DH_BACKOFF, DEADLINE, R | W, "starts; waits if a dependency is not ready"),
    RULE(DH_BACKOFF, DEPENDENCY_READY, R, "starts now: what it most likely lacked is back"),
    RULE(DH_BACKOFF, DEPENDENCY_LOST, B, "stays"),

    AT_REST(DH_DONE),
    RULE(DH_DONE, RETRY, D, "refused: it did not fail"),
    AT_REST(DH_FAILED),
    RULE(DH_FAILED, RETRY, R | W, "starts, history kept: the next failure may be its last again"),
    AT_REST(DH_STOPPED),
    RULE(DH_STOPPED, RETRY, S, "refused: it did not fail"),
};

const struct dh_rule *dh_rule_at(enum dh_state state, enum dh_input input) {
    return &rules[state][input];
}
