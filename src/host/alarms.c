/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/alarms.h"

#include "core/timerq.h"
#include "host/limits.h"

void dh_alarms_init(struct dh_alarms *a, uint64_t slack_ns) {
    *a = (struct dh_alarms){
        .at_ns = {DH_NEVER, DH_NEVER},
        .slack_ns = slack_ns,
        .foreseen_ns = DH_NEVER,
    };
}

void dh_alarms_on_ring(struct dh_alarms *a, unsigned i) {
    a->at_ns[i] = DH_NEVER;
    a->has_rung = true;
}

/* From one end of a wait to the next, where one wait follows the other. */
static uint64_t pace(const struct dh_alarms *a) {
    return a->slack_ns + DH_GAP_NS;
}

static bool is_in_time(const struct dh_alarms *a, uint64_t alarm_ns, uint64_t at_ns) {
    return alarm_ns <= at_ns || alarm_ns - at_ns <= pace(a);
}

/* Compare what was foreseen with what came. */
static void learn(struct dh_alarms *a, uint64_t at_ns) {
    if (at_ns >= a->foreseen_ns || !is_in_time(a, a->foreseen_ns, at_ns)) {
        a->hits /= 2;
    } else if (a->hits < DH_HITS_MAX) {
        a->hits++;
    }
}

unsigned dh_alarms_plan(struct dh_alarms *a, uint64_t at_ns) {
    unsigned changed = 0;
    unsigned first = dh_alarms_first(a);
    if (a->has_rung) {
        a->has_rung = false;
        learn(a, at_ns);
    }
    if (!is_in_time(a, a->at_ns[first], at_ns)) {
        first = a->at_ns[first] == DH_NEVER ? first : !first; /* the one that rings later */
        a->at_ns[first] = at_ns + a->slack_ns;
        changed |= 1u << first;
    }
    a->foreseen_ns = a->at_ns[first] + pace(a);
    if (a->hits >= DH_HITS_ENOUGH && a->at_ns[!first] == DH_NEVER) {
        a->at_ns[!first] = a->foreseen_ns;
        changed |= 1u << !first;
    }
    return changed;
}
