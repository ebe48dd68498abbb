/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The table of names: open addressing, with the hashes in an array of their own, so that a search, and
** growth, touch no worker but the one that is found. Private to core.
*/
#ifndef DH_CORE_NAMES_H
#define DH_CORE_NAMES_H

#include <stddef.h>

struct dh_sup;
struct dh_worker;

/* Make room for one more. 0 or DH_ENOMEM, when there is no memory and all slots are taken: before that,
** searches get longer. */
int dh_names_reserve(struct dh_sup *sup);

void dh_names_insert(struct dh_sup *sup, struct dh_worker *w);
void dh_names_remove(struct dh_sup *sup, struct dh_worker *w);
struct dh_worker *dh_names_find(const struct dh_sup *sup, const char *name, size_t len);
void dh_names_fini(struct dh_sup *sup);

#endif
