/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What `top` knows: the workers as of the last look, which of them are shown in which order, and what the
** keys have asked for. top.c looks and obeys, top_list.c orders, top_draw.c draws.
*/
#ifndef DH_CTL_TOP_H
#define DH_CTL_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/limits.h"
#include "ctl/http.h"
#include "ctl/pager.h"
#include "ctl/row.h"
#include "ctl/split.h"

/* Lines of the screen that are not workers: summary, news, the table's head, keys. */
#define DH_TOP_HEAD 3
#define DH_TOP_FOOT 1

enum dh_top_sort { DH_TOP_CPU, DH_TOP_MEMORY, DH_TOP_RESTARTS, DH_TOP_NAME };

/* What is being asked of the host. */
enum dh_top_job { DH_TOP_IDLE, DH_TOP_LOOK, DH_TOP_ORDER, DH_TOP_DOSSIER };

/* What the keys go to. */
enum dh_top_mode { DH_TOP_LIST, DH_TOP_FILTER, DH_TOP_CONFIRM, DH_TOP_READ };

struct dh_top {
    struct dh_http *http;
    struct dh_rows rows;
    const struct dh_row **shown;
    size_t shown_count;
    size_t cursor; /* in 'shown' */
    size_t first;  /* at the top of the list */
    char selected[DH_NAME_MAX + 1];
    bool is_following; /* the cursor goes where the selected one goes; else it stays at the top */
    enum dh_top_sort sort;
    enum dh_top_mode mode;
    char filter[64];
    const char *order; /* "stop", ...: to be confirmed, or under way */
    char news[600];    /* of the last order */
    bool is_gone;
    char gone[300];
    struct dh_pager pager;
    bool has_colour;
    bool is_over;

    enum dh_top_job job;
    char target[1000];
    struct dh_rows incoming;
    struct dh_split split;
    FILE *answer; /* collects answer_text */
    char *answer_text;
    size_t answer_len;
    uint64_t asked_ns;
    uint64_t next_ns; /* the next look */
};

/* The new rows have come: what they used since the last look, then who is shown. Takes them over. */
void dh_top_take(struct dh_top *t, struct dh_rows *rows);

/* Filter and sort again; the selected worker stays selected. */
void dh_top_arrange(struct dh_top *t);

/* Select another one, 'by' lines down; keep it on a screen of so many lines. */
void dh_top_move(struct dh_top *t, long by);
void dh_top_scroll(struct dh_top *t, size_t lines);

/* The selected worker, or NULL. */
const struct dh_row *dh_top_selected(const struct dh_top *t);

/* How many workers a screen of LINES lines shows. */
size_t dh_top_list_lines(void);

/* Draw all of it. */
void dh_top_draw(struct dh_top *t);

#endif
