/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** GET /metrics: Prometheus' text format. The only label with values from outside is a worker's name.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/control.h"
#include "control/json.h"
#include "control/limits.h"
#include "control/request.h"
#include "obs/field.h"
#include "script/preempt.h"

/* A family of samples of workers at a time: the format wants them together. */
enum family {
    RESTARTS,
    STATE,
    READY,
    STREAK,
    BACKOFF,
    UPTIME,
    CPU,
    PREEMPTIONS,
    SLICE_MAX,
    TASKS,
    HANDLES,
    MEMORY,
    FAMILIES
};

static const struct {
    const char *name;
    const char *type;
    const char *help;
} families[] = {
    [RESTARTS] = {"decnet_worker_restarts_total", "counter", "Restarts by policy, by their cause."},
    [STATE] = {"decnet_worker_state", "gauge", "1 for the state that the worker is in."},
    [READY] = {"decnet_worker_ready", "gauge", "1 if the worker is ready."},
    [STREAK] = {"decnet_worker_streak", "gauge", "Crashes in a row."},
    [BACKOFF] = {"decnet_worker_backoff_seconds", "gauge", "Time to the next restart, or 0."},
    [UPTIME] = {"decnet_worker_uptime_seconds", "gauge", "How long its run has lasted, or 0."},
    [CPU] = {"decnet_worker_cpu_seconds_total", "counter", "CPU time used by all of its runs."},
    [PREEMPTIONS] = {"decnet_worker_preemptions_total", "counter",
                     "Times the CPU was taken from it."},
    [SLICE_MAX] = {"decnet_worker_slice_max_seconds", "gauge", "Longest slice that was preempted."},
    [TASKS] = {"decnet_worker_tasks", "gauge", "Tasks of its run."},
    [HANDLES] = {"decnet_worker_handles", "gauge", "Handles that its run has open."},
    [MEMORY] = {"decnet_worker_memory_bytes", "gauge", "Bytes of Lua's memory that its run holds."},
};

/* GET /metrics, on its way. */
struct metrics {
    struct dh_pieces pieces;
    struct dh_control *control;
    struct dh_views views;
    char **labels; /* the workers' names, escaped */
    enum family family;
    size_t at; /* which worker */
    uint64_t now_ns;
};

/* A label's value: \ " and line ends escaped, valid UTF-8. */
static char *escape(const char *name, size_t len) {
    json_t *text = dh_json_text(name, len);
    const char *value = text != NULL ? json_string_value(text) : NULL;
    size_t n = 0;
    char *label = value != NULL ? malloc(2 * json_string_length(text) + 1) : NULL;
    for (size_t i = 0; label != NULL && i < json_string_length(text); i++) {
        char c = value[i];
        if (c == '\\' || c == '"' || c == '\n') {
            label[n++] = '\\';
        }
        label[n++] = c == '\n' ? 'n' : c;
    }
    if (label != NULL) {
        label[n] = '\0';
    }
    json_decref(text);
    return label;
}

static void put_number(FILE *out, double x) {
    char number[DH_FIELD_NUMBER_BYTES];
    dh_field_write_number(number, x);
    fprintf(out, " %s\n", number);
}

static void put_seconds(FILE *out, uint64_t ns) {
    char number[DH_FIELD_NUMBER_BYTES];
    dh_field_write_seconds(number, ns);
    fprintf(out, " %s\n", number);
}

