/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** `wait`: until a worker, or every worker, has ended; with --ready until it is ready, or all are that
** should run. For --ready the host itself may still have to come.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/clock.h"
#include "ctl/cells.h"
#include "ctl/limits.h"
#include "ctl/row.h"
#include "ctl/verb.h"

#define NS_PER_S 1000000000u

/* No exit code. */
#define GO_ON (-1)

enum verdict { NOT_YET, GOOD, BAD };

static bool has_ended(const struct dh_row *row) {
    return dh_row_is(row, "done") || dh_row_is(row, "failed") || dh_row_is(row, "stopped");
}

/* A worker alone: 'ready' is asked of one that may be stopped, too. */
static enum verdict judge(const struct dh_row *row, bool is_ready_wanted) {
    if (!is_ready_wanted) {
        return !has_ended(row) ? NOT_YET : dh_row_is(row, "failed") ? BAD : GOOD;
    }
    if (row->is_ready || dh_row_is(row, "done")) {
        return GOOD;
    }
    return has_ended(row) ? BAD : NOT_YET;
}

/* All of them: who is wanted down needs not be ready. */
static enum verdict judge_all(const struct dh_rows *rows, bool is_ready_wanted) {
    enum verdict all = GOOD;
    for (size_t i = 0; i < rows->count; i++) {
        const struct dh_row *row = &rows->list[i];
        enum verdict one = is_ready_wanted && !row->is_wanted ? GOOD : judge(row, is_ready_wanted);
        if (one == BAD && is_ready_wanted) {
            return BAD;
        }
        all = one == NOT_YET || all == NOT_YET ? NOT_YET : one == BAD ? BAD : all;
    }
    return all;
}

static bool is_meant(const struct dh_row *row, const struct dh_options *o) {
    return o->name_count == 0 || strcmp(row->name, o->names[0]) == 0;
}

/* The host has gone, and they with it: who has failed before? */
static enum verdict judge_gone(const struct dh_rows *rows, const struct dh_options *o) {
    for (size_t i = 0; i < rows->count; i++) {
        if (is_meant(&rows->list[i], o) && judge(&rows->list[i], false) == BAD) {
            return BAD;
        }
    }
    return GOOD;
}

static const struct dh_row *find(const struct dh_rows *rows, const char *name) {
    for (size_t i = 0; i < rows->count; i++) {
        if (strcmp(rows->list[i].name, name) == 0) {
            return &rows->list[i];
        }
    }
    return NULL;
}

static void put(const char *text, size_t len) {
    dh_cells_print(stderr, text, len, SIZE_MAX, DH_ALIGN_NONE);
}

/* Who it is that is waited for, and how he is. */
static void name_those(const struct dh_rows *rows, const struct dh_options *o, enum verdict what) {
    int named = 0;
    for (size_t i = 0; i < rows->count; i++) {
        const struct dh_row *row = &rows->list[i];
        bool counts = o->name_count > 0 || !o->is_ready || row->is_wanted;
        if (!is_meant(row, o) || !counts || judge(row, o->is_ready) != what) {
            continue;
        }
        if (++named > DH_CTL_NAMED) {
            fputs("\n  ...", stderr);
            return;
        }
        fputs("\n  ", stderr);
        put(row->name, row->name_len);
        fputs(" is ", stderr);
        put(row->state, strlen(row->state));
        fputs(row->note_len > 0 ? ": " : "", stderr);
        put(row->note, row->note_len);
    }
}

static int report(const struct dh_rows *rows, const struct dh_options *o, enum verdict verdict) {
    if (verdict == GOOD) {
        return DH_EXIT_FINE;
    }
    if (verdict == NOT_YET) {
        fprintf(stderr, "decnet-host: %s within %g s", o->is_ready ? "not ready" : "no end",
                o->timeout_s);
    } else {
        fprintf(stderr, "decnet-host: %s", o->is_ready ? "will not be ready" : "failed");
    }
    if (rows->count > 0) {
        fputc(':', stderr);
        name_those(rows, o, verdict);
    }
    fputc('\n', stderr);
    return DH_EXIT_NO;
}

struct watch {
    const struct dh_options *options;
    struct dh_http *http;
    uint64_t limit_ns;   /* when the time is over */
    bool was_there;      /* the host has answered once */
    struct dh_rows seen; /* what it answered last */
};

/* The host has said how its workers are. */
static int on_rows(const struct watch *w, const struct dh_rows *rows, bool is_late) {
    const struct dh_options *o = w->options;
    const struct dh_row *row = o->name_count > 0 ? find(rows, o->names[0]) : NULL;
    struct dh_error err;
    if (o->name_count > 0 && row == NULL) {
        dh_verb_no_worker(rows, o->names[0], &err);
        return dh_verb_complain(&err);
    }
    enum verdict verdict = row != NULL ? judge(row, o->is_ready) : judge_all(rows, o->is_ready);
    return verdict == NOT_YET && !is_late ? GO_ON : report(rows, o, verdict);
}

/* It has not: one that has ended has no workers any more, one that shall be ready may still come. */
static int on_error(const struct watch *w, const struct dh_error *err, bool is_late) {
    bool is_gone = err->code == DH_ENOENT;
    if (is_gone && w->was_there && !w->options->is_ready) {
        return report(&w->seen, w->options, judge_gone(&w->seen, w->options));
    }
    bool may_come = is_gone && !w->was_there && w->options->is_ready;
    return may_come && !is_late ? GO_ON : dh_verb_complain(err);
}

/* Returns an exit code, or GO_ON. */
static int look(struct watch *w) {
    struct dh_rows rows;
    struct dh_error err;
    int result = dh_rows_ask(&rows, w->http, NULL, NULL, &err);
    bool is_late = dh_clock_now() >= w->limit_ns;
    int code = result == 0 ? on_rows(w, &rows, is_late) : on_error(w, &err, is_late);
    if (result == 0) {
        w->was_there = true;
        dh_rows_fini(&w->seen);
        w->seen = rows;
    } else {
        dh_rows_fini(&rows);
    }
    return code;
}

static void rest(const struct watch *w, uint64_t took_ns) {
    uint64_t now_ns = dh_clock_now();
    uint64_t left_ns = w->limit_ns > now_ns ? w->limit_ns - now_ns : 0;
    uint64_t ns = took_ns * DH_CTL_REST > DH_CTL_WAIT_NS ? took_ns * DH_CTL_REST : DH_CTL_WAIT_NS;
    ns = ns < left_ns ? ns : left_ns;
    nanosleep(&(struct timespec){(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)}, NULL);
}

int dh_verb_wait(const struct dh_options *o, struct dh_http *h) {
    struct watch w = {.options = o, .http = h, .limit_ns = UINT64_MAX};
    if (o->timeout_s >= 0 && o->timeout_s < 1e9) {
        w.limit_ns = dh_clock_now() + (uint64_t)((o->timeout_s - o->spent_s) * NS_PER_S);
    }
    for (;;) {
        uint64_t began_ns = dh_clock_now();
        int code = look(&w);
        if (code != GO_ON) {
            dh_rows_fini(&w.seen);
            return code;
        }
        rest(&w, dh_clock_now() - began_ns);
    }
}
