/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** /v1/events and /v1/logs: answers that are written from a ring entry by entry, and that may go on as
** long as the connection does. A reader who is slower than the ring is told what he missed.
*/
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/clock.h"
#include "control/control.h"
#include "control/events.h"
#include "control/json.h"
#include "control/request.h"

#define NS_PER_S 1000000000u

/* An entry of a ring. */
#define ENTRY_BYTES (DH_LOGGED_BYTES + 64)

/* One entry as it is sent: JSON makes at most six bytes of one. */
#define CHUNK_BYTES (6 * DH_LOGGED_BYTES + 256)

struct dh_stream {
    struct dh_server *server;
    struct MHD_Connection *connection;
    struct dh_stream *next;
    struct dh_stream *prev;
    struct dh_ring *ring;
    struct dh_ring_cursor cursor;
    bool is_events; /* else lines of the log */
    bool follows;
    bool is_suspended;
    bool is_broken; /* memory was out: it ends, and whoever follows goes on from where he was */
    bool has_worker;
    char worker[DH_NAME_MAX + 1];
    size_t worker_len;
    uint64_t heartbeat_ns;
    size_t at; /* what of the chunk has been sent */
    size_t len;
    char chunk[CHUNK_BYTES];
};

static uint64_t boot_of(const struct dh_control *c) {
    return c->started_ns / 1000000;
}

/* Add a piece to the chunk. */
static void put(struct dh_stream *s, const char *text, size_t len) {
    assert(len <= sizeof(s->chunk) - s->len);
    memcpy(s->chunk + s->len, text, len);
    s->len += len;
}

static void put_json(struct dh_stream *s, json_t *json) {
    size_t room = sizeof(s->chunk) - s->len;
    size_t len = json_dumpb(json, s->chunk + s->len, room, DH_JSON_FLAGS);
    assert(len <= room);
    json_decref(json);
    s->is_broken |= len == 0;
    s->len += len;
}

/* id: 0: it has none of its own. */
static void put_event(struct dh_stream *s, const char *name, uint64_t id, json_t *json) {
    char head[128];
    int n = snprintf(head, sizeof(head), "event: %s\n", name);
    if (id != 0) {
        n += snprintf(head + n, sizeof(head) - (size_t)n, "id: %llx-%llu\n",
                      (unsigned long long)boot_of(s->server->control), (unsigned long long)id);
    }
    put(s, head, (size_t)n);
    put(s, "data: ", 6);
    put_json(s, json);
    put(s, "\n\n", 2);
}

static void put_missed(struct dh_stream *s, uint64_t missed) {
    json_t *json = json_object();
    dh_json_set(&json, "missed", json_integer((json_int_t)missed));
    if (s->is_events) {
        put_event(s, "missed", 0, json);
    } else {
        put_json(s, json);
        put(s, "\n", 1);
    }
}

/* The next entry; returns its id, 0: there is none. */
static uint64_t next_entry(const struct dh_stream *s, struct dh_ring_cursor *at,
                           char entry[ENTRY_BYTES], size_t *ret_len) {
    uint64_t id = dh_ring_next(s->ring, at, entry, ENTRY_BYTES, ret_len);
    assert(id == 0 || *ret_len <= ENTRY_BYTES);
    return id;
}

static bool is_wanted(const struct dh_stream *s, const char *entry) {
    return dh_logged_is_of(entry, s->has_worker ? s->worker : NULL, s->worker_len);
}

/* Put the next entry into the chunk; false: there is none, or it is broken. */
static bool fill(struct dh_stream *s) {
    char entry[ENTRY_BYTES];
    size_t len;
    s->at = 0;
    s->len = 0;
    while (s->len == 0 && !s->is_broken) {
        uint64_t expected = s->cursor.id;
        uint64_t id = next_entry(s, &s->cursor, entry, &len);
        if (id == 0) {
            return false;
        }
        if (id > expected) {
            put_missed(s, id - expected);
        }
        if (s->is_events) {
            put_event(s, dh_event_entry_name(entry), id, dh_event_json(id, entry, len));
        } else if (is_wanted(s, entry)) {
            put_json(s, dh_logged_json(id, entry, len));
            put(s, "\n", 1);
        }
    }
    s->len = s->is_broken ? 0 : s->len;
    return !s->is_broken;
}

static void beat(struct dh_stream *s, uint64_t now_ns) {
    s->heartbeat_ns = now_ns + (uint64_t)DH_HEARTBEAT_S * NS_PER_S;
}

/* As many entries as there is room for: each call costs a write. */
static size_t read_entries(struct dh_stream *s, char *buf, size_t max) {
    size_t n = 0;
    while (n < max && (s->at < s->len || fill(s))) {
        size_t len = s->len - s->at < max - n ? s->len - s->at : max - n;
        memcpy(buf + n, s->chunk + s->at, len);
        s->at += len;
        n += len;
    }
    return n;
}

/* Called when the connection takes more. */
static ssize_t read_stream(void *arg, uint64_t pos, char *buf, size_t max) {
    struct dh_stream *s = arg;
    uint64_t now_ns = dh_clock_now();
    size_t n = read_entries(s, buf, max);
    (void)pos;
    if (n == 0 && s->is_broken) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (n == 0 && (!s->follows || s->server->is_draining)) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (n == 0 && now_ns < s->heartbeat_ns) {
        s->is_suspended = true;
        MHD_suspend_connection(s->connection);
        return 0;
    }
    if (n == 0) {
        put(s, s->is_events ? ":\n\n" : "\n", s->is_events ? 3 : 1);
        n = read_entries(s, buf, max);
    }
    beat(s, now_ns);
    return (ssize_t)n;
}

