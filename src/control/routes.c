/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Which path is answered how.
*/
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/control.h"
#include "control/json.h"
#include "control/limits.h"
#include "control/request.h"
#include "script/preempt.h"

#define NS_PER_S 1e9

static struct dh_control *control_of(const struct dh_request *r) {
    return r->server->control;
}

/* ---- status ---------------------------------------------------------------------------------- */

static json_t *holder_json(struct dh_control *c) {
    struct dh_holder h;
    if (!dh_port_get_holder(c->instance, &h)) {
        return json_null();
    }
    json_t *json = json_object();
    dh_json_set(&json, "worker",
                h.worker[0] != '\0' ? dh_json_text(h.worker, strlen(h.worker)) : json_null());
    dh_json_set(&json, "run", json_integer(h.run));
    dh_json_set(&json, "since", dh_json_seconds(h.since_ns));
    dh_json_set(&json, "line",
                h.place[0] != '\0' ? dh_json_text(h.place, strlen(h.place)) : json_null());
    return json;
}

static json_t *host_json(struct dh_control *c, uint64_t now_ns) {
    struct dh_totals totals;
    dh_snapshot_totals(&c->snapshot, &totals);
    uint64_t silent_ns = dh_snapshot_silence_ns(&c->snapshot, now_ns);
    json_t *states = json_object();
    for (int i = 0; i < DH_STATE_COUNT; i++) {
        dh_json_set(&states, dh_state_name((enum dh_state)i), json_integer(totals.counts[i]));
    }
    json_t *json = json_object();
    dh_json_set(&json, "pid", json_integer(getpid()));
    dh_json_set(&json, "version", json_string(c->version));
    dh_json_set(&json, "script", dh_json_text(c->script, strlen(c->script)));
    dh_json_set(&json, "now", dh_json_seconds(now_ns));
    dh_json_set(&json, "time", dh_json_seconds(dh_clock_wall()));
    dh_json_set(&json, "uptime_s", dh_json_seconds(now_ns - totals.host.began_ns));
    dh_json_set(&json, "stopping", json_boolean(totals.host.is_stopping));
    dh_json_set(&json, "workers", json_integer(totals.workers));
    dh_json_set(&json, "states", states);
    dh_json_set(&json, "silent_s", dh_json_seconds(silent_ns));
    return json;
}

static int put_json(FILE *out, json_t *json) {
    int result = json != NULL && json_dumpf(json, out, DH_JSON_FLAGS) == 0 ? 0 : DH_ENOMEM;
    json_decref(json);
    return result;
}

/* GET /v1/workers, on its way. */
struct told {
    struct dh_pieces pieces;
    struct dh_control *control;
    struct dh_views views;
    size_t at;
    uint64_t now_ns;
};

static int put_host(struct told *t, FILE *out) {
    fputs("{\"host\":", out);
    int result = put_json(out, host_json(t->control, t->now_ns));
    fputs(",\n\"holder\":", out);
    result = result == 0 ? put_json(out, holder_json(t->control)) : result;
    fputs(",\n\"workers\":[\n", out);
    return result;
}

/* One worker at a time: a hundred thousand as values of jansson would take a gigabyte. */
static int put_told(struct dh_pieces *pieces, FILE *out) {
    struct told *t = (struct told *)pieces; /* first member */
    int result = t->at == 0 ? put_host(t, out) : 0;
    for (int n = 0; result == 0 && n < DH_PIECE_WORKERS && t->at < t->views.count; n++) {
        fputs(t->at > 0 ? ",\n" : "", out);
        result = put_json(out, dh_json_worker(&t->views.list[t->at++], t->now_ns));
    }
    if (result == 0 && t->at < t->views.count) {
        return 1;
    }
    fputs("]}\n", out);
    return result;
}

static void free_told(struct dh_pieces *pieces) {
    struct told *t = (struct told *)pieces;
    dh_views_fini(&t->views);
    free(t);
}

static enum MHD_Result make_workers(struct dh_request *r) {
    struct dh_snapshot *s = &control_of(r)->snapshot;
    struct dh_kept *kept = &r->server->workers;
    uint64_t now_ns = dh_clock_now();
    uint64_t version = dh_snapshot_version(s, now_ns);
    if (version != 0 && version == kept->version) {
        return dh_reply_kept(r, kept);
    }
    struct told *t = calloc(1, sizeof(*t));
    if (t == NULL || dh_snapshot_copy(s, &t->views) != 0) {
        free(t);
        return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    }
    t->pieces.put = put_told;
    t->pieces.free = free_told;
    t->control = control_of(r);
    t->now_ns = now_ns;
    return dh_reply_pieces(r, "application/json", &t->pieces, kept, version);
}

static enum MHD_Result answer_workers(struct dh_request *r) {
    return dh_request_make(r, make_workers);
}

