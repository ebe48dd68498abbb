/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A new declaration for a worker that exists (dh_sup_change). Everything that needs memory is
** acquired when it is asked for; it takes effect when nothing of the run under way is left, so that
** a run ends under the policy and the dependencies it began with. Private to core.
*/
#ifndef DH_CORE_CHANGE_H
#define DH_CORE_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dh_edge;
struct dh_group;
struct dh_policy;
struct dh_sup;
struct dh_worker;

struct dh_change {
    const struct dh_policy *policy;
    struct dh_edge *edges; /* as in struct dh_extra */
    size_t edges_size;
    uint16_t edge_count;
    bool is_trial;
    struct dh_group *group; /* counts it among its 'announced' */
};

bool dh_change_is_pending(const struct dh_worker *w);

/* Put the change of w that is pending, if there is one, into effect. w must not be alive. */
void dh_change_apply(struct dh_sup *sup, struct dh_worker *w);

/* Forget it. */
void dh_change_drop(struct dh_sup *sup, struct dh_worker *w);

#endif
