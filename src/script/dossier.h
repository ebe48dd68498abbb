/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The dossier of a worker: its last DH_DOSSIER_ENDINGS endings, each with what was decided then.
** Plain memory, grown as needed, so that it costs a worker that never ends nothing.
*/
#ifndef DH_SCRIPT_DOSSIER_H
#define DH_SCRIPT_DOSSIER_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/worker.h"

struct dh_ending_record;
struct dh_failure;

/* One of them, to read; the pointers are good until the next event. */
struct dh_ending_view {
    uint64_t at_ns;
    uint64_t delay_ns; /* DH_NEVER: none */
    uint32_t run;
    const char *ended;    /* "returned", "crashed", "cancelled", "killed" */
    const char *decision; /* "restart", "done", "failed", "stopped"; NULL: not yet taken */
    const char *reason;   /* what the supervisor had to say, or NULL */
    const struct dh_failure *failure; /* or NULL */
};

struct dh_dossier {
    struct dh_ending_record *endings; /* a ring once it is full */
    uint32_t room;
    uint32_t count; /* ever */
};

/* Does the event say anything about an ending? */
static inline bool dh_dossier_wants(const struct dh_event *ev) {
    if (ev->kind == DH_EVENT_STATE) {
        return ev->to == DH_CLOSING || ev->from == DH_CLOSING;
    }
    return ev->kind == DH_EVENT_CRASH || ev->kind == DH_EVENT_GIVE_UP;
}

/* Take note of such an event. outcome: of the run that the event is about, where there was one. An error
** that says the same as the one before, word for word, shares its record. When memory is out the ending
** is not kept. */
void dh_dossier_on_event(struct dh_dossier *d, const struct dh_event *ev,
                         const struct dh_outcome *outcome);

/* Push the list of endings, the last one first: tables with at, run, ended ("returned", "crashed",
** "cancelled", "killed"), error, traceback, variables, reason, decision ("restart", "done",
** "failed", "stopped"; nil: not yet taken), delay. Raises on memory errors. */
void dh_dossier_push(lua_State *L, const struct dh_dossier *d);

/* The nth of the endings that are kept, 0 the last one; false: there is none. */
bool dh_dossier_get(const struct dh_dossier *d, uint32_t n, struct dh_ending_view *ret_ending);

void dh_dossier_fini(struct dh_dossier *d);

#endif
