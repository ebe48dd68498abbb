/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/report.h"

#include <string.h>

#include "host/host.h"
#include "obs/log.h"

static void line(struct dh_host *host, enum dh_level level, const char *worker, const char *msg,
                 const struct dh_field *fields, size_t n) {
    dh_log_write(host->options.log, level, worker, msg, strlen(msg), fields, n);
}

static void report_crash(struct dh_host *host, const struct dh_event *ev,
                         const struct dh_report_error *error, struct dh_crash_loop *loop) {
    struct dh_report_error unknown = {"out of memory", strlen("out of memory"), NULL, 0};
    if (ev->reason != NULL) {
        unknown.message = ev->reason;
        unknown.message_len = strlen(ev->reason);
    }
    if (error == NULL) {
        error = &unknown;
    }
    struct dh_crash_loop none = {0};
    struct dh_crash_report report = {
        .worker = ev->worker->name,
        .error = error->message,
        .error_len = error->message_len,
        .traceback = error->traceback_len > 0 ? error->traceback : NULL,
        .traceback_len = error->traceback_len,
        .run = ev->run,
        .streak = ev->streak,
        .will_restart = ev->will_restart,
        .restart_in_ns = ev->will_restart ? ev->delay_ns : 0,
    };
    dh_crashlog_crash(host->options.log, loop != NULL ? loop : &none, ev->at_ns, &report);
}

static void with_reason(struct dh_host *host, enum dh_level level, const struct dh_event *ev,
                        const char *msg) {
    struct dh_field fields[2];
    size_t n = 0;
    fields[n++] = dh_field_integer("run", ev->run);
    if (ev->reason != NULL) {
        fields[n++] = dh_field_cstring("reason", ev->reason);
    }
    line(host, level, ev->worker->name, msg, fields, n);
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
        default:
            break;
    }
}

void dh_report_text(struct dh_host *host, const char *text) {
    if (host->options.log != NULL) {
        line(host, DH_LEVEL_INFO, NULL, text, NULL, 0);
    }
}
