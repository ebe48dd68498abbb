/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** One copy of each policy, shared by all workers that say the same. Private to core.
*/
#ifndef DH_CORE_INTERN_H
#define DH_CORE_INTERN_H

#include "core/spec.h"

struct dh_sup;

/* The shared copy of p, one user more; NULL when memory is out. */
const struct dh_policy *dh_intern_acquire(struct dh_sup *sup, const struct dh_policy *p);

/* One user less of what dh_intern_acquire returned; NULL is fine. */
void dh_intern_release(struct dh_sup *sup, const struct dh_policy *p);

#endif
