/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/worker.h"

const char *dh_state_name(enum dh_state state) {
    static const char *const names[DH_STATE_COUNT] = {
        [DH_WAITING] = "waiting", [DH_RUNNING] = "running", [DH_STOPPING] = "stopping",
        [DH_CLOSING] = "closing", [DH_BACKOFF] = "backoff", [DH_DONE] = "done",
        [DH_FAILED] = "failed",   [DH_STOPPED] = "stopped",
    };
    return names[state];
}

#define TO(state) (1U << DH_##state)

/* The edges of the drawing in worker.h. */
static const uint16_t edges[DH_STATE_COUNT] = {
    [DH_WAITING] = TO(RUNNING) | TO(STOPPED),
    [DH_RUNNING] = TO(STOPPING) | TO(CLOSING),
    [DH_STOPPING] = TO(CLOSING),
    [DH_CLOSING] = TO(BACKOFF) | TO(WAITING) | TO(DONE) | TO(FAILED) | TO(STOPPED),
    [DH_BACKOFF] = TO(RUNNING) | TO(WAITING) | TO(STOPPED),
    [DH_DONE] = TO(WAITING),
    [DH_FAILED] = TO(WAITING),
    [DH_STOPPED] = TO(WAITING),
};

bool dh_state_may_become(enum dh_state from, enum dh_state to) {
    return (edges[from] >> to) & 1;
}

bool dh_state_is_alive(enum dh_state state) {
    return ((TO(RUNNING) | TO(STOPPING) | TO(CLOSING)) >> state) & 1;
}

bool dh_state_is_final(enum dh_state state) {
    return ((TO(DONE) | TO(FAILED) | TO(STOPPED)) >> state) & 1;
}

const char *dh_event_name(enum dh_event_kind kind) {
    static const char *const names[] = {
#define X(name, text) [DH_EVENT_##name] = (text),
        DH_EVENT_MAP(X)
#undef X
    };
    return names[kind];
}

void dh_outcome_init(struct dh_outcome *o, enum dh_ending ending, uint64_t ended_ns) {
    *o = (struct dh_outcome){
        .ending = ending,
        .retry_after_ns = DH_NEVER,
        .ended_ns = ended_ns,
    };
}

bool dh_worker_is_settled(const struct dh_worker *w) {
    if (w->is_start_asked || w->is_retry_asked || w->is_removing) {
        return false;
    }
    if (!w->is_wanted) {
        return w->state == DH_STOPPED || w->state == DH_DONE || w->state == DH_FAILED;
    }
    return true;
}
