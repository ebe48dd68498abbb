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
        bool is_meant = o->name_count == 0 || strcmp(row->name, o->names[0]) == 0;
        bool counts = o->name_count > 0 || !o->is_ready || row->is_wanted;
        if (!is_meant || !counts || judge(row, o->is_ready) != what) {
            continue;
        }
        if (++named > DH_CTL_NAMED) {
            fputs("\n  ...", stderr);
            return;
        }
        fputs("\n  ", stderr);
        put(row->name, row->name_len);
        fprintf(stderr, " is %s%s", row->state, row->note_len > 0 ? ": " : "");
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

/* One look. Returns an error as dh_rows_ask; or 0 and what is to be thought of it. */
static int look(const struct dh_options *o, struct dh_http *h, struct dh_rows *rows,
                enum verdict *ret_verdict, struct dh_error *err) {
    int result = dh_rows_ask(rows, h, NULL, NULL, err);
    if (result != 0) {
        return result;
    }
    if (o->name_count == 0) {
        *ret_verdict = judge_all(rows, o->is_ready);
        return 0;
    }
    const struct dh_row *row = find(rows, o->names[0]);
    if (row == NULL) {
        char shown[100];
        snprintf(shown, sizeof(shown), "%.90s", o->names[0]);
        return dh_error_set(err, DH_ESTATE,
                            "no worker is named '%s'; see decnet-host status --names", shown);
    }
    *ret_verdict = judge(row, o->is_ready);
    return 0;
}

static void pause_ns(uint64_t ns) {
    struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    nanosleep(&ts, NULL);
}

int dh_verb_wait(const struct dh_options *o, struct dh_http *h) {
    uint64_t began_ns = dh_clock_now();
    uint64_t limit_ns = o->timeout_s >= 0 && o->timeout_s < 1e9
                            ? began_ns + (uint64_t)(o->timeout_s * 1e9)
                            : UINT64_MAX;
    bool was_there = false;
    for (;;) {
        struct dh_error err;
        struct dh_rows rows;
        enum verdict verdict = NOT_YET;
        uint64_t at_ns = dh_clock_now();
        int result = look(o, h, &rows, &verdict, &err);
        uint64_t now_ns = dh_clock_now();
        bool is_gone = result == DH_ENOENT;
        if (is_gone && was_there && !o->is_ready) {
            dh_rows_fini(&rows);
            return DH_EXIT_FINE; /* the host has ended, and its workers with it */
        }
        bool may_come = is_gone && o->is_ready && !was_there;
        bool is_late = now_ns >= limit_ns;
        if (result != 0 && (!may_come || is_late)) {
            dh_rows_fini(&rows);
            return dh_verb_complain(&err);
        }
        if (result == 0 && (verdict != NOT_YET || is_late)) {
            int code = report(&rows, o, verdict);
            dh_rows_fini(&rows);
            return code;
        }
        was_there = was_there || result == 0;
        dh_rows_fini(&rows);
        uint64_t rest_ns = (now_ns - at_ns) * DH_CTL_REST;
        rest_ns = rest_ns > DH_CTL_WAIT_NS ? rest_ns : DH_CTL_WAIT_NS;
        pause_ns(rest_ns < limit_ns - now_ns ? rest_ns : limit_ns - now_ns);
    }
}
