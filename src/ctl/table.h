/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The table of workers, for `status` and `top`: a line a worker, a column each of what people look for.
** What does not fit into the width gives way: first the columns that are looked at least.
*/
#ifndef DH_CTL_TABLE_H
#define DH_CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "ctl/row.h"

enum dh_column {
    DH_COLUMN_NAME,
    DH_COLUMN_STATE,
    DH_COLUMN_SINCE,
    DH_COLUMN_RUN,
    DH_COLUMN_RESTARTS,
    DH_COLUMN_STREAK,
    DH_COLUMN_RETRY,
    DH_COLUMN_CPU,
    DH_COLUMN_MEMORY,
    DH_COLUMN_NOTE,
    DH_COLUMN_COUNT
};

struct dh_table {
    size_t widths[DH_COLUMN_COUNT]; /* 0: not shown; the last column: SIZE_MAX, all that comes */
    size_t state_at;                /* where the state begins */
    double now;                     /* the host's clock */
};

/* How wide the columns must be for these rows, in 'width' cells (SIZE_MAX: no limit). 'gives_way': the
** columns that go first, ended by DH_COLUMN_NAME. */
void dh_table_fit(struct dh_table *t, const struct dh_row *const *rows, size_t count, double now,
                  size_t width, const enum dh_column *gives_way);

extern const enum dh_column dh_table_status_order[];
extern const enum dh_column dh_table_top_order[];

/* A line, without its end. 'colour': with escape sequences. */
void dh_table_print_head(const struct dh_table *t, FILE *out);
void dh_table_print_row(const struct dh_table *t, const struct dh_row *row, bool has_colour,
                        FILE *out);

/* "app/workers.lua[123] up 3h05m, 5 workers: 3 running, 2 backoff"; where that is wider than 'width'
** directories of the script's path give way. */
void dh_table_print_summary(const json_t *host, size_t width, FILE *out);

/* "HELD: worker 'x' (run 1) has had the CPU for 3.2s, at workers.lua:7", if somebody holds it; with
** what that means for the rest. Returns whether anything was printed. */
bool dh_table_print_holder(const struct dh_rows *rows, FILE *out);

#endif
