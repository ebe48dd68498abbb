/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What is asked of a host over its control socket: one question at a time, over a connection of its own.
**
**   start ---> step ... step ---> over: status, or an error
*/
#ifndef DH_CTL_HTTP_H
#define DH_CTL_HTTP_H

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/error.h"

/* A piece of the answer's body, if its status is 2xx. Returns false: no more is wanted, which ends it
** well. */
typedef bool (*dh_http_take)(void *arg, const char *bytes, size_t len);

struct dh_question {
    bool is_order;      /* POST */
    const char *target; /* path and query */
    const char *header; /* "Name: value", or NULL */
    double
        patience_s; /* without a byte from the host, once its answer has begun: it begins at once, ... */
    double wait_s; /* ... or for so long the host may keep it back, while it answers another */
    double
        limit_s; /* until the answer has ended, without the time of take; 0: it may go on for ever */
    dh_http_take take;
    void *arg;
};

struct dh_http {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    const char *path; /* of the socket */
    pid_t pid;        /* who answered there last; 0: nobody so far */
    dh_http_take take;
    void *arg;
    uint64_t heard_ns;
    uint64_t patience_ns;
    uint64_t wait_until_ns;
    uint64_t limit_ns;
    uint64_t until_ns; /* the limit is over */
    uint64_t len;      /* of what has come of the body */
    bool is_open;      /* a question is under way */
    bool has_begun;    /* the answer has */
    bool is_enough;    /* no more is wanted */
    long status;       /* of the answer; 0: there is none */
    size_t complaint_len;
    char complaint[4096]; /* the body of an answer that is not 2xx */
    char why[CURL_ERROR_SIZE];
};

/* Returns 0 or DH_ENOMEM. The path must stay. */
int dh_http_init(struct dh_http *h, const char *path);
void dh_http_fini(struct dh_http *h);

/* Ask; the texts of the question must stay until it is over. Errors: DH_ENOENT (nobody answers there),
** DH_EBUSY (he takes no connections), DH_EINVAL (the path, or the target, is too long), DH_ESYSTEM. */
int dh_http_start(struct dh_http *h, const struct dh_question *q, struct dh_error *err);

/*
** A question is under way: wait for something from the host, or on the descriptor 'fd' (-1: none), for at most so long. Returns 1
** while the question is under way, 0 when it is over (h->status tells how), or an error: DH_ENOENT
** (the host has gone), DH_EBUSY (it has said nothing for too long), DH_ESYSTEM (also: there is no end of its
** answer). With a wait_s it may take DH_CTL_PATIENCE_S longer, to ask whether the host is still alive.
*/
int dh_http_step(struct dh_http *h, uint64_t wait_ns, int fd, struct dh_error *err);

/* Ask no more. */
void dh_http_stop(struct dh_http *h);

/* Start, step until it is over. */
int dh_http_ask(struct dh_http *h, const struct dh_question *q, struct dh_error *err);

/* Was it carried out: 2xx? If not, *err says what the host said. */
int dh_http_check(const struct dh_http *h, struct dh_error *err);

/* The same for one value of JSON, at most DH_CTL_ITEM_BYTES of it, which is to be released: the
** question's take and arg are not used. Errors as dh_http_ask and dh_http_check. */
int dh_http_ask_json(struct dh_http *h, const struct dh_question *q, json_t **ret_json,
                     struct dh_error *err);

/* A worker's name as a piece of a path or a query; to be freed. NULL: out of memory. */
char *dh_http_escape(const char *name);

#endif
