/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/cells.h"
#include "ctl/limits.h"

#define GAP 2

static const struct {
    const char *head;
    enum dh_align align;
} columns[DH_COLUMN_COUNT] = {
    [DH_COLUMN_NAME] = {"NAME", DH_ALIGN_LEFT},
    [DH_COLUMN_STATE] = {"STATE", DH_ALIGN_LEFT},
    [DH_COLUMN_SINCE] = {"SINCE", DH_ALIGN_RIGHT},
    [DH_COLUMN_RUN] = {"RUN", DH_ALIGN_RIGHT},
    [DH_COLUMN_RESTARTS] = {"RESTARTS", DH_ALIGN_RIGHT},
    [DH_COLUMN_STREAK] = {"STREAK", DH_ALIGN_RIGHT},
    [DH_COLUMN_RETRY] = {"RETRY", DH_ALIGN_RIGHT},
    [DH_COLUMN_CPU] = {"CPU%", DH_ALIGN_RIGHT},
    [DH_COLUMN_MEMORY] = {"MEMORY", DH_ALIGN_RIGHT},
    [DH_COLUMN_NOTE] = {"WAITS FOR, LAST ERROR", DH_ALIGN_NONE},
};

const enum dh_column dh_table_status_order[] = {
    DH_COLUMN_RUN,      DH_COLUMN_STREAK, DH_COLUMN_CPU,   DH_COLUMN_MEMORY,
    DH_COLUMN_RESTARTS, DH_COLUMN_SINCE,  DH_COLUMN_RETRY, DH_COLUMN_NAME,
};

const enum dh_column dh_table_top_order[] = {
    DH_COLUMN_RUN,    DH_COLUMN_STREAK,   DH_COLUMN_SINCE, DH_COLUMN_RETRY,
    DH_COLUMN_MEMORY, DH_COLUMN_RESTARTS, DH_COLUMN_CPU,   DH_COLUMN_NAME,
};

static const struct {
    const char *state;
    const char *sgr;
} colours[] = {
    {"running", "32"}, {"backoff", "33"},  {"failed", "1;31"}, {"waiting", "36"},
    {"done", "2"},     {"stopping", "35"}, {"closing", "35"},  {"stopped", "2"},
};

/* What stands in a cell; *ret_len its length. */
static const char *cell(const struct dh_row *row, enum dh_column column, double now,
                        char text[DH_CELLS_UNIT], size_t *ret_len) {
    const char *shown = text;
    text[0] = '-';
    text[1] = '\0';
    switch (column) {
        case DH_COLUMN_NAME:
            *ret_len = row->name_len;
            return row->name;
        case DH_COLUMN_NOTE:
            *ret_len = row->note_len;
            return row->note;
        case DH_COLUMN_STATE:
            shown = row->state;
            break;
        case DH_COLUMN_SINCE:
            dh_cells_seconds(text, now - row->since);
            break;
        case DH_COLUMN_RUN:
            snprintf(text, DH_CELLS_UNIT, "%.0f", row->run);
            break;
        case DH_COLUMN_RESTARTS:
            snprintf(text, DH_CELLS_UNIT, "%.0f", row->restarts);
            break;
        case DH_COLUMN_STREAK:
            snprintf(text, DH_CELLS_UNIT, "%.0f", row->streak);
            break;
        case DH_COLUMN_RETRY:
            if (row->retry_in_s >= 0) {
                dh_cells_seconds(text, row->retry_in_s);
            }
            break;
        case DH_COLUMN_CPU:
            if (row->cpu_share >= 0) {
                snprintf(text, DH_CELLS_UNIT, "%.1f", 100 * row->cpu_share);
            }
            break;
        case DH_COLUMN_MEMORY:
            if (row->memory_bytes > 0) {
                dh_cells_bytes(text, row->memory_bytes);
            }
            break;
        case DH_COLUMN_COUNT:
            break;
    }
    *ret_len = strlen(shown);
    return shown;
}

static size_t fixed_width(const struct dh_table *t) {
    size_t width = 0;
    for (int c = 0; c < DH_COLUMN_NOTE; c++) {
        width += t->widths[c] > 0 ? t->widths[c] + GAP : 0;
    }
    return width;
}

static size_t greater(size_t a, size_t b) {
    return a > b ? a : b;
}

static void measure(struct dh_table *t, const struct dh_row *row) {
    char text[DH_CELLS_UNIT];
    size_t len;
    for (int c = 0; c < DH_COLUMN_NOTE; c++) {
        const char *shown = cell(row, (enum dh_column)c, t->now, text, &len);
        size_t width = c == DH_COLUMN_NAME ? dh_cells_width(shown, len) : len;
        t->widths[c] = greater(t->widths[c], width);
    }
}

static void give_way(struct dh_table *t, size_t width, size_t note, const enum dh_column *order) {
    size_t *name = &t->widths[DH_COLUMN_NAME];
    *name = *name < DH_CTL_NAME_CELLS ? *name : DH_CTL_NAME_CELLS;
    for (; *order != DH_COLUMN_NAME && fixed_width(t) + note > width; order++) {
        t->widths[*order] = 0;
    }
    size_t fixed = fixed_width(t);
    size_t left = fixed < width ? width - fixed : 0;
    /* a head that does not fit is left out, unless somebody has a note */
    bool is_shown = note > 0 || left >= strlen(columns[DH_COLUMN_NOTE].head);
    t->widths[DH_COLUMN_NOTE] = is_shown ? left : 0;
    if (fixed - GAP > width) { /* name and state alone are too much */
        size_t state = t->widths[DH_COLUMN_STATE] + GAP;
        bool has_room = state + DH_CTL_NAME_CELLS_MIN <= width;
        t->widths[DH_COLUMN_STATE] = has_room ? t->widths[DH_COLUMN_STATE] : 0;
        *name = has_room ? width - state : width;
    }
}

