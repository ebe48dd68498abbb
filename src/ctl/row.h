/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What `GET /v1/workers` says (docs/control.md): the host, who holds its CPU, and the workers, each cut
** down to what a table shows.
*/
#ifndef DH_CTL_ROW_H
#define DH_CTL_ROW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/http.h"
#include "ctl/split.h"

struct dh_row {
    char *name;       /* of the row's own block of memory, as the note is */
    const char *note; /* what it waits for, its last error; or "" */
    size_t name_len;
    size_t note_len;
    char state[16];
    bool is_wanted;
    bool is_ready;
    double since;
    double run;
    double restarts;
    double streak;
    double retry_in_s; /* < 0: not planned */
    double memory_bytes;
    double cpu_s;
    double cpu_share; /* of one CPU; < 0: not known */
};

struct dh_rows {
    struct dh_row *list;
    size_t count;
    size_t cap;
    json_t *host;   /* the object, or NULL */
    json_t *holder; /* the object, or NULL */
    bool is_broken; /* memory was out, or the JSON was none */
};

void dh_rows_fini(struct dh_rows *rows);

/* For struct dh_split: takes what the fields of the answer are. 'arg' is a struct dh_rows. */
bool dh_rows_take(void *arg, const char *key, const char *text, size_t len);

/* Ask for all workers. Each byte of the answer is given to 'also' (or NULL), too. Returns 0, or an error
** as dh_http_ask and dh_http_check. The rows are to be freed in any case. */
int dh_rows_ask(struct dh_rows *rows, struct dh_http *h, dh_http_take also, void *also_arg,
                struct dh_error *err);

/* Ask for the host and the holder only. */
int dh_rows_ask_host(struct dh_rows *rows, struct dh_http *h, struct dh_error *err);

/* A field of an object: a number, or 0; a string, or NULL. */
double dh_row_number(const json_t *object, const char *key);

/* Is there a number? Then *ret_number is it. */
bool dh_row_get_number(const json_t *object, const char *key, double *ret_number);
const char *dh_row_text(const json_t *object, const char *key);

/* Read one worker; returns false: out of memory, or not a worker. */
bool dh_row_read(struct dh_row *row, const json_t *worker, double now);
void dh_row_fini(struct dh_row *row);

bool dh_row_is(const struct dh_row *row, const char *state);

/* It should run, and does not. */
bool dh_row_is_missing(const struct dh_row *row);

#endif