/* Let the loop bring the snapshot up to date, if it is not fresh, then answer: at once if the loop has
** been silent for too long already. */
static enum MHD_Result refresh_then(struct dh_request *r,
                                    enum MHD_Result (*answer)(struct dh_request *r)) {
    struct dh_control *c = control_of(r);
    if (dh_snapshot_version(&c->snapshot, dh_clock_now()) != 0) {
        return answer(r);
    }
    r->asked = dh_snapshot_ask(&c->snapshot);
    dh_control_want_loop(c);
    return dh_request_wait(r, dh_snapshot_patience_ns(&c->snapshot), answer);
}

static enum MHD_Result get_workers(struct dh_request *r) {
    return refresh_then(r, answer_workers);
}

static enum MHD_Result get_metrics(struct dh_request *r) {
    return refresh_then(r, dh_metrics_answer);
}

/* ---- health ---------------------------------------------------------------------------------- */

/* For how long has the loop stood still, as far as we know? */
static double standstill_s(struct dh_control *c) {
    uint64_t now_ns = dh_clock_now();
    uint64_t ns = dh_snapshot_silence_ns(&c->snapshot, now_ns);
    struct dh_holder h;
    if (ns > 0 && dh_port_get_holder(c->instance, &h) && h.since_ns < now_ns &&
        now_ns - h.since_ns > ns) {
        ns = now_ns - h.since_ns;
    }
    return (double)ns / NS_PER_S;
}

static enum MHD_Result answer_livez(struct dh_request *r) {
    struct dh_control *c = control_of(r);
    double stood_s = standstill_s(c);
    bool is_alive = stood_s <= r->params.within_s;
    json_t *json = json_object();
    dh_json_set(&json, "live", json_boolean(is_alive));
    dh_json_set(&json, "silent_s", json_real(stood_s));
    dh_json_set(&json, "holder", holder_json(c));
    return dh_reply_json(r, is_alive ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, json);
}

static enum MHD_Result get_livez(struct dh_request *r) {
    return refresh_then(r, answer_livez);
}

static enum MHD_Result answer_readyz(struct dh_request *r) {
    struct dh_totals totals;
    dh_snapshot_totals(&control_of(r)->snapshot, &totals);
    bool is_ready = totals.unready == 0 && !totals.host.is_stopping;
    json_t *json = json_object();
    dh_json_set(&json, "ready", json_boolean(is_ready));
    dh_json_set(&json, "stopping", json_boolean(totals.host.is_stopping));
    dh_json_set(&json, "workers", json_integer(totals.workers));
    dh_json_set(&json, "not_ready", json_integer(totals.unready));
    return dh_reply_json(r, is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, json);
}

static enum MHD_Result get_readyz(struct dh_request *r) {
    return refresh_then(r, answer_readyz);
}

/* ---- one worker, orders ---------------------------------------------------------------------- */

static enum MHD_Result send_order(struct dh_request *r, enum dh_order_kind kind,
                                  uint64_t deadline_ns,
                                  enum MHD_Result (*answer)(struct dh_request *r)) {
    struct dh_control *c = control_of(r);
    struct dh_order *order = dh_order_new(kind, r->name, r->name_len);
    if (order == NULL) {
        return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    }
    order->waits = r->params.wait_s > 0;
    order->request = r;
    if (dh_orders_send(&c->orders, order) != 0) {
        dh_order_free(order);
        return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE,
                              "%d orders are under way already; try again", DH_ORDERS_MAX);
    }
    r->order = order;
    dh_control_want_loop(c);
    return dh_request_wait(r, deadline_ns, answer);
}

static enum MHD_Result not_found(struct dh_request *r) {
    return dh_reply_error(r, MHD_HTTP_NOT_FOUND, "no worker is named '%s'", r->name);
}

static enum MHD_Result answer_worker(struct dh_request *r) {
    struct dh_control *c = control_of(r);
    struct dh_view view = {0};
    json_t *json;
    if (r->is_order_back && r->order->result == DH_ENOENT) {
        return not_found(r);
    }
    if (r->is_order_back && r->order->result == 0) {
        json = dh_json_worker(&r->order->view, dh_clock_now());
        dh_json_set(&json, "endings", dh_json_endings(r->order));
    } else if (dh_snapshot_find(&c->snapshot, r->name, r->name_len, &view)) {
        json = dh_json_worker(&view, dh_clock_now());
        dh_json_set(&json, "endings", json_null());
        dh_view_fini(&view);
    } else {
        return not_found(r);
    }
    return dh_reply_json(r, MHD_HTTP_OK, json);
}

static enum MHD_Result get_worker(struct dh_request *r) {
    return send_order(r, DH_ASK_DOSSIER, dh_clock_now() + DH_REFRESH_WAIT_NS, answer_worker);
}

