/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "ctl/top.h"

/* ---- what was used since the last look ------------------------------------------------------- */

/* Both are in the order of declaration, so who is in both is found by going on from the one before. */
static const struct dh_row *find_next(const struct dh_rows *rows, size_t *at, const char *name) {
    for (size_t i = *at; i < rows->count; i++) {
        if (strcmp(rows->list[i].name, name) == 0) {
            *at = i + 1;
            return &rows->list[i];
        }
    }
    return NULL;
}

static void compare(struct dh_rows *now, const struct dh_rows *before) {
    double passed_s = dh_row_number(now->host, "now") - dh_row_number(before->host, "now");
    size_t at = 0;
    if (before->host == NULL || passed_s <= 0) {
        return;
    }
    for (size_t i = 0; i < now->count; i++) {
        struct dh_row *row = &now->list[i];
        const struct dh_row *old = find_next(before, &at, row->name);
        if (!dh_row_is(row, "running") && !dh_row_is(row, "stopping") &&
            !dh_row_is(row, "closing")) {
            continue;
        }
        bool is_same_run = old != NULL && old->run >= row->run && old->cpu_s <= row->cpu_s;
        row->cpu_share = (row->cpu_s - (is_same_run ? old->cpu_s : 0)) / passed_s;
        row->cpu_share = row->cpu_share < 1 ? row->cpu_share : 1; /* a clock was read before */
    }
}

/* ---- who is shown ---------------------------------------------------------------------------- */

static int by_number(double a, double b) {
    return a > b ? -1 : a < b;
}

static int by_place(const struct dh_row *a, const struct dh_row *b) {
    return a < b ? -1 : a > b;
}

static int by_cpu(const void *a, const void *b) {
    const struct dh_row *x = *(const struct dh_row *const *)a;
    const struct dh_row *y = *(const struct dh_row *const *)b;
    int order = by_number(x->cpu_share, y->cpu_share);
    return order != 0 ? order : by_place(x, y);
}

static int by_memory(const void *a, const void *b) {
    const struct dh_row *x = *(const struct dh_row *const *)a;
    const struct dh_row *y = *(const struct dh_row *const *)b;
    int order = by_number(x->memory_bytes, y->memory_bytes);
    return order != 0 ? order : by_place(x, y);
}

static int by_restarts(const void *a, const void *b) {
    const struct dh_row *x = *(const struct dh_row *const *)a;
    const struct dh_row *y = *(const struct dh_row *const *)b;
    int order = by_number(x->restarts, y->restarts);
    return order != 0 ? order : by_place(x, y);
}

static int by_name(const void *a, const void *b) {
    const struct dh_row *x = *(const struct dh_row *const *)a;
    const struct dh_row *y = *(const struct dh_row *const *)b;
    return strcmp(x->name, y->name);
}

static bool is_meant(const struct dh_top *t, const struct dh_row *row) {
    return t->filter[0] == '\0' || strcasestr(row->name, t->filter) != NULL ||
           strcasestr(row->state, t->filter) != NULL;
}

static void find_selected(struct dh_top *t) {
    t->cursor = t->is_following ? t->cursor : 0;
    for (size_t i = 0; t->is_following && i < t->shown_count; i++) {
        if (strcmp(t->shown[i]->name, t->selected) == 0) {
            t->cursor = i;
            return;
        }
    }
    dh_top_move(t, 0);
}

void dh_top_arrange(struct dh_top *t) {
    static int (*const orders[])(const void *, const void *) = {
        [DH_TOP_CPU] = by_cpu,
        [DH_TOP_MEMORY] = by_memory,
        [DH_TOP_RESTARTS] = by_restarts,
        [DH_TOP_NAME] = by_name,
    };
    free(t->shown);
    t->shown = calloc(t->rows.count + 1, sizeof(*t->shown));
    t->shown_count = 0;
    for (size_t i = 0; t->shown != NULL && i < t->rows.count; i++) {
        if (is_meant(t, &t->rows.list[i])) {
            t->shown[t->shown_count++] = &t->rows.list[i];
        }
    }
    if (t->shown_count > 0) {
        qsort(t->shown, t->shown_count, sizeof(*t->shown), orders[t->sort]);
    }
    find_selected(t);
}

void dh_top_take(struct dh_top *t, struct dh_rows *rows) {
    compare(rows, &t->rows);
    dh_rows_fini(&t->rows);
    t->rows = *rows;
    *rows = (struct dh_rows){0};
    dh_top_arrange(t);
}

/* ---- the cursor ------------------------------------------------------------------------------ */

const struct dh_row *dh_top_selected(const struct dh_top *t) {
    return t->cursor < t->shown_count ? t->shown[t->cursor] : NULL;
}

void dh_top_move(struct dh_top *t, long by) {
    size_t last = t->shown_count > 0 ? t->shown_count - 1 : 0;
    if (by < 0) {
        size_t up = (size_t)-by;
        t->cursor = t->cursor > up ? t->cursor - up : 0;
    } else {
        t->cursor += (size_t)by;
    }
    t->cursor = t->cursor < last ? t->cursor : last;
    const struct dh_row *row = dh_top_selected(t);
    size_t len = row != NULL && row->name_len < sizeof(t->selected) ? row->name_len : 0;
    memcpy(t->selected, len > 0 ? row->name : "", len);
    t->selected[len] = '\0';
}

void dh_top_scroll(struct dh_top *t, size_t lines) {
    if (t->cursor < t->first) {
        t->first = t->cursor;
    } else if (t->cursor >= t->first + lines) {
        t->first = t->cursor - lines + 1;
    }
    size_t most = t->shown_count > lines ? t->shown_count - lines : 0;
    t->first = t->first < most ? t->first : most;
}
