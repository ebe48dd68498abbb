/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** `logs`: what was logged, and with -f what is.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/cells.h"
#include "ctl/follow.h"
#include "ctl/json.h"
#include "ctl/row.h"
#include "ctl/verb.h"

struct logs {
    const struct dh_options *options;
    char *worker; /* escaped; NULL: all */
    json_int_t last_id;
    char target[DH_VERB_TARGET];
};

static void next(void *arg, bool is_other, struct dh_question *q) {
    struct logs *l = arg;
    int n = snprintf(l->target, sizeof(l->target), "/v1/logs?follow=%d", l->options->follows);
    if (l->last_id > 0) {
        n += snprintf(l->target + n, sizeof(l->target) - (size_t)n, "&after=%lld",
                      is_other ? 0 : (long long)l->last_id);
    } else if (l->options->lines >= 0) {
        n +=
            snprintf(l->target + n, sizeof(l->target) - (size_t)n, "&lines=%ld", l->options->lines);
    }
    if (l->worker != NULL) {
        snprintf(l->target + n, sizeof(l->target) - (size_t)n, "&worker=%s", l->worker);
    }
    q->target = l->target;
}

static bool on_line(void *arg, const char *line, size_t len) {
    struct logs *l = arg;
    json_t *json = json_loadb(line, len, 0, NULL);
    json_int_t id = json_integer_value(json_object_get(json, "id"));
    const char *text = dh_row_text(json, "line");
    double missed = dh_row_number(json, "missed");
    l->last_id = id > 0 ? id : l->last_id;
    if (json != NULL && l->options->is_json) {
        dh_json_print(stdout, json);
    } else if (missed > 0) {
        fflush(stdout);
        fprintf(stderr, "decnet-host: %.0f lines missed: they came faster than they were read\n",
                missed);
    } else if (text != NULL) {
        dh_cells_print_lines(stdout, text, strlen(text), "");
    }
    json_decref(json);
    return true;
}

int dh_verb_logs(const struct dh_options *o, struct dh_http *h) {
    struct dh_error err;
    struct logs l = {.options = o};
    struct dh_follow f = {
        .http = h, .follows = o->follows, .next = next, .on_line = on_line, .arg = &l};
    if (o->name_count > 0) {
        char unused[DH_VERB_TARGET];
        if (dh_verb_target(unused, o->names[0], "", &err) != 0) {
            return dh_verb_complain(&err);
        }
        l.worker = dh_http_escape(o->names[0]);
    }
    int result = dh_follow_run(&f, &err);
    if (result != 0 && o->name_count > 0) {
        dh_verb_explain(h, o->names[0], &err);
    }
    free(l.worker);
    return result == 0 ? DH_EXIT_FINE : dh_verb_complain(&err);
}
