/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/watch.h"

#include <stddef.h>

#include "core/backoff.h"
#include "core/life.h"
#include "core/machine.h"
#include "core/supervisor.h"

void dh_watch_check(struct dh_sup *sup, struct dh_worker *w) {
    const struct dh_policy *p = w->policy;
    struct dh_extra *x = w->extra;

    if (x == NULL || !(x->is_start_due || x->is_beat_due)) {
        return;
    }
    if (x->is_start_due && dh_time_add(x->start_ns, p->start_timeout_ns) <= dh_machine_now(sup)) {
        dh_life_stop(sup, w, DH_CAUSE_NOT_READY);
        return;
    }
    if (x->is_beat_due && dh_time_add(x->beat_ns, p->watchdog_ns) <= dh_machine_now(sup)) {
        dh_life_stop(sup, w, DH_CAUSE_NO_BEAT);
        return;
    }
    x->is_start_due = false;
    x->is_beat_due = false;
    dh_machine_arm_deadlines(sup, w); /* it has beaten since, or the host stood still */
    dh_machine_mark(sup, w);          /* for what has become due for want of memory */
}

/* How much of the time from from_ns on does not count for w? As much as a look may be late does, or a
** host that is held at every turn would never find who is silent. */
static uint64_t lost_ns(const struct dh_sup *sup, const struct dh_worker *w, uint64_t from_ns,
                        uint64_t now_ns) {
    uint64_t lost = now_ns - (from_ns > sup->looked_ns ? from_ns : sup->looked_ns);
    uint64_t held = w == sup->holder && w->run == sup->holder_run ? sup->held_ns : 0;
    uint64_t counted = held > DH_STANDSTILL_NS ? held : DH_STANDSTILL_NS;

    return lost > counted ? lost - counted : 0;
}

/* The host stood still until now_ns: w gets that time back. Timers of a run stay where they are: that
** its watch has not run out is seen when they are due, as after a beat. */
static void give_time(struct dh_sup *sup, struct dh_worker *w, uint64_t now_ns) {
    struct dh_extra *x = w->extra;

    if (w->state == DH_RUNNING && x != NULL) {
        x->start_ns += lost_ns(sup, w, x->start_ns, now_ns);
        x->beat_ns += lost_ns(sup, w, x->beat_ns, now_ns);
    } else if (w->state == DH_STOPPING && dh_timer_is_armed(&w->timer)) {
        uint64_t deadline_ns = sup->env->deadline(sup->env, &w->timer);
        sup->env->arm(sup->env, &w->timer, /* it is armed: cannot fail */
                      dh_time_add(deadline_ns, lost_ns(sup, w, w->since_ns, now_ns)));
    }
}

void dh_sup_on_look(struct dh_sup *sup, uint64_t now_ns, uint64_t due_ns) {
    uint64_t expected_ns = due_ns > sup->looked_ns ? due_ns : sup->looked_ns;

    if (now_ns > dh_time_add(expected_ns, DH_STANDSTILL_NS)) {
        for (struct dh_worker *w = sup->first; w != NULL; w = w->next) {
            give_time(sup, w, now_ns);
        }
    }
    sup->holder = NULL;
    sup->held_ns = 0;
    sup->looked_ns = now_ns;
}

void dh_sup_on_held(struct dh_sup *sup, struct dh_worker *w, uint32_t run, uint64_t held_ns) {
    if (held_ns > sup->held_ns) {
        sup->holder = w;
        sup->holder_run = run;
        sup->held_ns = held_ns;
    }
}

void dh_watch_forget(struct dh_sup *sup, const struct dh_worker *w) {
    if (sup->holder == w) {
        sup->holder = NULL;
    }
}
