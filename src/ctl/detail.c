/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/detail.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/cells.h"
#include "ctl/limits.h"
#include "ctl/row.h"
#include "ctl/verb.h"

/* ---- asking ---------------------------------------------------------------------------------- */

int dh_detail_ask(struct dh_http *h, const char *name, json_t **ret_worker, struct dh_error *err) {
    char target[DH_VERB_TARGET];
    int result = dh_verb_target(target, name, "", err);
    if (result != 0) {
        return result;
    }
    struct dh_question q = {
        .target = target, .patience_s = DH_CTL_PATIENCE_S, .limit_s = DH_CTL_ANSWER_S};
    return dh_http_ask_json(h, &q, ret_worker, err);
}

/* ---- printing -------------------------------------------------------------------------------- */

static void put(FILE *out, const char *text) {
    text = text != NULL ? text : "-";
    dh_cells_print(out, text, strlen(text), SIZE_MAX, DH_ALIGN_NONE);
}

/* Several lines if it has them. */
static void put_block(FILE *out, const char *text, const char *indent) {
    if (text != NULL) {
        dh_cells_print_lines(out, text, strlen(text), indent);
    }
}

static void label(FILE *out, const char *name) {
    fprintf(out, "  %-12s", name);
}

static void put_seconds(FILE *out, const char *before, double seconds, const char *after) {
    char text[DH_CELLS_UNIT];
    dh_cells_seconds(text, seconds);
    fprintf(out, "%s%s%s", before, text, after);
}

static void put_bytes(FILE *out, const char *before, double bytes, const char *after) {
    char text[DH_CELLS_UNIT];
    dh_cells_bytes(text, bytes);
    fprintf(out, "%s%s%s", before, text, after);
}

/* A moment of the host's clock: "4.2s ago (18:45:05)". */
static void put_moment(FILE *out, double at, const json_t *host) {
    char clock[DH_CELLS_MOMENT];
    double ago = dh_row_number(host, "now") - at;
    dh_cells_moment(clock, dh_row_number(host, "time") - ago,
                    ago < 72000 ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S");
    put_seconds(out, "", ago, " ago (");
    fprintf(out, "%s)", clock);
}

static void put_head(FILE *out, const json_t *w, const json_t *host) {
    double retry_in_s;
    put(out, dh_row_text(w, "name"));
    fputs(": ", out);
    put(out, dh_row_text(w, "state"));
    put_seconds(out, " for ", dh_row_number(host, "now") - dh_row_number(w, "since"), "");
    if (dh_row_get_number(w, "next_retry_in", &retry_in_s)) {
        put_seconds(out, ", restart in ", retry_in_s, "");
    }
    fputc('\n', out);
    label(out, "wanted");
    put(out, dh_row_text(w, "wanted"));
    fputs(json_is_true(json_object_get(w, "ready")) ? ", ready" : ", not ready", out);
    if (dh_row_text(w, "waiting_for") != NULL) {
        fputc('\n', out);
        label(out, "waits for");
        put(out, dh_row_text(w, "waiting_for"));
    }
    fputc('\n', out);
}

static void put_numbers(FILE *out, const json_t *w) {
    label(out, "run");
    fprintf(out, "%.0f; restarts %.0f, streak %.0f\n", dh_row_number(w, "run"),
            dh_row_number(w, "restarts"), dh_row_number(w, "streak"));
    label(out, "tasks");
    fprintf(out, "%.0f; handles %.0f\n", dh_row_number(w, "tasks"), dh_row_number(w, "handles"));
    label(out, "memory");
    put_bytes(out, "", dh_row_number(w, "memory_bytes"), " held, ");
    put_bytes(out, "", dh_row_number(w, "allocated_bytes"), " allocated, ");
    put_bytes(out, "", dh_row_number(w, "leftover_bytes"), " left over by the run before\n");
    label(out, "cpu");
    fprintf(out, "%.3f s, preempted %.0f times, longest slice %.1f ms\n", dh_row_number(w, "cpu_s"),
            dh_row_number(w, "preemptions"), 1000 * dh_row_number(w, "slice_max_s"));
}

static void put_last_error(FILE *out, const json_t *error, const json_t *host) {
    if (!json_is_object(error)) {
        return;
    }
    label(out, "last error");
    fprintf(out, "run %.0f, ", dh_row_number(error, "run"));
    put_moment(out, dh_row_number(error, "at"), host);
    fputc('\n', out);
    put_block(out, dh_row_text(error, "message"), "    ");
}

static void put_variables(FILE *out, const json_t *list, const char *kind) {
    size_t i;
    const json_t *variable;
    json_array_foreach(list, i, variable) {
        fprintf(out, "      %s ", kind);
        put(out, dh_row_text(variable, "name"));
        fputs(" = ", out);
        put(out, dh_row_text(variable, "value"));
        fputc('\n', out);
    }
}

static void put_frames(FILE *out, const json_t *frames) {
    size_t i;
    const json_t *frame;
    if (json_array_size(frames) > 0) {
        fputs("    variables\n", out);
    }
    json_array_foreach(frames, i, frame) {
        fputs("    ", out);
        put(out, dh_row_text(frame, "at"));
        fputs("  ", out);
        put(out, dh_row_text(frame, "name"));
        fputc('\n', out);
        put_variables(out, json_object_get(frame, "locals"), "local");
        put_variables(out, json_object_get(frame, "upvalues"), "upvalue");
    }
}

static void put_ending(FILE *out, const json_t *ending, const json_t *host) {
    double delay_s;
    fprintf(out, "\nrun %.0f ", dh_row_number(ending, "run"));
    put(out, dh_row_text(ending, "ended"));
    fputc(' ', out);
    put_moment(out, dh_row_number(ending, "at"), host);
    if (dh_row_text(ending, "decision") != NULL) {
        fputs(", then ", out);
        put(out, dh_row_text(ending, "decision"));
    }
    if (dh_row_get_number(ending, "delay", &delay_s)) {
        put_seconds(out, " after ", delay_s, "");
    }
    fputc('\n', out);
    if (dh_row_text(ending, "reason") != NULL) {
        fputs("    reason: ", out);
        put(out, dh_row_text(ending, "reason"));
        fputc('\n', out);
    }
    put_block(out, dh_row_text(ending, "error"), "    ");
    put_block(out, dh_row_text(ending, "traceback"), "    ");
    put_frames(out, json_object_get(ending, "variables"));
}

void dh_detail_print(FILE *out, const json_t *worker, const json_t *host) {
    size_t i;
    const json_t *ending;
    const json_t *endings = json_object_get(worker, "endings");
    put_head(out, worker, host);
    put_numbers(out, worker);
    put_last_error(out, json_object_get(worker, "last_error"), host);
    if (json_is_null(endings)) {
        fputs("\nhow it ended before is not known: the loop did not answer in time; ask again\n",
              out);
    }
    json_array_foreach(endings, i, ending) {
        put_ending(out, ending, host);
    }
}
