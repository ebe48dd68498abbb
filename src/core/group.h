/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Groups: workers that share a restart strategy and an intensity limit. Made and found through
** supervisor.h; the first half is what may be asked about one, the second is private to core.
**
** A restart of a group is a gate. When a member is to be restarted by policy, it and the members
** that the strategy takes along come to the gate: the failing one when its delay is over, the
** others when they have stopped and closed. When the last has arrived the gate opens and they
** start in order of declaration.
*/
#ifndef DH_CORE_GROUP_H
#define DH_CORE_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/extra.h"
#include "core/spec.h"
#include "core/window.h"

struct dh_outcome;
struct dh_sup;
struct dh_worker;

struct dh_group {
    struct dh_group *next;
    struct dh_worker *first; /* in order of declaration */
    struct dh_worker *last;
    uint32_t member_count;
    uint32_t announced; /* workers that will join when their run is closed */
    uint32_t coming;    /* members at DH_GATE_COMING */
    uint32_t arrived;
    uint32_t restart_step; /* the step in which the last restart began */
    uint32_t counted_step; /* the step in which the last failure was counted and forgiven */
    bool is_failed;
    bool is_dropped; /* freed when nobody is left */
    struct dh_window window;
    struct dh_group_spec spec; /* its name is 'text' */
    char text[];
};

struct dh_name dh_group_name(const struct dh_group *g);
enum dh_strategy dh_group_strategy(const struct dh_group *g);
uint32_t dh_group_max_restarts(const struct dh_group *g);
uint64_t dh_group_within_ns(const struct dh_group *g);
bool dh_group_is_failed(const struct dh_group *g);

/* Does w's group, which restarts, take w along? */
bool dh_group_takes(const struct dh_worker *w);

/* "one_for_one", ... */
const char *dh_strategy_name(enum dh_strategy strategy);

/* The group of w, or NULL. */
struct dh_group *dh_group_of(const struct dh_worker *w);

/* --- private ---------------------------------------------------------------------------------- */

/* In its place by order of declaration; a worker that is not in the supervisor's list yet is the
** last. */
void dh_group_join(struct dh_group *g, struct dh_worker *w);

/* A dropped group is freed when the last one leaves. */
void dh_group_leave(struct dh_sup *sup, struct dh_worker *w);

/* Somebody will join g, or will not after all (or has joined). */
void dh_group_announce(struct dh_group *g);
void dh_group_renounce(struct dh_sup *sup, struct dh_group *g);

/* w was moved to the end of the supervisor's list. */
void dh_group_move_last(struct dh_group *g, struct dh_worker *w);

/* Free all groups; their members must have left. */
void dh_group_fini_all(struct dh_sup *sup);

/* Put w at a gate or take it away from it; nothing for one without a group. */
void dh_group_set_gate(struct dh_sup *sup, struct dh_worker *w, enum dh_gate gate);

/* w failed at at_ns and would be restarted: count it, and return how many failures there are now.
** Of those that fail in the same step and so begin the same restart, one is counted. 0: not
** counted, or there is no limit. */
uint32_t dh_group_count_failure(struct dh_sup *sup, struct dh_worker *w, uint64_t at_ns);

/* w will be restarted: take the others along, as the strategy says. */
void dh_group_restart(struct dh_sup *sup, struct dh_worker *w, uint64_t delay_ns);

/* w was one failure too many: the others stop. */
void dh_group_fail(struct dh_sup *sup, struct dh_worker *w, const char *reason);

/* Somebody gave an order for w: a failed group gets another chance. */
void dh_group_on_order(struct dh_worker *w);

#endif
