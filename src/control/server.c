/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/server.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/control.h"
#include "control/limits.h"
#include "control/request.h"

#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u

/* Of the two daemons: what its requests may not do. */
struct dh_connection {
    struct dh_server *server;
    struct dh_connection *next;
    struct dh_connection *prev;
    int fd;
    uint64_t until_ns; /* by when it must have brought a request, or taken the answer */
    bool is_answering;
};

/* Connections: one that does not bring a whole request, or take its answer, in time is closed. MHD's own
** timeout begins anew with each byte. */

static uint64_t in_seconds(unsigned seconds) {
    return dh_clock_now() + (uint64_t)seconds * NS_PER_S;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    struct dh_server *server = arg;
    struct dh_connection *c = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        c = calloc(1, sizeof(*c));
        *context = c;
        if (c == NULL) {
            return; /* it will be closed when it asks something: on_target */
        }
        c->server = server;
        c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->until_ns = in_seconds(DH_REQUEST_S);
        c->next = server->connections;
        if (c->next != NULL) {
            c->next->prev = c;
        }
        server->connections = c;
        server->connection_count++;
    } else if (c != NULL) {
        *(c->prev != NULL ? &c->prev->next : &server->connections) = c->next;
        if (c->next != NULL) {
            c->next->prev = c->prev;
        }
        server->connection_count--;
        server->has_closed = true;
        free(c);
        *context = NULL;
    }
}

static struct dh_connection *connection_of(struct MHD_Connection *connection) {
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* MHD does not look at a connection that it has suspended: who has gone while his order is carried out
** would keep his place to the end of his patience. One who only sends no more waits for his answer. */
static void dismiss_gone(struct dh_server *server, uint64_t now_ns) {
    for (struct dh_request *r = server->waiting; r != NULL; r = r->next) {
        const struct dh_connection *c = connection_of(r->connection);
        struct pollfd fd = {c->fd, 0, 0};
        if (poll(&fd, 1, 0) > 0) { /* POLLHUP, POLLERR */
            r->deadline_ns = now_ns;
        }
    }
}

static void sweep_connections(struct dh_server *server, uint64_t now_ns) {
    if (now_ns - server->swept_ns < NS_PER_S) {
        return;
    }
    server->swept_ns = now_ns;
    dismiss_gone(server, now_ns);
    for (struct dh_connection *c = server->connections; c != NULL; c = c->next) {
        if (now_ns > c->until_ns) {
            shutdown(c->fd, SHUT_RDWR);
        }
    }
}

/* Requests */

static void join_waiting(struct dh_request *r) {
    struct dh_server *server = r->server;
    r->next = NULL;
    r->prev = server->last_waiting;
    *(r->prev != NULL ? &r->prev->next : &server->waiting) = r;
    server->last_waiting = r;
}

static void leave_waiting(struct dh_request *r) {
    *(r->prev != NULL ? &r->prev->next : &r->server->waiting) = r->next;
    *(r->next != NULL ? &r->next->prev : &r->server->last_waiting) = r->prev;
}

enum MHD_Result dh_request_wait(struct dh_request *r, uint64_t deadline_ns,
                                enum MHD_Result (*answer)(struct dh_request *r)) {
    r->deadline_ns = deadline_ns;
    r->answer = answer;
    r->phase = DH_REQUEST_WAITING;
    join_waiting(r);
    return MHD_YES;
}

static bool is_its_turn(const struct dh_request *r) {
    return r->server->making[r->is_tcp] < DH_MAKING_MAX;
}

static enum MHD_Result make_in_turn(struct dh_request *r) {
    if (is_its_turn(r)) {
        return r->make(r);
    }
    if (dh_clock_now() >= r->deadline_ns || r->server->is_draining) {
        return dh_reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE,
                              "%d long answers are being taken already; try again", DH_MAKING_MAX);
    }
    return dh_request_wait(r, r->deadline_ns, make_in_turn);
}

enum MHD_Result dh_request_make(struct dh_request *r,
                                enum MHD_Result (*make)(struct dh_request *r)) {
    r->make = make;
    r->deadline_ns = dh_clock_now() + DH_TURN_WAIT_NS;
    return make_in_turn(r);
}

void dh_request_answered(struct dh_request *r, bool is_bounded) {
    struct dh_connection *c = connection_of(r->connection);
    r->phase = DH_REQUEST_ANSWERED;
    c->is_answering = true;
    c->until_ns = is_bounded ? in_seconds(DH_ANSWER_S) : UINT64_MAX;
}

static void free_request(struct dh_request *r) {
    if (r->phase == DH_REQUEST_WAITING) {
        leave_waiting(r);
    }
    if (r->is_order_back) {
        dh_order_free(r->order);
    } else if (r->order != NULL) {
        dh_order_give_up(r->order); /* it will come back */
        dh_control_want_loop(r->server->control);
    }
    free(r);
}