void dh_table_fit(struct dh_table *t, const struct dh_row *const *rows, size_t count, double now,
                  size_t width, const enum dh_column *gives_way) {
    bool has_note = false;
    t->now = now;
    for (int c = 0; c < DH_COLUMN_COUNT; c++) {
        t->widths[c] = strlen(columns[c].head);
    }
    for (size_t i = 0; i < count; i++) {
        measure(t, rows[i]);
        has_note = has_note || rows[i]->note_len > 0;
    }
    t->widths[DH_COLUMN_NOTE] = SIZE_MAX;
    if (width != SIZE_MAX) {
        give_way(t, width, has_note ? DH_CTL_NOTE_CELLS : 0, gives_way);
    }
    t->state_at = t->widths[DH_COLUMN_NAME] + GAP;
}

static void gap(FILE *out, int column) {
    if (column > 0) {
        fprintf(out, "%*s", GAP, "");
    }
}

void dh_table_print_head(const struct dh_table *t, FILE *out) {
    for (int c = 0; c < DH_COLUMN_COUNT; c++) {
        if (t->widths[c] > 0) {
            gap(out, c);
            dh_cells_print(out, columns[c].head, strlen(columns[c].head), t->widths[c],
                           columns[c].align);
        }
    }
}

static const char *colour_of(const struct dh_row *row) {
    for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++) {
        if (dh_row_is(row, colours[i].state)) {
            return colours[i].sgr;
        }
    }
    return "0";
}

void dh_table_print_row(const struct dh_table *t, const struct dh_row *row, bool has_colour,
                        FILE *out) {
    char text[DH_CELLS_UNIT];
    size_t len;
    for (int c = 0; c < DH_COLUMN_COUNT; c++) {
        const char *shown = cell(row, (enum dh_column)c, t->now, text, &len);
        bool is_coloured = has_colour && c == DH_COLUMN_STATE;
        if (t->widths[c] == 0 || (c == DH_COLUMN_NOTE && len == 0)) {
            continue;
        }
        gap(out, c);
        if (is_coloured) {
            fprintf(out, "\x1b[%sm", colour_of(row));
        }
        dh_cells_print(out, shown, len, t->widths[c], columns[c].align);
        if (is_coloured) {
            fputs("\x1b[0m", out);
        }
    }
}

static void print_text(FILE *out, const char *text) {
    dh_cells_print(out, text, strlen(text), SIZE_MAX, DH_ALIGN_NONE);
}

/* All of the summary but the script. */
static void print_numbers(const json_t *host, FILE *out) {
    char up[DH_CELLS_UNIT];
    const char *state;
    const json_t *count;
    double workers = dh_row_number(host, "workers");
    dh_cells_seconds(up, dh_row_number(host, "uptime_s"));
    fprintf(out, "[%.0f] up %s%s, %.0f worker%s", dh_row_number(host, "pid"), up,
            json_is_true(json_object_get(host, "stopping")) ? ", stopping" : "", workers,
            workers == 1 ? "" : "s");
    const char *comma = ": ";
    json_object_foreach(json_object_get(host, "states"), state, count) {
        if (json_number_value(count) > 0) {
            fprintf(out, "%s%.0f ", comma, json_number_value(count));
            print_text(out, state);
            comma = ", ";
        }
    }
}

void dh_table_print_summary(const json_t *host, size_t width, FILE *out) {
    char *numbers = NULL;
    size_t len = 0;
    const char *script = dh_row_text(host, "script");
    FILE *stream = open_memstream(&numbers, &len);
    if (stream == NULL) {
        return;
    }
    print_numbers(host, stream);
    fclose(stream);
    script = script != NULL ? script : "";
    size_t used = dh_cells_width(numbers, len);
    const char *slash = strchr(script, '/');
    while (slash != NULL && used + dh_cells_width(script, strlen(script)) > width) {
        script = slash + 1;
        slash = strchr(script, '/');
    }
    print_text(out, script);
    fputs(numbers, out);
    free(numbers);
}

bool dh_table_print_holder(const struct dh_rows *rows, FILE *out) {
    char held[DH_CELLS_UNIT];
    double silent_s = dh_row_number(rows->host, "silent_s");
    if (rows->holder == NULL && silent_s < 1) {
        return false;
    }
    if (rows->holder == NULL) {
        dh_cells_seconds(held, silent_s);
        fprintf(out, "HELD: the loop has not turned for %s; what follows is that old", held);
        return true;
    }
    const char *worker = dh_row_text(rows->holder, "worker");
    const char *line = dh_row_text(rows->holder, "line");
    dh_cells_seconds(held, dh_row_number(rows->host, "now") - dh_row_number(rows->holder, "since"));
    fputs("HELD: ", out);
    print_text(out, worker != NULL ? worker : "the host's own code");
    fprintf(out, " has kept the CPU for %s", held);
    if (line != NULL) {
        fputs(", at ", out);
        print_text(out, line);
    }
    fputs(": nobody else runs", out);
    return true;
}
