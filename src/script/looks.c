/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/looks.h"

/* xorshift32 (Marsaglia 2003) */
static uint32_t next_random(struct dh_looks *l) {
    l->random ^= l->random << 13;
    l->random ^= l->random >> 17;
    l->random ^= l->random << 5;
    return l->random;
}

void dh_looks_init(struct dh_looks *l, uint64_t now, uint32_t seed) {
    *l = (struct dh_looks){.alert_ns = now, .random = seed};
    dh_looks_begin_cell(l, now, 0);
}

void dh_looks_alert(struct dh_looks *l, uint64_t now) {
    l->alert_ns = now;
}

void dh_looks_begin_cell(struct dh_looks *l, uint64_t at_ns, uint64_t slice_age_ns) {
    uint64_t len_ns = DH_LOOK_CALM_NS;
    if (dh_looks_is_alert(l, at_ns)) {
        len_ns = DH_LOOK_NS + slice_age_ns / 4;
        len_ns = len_ns < DH_LOOK_MAX_NS ? len_ns : DH_LOOK_MAX_NS;
    }
    l->cell_ns = at_ns;
    l->cell_len_ns = len_ns;
    l->look_ns = at_ns + (len_ns * (next_random(l) >> 8) >> 24);
}
