/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/alarms.h"

#include "core/timerq.h"
#include "host/limits.h"

void dh_alarms_init(struct dh_alarms *a) {
    *a = (struct dh_alarms){{DH_NEVER, DH_NEVER}, DH_NEVER, false, 0};
}

void dh_alarms_on_ring(struct dh_alarms *a, unsigned i) {
    a->at_ns[i] = DH_NEVER;
    a->has_rung = true;
}

static bool is_in_time(uint64_t alarm_ns, uint64_t at_ns) {
    return alarm_ns <= at_ns || alarm_ns - at_ns <= DH_AHEAD_NS;
}

/* Compare what was foreseen with what came. */
static void learn(struct dh_alarms *a, uint64_t at_ns) {
    if (at_ns >= a->foreseen_ns || !is_in_time(a->foreseen_ns, at_ns)) {
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
    if (!is_in_time(a->at_ns[first], at_ns)) {
        first = a->at_ns[first] == DH_NEVER ? first : !first; /* the one that rings later */
        a->at_ns[first] = at_ns + DH_SLACK_NS;
        changed |= 1u << first;
    }
    a->foreseen_ns = a->at_ns[first] + DH_AHEAD_NS;
    if (a->hits >= DH_HITS_ENOUGH && a->at_ns[!first] == DH_NEVER) {
        a->at_ns[!first] = a->foreseen_ns;
        changed |= 1u << !first;
    }
    return changed;
}