/* MHD has read the first line. It would go on to keep a record of each parameter, in memory of which there is
** little, and hang where that does not do: so the query is ours from here on, and MHD finds none. */
static void *on_target(void *arg, const char *target, struct MHD_Connection *connection) {
    struct dh_request *r = connection_of(connection) != NULL ? calloc(1, sizeof(*r)) : NULL;
    char *query = strchr(target, '?');
    if (r == NULL) {
        return NULL;
    }
    r->target_len = strlen(target);
    r->server = arg;
    r->connection = connection;
    r->is_tcp =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_DAEMON)->daemon == r->server->tcp;
    if (query != NULL) {
        query++;
        r->is_query_too_long = strlen(query) > DH_REQUEST_QUERY_BYTES;
        memccpy(r->query, query, '\0', DH_REQUEST_QUERY_BYTES);
        *query = '\0';
    }
    return r;
}

static void take_body(struct dh_request *r, const char *data, size_t len) {
    if (r->is_too_big || len > sizeof(r->body) - r->body_len) {
        r->is_too_big = true;
        return;
    }
    memcpy(r->body + r->body_len, data, len);
    r->body_len += len;
}

static enum MHD_Result answer_from_now(struct dh_request *r, const char *url, const char *method) {
    struct dh_connection *c = connection_of(r->connection);
    c->is_answering = true;
    c->until_ns = UINT64_MAX; /* the answer may have to wait */
    return dh_request_dispatch(r, url, method);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **context) {
    struct dh_request *r = *context;
    (void)arg;
    if (r == NULL) { /* out of memory */
        return MHD_NO;
    }
    if (*len > 0) {
        take_body(r, data, *len);
        *len = 0;
        return MHD_YES;
    }
    if (r->phase == DH_REQUEST_BEGUN) {
        r->phase = DH_REQUEST_READING;
        return dh_head_check(r, method, url, version);
    }
    if (r->phase == DH_REQUEST_READING) {
        return answer_from_now(r, url, method);
    }
    if (r->phase == DH_REQUEST_WAITING) {
        r->is_suspended = true;
        MHD_suspend_connection(connection);
        return MHD_YES;
    }
    assert(r->phase == DH_REQUEST_READY); /* MHD does not ask again for what has been answered */
    return r->answer(r);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how) {
    struct dh_connection *c = connection_of(connection);
    (void)arg;
    (void)how;
    if (*context != NULL) {
        c->is_answering = false;
        c->until_ns = in_seconds(DH_REQUEST_S);
        free_request(*context);
        *context = NULL;
    }
}

/* Waiting */

static void take_orders_back(struct dh_server *server) {
    struct dh_order *next;
    for (struct dh_order *order = dh_orders_collect(&server->control->orders); order != NULL;
         order = next) {
        struct dh_request *r = order->request;
        next = order->next;
        dh_snapshot_expire(&server->control->snapshot);
        if (r == NULL) {
            dh_order_free(order);
        } else {
            r->is_order_back = true;
        }
    }
}

static bool is_ready(struct dh_request *r, uint64_t now_ns) {
    if (now_ns >= r->deadline_ns || r->server->is_draining) {
        return true;
    }
    if (r->order != NULL) {
        return r->is_order_back;
    }
    if (r->make != NULL) {
        return is_its_turn(r);
    }
    return dh_snapshot_is_done(&r->server->control->snapshot, r->asked);
}

static void wake_requests(struct dh_server *server, uint64_t now_ns) {
    unsigned in_turn[2] = {0};
    struct dh_request *next;
    for (struct dh_request *r = server->waiting; r != NULL; r = next) {
        next = r->next;
        if (is_ready(r, now_ns) && (r->make == NULL || in_turn[r->is_tcp]++ < DH_MAKING_MAX)) {
            leave_waiting(r);
            r->phase = DH_REQUEST_READY;
            if (r->is_suspended) {
                r->is_suspended = false;
                MHD_resume_connection(r->connection);
            }
        }
    }
}

/* The thread */

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t mhd_deadline_ns(struct MHD_Daemon *daemon, uint64_t now_ns) {
    MHD_UNSIGNED_LONG_LONG ms;
    if (daemon == NULL || MHD_get_timeout(daemon, &ms) != MHD_YES) {
        return UINT64_MAX;
    }
    return now_ns + least(ms, 3600000) * NS_PER_MS;
}

/* When the thread has something to do though nothing happens. Where no descriptor was left for a new
** connection, libmicrohttpd does not listen until one has closed, and then only from its next turn on. */
static uint64_t next_deadline_ns(struct dh_server *server, uint64_t now_ns) {
    if (server->has_closed) {
        return now_ns;
    }
    uint64_t at = dh_stream_deadline_ns(server);
    at = least(at, mhd_deadline_ns(server->local, now_ns));
    at = least(at, mhd_deadline_ns(server->tcp, now_ns));
    for (const struct dh_request *r = server->waiting; r != NULL; r = r->next) {
        at = r->make != NULL && is_its_turn(r) ? now_ns : least(at, r->deadline_ns);
    }
    return server->connections != NULL ? least(at, server->swept_ns + NS_PER_S) : at;
}

