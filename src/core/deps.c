/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/deps.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "core/change.h"
#include "core/machine.h"
#include "core/names.h"
#include "core/near.h"

/* --- edges ------------------------------------------------------------------------------------ */

static void set_dangling(struct dh_sup *sup, struct dh_extra *x, bool is_dangling) {
    if (x->is_dangling == is_dangling) {
        return;
    }
    x->is_dangling = is_dangling;
    if (is_dangling) {
        x->dangling_prev = NULL;
        x->dangling_next = sup->dangling;
        if (sup->dangling != NULL) {
            sup->dangling->dangling_prev = x;
        }
        sup->dangling = x;
        return;
    }
    if (x->dangling_prev != NULL) {
        x->dangling_prev->dangling_next = x->dangling_next;
    } else {
        sup->dangling = x->dangling_next;
    }
    if (x->dangling_next != NULL) {
        x->dangling_next->dangling_prev = x->dangling_prev;
    }
}

static int link_edge(struct dh_sup *sup, struct dh_edge *e, struct dh_worker *to) {
    struct dh_extra *x = dh_extra_get(sup, to);

    if (x == NULL) {
        return DH_ENOMEM;
    }
    e->to = to;
    e->in_prev = NULL;
    e->in_next = x->in;
    if (x->in != NULL) {
        x->in->in_prev = e;
    }
    x->in = e;
    if (dh_machine_is_satisfying(to)) {
        e->from->extra->missing--;
    }
    if (dh_state_is_alive(e->from->state)) {
        x->alive_in++;
    }
    return 0;
}

static void unlink_edge(struct dh_edge *e) {
    assert(e->to != NULL);
    struct dh_extra *x = e->to->extra;

    if (e->in_prev != NULL) {
        e->in_prev->in_next = e->in_next;
    } else {
        x->in = e->in_next;
    }
    if (e->in_next != NULL) {
        e->in_next->in_prev = e->in_prev;
    }
    if (dh_machine_is_satisfying(e->to)) {
        e->from->extra->missing++;
    }
    /* alive_in stays: 'from' is at rest, or 'to' is on its way out and nobody asks any more */
    e->to = NULL;
}

int dh_deps_make(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec,
                 struct dh_change *ret_change) {
    struct dh_alloc *alloc = sup->env->alloc;
    size_t size = spec->after_count * sizeof(struct dh_edge);
    struct dh_edge *edges;
    char *text;

    if (spec->after_count == 0) {
        return 0;
    }
    for (size_t i = 0; i < spec->after_count; i++) {
        size += spec->after[i].len;
    }
    edges = alloc->fn(alloc, NULL, 0, size);
    if (edges == NULL) {
        return DH_ENOMEM;
    }
    text = (char *)(edges + spec->after_count);
    for (size_t i = 0; i < spec->after_count; i++) {
        size_t len = spec->after[i].len;
        edges[i] = (struct dh_edge){.from = w, .name = text, .name_len = (unsigned char)len};
        memcpy(text, spec->after[i].text, len);
        text += len;
    }
    ret_change->edges = edges;
    ret_change->edges_size = size;
    ret_change->edge_count = (uint16_t)spec->after_count;
    return 0;
}

static void take_edges(struct dh_sup *sup, struct dh_extra *x, struct dh_change *change) {
    x->edges = change->edges;
    x->edges_size = change->edges_size;
    x->edge_count = change->edge_count;
    x->missing = x->edge_count;
    change->edges = NULL;
    set_dangling(sup, x, true);
}

int dh_deps_init(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec) {
    struct dh_change made = {0};
    int rc = dh_deps_make(sup, w, spec, &made);

    if (rc == 0) {
        take_edges(sup, w->extra, &made);
    }
    return rc;
}

/* Others take their place, or there is no w any more. */
static void free_edges(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_alloc *alloc = sup->env->alloc;
    struct dh_extra *x = w->extra;

    for (uint16_t i = 0; i < x->edge_count; i++) {
        if (x->edges[i].to != NULL) {
            unlink_edge(&x->edges[i]);
        }
    }
    set_dangling(sup, x, false);
    if (x->edges != NULL) {
        alloc->fn(alloc, x->edges, x->edges_size, 0);
        x->edges = NULL;
    }
}

