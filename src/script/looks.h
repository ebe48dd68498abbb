/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** When the monitor looks who has the CPU.
**
** Time is cut into cells, and each gets one look at a random moment in it (stratified sampling): a look
** that bills its whole cell to whom it finds is right on average, whatever the rhythm of the workers,
** and however long the cell is, as that is settled before the look.
**
**   cells   |   ?   |?      |     ? |    ?          |  ?            |
**            alert: DH_LOOK_NS       calm: DH_LOOK_CALM_NS
**
** A look costs the workers some 20 us where the monitor and the loop share a CPU. So the cells are
** short only while it is likely that there is something to find: after a start, and until DH_CALM_NS
** after a slice took long. They grow with the age of the slice that is found again.
*/
#ifndef DH_SCRIPT_LOOKS_H
#define DH_SCRIPT_LOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "script/limits.h"

struct dh_looks {
    uint64_t cell_ns; /* where the cell of the next look begins */
    uint64_t cell_len_ns;
    uint64_t look_ns;  /* the next look */
    uint64_t alert_ns; /* when there was the last reason to be alert */
    uint32_t random;
};

/* Alert, from now on; seed is not 0. */
void dh_looks_init(struct dh_looks *l, uint64_t now, uint32_t seed);

static inline bool dh_looks_is_alert(const struct dh_looks *l, uint64_t now) {
    return now < l->alert_ns + DH_CALM_NS;
}

/* There is reason to be alert. For the cells that begin from now on. */
void dh_looks_alert(struct dh_looks *l, uint64_t now);

static inline uint64_t dh_looks_cell_end(const struct dh_looks *l) {
    return l->cell_ns + l->cell_len_ns;
}

/* The next cell begins at at_ns. slice_age_ns: for so long the slice that was found has been known; 0:
** none, or a new one. */
void dh_looks_begin_cell(struct dh_looks *l, uint64_t at_ns, uint64_t slice_age_ns);

#endif
