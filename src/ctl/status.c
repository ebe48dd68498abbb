/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** `status`: the table of workers, or all about one of them.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/cells.h"
#include "ctl/detail.h"
#include "ctl/json.h"
#include "ctl/limits.h"
#include "ctl/row.h"
#include "ctl/table.h"
#include "ctl/verb.h"

static void print_holder(const struct dh_rows *rows) {
    bool has_colour = dh_verb_has_colour();
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    if (stream == NULL) {
        return;
    }
    bool is_held = dh_table_print_holder(rows, stream);
    fclose(stream);
    if (is_held) {
        printf("%s%s%s\n\n", has_colour ? "\x1b[1;97;41m" : "", text, has_colour ? "\x1b[0m" : "");
    }
    free(text);
}

static void print_table(const struct dh_rows *rows, const struct dh_row *const *list) {
    struct dh_table table;
    bool has_colour = dh_verb_has_colour();
    dh_table_fit(&table, list, rows->count, dh_row_number(rows->host, "now"), dh_verb_width(),
                 dh_table_status_order);
    print_holder(rows);
    dh_table_print_summary(rows->host, dh_verb_width(), stdout);
    fputs("\n\n", stdout);
    fputs(has_colour ? "\x1b[1m" : "", stdout);
    dh_table_print_head(&table, stdout);
    fputs(has_colour ? "\x1b[0m\n" : "\n", stdout);
    for (size_t i = 0; i < rows->count; i++) {
        dh_table_print_row(&table, list[i], has_colour, stdout);
        fputc('\n', stdout);
    }
}

static void print_names(const struct dh_rows *rows) {
    for (size_t i = 0; i < rows->count; i++) {
        dh_cells_print(stdout, rows->list[i].name, rows->list[i].name_len, SIZE_MAX, DH_ALIGN_NONE);
        fputc('\n', stdout);
    }
}

static int status_of_all(const struct dh_options *o, struct dh_http *h) {
    struct dh_error err;
    struct dh_rows rows;
    struct dh_json_out out = {.file = stdout};
    int result = dh_rows_ask(&rows, h, o->is_json ? dh_json_out : NULL, &out, &err);
    const struct dh_row **list = calloc(rows.count + 1, sizeof(*list));
    bool is_missing = false;
    for (size_t i = 0; list != NULL && i < rows.count; i++) {
        list[i] = &rows.list[i];
        is_missing = is_missing || dh_row_is_missing(list[i]);
    }
    if (result != 0 || list == NULL) {
        result = result != 0 ? dh_verb_complain(&err) : DH_EXIT_NO;
    } else {
        result = is_missing ? DH_EXIT_NO : DH_EXIT_FINE;
        if (o->names_only) {
            print_names(&rows);
        } else if (!o->is_json) {
            print_table(&rows, list);
        }
    }
    free(list);
    dh_rows_fini(&rows);
    return result;
}

/* A host that is only busy for a moment is asked again. */
static int ask_one(const struct dh_options *o, struct dh_http *h, const struct dh_rows *rows,
                   json_t **ret_worker, struct dh_error *err) {
    for (int i = 0;; i++) {
        int result = dh_detail_ask(h, o->names[0], ret_worker, err);
        bool is_whole = result != 0 || !json_is_null(json_object_get(*ret_worker, "endings"));
        if (is_whole || rows->holder != NULL || i == DH_CTL_TRIES - 1) {
            return result;
        }
        json_decref(*ret_worker);
    }
}

static int status_of_one(const struct dh_options *o, struct dh_http *h) {
    struct dh_error err;
    struct dh_rows rows;
    struct dh_row row = {0};
    json_t *worker = NULL;
    int result = dh_rows_ask_host(&rows, h, &err);
    result = result == 0 ? ask_one(o, h, &rows, &worker, &err) : result;
    if (result != 0) {
        dh_verb_explain(h, o->names[0], &err);
        result = dh_verb_complain(&err);
    } else {
        bool is_read = dh_row_read(&row, worker, 0);
        result = is_read && !dh_row_is_missing(&row) ? DH_EXIT_FINE : DH_EXIT_NO;
        if (o->is_json) {
            dh_json_print(stdout, worker);
        } else {
            print_holder(&rows);
            dh_detail_print(stdout, worker, rows.host);
        }
    }
    dh_row_fini(&row);
    json_decref(worker);
    dh_rows_fini(&rows);
    return result;
}

int dh_verb_status(const struct dh_options *o, struct dh_http *h) {
    return o->name_count > 0 ? status_of_one(o, h) : status_of_all(o, h);
}
