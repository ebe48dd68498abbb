/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/limits.h"

double dh_row_number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

bool dh_row_get_number(const json_t *object, const char *key, double *ret_number) {
    const json_t *value = json_object_get(object, key);
    json_type type = value != NULL ? json_typeof(value) : JSON_NULL;
    if (type != JSON_INTEGER && type != JSON_REAL) {
        return false;
    }
    *ret_number = json_number_value(value);
    return true;
}

const char *dh_row_text(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* ---- one worker ------------------------------------------------------------------------------ */

/* Cut between two characters. */
static size_t cut(char *text, size_t len) {
    static const char mark[] = "…";
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
        len--;
    }
    memcpy(text + len, mark, sizeof(mark));
    return len + sizeof(mark) - 1;
}

/* "waits for db", "boom", or both. Returns its length. */
static size_t write_note(char dst[DH_CTL_NOTE_BYTES + 8], const json_t *worker) {
    const char *waits = dh_row_text(worker, "waiting_for");
    const char *error = dh_row_text(json_object_get(worker, "last_error"), "message");
    const char *between = waits != NULL && error != NULL ? "; " : "";
    int n = snprintf(dst, DH_CTL_NOTE_BYTES, "%s%s%s%s", waits != NULL ? "waits for " : "",
                     waits != NULL ? waits : "", between, error != NULL ? error : "");
    size_t len = n > 0 ? (size_t)n : 0;
    return len < DH_CTL_NOTE_BYTES ? len : cut(dst, DH_CTL_NOTE_BYTES - 2);
}

/* Over the whole of the run. */
static double share(const struct dh_row *row, double now) {
    double run_s = now - row->since;
    return dh_row_is(row, "running") && run_s > 0.01 ? row->cpu_s / run_s : -1;
}

bool dh_row_read(struct dh_row *row, const json_t *worker, double now) {
    const char *name = dh_row_text(worker, "name");
    const char *state = dh_row_text(worker, "state");
    const char *wanted = dh_row_text(worker, "wanted");
    if (name == NULL || state == NULL) {
        return false;
    }
    char note[DH_CTL_NOTE_BYTES + 8];
    *row = (struct dh_row){
        .name_len = strlen(name),
        .note_len = write_note(note, worker),
        .is_wanted = wanted != NULL && strcmp(wanted, "up") == 0,
        .is_ready = json_is_true(json_object_get(worker, "ready")),
        .since = dh_row_number(worker, "since"),
        .run = dh_row_number(worker, "run"),
        .restarts = dh_row_number(worker, "restarts"),
        .streak = dh_row_number(worker, "streak"),
        .retry_in_s = -1,
        .memory_bytes = dh_row_number(worker, "memory_bytes"),
        .cpu_s = dh_row_number(worker, "cpu_s"),
    };
    dh_row_get_number(worker, "next_retry_in", &row->retry_in_s);
    snprintf(row->state, sizeof(row->state), "%s", state);
    row->cpu_share = share(row, now);
    row->name = malloc(row->name_len + row->note_len + 2);
    if (row->name == NULL) {
        return false;
    }
    memcpy(row->name, name, row->name_len + 1);
    char *end = row->name + row->name_len + 1;
    memcpy(end, note, row->note_len);
    end[row->note_len] = '\0';
    row->note = end;
    return true;
}

void dh_row_fini(struct dh_row *row) {
    free(row->name);
    row->name = NULL;
}

bool dh_row_is(const struct dh_row *row, const char *state) {
    return strcmp(row->state, state) == 0;
}

bool dh_row_is_missing(const struct dh_row *row) {
    return row->is_wanted && !dh_row_is(row, "running");
}

/* ---- all of them ----------------------------------------------------------------------------- */

void dh_rows_fini(struct dh_rows *rows) {
    for (size_t i = 0; i < rows->count; i++) {
        dh_row_fini(&rows->list[i]);
    }
    free(rows->list);
    json_decref(rows->host);
    json_decref(rows->holder);
    *rows = (struct dh_rows){0};
}

static struct dh_row *add(struct dh_rows *rows) {
    if (rows->count == rows->cap) {
        size_t cap = rows->cap > 0 ? 2 * rows->cap : 64;
        cap = cap < DH_CTL_WORKERS_MAX ? cap : DH_CTL_WORKERS_MAX;
        struct dh_row *grown = cap > rows->count ? realloc(rows->list, cap * sizeof(*grown)) : NULL;
        if (grown == NULL) {
            return NULL;
        }
        rows->list = grown;
        rows->cap = cap;
    }
    return &rows->list[rows->count];
}

bool dh_rows_take(void *arg, const char *key, const char *text, size_t len) {
    struct dh_rows *rows = arg;
    json_t *json = json_loadb(text, len, JSON_DECODE_ANY, NULL);
    if (strcmp(key, "host") == 0 && rows->host == NULL && json_is_object(json)) {
        rows->host = json_incref(json);
    } else if (strcmp(key, "holder") == 0 && rows->holder == NULL && json != NULL) {
        rows->holder = json_is_object(json) ? json_incref(json) : NULL;
    } else if (strcmp(key, "workers") == 0 && json != NULL) {
        struct dh_row *row = add(rows);
        bool ok = row != NULL && dh_row_read(row, json, dh_row_number(rows->host, "now"));
        rows->count += ok;
        rows->is_broken = rows->is_broken || !ok;
    } else {
        rows->is_broken = rows->is_broken || json == NULL;
    }
    json_decref(json);
    return !rows->is_broken;
}

static bool take_head(void *arg, const char *key, const char *text, size_t len) {
    return strcmp(key, "workers") != 0 && dh_rows_take(arg, key, text, len);
}

struct taker {
    struct dh_split split;
    dh_http_take also;
    void *also_arg;
    bool is_all; /* the end of the answer is wanted, too */
};

static bool take(void *arg, const char *bytes, size_t len) {
    struct taker *t = arg;
    bool goes_on = dh_split_feed(&t->split, bytes, len);
    return (t->also == NULL || t->also(t->also_arg, bytes, len)) && goes_on;
}

static int ask(struct dh_rows *rows, struct dh_http *h, struct taker *t, struct dh_error *err) {
    struct dh_question q = {.target = "/v1/workers",
                            .patience_s = DH_CTL_PATIENCE_S,
                            .limit_s = DH_CTL_ANSWER_S,
                            .take = take,
                            .arg = t};
    int result = dh_http_ask(h, &q, err);
    result = result == 0 ? dh_http_check(h, err) : result;
    rows->is_broken = rows->is_broken || (t->is_all && !t->split.is_complete);
    dh_split_fini(&t->split);
    if (result == 0 && (rows->is_broken || rows->host == NULL)) {
        result = dh_error_set(err, DH_ESYSTEM,
                              "the answer from %s cannot be read: is it a host's socket, and is "
                              "there memory left?",
                              h->path);
    }
    return result;
}

int dh_rows_ask(struct dh_rows *rows, struct dh_http *h, dh_http_take also, void *also_arg,
                struct dh_error *err) {
    struct taker t = {.also = also, .also_arg = also_arg, .is_all = true};
    *rows = (struct dh_rows){0};
    dh_split_init(&t.split, dh_rows_take, rows);
    return ask(rows, h, &t, err);
}

int dh_rows_ask_host(struct dh_rows *rows, struct dh_http *h, struct dh_error *err) {
    struct taker t = {0};
    *rows = (struct dh_rows){0};
    dh_split_init(&t.split, take_head, rows);
    return ask(rows, h, &t, err);
}
