/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What a worker is given time for: to become ready, to beat, to stop. These are its watches, and
** their time counts only while the host turns:
**
**   look     look          look                      look     look
**    |--------|-------------|- - - - - - - - - - - - -|--------|
**     in time, or waited for   late: the host stood still
**
** Of each standstill DH_STANDSTILL_NS counts all the same, as of a look that is late by that. Whoever held
** the host up (dh_sup_on_held) is charged with that much of it. Delays, reset_after and
** within go by the clock: a restart that is over due is due. Private to core.
*/
#ifndef DH_CORE_WATCH_H
#define DH_CORE_WATCH_H

struct dh_sup;
struct dh_worker;

/* RUNNING: has a watch run out? Then w is stopped, as if it had crashed. */
void dh_watch_check(struct dh_sup *sup, struct dh_worker *w);

/* w will be no more. */
void dh_watch_forget(struct dh_sup *sup, const struct dh_worker *w);

#endif
