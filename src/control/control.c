/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/control.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/events.h"
#include "control/limits.h"

/* Loop thread */

static struct dh_control *control_of(struct dh_port *port) {
    return (struct dh_control *)port; /* first member */
}

static void notify_followers(struct dh_control *c) {
    uint64_t one = 1;
    if (atomic_load(&c->is_followed) && !atomic_exchange(&c->has_notified, true)) {
        (void)!write(c->notify_fd, &one, sizeof(one));
    }
}

static void on_event(struct dh_port *port, const struct dh_event *ev) {
    struct dh_control *c = control_of(port);
    dh_events_add(&c->events, ev);
    if (ev->kind == DH_EVENT_GONE) {
        dh_orders_on_gone(&c->orders, ev);
    }
    dh_snapshot_on_event(&c->snapshot, ev);
    notify_followers(c);
}

static void on_reloaded(struct dh_port *port, void *token, bool is_ok, const char *text) {
    dh_orders_on_reloaded(&control_of(port)->orders, token, is_ok, text);
}

static void on_line(struct dh_tap *tap, const struct dh_tap_line *line) {
    struct dh_control *c =
        (struct dh_control *)(void *)((char *)tap - offsetof(struct dh_control, tap));
    dh_logged_add(&c->logs, line);
    notify_followers(c);
}

static void tell_control(struct dh_control *c) {
    uint64_t one = 1;
    (void)!write(c->notify_fd, &one, sizeof(one));
}

static void on_stepped(struct dh_port *port) {
    struct dh_control *c = control_of(port);
    if (!atomic_load_explicit(&c->is_wanted, memory_order_relaxed)) {
        return;
    }
    atomic_store(&c->is_wanted, false);
    bool has_given = dh_orders_has_work(&c->orders) && dh_orders_step(&c->orders);
    if (dh_snapshot_has_work(&c->snapshot)) {
        dh_snapshot_step(&c->snapshot);
        if (dh_snapshot_has_work(&c->snapshot)) {
            dh_control_want_loop(c); /* the next chunk in the next turn */
        } else {
            tell_control(c);
        }
    }
    if (dh_orders_has_work(&c->orders)) {
        atomic_store(&c->is_wanted, true); /* what they wait for makes the loop turn ... */
        if (has_given) {
            dh_port_wake(c->instance); /* ... unless nothing is left to do */
        }
    }
}

void dh_control_want_loop(struct dh_control *c) {
    atomic_store(&c->is_wanted, true);
    dh_port_wake(c->instance);
}

/* Start and stop */

/* A default socket that is not to be had leaves the one that was asked for. */
static int open_socket(struct dh_control *c, const struct dh_control_options *options,
                       struct dh_error *err) {
    if (options->socket_path != NULL) {
        return dh_socket_open(&c->socket, options->socket_path, err);
    }
    int result = dh_socket_open_default(&c->socket, options->script, err);
    if (result != 0 && options->listen != NULL) {
        c->socket.fd = -1;
        return 0;
    }
    return result;
}

static void release(struct dh_control *c) {
    for (struct dh_unit *u = dh_port_first(c->instance); u != NULL; u = dh_port_next(u)) {
        *dh_port_record(u) = NULL; /* the snapshot's */
    }
    dh_ring_fini(&c->logs);
    dh_ring_fini(&c->events);
    free(c->script);
    dh_orders_fini(&c->orders);
    dh_snapshot_fini(&c->snapshot);
    close(c->notify_fd);
}

int dh_control_start(struct dh_control *c, struct dh_instance *instance,
                     const struct dh_control_options *options, char ret_address[DH_SOCKET_ADDRESS],
                     struct dh_error *err) {
    int result = DH_ENOMEM;
    memset(c, 0, sizeof(*c));
    c->port = (struct dh_port){on_event, on_stepped, on_reloaded};
    c->tap.fn = on_line;
    c->instance = instance;
    c->version = options->version;
    c->notify_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (c->notify_fd < 0) {
        return dh_error_set(err, DH_ESYSTEM, "no more open files");
    }
    dh_snapshot_init(&c->snapshot, instance);
    dh_orders_init(&c->orders, &c->snapshot, c->notify_fd);
    c->script = strdup(options->script);
    if (c->script == NULL || dh_ring_init(&c->events, DH_EVENT_RING_BYTES) != 0 ||
        dh_ring_init(&c->logs, DH_LOG_RING_BYTES) != 0) {
        goto err_after_orders;
    }
    result = open_socket(c, options, err);
    if (result != 0) {
        goto err_after_orders;
    }
    dh_snapshot_fill(&c->snapshot);
    c->started_ns = dh_clock_wall() - (dh_clock_now() - c->snapshot.host.began_ns);
    result = dh_server_start(&c->server, c, options->listen, ret_address, err);
    if (result != 0) {
        dh_socket_unlink(&c->socket);
        goto err_after_orders;
    }
    dh_port_attach(instance, &c->port);
    dh_port_set_tap(instance, &c->tap);
    return 0;

err_after_orders:
    release(c);
    return result == DH_ENOMEM ? dh_error_set(err, result, "out of memory") : result;
}

void dh_control_stop(struct dh_control *c) {
    dh_orders_end(&c->orders);
    dh_server_stop(&c->server);
    dh_socket_unlink(&c->socket);
    dh_port_attach(c->instance, NULL);
    dh_port_set_tap(c->instance, NULL);
    release(c);
}