void dh_deps_replace(struct dh_sup *sup, struct dh_worker *w, struct dh_change *change) {
    free_edges(sup, w);
    take_edges(sup, w->extra, change);
    dh_deps_resolve(sup, w, NULL); /* what is missing dangles: it may come yet */
}

void dh_deps_fini(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_extra *x = w->extra;

    if (x == NULL) {
        return;
    }
    while (x->in != NULL) {
        struct dh_extra *waiting = x->in->from->extra;
        unlink_edge(x->in);
        set_dangling(sup, waiting, true);
    }
    free_edges(sup, w);
}

int dh_deps_reserve(struct dh_sup *sup, const struct dh_change *change) {
    for (uint16_t i = 0; i < change->edge_count; i++) {
        const struct dh_edge *e = &change->edges[i];
        struct dh_worker *to = dh_names_find(sup, e->name, e->name_len);
        if (to != NULL && dh_extra_get(sup, to) == NULL) {
            return DH_ENOMEM;
        }
    }
    return 0;
}

/* Nobody has the name that the edge i of w means: who may be meant? */
static int report_missing(const struct dh_sup *sup, const struct dh_worker *w, int i,
                          struct dh_error *err) {
    const struct dh_edge *e = &w->extra->edges[i];
    struct dh_near near;

    dh_near_init(&near, e->name, e->name_len);
    for (const struct dh_worker *other = sup->first; other != NULL; other = other->next) {
        if (other != w) {
            dh_near_offer(&near, other->name, other->name_len);
        }
    }
    bool has_near = near.found != NULL;
    return dh_error_set(err, DH_ENOENT, "worker \"%.*s\": after[%d]: no worker \"%.*s\"%s%.*s%s",
                        w->name_len, w->name, i + 1, e->name_len, e->name,
                        has_near ? "; did you mean \"" : "", has_near ? (int)near.found_len : 0,
                        has_near ? near.found : "", has_near ? "\"?" : "");
}

int dh_deps_resolve(struct dh_sup *sup, struct dh_worker *w, struct dh_error *err) {
    struct dh_extra *x = w->extra;
    int rc = 0;

    for (uint16_t i = 0; i < x->edge_count; i++) {
        struct dh_edge *e = &x->edges[i];
        struct dh_worker *to;
        if (e->to != NULL) {
            continue;
        }
        to = dh_names_find(sup, e->name, e->name_len);
        if (to == NULL && rc == 0) {
            rc = err != NULL ? report_missing(sup, w, i, err) : DH_ENOENT;
        }
        if (to != NULL && link_edge(sup, e, to) < 0) {
            return dh_error_set(err, DH_ENOMEM, "%s", dh_error_text(DH_ENOMEM));
        }
    }
    set_dangling(sup, x, rc < 0);
    return rc;
}

/* --- cycles ----------------------------------------------------------------------------------- */

/* The path that leads from 'first' by visit_from back from 'last', written from its end so that it
** reads forward; a long one loses its middle. */
static int report_cycle(const struct dh_worker *first, const struct dh_worker *last,
                        struct dh_error *err) {
    char path[160];
    size_t at = sizeof path - 1;

    path[at] = '\0';
    for (const struct dh_worker *w = last; w != first; w = w->extra->visit_from) {
        assert(w != NULL);
        size_t need = w->name_len + sizeof " -> " - 1;
        if (need + sizeof "... -> " > at) {
            at -= sizeof "... -> " - 1;
            memcpy(path + at, "... -> ", sizeof "... -> " - 1);
            break;
        }
        at -= need;
        memcpy(path + at, w->name, w->name_len);
        memcpy(path + at + w->name_len, " -> ", sizeof " -> " - 1);
    }
    return dh_error_set(err, DH_ECYCLE, "dependency cycle: %.*s -> %s%.*s", first->name_len,
                        first->name, path + at, first->name_len, first->name);
}