/* Given, but not (yet) carried out. */
static enum MHD_Result reply_pending(struct dh_request *r, json_t *worker) {
    json_t *json = json_object();
    dh_json_set(&json, "done", json_false());
    dh_json_set(&json, "worker", worker);
    dh_json_set(&json, "holder", holder_json(control_of(r)));
    return dh_reply_json(r, MHD_HTTP_ACCEPTED, json);
}

static enum MHD_Result reply_done(struct dh_request *r, json_t *worker) {
    json_t *json = json_object();
    dh_json_set(&json, "done", json_true());
    dh_json_set(&json, "worker", worker);
    return dh_reply_json(r, MHD_HTTP_OK, json);
}

static enum MHD_Result answer_order(struct dh_request *r) {
    struct dh_control *c = control_of(r);
    struct dh_view view = {0};
    if (!r->is_order_back) {
        json_t *worker = json_null();
        if (dh_snapshot_find(&c->snapshot, r->name, r->name_len, &view)) {
            worker = dh_json_worker(&view, dh_clock_now());
            dh_view_fini(&view);
        }
        return reply_pending(r, worker);
    }
    switch (r->order->result) {
        case 0: {
            json_t *worker = dh_json_worker(&r->order->view, dh_clock_now());
            return r->order->waits ? reply_done(r, worker) : reply_pending(r, worker);
        }
        case DH_ENOENT:
            return not_found(r);
        case DH_ESTATE:
            return dh_reply_error(r, MHD_HTTP_CONFLICT,
                                  "nothing to do: the worker is done, stopped, or being removed; "
                                  "start it");
        case DH_ESHUTDOWN:
            return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the host is stopping");
        default:
            return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "%s",
                                  dh_error_text(r->order->result));
    }
}

static enum MHD_Result answer_shutdown(struct dh_request *r) {
    return r->is_order_back && r->order->waits ? reply_done(r, json_null())
                                               : reply_pending(r, json_null());
}

static enum MHD_Result answer_reload(struct dh_request *r) {
    const struct dh_order *order = r->order;
    if (!r->is_order_back || (order->result == 0 && !order->waits)) {
        return reply_pending(r, json_null());
    }
    if (order->result != 0) {
        return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "%s", dh_error_text(order->result));
    }
    const char *text = order->text != NULL ? order->text : "";
    if (!order->is_ok) {
        return dh_reply_error(r, MHD_HTTP_UNPROCESSABLE_CONTENT, "%s", text);
    }
    json_t *json = json_object();
    dh_json_set(&json, "done", json_true());
    dh_json_set(&json, "message", dh_json_text(text, strlen(text)));
    return dh_reply_json(r, MHD_HTTP_OK, json);
}

/* Who does not wait has his answer when the order is given: a matter of one turn. */
static uint64_t order_deadline_ns(const struct dh_request *r) {
    double wait_s = r->params.wait_s;
    uint64_t wait_ns = (uint64_t)(wait_s * NS_PER_S);
    return dh_clock_now() + (wait_s > 0 ? wait_ns : DH_REFRESH_WAIT_NS);
}

static enum MHD_Result post_start(struct dh_request *r) {
    return send_order(r, DH_ASK_START, order_deadline_ns(r), answer_order);
}

static enum MHD_Result post_stop(struct dh_request *r) {
    return send_order(r, DH_ASK_STOP, order_deadline_ns(r), answer_order);
}

static enum MHD_Result post_restart(struct dh_request *r) {
    return send_order(r, DH_ASK_RESTART, order_deadline_ns(r), answer_order);
}

static enum MHD_Result post_retry(struct dh_request *r) {
    return send_order(r, DH_ASK_RETRY, order_deadline_ns(r), answer_order);
}

static enum MHD_Result post_reset(struct dh_request *r) {
    return send_order(r, DH_ASK_RESET, order_deadline_ns(r), answer_order);
}

static enum MHD_Result post_reload(struct dh_request *r) {
    return send_order(r, DH_ASK_RELOAD, order_deadline_ns(r), answer_reload);
}

/* Until a thread has it, one more would be the same one. All signals are blocked in this thread, so
** they are in the set. */
static bool is_term_pending(void) {
    sigset_t set;
    sigemptyset(&set);
    sigpending(&set);
    return sigismember(&set, SIGTERM) == 1;
}

