/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/events.h"

#include <assert.h>
#include <string.h>

#include "control/clock.h"
#include "control/json.h"
#include "core/group.h"
#include "script/failure.h"
#include "script/limits.h"

/* An entry: this, then the texts one behind the other. */
struct event_head {
    uint64_t at_ns;
    uint64_t time_ns; /* since 1970 */
    uint64_t delay_ns;
    uint64_t outage_ns;
    uint32_t run;
    uint32_t streak;
    uint8_t kind;
    uint8_t from;
    uint8_t to;
    bool will_restart;
    bool is_stopping;
    uint16_t worker_len;
    uint16_t group_len;
    uint16_t reason_len;
    uint16_t error_len;
};

struct logged_head {
    uint64_t time_ns;
    uint8_t level;
    uint8_t source;
    uint16_t worker_len;
};

static size_t add_text(char *body, size_t at, uint16_t *ret_len, const char *text, size_t len) {
    *ret_len = (uint16_t)len;
    memcpy(body + at, text, len);
    return at + len;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

void dh_events_add(struct dh_ring *ring, const struct dh_event *ev) {
    const struct dh_failure *f = ev->outcome != NULL ? ev->outcome->failure : NULL;
    char body[2 * DH_NAME_MAX + DH_REASON_MAX * 2 + DH_MESSAGE_MAX];
    struct event_head head;
    memset(&head, 0, sizeof(head));
    head.at_ns = ev->at_ns;
    head.time_ns = dh_clock_wall();
    head.delay_ns = ev->delay_ns;
    head.outage_ns = ev->outage_ns;
    head.run = ev->run;
    head.streak = ev->streak;
    head.kind = (uint8_t)ev->kind;
    head.from = (uint8_t)ev->from;
    head.to = (uint8_t)ev->to;
    head.will_restart = ev->will_restart;
    head.is_stopping = ev->is_stopping;
    size_t n = add_text(body, 0, &head.worker_len, ev->worker->name, ev->worker->name_len);
    if (ev->group != NULL) {
        n = add_text(body, n, &head.group_len, ev->group->text,
                     least(ev->group->spec.name.len, DH_NAME_MAX));
    }
    if (ev->reason != NULL) {
        n = add_text(body, n, &head.reason_len, ev->reason,
                     least(strlen(ev->reason), DH_REASON_MAX * 2));
    }
    if (f != NULL) {
        n = add_text(body, n, &head.error_len, f->message, least(f->message_len, DH_MESSAGE_MAX));
    }
    dh_ring_add(ring, &head, sizeof(head), body, n);
}

void dh_logged_add(struct dh_ring *ring, const struct dh_tap_line *line) {
    struct logged_head head = {
        .time_ns = line->time_ns,
        .level = (uint8_t)line->level,
        .source = (uint8_t)line->source,
    };
    char body[DH_LOGGED_BYTES];
    size_t n = 0;
    if (line->worker != NULL) {
        n = add_text(body, 0, &head.worker_len, line->worker,
                     least(strlen(line->worker), DH_NAME_MAX));
    }
    size_t len = least(line->len, sizeof(body) - n);
    memcpy(body + n, line->text, len);
    dh_ring_add(ring, &head, sizeof(head), body, n + len);
}

static void take_text(json_t **object, const char *key, const char **at, size_t len) {
    if (len > 0) {
        dh_json_set(object, key, dh_json_text(*at, len));
        *at += len;
    }
}

const char *dh_event_entry_name(const char *entry) {
    struct event_head head;
    memcpy(&head, entry, sizeof(head));
    return dh_event_name((enum dh_event_kind)head.kind);
}

json_t *dh_event_json(uint64_t id, const char *entry, size_t len) {
    struct event_head head;
    assert(len >= sizeof(head));
    memcpy(&head, entry, sizeof(head));
    const char *at = entry + sizeof(head);
    enum dh_event_kind kind = (enum dh_event_kind)head.kind;
    json_t *object = json_object();
    dh_json_set(&object, "id", json_integer((json_int_t)id));
    dh_json_set(&object, "event", json_string(dh_event_name(kind)));
    take_text(&object, "worker", &at, head.worker_len);
    dh_json_set(&object, "run", json_integer(head.run));
    dh_json_set(&object, "at", dh_json_seconds(head.at_ns));
    dh_json_set(&object, "time", dh_json_seconds(head.time_ns));
    take_text(&object, "group", &at, head.group_len);
    take_text(&object, "reason", &at, head.reason_len);
    take_text(&object, "error", &at, head.error_len);
    if (kind == DH_EVENT_STATE) {
        dh_json_set(&object, "from", json_string(dh_state_name((enum dh_state)head.from)));
        dh_json_set(&object, "to", json_string(dh_state_name((enum dh_state)head.to)));
    }
    if (kind == DH_EVENT_CRASH) {
        dh_json_set(&object, "streak", json_integer(head.streak));
        dh_json_set(&object, "will_restart", json_boolean(head.will_restart));
        dh_json_set(&object, "stopping", json_boolean(head.is_stopping));
    }
    bool has_delay = kind == DH_EVENT_CRASH || kind == DH_EVENT_GROUP_RESTART;
    if (has_delay && head.delay_ns != DH_NEVER) {
        dh_json_set(&object, "delay", dh_json_seconds(head.delay_ns));
    }
    if (kind == DH_EVENT_RECOVERED) {
        dh_json_set(&object, "outage", dh_json_seconds(head.outage_ns));
    }
    return object;
}

json_t *dh_logged_json(uint64_t id, const char *entry, size_t len) {
    struct logged_head head;
    assert(len >= sizeof(head));
    memcpy(&head, entry, sizeof(head));
    const char *at = entry + sizeof(head);
    json_t *object = json_object();
    dh_json_set(&object, "id", json_integer((json_int_t)id));
    dh_json_set(&object, "time", dh_json_seconds(head.time_ns));
    dh_json_set(&object, "level", json_string(dh_log_level_name((enum dh_level)head.level)));
    take_text(&object, "worker", &at, head.worker_len);
    if (head.source != DH_SOURCE_LOG) {
        dh_json_set(&object, "printed_to",
                    json_string(head.source == DH_SOURCE_STDERR ? "stderr" : "stdout"));
    }
    dh_json_set(&object, "line", dh_json_text(at, (size_t)(entry + len - at)));
    return object;
}

bool dh_logged_is_of(const char *entry, const char *worker, size_t worker_len) {
    struct logged_head head;
    if (worker == NULL) {
        return true;
    }
    memcpy(&head, entry, sizeof(head));
    return head.worker_len == worker_len && memcmp(entry + sizeof(head), worker, worker_len) == 0;
}
