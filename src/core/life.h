/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The life of a run as the supervisor leads it: begin, ask to end, decide what its end means, go
** on when it is closed. Private to core; called by step.c only.
*/
#ifndef DH_CORE_LIFE_H
#define DH_CORE_LIFE_H

#include <stdint.h>

#include "core/extra.h"

struct dh_outcome;
struct dh_sup;
struct dh_worker;

/* WAITING or BACKOFF to RUNNING. One that cannot even start counts as crashed at once. */
void dh_life_begin(struct dh_sup *sup, struct dh_worker *w);

/* RUNNING to STOPPING: cancel, and kill at once if there is no time for politeness. */
void dh_life_stop(struct dh_sup *sup, struct dh_worker *w, enum dh_cause cause);

/* STOPPING: no more time. Once a run. */
void dh_life_kill(struct dh_sup *sup, struct dh_worker *w);

/* RUNNING or STOPPING to CLOSING: here it is decided whether there will be a restart, and when. */
void dh_life_on_ended(struct dh_sup *sup, struct dh_worker *w, const struct dh_outcome *outcome);

/* CLOSING to what was decided, or to what has been ordered since. */
void dh_life_on_closed(struct dh_sup *sup, struct dh_worker *w);

/* An essential worker is lost for good: the host stops. */
void dh_life_fail_essential(struct dh_sup *sup);

#endif
