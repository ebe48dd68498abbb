/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** One request: what was asked for, and its way to an answer.
**
**   BEGUN --head--> READING --complete--> dispatch --+--> ANSWERED
**     |                                              +--> WAITING (suspended) --something came--> READY --> ANSWERED
**     +--refused--> ANSWERED
**
** A request that has to wait is suspended when MHD asks for its answer again, at once, and not where it
** turns out that it has to: there MHD (0.9.75) still means to read from the connection, does so when it is
** resumed, and if the client has sent his last byte closes it without an answer.
*/
#ifndef DH_CONTROL_REQUEST_H
#define DH_CONTROL_REQUEST_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "control/limits.h"
#include "core/limits.h"

struct dh_control;
struct dh_kept;
struct dh_order;
struct dh_request;
struct dh_server;

/* What may be said in a query or a body. */
struct dh_params {
    double wait_s;   /* 0: do not wait */
    double within_s; /* livez */
    bool is_now;
    bool follows;
    uint64_t lines;
    bool has_after;
    uint64_t after; /* the entry after which to go on */
    bool has_worker;
    char worker[DH_NAME_MAX + 1];
    size_t worker_len;
};

enum dh_phase {
    DH_REQUEST_BEGUN, /* its first line is there */
    DH_REQUEST_READING,
    DH_REQUEST_WAITING,
    DH_REQUEST_READY,
    DH_REQUEST_ANSWERED
};

struct dh_request {
    struct dh_server *server;
    struct MHD_Connection *connection;
    bool is_tcp;  /* read only */
    bool is_head; /* nothing but the head is wanted */
    bool is_suspended;
    enum dh_phase phase;
    size_t target_len; /* with the query */
    char query[DH_REQUEST_QUERY_BYTES + 1];
    bool is_query_too_long;
    char body[DH_REQUEST_BODY_BYTES];
    size_t body_len;
    bool is_too_big;

    /* from the path */
    char name[DH_NAME_MAX + 1];
    size_t name_len;
    struct dh_params params;

    /* while it waits, and then */
    struct dh_request *next;
    struct dh_request *prev;
    uint64_t deadline_ns;
    uint64_t asked;         /* number of the refresh that it waits for, 0: none */
    struct dh_order *order; /* that it waits for (with the loop) or got back (is_order_back) */
    bool is_order_back;
    uint64_t insists_until_ns; /* of a shutdown: by signals, for a loop that stands still */
    enum MHD_Result (*answer)(struct dh_request *r);
    enum MHD_Result (*make)(struct dh_request *r); /* when it is its turn; NULL: it needs none */
};

/* The head is there: answer it at once if it is not fit to be read on. Whether it has is told by its phase. In
** head.c. */
enum MHD_Result dh_head_check(struct dh_request *r, const char *method, const char *target,
                              const char *version);

/* Where the authority begins in a target such as "http://localhost:80/livez"; NULL: it has none. */
const char *dh_head_authority(const char *target);

/* Decide what is wanted and answer it, or let it wait. In routes.c. */
enum MHD_Result dh_request_dispatch(struct dh_request *r, const char *target, const char *method);

/* Let it wait until the refresh 'asked' or the order is there, or until deadline_ns; then call answer.
** In server.c. */
enum MHD_Result dh_request_wait(struct dh_request *r, uint64_t deadline_ns,
                                enum MHD_Result (*answer)(struct dh_request *r));

/* Make an answer in pieces now, or when it is its turn; after a while 503. In server.c. */
enum MHD_Result dh_request_make(struct dh_request *r,
                                enum MHD_Result (*make)(struct dh_request *r));

/* Its answer is queued: one that is_bounded must be taken in time. In server.c. */
void dh_request_answered(struct dh_request *r, bool is_bounded);

/* Answers. In reply.c; the JSON is taken over. */
enum MHD_Result dh_reply_json(struct dh_request *r, unsigned status, json_t *json);

/* Answer 200 with a response of the caller's making, of a length that nobody knows yet, which is taken
** over; NULL: memory is out. One that is_bounded must be taken in time. */
enum MHD_Result dh_reply_response(struct dh_request *r, const char *type,
                                  struct MHD_Response *response, bool is_bounded);

/* An answer that is made as it is taken. Embedded in what put needs. */
struct dh_pieces {
    /* Write the next piece: returns 1 if more will come, 0 if that was the last, or DH_ENOMEM. */
    int (*put)(struct dh_pieces *p, FILE *out);
    void (*free)(struct dh_pieces *p);

    /* reply.c's */
    unsigned *making; /* the count that it is in; NULL: none */
    char *text;       /* the piece that is being taken */
    size_t len;
    size_t at;
    bool has_more;
};

/* Answer with the pieces, which are taken over; and if one piece is all, keep the answer as that of
** the version, unless that is 0. */
enum MHD_Result dh_reply_pieces(struct dh_request *r, const char *type, struct dh_pieces *p,
                                struct dh_kept *kept, uint64_t version);

/* Answer as the last time. */
enum MHD_Result dh_reply_kept(struct dh_request *r, const struct dh_kept *kept);

enum MHD_Result dh_reply_error(struct dh_request *r, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum MHD_Result dh_reply_not_allowed(struct dh_request *r, const char *allowed);

/* Read the query, and the body of a POST, for these parameters ("wait now"). Returns false if it has
** answered the request already: something is wrong. In params.c. */
bool dh_params_read(struct dh_request *r, const char *known, enum MHD_Result *ret_result);

/* Decode %XX in place of a copy. Returns the length, or -1: malformed, too long, has a NUL, or is not
** UTF-8. */
long dh_params_decode(char *dst, size_t cap, const char *src, size_t len);

/* Follow events or logs. In stream.c. */
enum MHD_Result dh_stream_events(struct dh_request *r);
enum MHD_Result dh_stream_logs(struct dh_request *r);

/* For the server: let streams go on that have something to say, or all at the end; when the next one
** has to. */
void dh_stream_wake(struct dh_server *server, uint64_t now_ns);
uint64_t dh_stream_deadline_ns(const struct dh_server *server);

/* GET /metrics. In metrics.c. */
enum MHD_Result dh_metrics_answer(struct dh_request *r);

#endif
