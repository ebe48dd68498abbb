/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** `events`: what happens to the workers, a line an event, from now on.
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/cells.h"
#include "ctl/follow.h"
#include "ctl/json.h"
#include "ctl/row.h"
#include "ctl/verb.h"

#define NAME_CELLS 16
#define EVENT_CELLS 13

struct events {
    const struct dh_options *options;
    char header[128]; /* "Last-Event-ID: ID", or "" */
};

static void next(void *arg, bool is_other, struct dh_question *q) {
    struct events *e = arg;
    (void)is_other; /* the id says whose it is */
    q->target = e->options->is_all && e->header[0] == '\0' ? "/v1/events?after=0" : "/v1/events";
    q->header = e->header[0] != '\0' ? e->header : NULL;
}

/* ---- a line for people ----------------------------------------------------------------------- */

static void put(const char *text, size_t width, enum dh_align align) {
    text = text != NULL ? text : "";
    dh_cells_print(stdout, text, strlen(text), width, align);
}

static void put_time(double time) {
    char text[DH_CELLS_MOMENT];
    dh_cells_moment(text, time, "%H:%M:%S");
    printf("%s.%03d  ", text, (int)(fmod(time, 1) * 1000));
}

static void put_detail(const json_t *e) {
    const char *group = dh_row_text(e, "group");
    const char *to = dh_row_text(e, "to");
    const char *reason = dh_row_text(e, "reason");
    const char *error = dh_row_text(e, "error");
    double seconds;
    char text[DH_CELLS_UNIT];
    if (to != NULL) {
        put(dh_row_text(e, "from"), SIZE_MAX, DH_ALIGN_NONE);
        fputs(" -> ", stdout);
        put(to, SIZE_MAX, DH_ALIGN_NONE);
        return;
    }
    printf("run %.0f", dh_row_number(e, "run"));
    if (group != NULL) {
        fputs(", group ", stdout);
        put(group, SIZE_MAX, DH_ALIGN_NONE);
    }
    if (reason != NULL) {
        fputs(", ", stdout);
        put(reason, SIZE_MAX, DH_ALIGN_NONE);
    }
    if (dh_row_get_number(e, "delay", &seconds)) {
        dh_cells_seconds(text, seconds);
        printf(", restart in %s", text);
    }
    if (dh_row_get_number(e, "outage", &seconds)) {
        dh_cells_seconds(text, seconds);
        printf(", after %s", text);
    }
    if (error != NULL) {
        fputs(": ", stdout);
        put(error, SIZE_MAX, DH_ALIGN_NONE);
    }
}

static void print_event(const json_t *e) {
    double missed = dh_row_number(e, "missed");
    if (missed > 0) {
        fflush(stdout);
        fprintf(stderr, "decnet-host: %.0f events missed: they came faster than they were read\n",
                missed);
        return;
    }
    put_time(dh_row_number(e, "time"));
    put(dh_row_text(e, "worker"), NAME_CELLS, DH_ALIGN_LEFT);
    fputs("  ", stdout);
    put(dh_row_text(e, "event"), EVENT_CELLS, DH_ALIGN_LEFT);
    fputs("  ", stdout);
    put_detail(e);
    fputc('\n', stdout);
}

/* ---- server-sent events ---------------------------------------------------------------------- */

static bool begins(const char *line, const char *with) {
    return strncmp(line, with, strlen(with)) == 0;
}

static bool on_line(void *arg, const char *line, size_t len) {
    struct events *e = arg;
    if (begins(line, "id: ") && strcspn(line + 4, "\r") < 100) {
        snprintf(e->header, sizeof(e->header), "Last-Event-ID: %.100s", line + 4);
    } else if (begins(line, "data: ")) {
        json_t *json = json_loadb(line + 6, len - 6, 0, NULL);
        if (json != NULL && e->options->is_json) {
            dh_json_print(stdout, json);
        } else if (json != NULL) {
            print_event(json);
        }
        json_decref(json);
    }
    return true;
}

int dh_verb_events(const struct dh_options *o, struct dh_http *h) {
    struct dh_error err;
    struct events e = {.options = o};
    struct dh_follow f = {.http = h, .follows = true, .next = next, .on_line = on_line, .arg = &e};
    int result = dh_follow_run(&f, &err);
    return result == 0 ? DH_EXIT_FINE : dh_verb_complain(&err);
}
