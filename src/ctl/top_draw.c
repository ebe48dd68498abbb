/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/cells.h"
#include "ctl/table.h"
#include "ctl/top.h"

/* Pairs of colours. */
enum { PLAIN, GREEN, YELLOW, RED, CYAN, MAGENTA };

static const struct {
    const char *state;
    short pair;
    attr_t attr;
} looks[] = {
    {"running", GREEN, A_NORMAL},   {"backoff", YELLOW, A_NORMAL}, {"failed", RED, A_BOLD},
    {"waiting", CYAN, A_NORMAL},    {"done", PLAIN, A_DIM},        {"stopping", MAGENTA, A_NORMAL},
    {"closing", MAGENTA, A_NORMAL}, {"stopped", PLAIN, A_DIM},
};

size_t dh_top_list_lines(void) {
    return LINES > DH_TOP_HEAD + DH_TOP_FOOT ? (size_t)(LINES - DH_TOP_HEAD - DH_TOP_FOOT) : 0;
}

/* What was printed into a stream goes onto a line of the screen, as far as it fits. */
struct line {
    FILE *stream;
    char *text;
    size_t len;
};

static bool begin(struct line *l) {
    *l = (struct line){0};
    l->stream = open_memstream(&l->text, &l->len);
    return l->stream != NULL;
}

static void end(struct line *l, int y, attr_t attr) {
    char *cut = NULL;
    size_t cut_len = 0;
    fclose(l->stream);
    FILE *stream = open_memstream(&cut, &cut_len);
    if (stream != NULL) {
        bool is_bar = (attr & (A_REVERSE | A_BOLD)) != 0;
        dh_cells_print(stream, l->text, l->len, (size_t)COLS,
                       is_bar ? DH_ALIGN_LEFT : DH_ALIGN_NONE);
        fclose(stream);
        attrset((int)attr);
        mvaddstr(y, 0, cut);
        attrset((int)A_NORMAL);
    }
    free(cut);
    free(l->text);
}

static void draw_summary(const struct dh_top *t) {
    struct line l;
    if (begin(&l)) {
        dh_table_print_summary(t->rows.host, (size_t)COLS, l.stream);
        end(&l, 0, A_NORMAL);
    }
}

/* What is wrong comes before what was done. */
static void draw_news(const struct dh_top *t) {
    struct line l;
    if (!begin(&l)) {
        return;
    }
    if (t->is_gone) {
        fputs(t->gone, l.stream);
        end(&l, 1, A_REVERSE | A_BOLD | (attr_t)COLOR_PAIR(RED));
    } else if (dh_table_print_holder(&t->rows, l.stream)) {
        end(&l, 1, A_REVERSE | A_BOLD | (attr_t)COLOR_PAIR(RED));
    } else {
        fputs(t->news, l.stream);
        end(&l, 1, A_NORMAL);
    }
}

static void colour_state(const struct dh_table *table, const struct dh_row *row, int y) {
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
        if (dh_row_is(row, looks[i].state)) {
            mvchgat(y, (int)table->state_at, (int)strlen(row->state), looks[i].attr, looks[i].pair,
                    NULL);
        }
    }
}

static void draw_row(const struct dh_top *t, const struct dh_table *table, size_t i, int y) {
    struct line l;
    bool is_selected = i == t->cursor;
    if (!begin(&l)) {
        return;
    }
    dh_table_print_row(table, t->shown[i], false, l.stream);
    end(&l, y, is_selected ? A_REVERSE : A_NORMAL);
    if (!is_selected && t->has_colour && table->widths[DH_COLUMN_STATE] > 0) {
        colour_state(table, t->shown[i], y);
    }
}

/* Only what is visible is measured and drawn. */
static void draw_list(struct dh_top *t) {
    struct dh_table table;
    struct line l;
    size_t lines = dh_top_list_lines();
    dh_top_scroll(t, lines);
    size_t left = t->shown_count - t->first;
    size_t count = left < lines ? left : lines;
    dh_table_fit(&table, t->shown + t->first, count, dh_row_number(t->rows.host, "now"),
                 (size_t)COLS, dh_table_top_order);
    if (begin(&l)) {
        dh_table_print_head(&table, l.stream);
        end(&l, 2, A_BOLD | A_UNDERLINE);
    }
    for (size_t i = 0; i < count; i++) {
        draw_row(t, &table, t->first + i, DH_TOP_HEAD + (int)i);
    }
}

/* As many keys as there is room for, those that are needed most first. */
static void put_keys(struct line *l) {
    static const char *const keys[] = {"? keys",    "q quit",   "d dossier", "x stop",
                                       "r restart", "/ filter", "CMRN sort"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        fflush(l->stream);
        size_t used = dh_cells_width(l->text, l->len);
        if (used + 2 + strlen(keys[i]) > (size_t)COLS) {
            return;
        }
        fprintf(l->stream, "%s%s", i == 0 ? "; " : ", ", keys[i]);
    }
}

static void draw_foot(const struct dh_top *t) {
    static const char *const sorts[] = {"CPU", "memory", "restarts", "name"};
    struct line l;
    if (!begin(&l)) {
        return;
    }
    switch (t->mode) {
        case DH_TOP_FILTER:
            fprintf(l.stream, "show names and states with: %s_", t->filter);
            break;
        case DH_TOP_CONFIRM:
            fprintf(l.stream, "%s %s? (y or n)", t->order, t->selected);
            break;
        case DH_TOP_READ:
            fputs("up, down, page up, page down; q: back", l.stream);
            break;
        case DH_TOP_LIST:
            fprintf(l.stream, "by %s", sorts[t->sort]);
            if (t->filter[0] != '\0') {
                fprintf(l.stream, ", %zu with '%s'", t->shown_count, t->filter);
            }
            put_keys(&l);
            break;
    }
    end(&l, LINES - 1, A_REVERSE);
}

/* A page of text, whose tabs are at the beginning of lines. */
static void draw_page(const struct dh_pager *p, size_t lines) {
    const char *text = p->text;
    for (size_t i = 0; i < p->count && i < p->first + lines; i++) {
        struct line l;
        size_t len = strlen(text);
        size_t tabs = strspn(text, "\t ");
        if (i >= p->first && begin(&l)) {
            for (size_t c = 0; c < tabs; c++) {
                fputs(text[c] == '\t' ? "    " : " ", l.stream);
            }
            fputs(text + tabs, l.stream);
            end(&l, (int)(i - p->first), A_NORMAL);
        }
        text += len + 1;
    }
}

void dh_top_draw(struct dh_top *t) {
    erase();
    if (t->mode == DH_TOP_READ) {
        draw_page(&t->pager, LINES > 1 ? (size_t)(LINES - 1) : 0);
    } else {
        draw_summary(t);
        draw_news(t);
        draw_list(t);
    }
    draw_foot(t);
    refresh();
}
