/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/dossier.h"

#include <stdlib.h>
#include <string.h>

#include "script/failure.h"
#include "script/limits.h"
#include "script/table.h"
#include "script/variables.h"

/* How a run ended, and what was made of it: indexes into the names below. */
enum ended { ENDED_RETURNED, ENDED_CRASHED, ENDED_CANCELLED, ENDED_KILLED };
enum decision { DECISION_NONE, DECISION_RESTART, DECISION_DONE, DECISION_FAILED, DECISION_STOPPED };

static const char *const ended_names[] = {"returned", "crashed", "cancelled", "killed"};
static const char *const decision_names[] = {NULL, "restart", "done", "failed", "stopped"};

struct dh_ending_record {
    uint64_t at_ns;
    uint64_t delay_ns; /* DH_NEVER: none */
    struct dh_failure *failure;
    char *reason; /* what the supervisor had to say, or NULL */
    uint32_t run;
    uint8_t ended;
    uint8_t decision;
};

static struct dh_ending_record *at(const struct dh_dossier *d, uint32_t n) {
    return &d->endings[n % DH_DOSSIER_ENDINGS];
}

static struct dh_ending_record *last(const struct dh_dossier *d) {
    return d->count > 0 ? at(d, d->count - 1) : NULL;
}

static void clear(struct dh_ending_record *e) {
    dh_failure_free(e->failure);
    free(e->reason);
    memset(e, 0, sizeof(*e));
}

static bool grow(struct dh_dossier *d) {
    uint32_t room = d->room == 0 ? 1 : 2 * d->room;
    struct dh_ending_record *endings = realloc(d->endings, room * sizeof(*endings));
    if (endings == NULL) {
        return false;
    }
    memset(endings + d->room, 0, (room - d->room) * sizeof(*endings));
    d->endings = endings;
    d->room = room;
    return true;
}

static enum ended how_it_ended(const struct dh_outcome *outcome) {
    if (outcome == NULL || outcome->ending == DH_RAISED) { /* NULL: it could not start */
        return ENDED_CRASHED;
    }
    if (outcome->ending == DH_RETURNED) {
        return ENDED_RETURNED;
    }
    return outcome->was_killed ? ENDED_KILLED : ENDED_CANCELLED;
}

static void add(struct dh_dossier *d, const struct dh_event *ev, const struct dh_outcome *outcome) {
    if (d->count == d->room && d->room < DH_DOSSIER_ENDINGS && !grow(d)) {
        return;
    }
    struct dh_ending_record *e = at(d, d->count++);
    clear(e);
    e->at_ns = outcome != NULL ? outcome->ended_ns : ev->at_ns;
    e->delay_ns = DH_NEVER;
    e->run = ev->run;
    e->ended = (uint8_t)how_it_ended(outcome);
}

/* The record of the error before this one, if it says the same. */
static struct dh_failure *find_equal(const struct dh_dossier *d, const struct dh_failure *f) {
    uint32_t kept = d->count < d->room ? d->count : d->room;
    for (uint32_t i = 2; i <= kept; i++) {
        struct dh_failure *before = at(d, d->count - i)->failure;
        if (before != NULL) {
            return dh_failure_is_equal(before, f) ? before : NULL;
        }
    }
    return NULL;
}

static void note_crash(struct dh_dossier *d, struct dh_ending_record *e,
                       const struct dh_event *ev) {
    if (ev->outcome != NULL && ev->outcome->failure != NULL) {
        struct dh_failure *f = (struct dh_failure *)ev->outcome->failure;
        struct dh_failure *equal = find_equal(d, f);
        e->failure = dh_failure_hold(equal != NULL ? equal : f);
    }
    e->delay_ns = ev->delay_ns;
    e->ended = ENDED_CRASHED;
}

static void note_reason(struct dh_ending_record *e, const char *reason) {
    if (reason != NULL && e->reason == NULL) {
        e->reason = strdup(reason);
    }
}

static enum decision decision_of(enum dh_state state) {
    switch (state) {
        case DH_DONE:
            return DECISION_DONE;
        case DH_FAILED:
            return DECISION_FAILED;
        case DH_STOPPED:
            return DECISION_STOPPED;
        default:
            return DECISION_RESTART;
    }
}

void dh_dossier_on_event(struct dh_dossier *d, const struct dh_event *ev,
                         const struct dh_outcome *outcome) {
    if (ev->kind == DH_EVENT_STATE && ev->to == DH_CLOSING) {
        add(d, ev, outcome);
        return;
    }
    struct dh_ending_record *e = last(d);
    if (e == NULL || e->run != ev->run || e->decision != DECISION_NONE) {
        return;
    }
    if (ev->kind == DH_EVENT_CRASH) {
        note_crash(d, e, ev);
        note_reason(e, ev->reason);
    } else if (ev->kind == DH_EVENT_GIVE_UP) {
        note_reason(e, ev->reason);
    } else {
        e->decision = (uint8_t)decision_of(ev->to);
        if (ev->to == DH_BACKOFF && e->delay_ns == DH_NEVER) {
            e->delay_ns = ev->delay_ns;
        } else if (ev->to != DH_BACKOFF) {
            e->delay_ns = DH_NEVER; /* stopped meanwhile, or its group decides */
        }
    }
}

bool dh_dossier_get(const struct dh_dossier *d, uint32_t n, struct dh_ending_view *ret_ending) {
    uint32_t kept = d->count < d->room ? d->count : d->room;
    if (n >= kept) {
        return false;
    }
    const struct dh_ending_record *e = at(d, d->count - 1 - n);
    *ret_ending = (struct dh_ending_view){
        .at_ns = e->at_ns,
        .delay_ns = e->delay_ns,
        .run = e->run,
        .ended = ended_names[e->ended],
        .decision = decision_names[e->decision],
        .reason = e->reason,
        .failure = e->failure,
    };
    return true;
}

static void push_ending(lua_State *L, const struct dh_ending_view *e) {
    lua_createtable(L, 0, 10);
    dh_table_set_seconds(L, "at", e->at_ns);
    dh_table_set_integer(L, "run", e->run);
    dh_table_set_string(L, "ended", e->ended);
    dh_table_set_string(L, "decision", e->decision);
    if (e->delay_ns != DH_NEVER) {
        dh_table_set_seconds(L, "delay", e->delay_ns);
    }
    if (e->reason != NULL) {
        dh_table_set_string(L, "reason", e->reason);
    }
    if (e->failure != NULL) {
        lua_pushlstring(L, e->failure->message, e->failure->message_len);
        lua_setfield(L, -2, "error");
        lua_pushlstring(L, e->failure->traceback, e->failure->traceback_len);
        lua_setfield(L, -2, "traceback");
        dh_variables_push(L, e->failure->variables, e->failure->variables_len);
        lua_setfield(L, -2, "variables");
    }
}

void dh_dossier_push(lua_State *L, const struct dh_dossier *d) {
    struct dh_ending_view e;
    lua_newtable(L);
    for (uint32_t n = 0; dh_dossier_get(d, n, &e); n++) {
        push_ending(L, &e);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
}

void dh_dossier_fini(struct dh_dossier *d) {
    for (uint32_t i = 0; i < d->room; i++) {
        clear(&d->endings[i]);
    }
    free(d->endings);
    memset(d, 0, sizeof(*d));
}
