/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** For when the two alarms of a loop are armed: the one that ends its wait, and the one after it.
**
** To arm an alarm before all others that the CPU has means to set the CPU's own timer. On a virtual
** machine that goes through the hypervisor: 10 us, with what it does to the caches half of the CPU
** time of a short wait. Behind one that is armed already it is a system call and no more; when the
** first one rings the kernel sets the CPU's timer for the next, anyway. So where one wait follows the
** other, the alarm that will end the next wait is armed before this one begins.
**
** That is done once it has been foreseen well several times: rung in vain it costs as much as it
** saves. What is foreseen is compared with what came also while nothing is armed ahead.
**
** No system call is made here, and no clock read: deadline.h does what is planned.
*/
#ifndef DH_HOST_ALARMS_H
#define DH_HOST_ALARMS_H

#include <stdbool.h>
#include <stdint.h>

#define DH_ALARMS 2

struct dh_alarms {
    uint64_t at_ns[DH_ALARMS]; /* DH_NEVER: not armed */
    uint64_t slack_ns;         /* so much later than its deadline a wait ends */
    uint64_t foreseen_ns;      /* when the wait after the next one will have to end */
    bool has_rung;             /* since the last plan */
    uint8_t hits;              /* how often that was right, of late */
};

void dh_alarms_init(struct dh_alarms *a, uint64_t slack_ns);

/* The i-th one, which was armed, has rung. */
void dh_alarms_on_ring(struct dh_alarms *a, unsigned i);

/* The i-th one is armed before the other; DH_NEVER in its at_ns: neither is armed. */
static inline unsigned dh_alarms_first(const struct dh_alarms *a) {
    return a->at_ns[1] < a->at_ns[0];
}

/* A wait for at_ns (not DH_NEVER) begins: one must ring by at_ns + slack_ns + DH_GAP_NS, and may before
** at_ns. Returns which at_ns have changed, so that they are to be armed, a bit each. */
unsigned dh_alarms_plan(struct dh_alarms *a, uint64_t at_ns);

#endif
