/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The dossier of a worker: its last DH_DOSSIER_ENDINGS endings, each with what was decided then.
** Plain memory, grown as needed, so that it costs a worker that never ends nothing.
*/
#ifndef DH_SCRIPT_DOSSIER_H
#define DH_SCRIPT_DOSSIER_H

#include <lua.h>
#include <stdint.h>

struct dh_event;
struct dh_ending_record;
struct dh_outcome;

struct dh_dossier {
    struct dh_ending_record *endings; /* a ring once it is full */
    uint32_t room;
    uint32_t count; /* ever */
};

/* Take note of what an event says about an ending; others are ignored. outcome: of the run that the
** event is about, where there was one. An error that says the same as the one before, word for word,
** shares its record. When memory is out the ending is not kept. */
void dh_dossier_on_event(struct dh_dossier *d, const struct dh_event *ev,
                         const struct dh_outcome *outcome);

/* Push the list of endings, the last one first: tables with at, run, ended ("returned", "crashed",
** "cancelled", "killed"), error, traceback, variables, reason, decision ("restart", "done",
** "failed", "stopped"; nil: not yet taken), delay. Raises on memory errors. */
void dh_dossier_push(lua_State *L, const struct dh_dossier *d);

void dh_dossier_fini(struct dh_dossier *d);

#endif