/* Depth first along the edges, without recursion: the way back is kept in the workers. A worker
** seen in this search has visit == epoch while it is on the path, epoch + 1 when it is behind. */
static int search(struct dh_worker *root, uint32_t epoch, struct dh_worker **ret_at,
                  struct dh_error *err) {
    struct dh_worker *w = root;

    w->extra->visit = epoch;
    w->extra->visit_edge = 0;
    w->extra->visit_from = NULL;
    while (w != NULL) {
        struct dh_extra *x = w->extra;
        struct dh_worker *to;
        if (x->visit_edge == x->edge_count) {
            x->visit = epoch + 1;
            w = x->visit_from;
            continue;
        }
        to = x->edges[x->visit_edge++].to;
        if (to == NULL || to->extra->visit == epoch + 1) {
            continue;
        }
        if (to->extra->visit == epoch) {
            *ret_at = to;
            return report_cycle(to, w, err);
        }
        to->extra->visit = epoch;
        to->extra->visit_edge = 0;
        to->extra->visit_from = w;
        w = to;
    }
    return 0;
}

static uint32_t next_epoch(struct dh_sup *sup) {
    sup->visit_epoch += 2;
    return sup->visit_epoch;
}

int dh_deps_adopt(struct dh_sup *sup, struct dh_worker *w, struct dh_error *err) {
    bool is_named = false;
    struct dh_extra *next;

    for (struct dh_extra *x = sup->dangling; x != NULL; x = next) {
        bool is_dangling = false;
        next = x->dangling_next;
        for (uint16_t i = 0; i < x->edge_count; i++) {
            struct dh_edge *e = &x->edges[i];
            if (e->to == NULL && e->name_len == w->name_len &&
                memcmp(e->name, w->name, w->name_len) == 0) {
                if (link_edge(sup, e, w) < 0) {
                    return dh_error_set(err, DH_ENOMEM, "%s", dh_error_text(DH_ENOMEM));
                }
                is_named = true;
            }
            is_dangling |= e->to == NULL;
        }
        set_dangling(sup, x, is_dangling);
    }
    for (uint16_t i = 0; w->extra != NULL && i < w->extra->edge_count; i++) {
        is_named |= w->extra->edges[i].to == w;
    }
    return is_named ? search(w, next_epoch(sup), &w, err) : 0;
}

int dh_deps_check(struct dh_sup *sup, struct dh_worker **ret_at, struct dh_error *err) {
    uint32_t epoch = next_epoch(sup);
    int rc = 0;

    if (sup->extra_count == 0) {
        return 0; /* a hundred thousand that wait for nobody need not be looked at one by one */
    }
    for (struct dh_worker *w = sup->first; w != NULL && rc == 0; w = w->next) {
        if (w->extra != NULL && w->extra->is_dangling) {
            *ret_at = w;
            rc = dh_deps_resolve(sup, w, err);
        }
    }
    for (struct dh_worker *w = sup->first; w != NULL && rc == 0; w = w->next) {
        if (w->extra != NULL && w->extra->edge_count > 0 && w->extra->visit != epoch + 1) {
            rc = search(w, epoch, ret_at, err);
        }
    }
    return rc;
}

/* --- what happens along them ------------------------------------------------------------------ */

void dh_deps_on_ready(struct dh_sup *sup, struct dh_worker *w, bool is_ready) {
    struct dh_edge *e = w->extra != NULL ? w->extra->in : NULL;

    for (; e != NULL; e = e->in_next) {
        struct dh_worker *from = e->from;
        if (!is_ready) {
            from->extra->missing++;
            continue;
        }
        from->extra->missing--;
        if (!dh_deps_are_ready(from)) {
            continue;
        }
        if (from->state == DH_WAITING) {
            dh_machine_mark(sup, from);
        } else if (from->state == DH_BACKOFF ||
                   (from->state == DH_CLOSING && from->after_closing == DH_BACKOFF)) {
            /* what it most likely crashed for is back: why wait? */
            from->is_retry_asked = true;
            dh_machine_mark(sup, from);
        }
    }
}

