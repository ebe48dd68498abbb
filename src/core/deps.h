/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Dependencies: who waits for whom. Edges belong to the worker that waits and are linked into the
** one that is waited for; an edge whose name nobody bears dangles until somebody does. Private to
** core.
**
** Counted, not searched: extra->missing says how many edges out are not ready, extra->alive_in how
** many edges in come from workers that are alive.
*/
#ifndef DH_CORE_DEPS_H
#define DH_CORE_DEPS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

struct dh_change;
struct dh_spec;
struct dh_sup;
struct dh_worker;

struct dh_edge {
    struct dh_worker *from;
    struct dh_worker *to; /* NULL: dangling */
    struct dh_edge *in_prev;
    struct dh_edge *in_next;
    const char *name; /* behind the edges, in the same block */
    unsigned char name_len;
};

/* Give w the edges of spec, all dangling. 0 or DH_ENOMEM. */
int dh_deps_init(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec);

/* Make the edges of spec for w in ret_change, all dangling; w keeps its own. 0 or DH_ENOMEM. */
int dh_deps_make(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec,
                 struct dh_change *ret_change);

/* Have what is needed to link the edges of the change to those of their workers that exist. 0 or
** DH_ENOMEM. */
int dh_deps_reserve(struct dh_sup *sup, const struct dh_change *change);

/* Exchange the edges of w, which is not alive, for those of the change, and link what can be. */
void dh_deps_replace(struct dh_sup *sup, struct dh_worker *w, struct dh_change *change);

/* Take w out of the graph: its edges are freed, those of others to it dangle. */
void dh_deps_fini(struct dh_sup *sup, struct dh_worker *w);

/* Link those edges of w that dangle, as many as can be. 0, DH_ENOENT (the text names worker and the
** first edge that means nobody) or DH_ENOMEM; what could be linked stays linked. */
int dh_deps_resolve(struct dh_sup *sup, struct dh_worker *w, struct dh_error *err);

/* Link the dangling edges of others that mean w; if there are any, or w names itself, look for a
** cycle through w. 0, DH_ENOMEM or DH_ECYCLE. */
int dh_deps_adopt(struct dh_sup *sup, struct dh_worker *w, struct dh_error *err);

/* Resolve everything and look for cycles everywhere. If something is wrong, *ret_at is the worker whose
** dependency it is. */
int dh_deps_check(struct dh_sup *sup, struct dh_worker **ret_at, struct dh_error *err);

/* w has begun or ceased to satisfy its dependants: start or wake them, or note that they lack
** it. */
void dh_deps_on_ready(struct dh_sup *sup, struct dh_worker *w, bool is_ready);

/* w has come to life or has ended completely. */
void dh_deps_on_alive(struct dh_sup *sup, struct dh_worker *w, bool is_alive);

/* w has come to rest: those that wait look whether that is for good. */
void dh_deps_on_rest(struct dh_sup *sup, struct dh_worker *w);

/* Does w, which waits, lack somebody whom only an order can start? */
bool dh_deps_are_blocked(const struct dh_worker *w);

/* Whom w lacks, and why if it is for good: "db (failed), cache". */
void dh_deps_describe(const struct dh_worker *w, char *text, size_t size);

/* May what depends on 'to' start? It is ready, or done, and not about to go. */
bool dh_deps_is_there(const struct dh_worker *to);

/* Is everything there that w waits for? */
bool dh_deps_are_ready(const struct dh_worker *w);

/* Does something alive depend on w that is on its way down, too? Then w goes after it. */
bool dh_deps_is_held(const struct dh_sup *sup, const struct dh_worker *w);

/* Somebody changed his mind about w: those that may have waited for its end look again, and those
** that have not started because it was about to go. */
void dh_deps_on_order(struct dh_sup *sup, struct dh_worker *w);

#endif