static int epoll_fd(struct MHD_Daemon *daemon) {
    return daemon != NULL ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd : -1;
}

/* Until something happens or is due, at most until then. */
static void rest(struct dh_server *server, uint64_t until_ns) {
    struct pollfd fds[] = {
        {server->control->notify_fd, POLLIN, 0},
        {epoll_fd(server->local), POLLIN, 0},
        {epoll_fd(server->tcp), POLLIN, 0},
    };
    uint64_t now_ns = dh_clock_now();
    uint64_t at = least(next_deadline_ns(server, now_ns), until_ns);
    uint64_t ns = at > now_ns ? at - now_ns : 0;
    struct timespec ts = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    uint64_t count;
    ppoll(fds, 3, at == UINT64_MAX ? NULL : &ts, NULL);
    (void)!read(server->control->notify_fd, &count, sizeof(count));
}

static void turn(struct dh_server *server) {
    uint64_t now_ns = dh_clock_now();
    atomic_store(&server->control->has_notified, false);
    server->has_closed = false;
    take_orders_back(server);
    wake_requests(server, now_ns);
    dh_stream_wake(server, now_ns);
    if (server->local != NULL) {
        MHD_run(server->local);
    }
    if (server->tcp != NULL) {
        MHD_run(server->tcp);
    }
    sweep_connections(server, now_ns);
}

static bool is_answering(const struct dh_server *server) {
    for (const struct dh_connection *c = server->connections; c != NULL; c = c->next) {
        if (c->is_answering) {
            return true;
        }
    }
    return false;
}

/* Let what is being answered get to those who asked. */
static void drain(struct dh_server *server) {
    uint64_t until = dh_clock_now() + DH_DRAIN_NS;
    server->is_draining = true;
    turn(server);
    while (is_answering(server) && dh_clock_now() < until) {
        rest(server, dh_clock_now() + NS_PER_MS);
        turn(server);
    }
}

static void *serve(void *arg) {
    struct dh_server *server = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    while (!atomic_load(&server->quits)) {
        rest(server, UINT64_MAX);
        turn(server);
    }
    drain(server);
    return NULL;
}

/* Start and stop */

/* Percent signs are read where it is known what they stand in (params.c). */
static size_t leave_escapes(void *arg, struct MHD_Connection *connection, char *text) {
    (void)arg;
    (void)connection;
    return strlen(text);
}

static unsigned connection_limit(void) {
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    getrlimit(RLIMIT_NOFILE, &limit);
    return (unsigned)least(limit.rlim_cur / 4, DH_CONNECTIONS_MAX);
}

/* The daemon of *fd, which is the daemon's then; none, and nothing to do, where it is -1. */
static bool start_daemon(struct dh_server *server, int *fd, unsigned connections,
                         struct MHD_Daemon **ret_daemon) {
    if (*fd < 0) {
        return true;
    }
    *ret_daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, server,
        MHD_OPTION_LISTEN_SOCKET, *fd, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)DH_CONNECTION_IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)DH_REQUEST_HEAD_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_URI_LOG_CALLBACK, on_target, server,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, server, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_END);
    if (*ret_daemon == NULL) {
        return false;
    }
    *fd = -1;
    return true;
}

static void stop_daemons(struct dh_server *server) {
    if (server->workers.response != NULL) {
        MHD_destroy_response(server->workers.response);
    }
    if (server->local != NULL) {
        MHD_stop_daemon(server->local);
    }
    if (server->tcp != NULL) {
        MHD_stop_daemon(server->tcp);
    }
}

static void close_fd(int fd) {
    if (fd >= 0) {
        close(fd);
    }
}

int dh_server_start(struct dh_server *server, struct dh_control *control, const char *listen,
                    char ret_address[DH_SOCKET_ADDRESS], struct dh_error *err) {
    int tcp_fd = -1;
    memset(server, 0, sizeof(*server));
    server->control = control;
    int local_fd = control->socket.fd; /* -1: none */
    if (listen != NULL) {
        tcp_fd = dh_socket_listen(listen, ret_address, err);
        if (tcp_fd < 0) {
            close_fd(local_fd);
            return tcp_fd;
        }
        server->is_loopback = dh_socket_is_loopback(tcp_fd);
    }
    if (start_daemon(server, &local_fd, connection_limit(), &server->local) &&
        start_daemon(server, &tcp_fd, connection_limit() / 2, &server->tcp) &&
        pthread_create(&server->thread, NULL, serve, server) == 0) {
        return 0;
    }
    int result = dh_error_set(err, DH_ESYSTEM, "cannot start the server: %s", strerror(errno));
    stop_daemons(server);
    close_fd(tcp_fd);
    close_fd(local_fd);
    return result;
}

void dh_server_stop(struct dh_server *server) {
    uint64_t one = 1;
    atomic_store(&server->quits, true);
    (void)!write(server->control->notify_fd, &one, sizeof(one));
    pthread_join(server->thread, NULL);
    stop_daemons(server);
}