void dh_deps_on_rest(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_edge *e = w->extra != NULL ? w->extra->in : NULL;

    for (; e != NULL; e = e->in_next) {
        if (e->from->state == DH_WAITING) {
            dh_machine_mark(sup, e->from);
        }
    }
}

void dh_deps_on_alive(struct dh_sup *sup, struct dh_worker *w, bool is_alive) {
    struct dh_extra *x = w->extra;

    /* backwards: what may stop now stops in reverse order */
    for (uint16_t i = x != NULL ? x->edge_count : 0; i > 0; i--) {
        struct dh_worker *to = x->edges[i - 1].to;
        if (to == NULL) {
            continue;
        }
        if (is_alive) {
            to->extra->alive_in++;
        } else {
            to->extra->alive_in--;
            dh_machine_mark(sup, to);
        }
    }
}

bool dh_deps_is_there(const struct dh_worker *to) {
    bool is_to_go = to->is_removing || to->is_start_asked || dh_machine_gate(to) == DH_GATE_COMING;

    return dh_machine_is_satisfying(to) && !is_to_go && (to->is_wanted || to->state == DH_DONE);
}

bool dh_deps_are_ready(const struct dh_worker *w) {
    const struct dh_extra *x = w->extra;

    if (x == NULL || x->missing > 0) {
        return x == NULL;
    }
    for (uint16_t i = 0; i < x->edge_count; i++) {
        if (!dh_deps_is_there(x->edges[i].to)) {
            return false;
        }
    }
    return true;
}

/* Why a dependency that is not ready will not become so soon; NULL: it may at any time. */
static const char *why_not(const struct dh_worker *to) {
    if (to == NULL) {
        return "gone";
    }
    return dh_state_is_final(to->state) ? dh_state_name(to->state) : NULL;
}

bool dh_deps_are_blocked(const struct dh_worker *w) {
    for (uint16_t i = 0; i < w->extra->edge_count; i++) {
        const struct dh_worker *to = w->extra->edges[i].to;
        if (why_not(to) != NULL && (to == NULL || (!dh_deps_is_there(to) && !to->is_start_asked))) {
            return true;
        }
    }
    return false;
}

void dh_deps_describe(const struct dh_worker *w, char *text, size_t size) {
    const struct dh_extra *x = w->extra;
    size_t at = 0;

    text[0] = '\0';
    for (uint16_t i = 0; i < x->edge_count; i++) {
        const struct dh_edge *e = &x->edges[i];
        const char *why = why_not(e->to);
        char item[DH_NAME_MAX + sizeof ", () stopped"];
        size_t len;
        if (e->to != NULL && dh_deps_is_there(e->to)) {
            continue;
        }
        snprintf(item, sizeof item, why != NULL ? "%s%.*s (%s)" : "%s%.*s", at > 0 ? ", " : "",
                 e->name_len, e->name, why);
        len = strlen(item);
        if (at + len + sizeof ", ..." > size) {
            snprintf(text + at, size - at, ", ...");
            return;
        }
        memcpy(text + at, item, len + 1);
        at += len;
    }
}

bool dh_deps_is_held(const struct dh_sup *sup, const struct dh_worker *w) {
    if (sup->is_forced || w->extra == NULL || w->extra->alive_in == 0) {
        return false;
    }
    if (sup->is_shutting_down) {
        return true; /* everything is on its way down */
    }
    for (const struct dh_edge *e = w->extra->in; e != NULL; e = e->in_next) {
        const struct dh_worker *from = e->from;
        if (dh_state_is_alive(from->state) &&
            (!from->is_wanted || from->is_start_asked || dh_machine_gate(from) == DH_GATE_COMING)) {
            return true;
        }
    }
    return false;
}

void dh_deps_on_order(struct dh_sup *sup, struct dh_worker *w) {
    for (uint16_t i = 0; w->extra != NULL && i < w->extra->edge_count; i++) {
        if (w->extra->edges[i].to != NULL) {
            dh_machine_mark(sup, w->extra->edges[i].to);
        }
    }
    for (struct dh_edge *e = w->extra != NULL ? w->extra->in : NULL; e != NULL; e = e->in_next) {
        dh_machine_mark(sup, e->from);
    }
}
