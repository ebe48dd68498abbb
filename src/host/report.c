/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/report.h"

#include <stdio.h>
#include <string.h>

#include "core/group.h"
#include "host/host.h"
#include "host/limits.h"
#include "obs/log.h"

static void line(struct dh_host *host, enum dh_level level, const char *worker, const char *msg,
                 const struct dh_field *fields, size_t n) {
    dh_log_write(host->options.log, level, worker, msg, strlen(msg), fields, n);
}

static struct dh_report_error of_text(const char *text) {
    size_t len = strlen(text);
    return (struct dh_report_error){text, len, NULL, 0, dh_crashlog_hash(text, len, NULL, 0)};
}

static void report_crash(struct dh_host *host, const struct dh_event *ev,
                         const struct dh_report_error *error, struct dh_crash_loop *loop) {
    struct dh_report_error unknown;
    if (error == NULL) {
        unknown = of_text(ev->reason != NULL ? ev->reason : "out of memory");
        error = &unknown;
    }
    struct dh_crash_loop none = {0};
    struct dh_crash_report report = {
        .worker = ev->worker->name,
        .error = error->message,
        .error_len = error->message_len,
        .traceback = error->traceback_len > 0 ? error->traceback : NULL,
        .traceback_len = error->traceback_len,
        .hash = error->hash,
        .run = ev->run,
        .streak = ev->streak,
        .will_restart = ev->will_restart,
        .is_rejected = ev->is_rejected,
        .restart_in_ns = ev->will_restart ? ev->delay_ns : 0,
    };
    dh_crashlog_crash(host->options.log, loop != NULL ? loop : &none, ev->at_ns, &report);
}

static void with_reason(struct dh_host *host, enum dh_level level, const struct dh_event *ev,
                        const char *msg) {
    struct dh_field fields[2];
    size_t n = 0;
    if (!dh_log_is_on(host->options.log, level)) {
        return; /* of each start */
    }
    fields[n++] = dh_field_integer("run", ev->run);
    if (ev->reason != NULL) {
        fields[n++] = dh_field_cstring("reason", ev->reason);
    }
    line(host, level, ev->worker->name, msg, fields, n);
}

/* The members that a restart of their group stops, but for the one that failed: "a, b, ...". */
static void list_taken(const struct dh_event *ev, char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    for (const struct dh_worker *w = ev->group->first; w != NULL; w = w->extra->group_next) {
        if (w == ev->worker || !dh_group_takes(w) || !dh_state_is_alive(w->state)) {
            continue;
        }
        if (at + w->name_len + sizeof(", , ...") > size) {
            snprintf(text + at, size - at, ", ...");
            return;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%s", at > 0 ? ", " : "", w->name);
    }
}

/* As often as the crashes that cause it have a line, for it says what they lead to. */
static void report_group_restart(struct dh_host *host, const struct dh_event *ev, bool is_told) {
    char msg[DH_NAME_MAX + 32];
    char taken[DH_TAKEN_BYTES];
    enum dh_level level = is_told ? DH_LEVEL_INFO : DH_LEVEL_DEBUG;
    struct dh_name name = dh_group_name(ev->group);
    if (!dh_log_is_on(host->options.log, level)) {
        return;
    }
    snprintf(msg, sizeof msg, "its group %.*s restarts", (int)name.len, name.text);
    list_taken(ev, taken, sizeof taken);
    struct dh_field fields[] = {
        dh_field_integer("run", ev->run),
        dh_field_cstring("strategy", dh_strategy_name(dh_group_strategy(ev->group))),
        dh_field_cstring("stops", taken),
    };
    line(host, level, ev->worker->name, msg, fields, taken[0] != '\0' ? 3 : 2);
}

static void report_group_failed(struct dh_host *host, const struct dh_event *ev) {
    char msg[DH_NAME_MAX + 64];
    struct dh_name name = dh_group_name(ev->group);
    snprintf(msg, sizeof msg, "its group %.*s has failed: the others in it stop", (int)name.len,
             name.text);
    with_reason(host, DH_LEVEL_WARN, ev, msg);
}

static void report_blocked(struct dh_host *host, const struct dh_event *ev) {
    char msg[DH_WAITING_FOR_MAX + 64];
    snprintf(msg, sizeof msg, "waits for %s: nothing will start it until somebody starts that",
             ev->reason);
    line(host, DH_LEVEL_WARN, ev->worker->name, msg, NULL, 0);
}

void dh_report_event(struct dh_host *host, const struct dh_event *ev,
                     const struct dh_report_error *error, struct dh_crash_loop *loop) {
    if (host->options.log == NULL) {
        return;
    }
    switch (ev->kind) {
        case DH_EVENT_CRASH:
            report_crash(host, ev, error, loop);
            break;
        case DH_EVENT_RECOVERED:
            if (loop != NULL) {
                dh_crashlog_recovered(host->options.log, loop, ev->at_ns, ev->worker->name, ev->run,
                                      ev->outage_ns);
            }
            break;
        case DH_EVENT_START:
            if (loop != NULL) {
                loop->is_told = 0;
            }
            with_reason(host, DH_LEVEL_DEBUG, ev, "started");
            break;
        case DH_EVENT_READY:
            with_reason(host, DH_LEVEL_DEBUG, ev, "ready");
            break;
        case DH_EVENT_GIVE_UP:
            with_reason(host, DH_LEVEL_WARN, ev,
                        ev->worker->policy->is_essential
                            ? "given up: it is essential, so the host stops"
                            : "given up: it will not be restarted");
            break;
        case DH_EVENT_DONE:
            if (loop != NULL) {
                dh_crashlog_end(host->options.log, loop, ev->at_ns, ev->worker->name);
            }
            with_reason(host, DH_LEVEL_INFO, ev, "done");
            break;
        case DH_EVENT_STOP:
            if (loop != NULL) {
                dh_crashlog_end(host->options.log, loop, ev->at_ns, ev->worker->name);
            }
            with_reason(host, DH_LEVEL_INFO, ev, "stopped");
            break;
        case DH_EVENT_KILL:
            with_reason(host, ev->reason != NULL ? DH_LEVEL_WARN : DH_LEVEL_DEBUG, ev, "killed");
            break;
        case DH_EVENT_BLOCKED:
            report_blocked(host, ev);
            break;
        case DH_EVENT_GROUP_RESTART:
            report_group_restart(host, ev, loop != NULL && loop->is_told);
            break;
        case DH_EVENT_GROUP_FAILED:
            report_group_failed(host, ev);
            break;
        default:
            break;
    }
}

void dh_report_text(struct dh_host *host, const char *text) {
    if (host->options.log != NULL) {
        line(host, DH_LEVEL_INFO, NULL, text, NULL, 0);
    }
}