static void put_family(FILE *out, const char *name, const char *type, const char *help) {
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_restarts(FILE *out, const struct dh_view *v, const char *label) {
    for (int i = 0; i < DH_RESTART_CAUSE_COUNT; i++) {
        fprintf(out, "%s{worker=\"%s\",cause=\"%s\"} %u\n", families[RESTARTS].name, label,
                dh_restart_cause_name((enum dh_restart_cause)i), v->restarted[i]);
    }
}

static void put_states(FILE *out, const struct dh_view *v, const char *label) {
    for (int i = 0; i < DH_STATE_COUNT; i++) {
        fprintf(out, "%s{worker=\"%s\",state=\"%s\"} %d\n", families[STATE].name, label,
                dh_state_name((enum dh_state)i), v->state == (enum dh_state)i);
    }
}

static uint64_t since(uint64_t at_ns, uint64_t now_ns) {
    return at_ns != 0 && at_ns < now_ns ? now_ns - at_ns : 0;
}

static void put_worker(FILE *out, enum family family, const struct dh_view *v, const char *label,
                       uint64_t now_ns) {
    if (family == RESTARTS) {
        put_restarts(out, v, label);
        return;
    }
    if (family == STATE) {
        put_states(out, v, label);
        return;
    }
    fprintf(out, "%s{worker=\"%s\"}", families[family].name, label);
    switch (family) {
        case READY:
            put_number(out, v->is_ready);
            break;
        case STREAK:
            put_number(out, v->streak);
            break;
        case BACKOFF:
            put_seconds(out, v->retry_at_ns == DH_NEVER ? 0 : since(now_ns, v->retry_at_ns));
            break;
        case UPTIME:
            put_seconds(out, v->state == DH_RUNNING ? since(v->since_ns, now_ns) : 0);
            break;
        case CPU:
            put_seconds(out, v->cpu_before_ns + v->cpu_ns);
            break;
        case PREEMPTIONS:
            put_number(out, (double)v->preemptions);
            break;
        case SLICE_MAX:
            put_seconds(out, v->slice_max_ns);
            break;
        case TASKS:
            put_number(out, v->tasks);
            break;
        case HANDLES:
            put_number(out, v->handles);
            break;
        default:
            put_number(out, (double)v->held_bytes);
            break;
    }
}

static void put_lateness(FILE *out, const struct dh_lateness *l) {
    const char *name = "decnet_wakeup_lateness_seconds";
    uint64_t count = 0;
    put_family(out, name, "histogram", "How late deadlines (sleeps, timeouts, restarts) were met.");
    for (int i = 0; i <= DH_LATENESS_BUCKETS; i++) {
        char bound[DH_FIELD_NUMBER_BYTES] = "+Inf";
        if (i < DH_LATENESS_BUCKETS) {
            dh_field_write_seconds(bound, (uint64_t)DH_LATENESS_NS << i);
        }
        count += l->counts[i];
        fprintf(out, "%s_bucket{le=\"%s\"} %llu\n", name, bound, (unsigned long long)count);
    }
    fprintf(out, "%s_sum", name);
    put_seconds(out, l->sum_ns);
    fprintf(out, "%s_count %llu\n", name, (unsigned long long)count);
}

static void put_one(FILE *out, const char *name, const char *type, const char *help, double x) {
    put_family(out, name, type, help);
    fputs(name, out);
    put_number(out, x);
}

static void put_host(FILE *out, struct dh_control *c, uint64_t now_ns) {
    struct dh_totals totals;
    struct dh_holder holder;
    dh_snapshot_totals(&c->snapshot, &totals);
    bool is_held = dh_port_get_holder(c->instance, &holder);
    put_family(out, "decnet_host_info", "gauge", "The host that answers.");
    fprintf(out, "decnet_host_info{version=\"%s\"} 1\n", c->version);
    put_one(out, "decnet_host_start_time_seconds", "gauge", "When it started, since 1970.",
            (double)c->started_ns / 1e9);
    put_one(out, "decnet_host_stopping", "gauge", "1 while it is stopping.",
            totals.host.is_stopping);
    put_one(out, "decnet_host_workers", "gauge", "Workers that it hosts.", totals.workers);
    put_one(out, "decnet_host_not_ready", "gauge", "Workers that should be ready and are not.",
            totals.unready);
    put_one(out, "decnet_host_held_seconds", "gauge",
            "For how long one worker has held the CPU past its budget, or 0.",
            is_held ? (double)since(holder.since_ns, now_ns) / 1e9 : 0);
    put_one(out, "decnet_loop_turns_total", "counter", "Turns of the run queue.",
            (double)totals.host.turns);
    put_one(out, "decnet_loop_silent_seconds", "gauge",
            "For how long the loop has left a question unanswered, or 0.",
            (double)dh_snapshot_silence_ns(&c->snapshot, now_ns) / 1e9);
    put_one(out, "decnet_late_wakeups_total", "counter",
            "Wake-ups that found their wait over: nothing came of them.",
            (double)totals.host.late_wakeups);
    put_one(out, "decnet_lua_bytes", "gauge", "Bytes that Lua holds in all.",
            (double)totals.host.lua_bytes);
    put_one(out, "decnet_collector_cycles_total", "counter", "Cycles of the garbage collector.",
            (double)totals.host.collector_cycles);
    put_one(out, "decnet_collector_seconds_total", "counter",
            "Time that the host gave the collector between slices; what it takes as workers "
            "allocate is in their CPU time.",
            (double)totals.host.collector_ns / 1e9);
    put_one(out, "decnet_log_dropped_total", "counter", "Log lines that could not be written.",
            (double)totals.host.log_dropped);
    put_one(out, "decnet_control_log_dropped_total", "counter",
            "Log lines that /v1/logs does not have.", (double)atomic_load(&c->logs.dropped));
    put_one(out, "decnet_control_events_dropped_total", "counter",
            "Events that /v1/events does not have.", (double)atomic_load(&c->events.dropped));
    put_lateness(out, &totals.host.lateness);
}

static int put_metrics(struct dh_pieces *pieces, FILE *out) {
    struct metrics *m = (struct metrics *)pieces; /* first member */
    if (m->family == 0 && m->at == 0) {
        put_host(out, m->control, m->now_ns);
    }
    for (int n = 0; n < DH_PIECE_WORKERS && m->family < FAMILIES; n++) {
        if (m->at == 0) {
            const char *name = families[m->family].name;
            put_family(out, name, families[m->family].type, families[m->family].help);
        }
        if (m->at < m->views.count) {
            put_worker(out, m->family, &m->views.list[m->at], m->labels[m->at], m->now_ns);
            m->at++;
        }
        if (m->at == m->views.count) {
            m->family++;
            m->at = 0;
        }
    }
    return m->family < FAMILIES;
}

static void free_metrics(struct dh_pieces *pieces) {
    struct metrics *m = (struct metrics *)pieces;
    for (size_t i = 0; m->labels != NULL && i < m->views.count; i++) {
        free(m->labels[i]);
    }
    free(m->labels);
    dh_views_fini(&m->views);
    free(m);
}

static struct metrics *collect(struct dh_control *c) {
    struct metrics *m = calloc(1, sizeof(*m));
    if (m == NULL || dh_snapshot_copy(&c->snapshot, &m->views) != 0) {
        free(m);
        return NULL;
    }
    m->pieces.put = put_metrics;
    m->pieces.free = free_metrics;
    m->control = c;
    m->now_ns = dh_clock_now();
    m->labels = calloc(m->views.count + 1, sizeof(*m->labels));
    bool ok = m->labels != NULL;
    for (size_t i = 0; ok && i < m->views.count; i++) {
        m->labels[i] = escape(m->views.list[i].name, m->views.list[i].name_len);
        ok = m->labels[i] != NULL;
    }
    if (!ok) {
        free_metrics(&m->pieces);
        return NULL;
    }
    return m;
}

static enum MHD_Result make_metrics(struct dh_request *r) {
    struct metrics *m = collect(r->server->control);
    if (m == NULL) {
        return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    }
    return dh_reply_pieces(r, "text/plain; version=0.0.4; charset=utf-8", &m->pieces, NULL, 0);
}

enum MHD_Result dh_metrics_answer(struct dh_request *r) {
    return dh_request_make(r, make_metrics);
}