static void free_stream(void *arg) {
    struct dh_stream *s = arg;
    struct dh_server *server = s->server;
    *(s->prev != NULL ? &s->prev->next : &server->streams) = s->next;
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    server->stream_count--;
    atomic_store(&server->control->is_followed, server->stream_count > 0);
    free(s);
}

void dh_stream_wake(struct dh_server *server, uint64_t now_ns) {
    for (struct dh_stream *s = server->streams; s != NULL; s = s->next) {
        if (s->is_suspended && (server->is_draining || now_ns >= s->heartbeat_ns ||
                                dh_ring_has(s->ring, &s->cursor))) {
            s->is_suspended = false;
            MHD_resume_connection(s->connection);
        }
    }
}

uint64_t dh_stream_deadline_ns(const struct dh_server *server) {
    uint64_t at = UINT64_MAX;
    for (const struct dh_stream *s = server->streams; s != NULL; s = s->next) {
        at = s->is_suspended && s->heartbeat_ns < at ? s->heartbeat_ns : at;
    }
    return at;
}

static struct dh_stream *new_stream(struct dh_request *r, struct dh_ring *ring) {
    struct dh_server *server = r->server;
    struct dh_stream *s = server->stream_count < DH_STREAMS_MAX ? calloc(1, sizeof(*s)) : NULL;
    if (s == NULL) {
        return NULL;
    }
    s->server = server;
    s->connection = r->connection;
    s->ring = ring;
    s->next = server->streams;
    if (s->next != NULL) {
        s->next->prev = s;
    }
    server->streams = s;
    server->stream_count++;
    atomic_store(&server->control->is_followed, true);
    beat(s, dh_clock_now());
    return s;
}

static enum MHD_Result start(struct dh_request *r, struct dh_stream *s, const char *type) {
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, s, free_stream);
    bool is_bounded = !s->follows;
    if (response == NULL) {
        free_stream(s);
    }
    return dh_reply_response(r, type, response, is_bounded);
}

static enum MHD_Result too_many(struct dh_request *r) {
    return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE,
                          "%d connections follow events or logs already; try again",
                          DH_STREAMS_MAX);
}

/* Where a client that had this id goes on. The ids of another host are not ours: he hears all that
** there is. */
static uint64_t after_id(const struct dh_control *c, const char *id) {
    unsigned long long boot = 0;
    unsigned long long n = 0;
    bool is_ours = sscanf(id, "%llx-%llu", &boot, &n) == 2 && boot == boot_of(c);
    return is_ours ? n : 0;
}

enum MHD_Result dh_stream_events(struct dh_request *r) {
    struct dh_control *c = r->server->control;
    const char *last = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Last-Event-ID");
    struct dh_stream *s = new_stream(r, &c->events);
    if (s == NULL) {
        return too_many(r);
    }
    uint64_t after = r->params.has_after ? r->params.after : UINT64_MAX;
    dh_ring_seek(s->ring, last != NULL ? after_id(c, last) : after, &s->cursor);
    s->is_events = true;
    s->follows = true;
    return start(r, s, "text/event-stream");
}

/* Go on until so many wanted lines have been passed, or to the end; returns how many they were. */
static uint64_t pass_lines(const struct dh_stream *s, struct dh_ring_cursor *at, uint64_t most) {
    char entry[ENTRY_BYTES];
    size_t len;
    uint64_t n = 0;
    while (n < most && next_entry(s, at, entry, &len) != 0) {
        n += is_wanted(s, entry);
    }
    return n;
}

static uint64_t count_lines(const struct dh_stream *s) {
    struct dh_ring_cursor at;
    dh_ring_seek(s->ring, 0, &at);
    return pass_lines(s, &at, UINT64_MAX);
}

/* Back by so many lines, of this worker. */
static void seek_lines(struct dh_stream *s, uint64_t lines) {
    uint64_t all = count_lines(s);
    dh_ring_seek(s->ring, 0, &s->cursor);
    pass_lines(s, &s->cursor, all > lines ? all - lines : 0);
}

/* A name that is nobody's, and of whom no line is left, is a mistake. */
static bool is_known(const struct dh_stream *s) {
    struct dh_view view = {0};
    bool is = !s->has_worker ||
              dh_snapshot_find(&s->server->control->snapshot, s->worker, s->worker_len, &view) ||
              count_lines(s) > 0;
    dh_view_fini(&view);
    return is;
}

enum MHD_Result dh_stream_logs(struct dh_request *r) {
    struct dh_stream *s = new_stream(r, &r->server->control->logs);
    if (s == NULL) {
        return too_many(r);
    }
    s->follows = r->params.follows;
    s->has_worker = r->params.has_worker;
    s->worker_len = r->params.worker_len;
    memcpy(s->worker, r->params.worker, sizeof(s->worker));
    if (!is_known(s)) {
        free_stream(s);
        return dh_reply_error(r, MHD_HTTP_NOT_FOUND, "no worker is named '%s'", r->params.worker);
    }
    if (r->params.has_after) {
        dh_ring_seek(s->ring, r->params.after, &s->cursor);
    } else {
        seek_lines(s, r->params.lines);
    }
    return start(r, s, "application/x-ndjson");
}