/* The loop has not taken the order: somebody has the CPU, perhaps for good. Signals do not need the
** loop, and are seen to by who watches it. */
static enum MHD_Result insist_on_shutdown(struct dh_request *r) {
    struct dh_control *c = control_of(r);
    if (r->is_order_back || r->server->is_draining) {
        return answer_shutdown(r);
    }
    if (dh_orders_is_waiting(&c->orders, r->order) &&
        c->signals_sent < (r->params.is_now ? 2 : 1) && dh_clock_now() < r->insists_until_ns) {
        if (!r->params.is_now || !is_term_pending()) {
            c->signals_sent++;
            kill(getpid(), SIGTERM);
        }
        return dh_request_wait(r, dh_clock_now() + DH_REFRESH_WAIT_NS, insist_on_shutdown);
    }
    return dh_request_wait(r, order_deadline_ns(r), answer_shutdown);
}

static enum MHD_Result post_shutdown(struct dh_request *r) {
    r->insists_until_ns = dh_clock_now() + DH_INSIST_NS;
    return send_order(r, r->params.is_now ? DH_ASK_SHUTDOWN_NOW : DH_ASK_SHUTDOWN,
                      dh_clock_now() + DH_REFRESH_WAIT_NS, insist_on_shutdown);
}

/* ---- paths ----------------------------------------------------------------------------------- */

struct route {
    const char *path; /* segments; "*" is the name of a worker */
    bool is_order;    /* POST; else GET and HEAD */
    const char *params;
    enum MHD_Result (*handle)(struct dh_request *r);
};

static const struct route routes[] = {
    {"v1/workers", false, "", get_workers},
    {"v1/workers/*", false, "", get_worker},
    {"v1/workers/*/start", true, "wait", post_start},
    {"v1/workers/*/stop", true, "wait", post_stop},
    {"v1/workers/*/restart", true, "wait", post_restart},
    {"v1/workers/*/retry", true, "wait", post_retry},
    {"v1/workers/*/reset", true, "wait", post_reset},
    {"v1/reload", true, "wait", post_reload},
    {"v1/shutdown", true, "wait now", post_shutdown},
    {"v1/events", false, "after", dh_stream_events},
    {"v1/logs", false, "worker lines follow after", dh_stream_logs},
    {"metrics", false, "", get_metrics},
    {"livez", false, "within", get_livez},
    {"readyz", false, "", get_readyz},
};

enum match { MATCH_NO, MATCH_YES, MATCH_BAD_NAME };

/* Does the path, without its first slash, fit? Reads the name in it. */
static enum match match(const char *pattern, const char *path, struct dh_request *r) {
    for (;;) {
        size_t pattern_len = strcspn(pattern, "/");
        size_t path_len = strcspn(path, "/");
        if (pattern[0] == '*') {
            long len = dh_params_decode(r->name, sizeof(r->name), path, path_len);
            if (len <= 0) {
                return path_len == 0 ? MATCH_NO : MATCH_BAD_NAME;
            }
            r->name_len = (size_t)len;
        } else if (pattern_len != path_len || memcmp(pattern, path, path_len) != 0) {
            return MATCH_NO;
        }
        pattern += pattern_len;
        path += path_len;
        if (*pattern == '\0' || *path == '\0') {
            return *pattern == *path ? MATCH_YES : MATCH_NO;
        }
        pattern++;
        path++;
    }
}

static enum MHD_Result handle(struct dh_request *r, const struct route *route, const char *method) {
    enum MHD_Result result;
    r->is_head = strcmp(method, "HEAD") == 0;
    bool is_get = r->is_head || strcmp(method, "GET") == 0;
    bool is_allowed = route->is_order ? strcmp(method, "POST") == 0 : is_get;
    if (!is_allowed) {
        return dh_reply_not_allowed(r, route->is_order ? "POST" : "GET, HEAD");
    }
    if (route->is_order && r->is_tcp) {
        return dh_reply_error(
            r, MHD_HTTP_FORBIDDEN,
            "orders are taken on the control socket only: this port is read only");
    }
    return dh_params_read(r, route->params, &result) ? route->handle(r) : result;
}

/* The path of a target: all of it, or what is behind the authority. */
static const char *path_of(const char *target) {
    const char *authority = dh_head_authority(target);
    return authority != NULL ? authority + strcspn(authority, "/") : target;
}

enum MHD_Result dh_request_dispatch(struct dh_request *r, const char *target, const char *method) {
    const char *url = path_of(target);
    bool is_bad_name = false;
    for (size_t i = 0; url[0] == '/' && i < sizeof(routes) / sizeof(routes[0]); i++) {
        enum match m = match(routes[i].path, url + 1, r);
        if (m == MATCH_YES) {
            return handle(r, &routes[i], method);
        }
        is_bad_name = is_bad_name || m == MATCH_BAD_NAME;
    }
    if (is_bad_name) {
        return dh_reply_error(r, MHD_HTTP_BAD_REQUEST,
                              "the name of a worker in a path: UTF-8, %%XX for what is special, at "
                              "most 200 bytes");
    }
    return dh_reply_error(r, MHD_HTTP_NOT_FOUND, "no such path; GET /v1/workers is one");
}
