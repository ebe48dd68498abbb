/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The control plane: requests in any pieces over several connections at a time, among what else happens.
** It is all of src/control, MHD included, on this thread and with a clock that stands: only the host is a
** fake (fakehost.h).
**
** An input is what the clients send, with bytes in it that do something else:
**
**   01  another connection (the next of four), opened if need be    02  the loop turns
**   03  60 ms pass       04  21 s pass       05  the client sends no more       06  the client goes
**   07  an event; its kind and worker are the next byte             08  the server turns: a new piece
**   0b  what follows is logged, to the next of these bytes          0c  a worker comes or goes
**   0e  from here on new connections are those of --listen          0f  the CPU is held, or no longer
**   1e  a worker comes that has what follows, to the next of these bytes, for a name and an error
**   1f  the next byte is sent as it is
**   1d  memory is out at the n-th request for some, and at all from there on if n has bit 15 (2 bytes)
**
** Wrong is: an answer that is not HTTP, not of its type, or never comes; an order that nobody gave; anything
** left when all clients have gone. Who asks when memory is out once may have no answer; all others have theirs.
**
** With DECNET_FUZZ_REFUSE in the environment an input is played again and again, memory being out at each
** request in turn, and so is the start of the server.
*/
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "answers.h"
#include "control/request.h"
#include "fakehost.h"
#include "fuzz.h"
#include "refuse.h"

/* The server without its thread: turn() is called here. */
static int no_thread(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                     void *arg) {
    (void)thread;
    (void)attr;
    (void)fn;
    (void)arg;
    return refuse_this() ? EAGAIN : 0;
}

static int no_join(pthread_t thread, void **ret_value) {
    (void)thread;
    (void)ret_value;
    return 0;
}

static struct MHD_Daemon *no_daemon(void) {
    errno = ENOMEM;
    return NULL;
}

static enum MHD_Result noted_head_check(struct dh_request *r, const char *method,
                                        const char *target, const char *version);
static enum MHD_Result noted_dispatch(struct dh_request *r, const char *target, const char *method);

#define pthread_create no_thread
#define pthread_join no_join
#define MHD_start_daemon(...) (refuse_this() ? no_daemon() : MHD_start_daemon(__VA_ARGS__))
#define dh_head_check noted_head_check
#define dh_request_dispatch noted_dispatch
#include "control/server.c"
#undef pthread_create
#undef pthread_join
#undef MHD_start_daemon
#undef dh_head_check
#undef dh_request_dispatch

enum { CLIENTS = 4, ASKED_MAX = 256, GOT_BYTES = 1 << 20, REFUSE_ALL = 0x8000 };

struct client {
    int fd; /* -1: none */
    bool has_gone;
    bool sends_no_more;
    int server_fd; /* the other end */
    struct asked asked[ASKED_MAX];
    size_t asked_count;
    char *got;
    size_t got_len;
};

static struct dh_control control;
static struct client clients[CLIENTS];
static unsigned current;
static bool is_remote;
static uint64_t clock_ns;
static struct fake_order wanted[FAKE_ORDERS]; /* orders that were asked for */
static unsigned wanted_count;
static unsigned signals_wanted;
static unsigned signals_sent;

/* ---- in place of the system's ---------------------------------------------------------------- */

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_kill(pid_t pid, int signal);
int __wrap_dh_socket_open(struct dh_socket *s, const char *path, struct dh_error *err);
void __wrap_dh_socket_unlink(struct dh_socket *s);
int __wrap_dh_socket_listen(const char *where, char ret_address[DH_SOCKET_ADDRESS],
                            struct dh_error *err);
bool __wrap_dh_socket_is_loopback(int fd);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts) {
    (void)id;
    ts->tv_sec = (time_t)(clock_ns / 1000000000u);
    ts->tv_nsec = (long)(clock_ns % 1000000000u);
    return 0;
}

int __wrap_kill(pid_t pid, int signal) {
    HOLDS(pid == getpid() && signal == SIGTERM);
    signals_sent++;
    return 0;
}

/* Nobody connects: MHD is given connections. */
static int a_listener(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    HOLDS(fd >= 0);
    HOLDS(bind(fd, (struct sockaddr *)&address, sizeof(address.sun_family)) == 0);
    HOLDS(listen(fd, 1) == 0);
    return fd;
}

int __wrap_dh_socket_open(struct dh_socket *s, const char *path, struct dh_error *err) {
    (void)path;
    (void)err;
    s->fd = a_listener();
    return 0;
}

void __wrap_dh_socket_unlink(struct dh_socket *s) {
    (void)s;
}

int __wrap_dh_socket_listen(const char *where, char ret_address[DH_SOCKET_ADDRESS],
                            struct dh_error *err) {
    (void)where;
    (void)err;
    ret_address[0] = '\0';
    return a_listener();
}

bool __wrap_dh_socket_is_loopback(int fd) {
    (void)fd;
    return true;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

static int digit_of(char c) {
    const char *at = c != '\0' ? strchr("0123456789abcdef0123456789ABCDEF", c) : NULL;
    return at != NULL ? (int)(at - "0123456789abcdef0123456789ABCDEF") % 16 : -1;
}

/* The name in "/v1/workers/NAME/verb", percent signs decoded; false: it is another path. */
static bool split_path(const char *url, char name[DH_NAME_MAX + 1], const char **ret_verb) {
    static const char prefix[] = "/v1/workers/";
    size_t n = 0;
    if (strncmp(url, prefix, sizeof(prefix) - 1) != 0) {
        return false;
    }
    for (url += sizeof(prefix) - 1; *url != '/' && *url != '\0' && n < DH_NAME_MAX; url++) {
        char c = *url;
        if (c == '%' && digit_of(url[1]) >= 0 && digit_of(url[2]) >= 0) {
            c = (char)(digit_of(url[1]) * 16 + digit_of(url[2]));
            url += 2;
        }
        name[n++] = c;
    }
    name[n] = '\0';
    *ret_verb = url + (*url == '/');
    return *url == '/';
}

static void want(int kind, const char *name) {
    HOLDS(wanted_count < FAKE_ORDERS);
    wanted[wanted_count].kind = kind;
    strcpy(wanted[wanted_count++].name, name);
}

static void note_wanted(const char *url) {
    static const char *const verbs[] = {"start", "stop", "restart", "retry", "reset"};
    char name[DH_NAME_MAX + 1];
    const char *verb;
    if (strcmp(url, "/v1/reload") == 0) {
        want(FAKE_RELOAD, "");
    } else if (strcmp(url, "/v1/shutdown") == 0) {
        want(FAKE_STOP, "");
        want(FAKE_STOP_NOW, "");
        signals_wanted += 2;
    } else if (split_path(url, name, &verb)) {
        for (int i = 0; i < 5; i++) {
            if (strcmp(verb, verbs[i]) == 0) {
                want(i, name);
            }
        }
    }
}

static struct client *client_of(int server_fd) {
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i].server_fd == server_fd) {
            return &clients[i];
        }
    }
    return NULL;
}

static void note_asked(const struct dh_request *r, struct asked asked) {
    struct client *c = client_of(
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
    HOLDS(c != NULL && c->asked_count < ASKED_MAX);
    c->asked[c->asked_count++] = asked;
}

static enum MHD_Result noted_head_check(struct dh_request *r, const char *method,
                                        const char *target, const char *version) {
    enum MHD_Result result = dh_head_check(r, method, target, version);
    if (r->phase == DH_REQUEST_ANSWERED) {
        note_asked(r, (struct asked){.is_refused = true});
    }
    return result;
}

static enum MHD_Result noted_dispatch(struct dh_request *r, const char *target,
                                      const char *method) {
    const char *url = strncasecmp(target, "http://", 7) == 0 ? strchr(target + 7, '/') : target;
    const char *given = method;
    url = url != NULL ? url : "";
    note_asked(r, (struct asked){
                      .is_head = strcmp(method, "HEAD") == 0,
                      .is_probe = strcmp(url, "/readyz") == 0 || strcmp(url, "/livez") == 0,
                  });
    if (strcmp(method, "POST") == 0 && !r->is_tcp) {
        note_wanted(url);
    }
#if FUZZ_CANARY
    given = strcmp(method, "PUT") == 0 ? "POST" : method; /* an order by another method */
#endif
    return dh_request_dispatch(r, target, given);
}

static void check_orders(void) {
    for (unsigned i = 0; i < fake.order_count; i++) {
        const struct fake_order *o = &fake.orders[i];
        unsigned n = 0;
        while (n < wanted_count &&
               (wanted[n].kind != o->kind || strcmp(wanted[n].name, o->name) != 0)) {
            n++;
        }
        HOLDS(n < wanted_count); /* nobody asked for it */
        wanted[n].kind = -1;     /* once */
    }
    HOLDS(signals_sent <= signals_wanted);
}

/* ---- clients --------------------------------------------------------------------------------- */

static void open_client(struct client *c) {
    int fds[2];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    struct MHD_Daemon *daemon = is_remote ? control.server.tcp : control.server.local;
    HOLDS(MHD_add_connection(daemon, fds[1], (struct sockaddr *)&address,
                             sizeof(address.sun_family)) == MHD_YES);
    struct client *before = client_of(fds[1]); /* who is gone, his number used again */
    if (before != NULL) {
        before->server_fd = -1;
    }
    c->fd = fds[0];
    c->server_fd = fds[1];
}

static void read_answers(struct client *c) {
    ssize_t n;
    while (c->fd >= 0 && c->got_len < GOT_BYTES &&
           (n = read(c->fd, c->got + c->got_len, GOT_BYTES - c->got_len)) > 0) {
        c->got_len += (size_t)n;
    }
}

static void turn_server(void) {
    turn(&control.server);
    for (int i = 0; i < CLIENTS; i++) {
        read_answers(&clients[i]);
    }
}

static void send_piece(const uint8_t *data, size_t len) {
    struct client *c = &clients[current];
    if (len == 0) {
        return;
    }
    if (c->fd < 0 && !c->has_gone) {
        open_client(c);
    }
    if (c->fd >= 0 && !c->sends_no_more) {
        (void)!send(c->fd, data, len, MSG_NOSIGNAL);
        turn_server();
    }
}

static void leave(struct client *c) {
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
        c->has_gone = true;
    }
}

/* ---- an input -------------------------------------------------------------------------------- */

static size_t literal(const uint8_t *data, size_t len) {
    size_t n = 0;
    while (n < len &&
           !(data[n] < 0x10 && data[n] != '\r' && data[n] != '\n' && data[n] != '\t' &&
             data[n] != 0) &&
           data[n] != 0x1d && data[n] != 0x1e && data[n] != 0x1f) {
        n++;
    }
    return n;
}

static void happen(uint8_t what) {
    struct fake_worker *w = &fake.workers[what % FAKE_WORKERS];
    enum dh_event_kind kind = (enum dh_event_kind)(what / FAKE_WORKERS % (DH_EVENT_BLOCKED + 1));
    if (w->is_there && kind != DH_EVENT_GONE && kind != DH_EVENT_GROUP_RESTART &&
        kind != DH_EVENT_GROUP_FAILED) {
        fake_event(w, kind);
    }
}

static void come_or_go(void) {
    struct fake_worker *w = &fake.workers[fake.steps % FAKE_WORKERS];
    if (w->is_there) {
        fake_remove(w);
    } else {
        fake_add(w);
    }
}

static void refuse(unsigned n) {
    refuse_from(n % REFUSE_ALL, (n & REFUSE_ALL) != 0);
}

static void act(uint8_t op, struct fuzz_input *in) {
    size_t n = 0;
    switch (op) {
        case 0x01:
            current = (current + 1) % CLIENTS;
            break;
        case 0x02:
            fake_step();
            break;
        case 0x03:
            clock_ns += 60000000u;
            break;
        case 0x04:
            clock_ns += UINT64_C(21000000000);
            break;
        case 0x05:
            if (clients[current].fd >= 0) {
                shutdown(clients[current].fd, SHUT_WR);
                clients[current].sends_no_more = true;
            }
            break;
        case 0x06:
            leave(&clients[current]);
            break;
        case 0x07:
            happen(fuzz_byte(in));
            break;
        case 0x0b:
            n = literal(in->at, in->left);
            fake_log(n % 2 == 0 ? &fake.workers[n % FAKE_WORKERS] : NULL, (const char *)in->at, n);
            break;
        case 0x0c:
            come_or_go();
            break;
        case 0x0e:
            is_remote = true;
            break;
        case 0x0f:
            fake.is_held = !fake.is_held;
            break;
        case 0x1d:
            refuse((unsigned)fuzz_number(in, 2));
            break;
        case 0x1e:
            n = literal(in->at, in->left);
            fake_rename((const char *)in->at, n);
            break;
        case 0x1f:
            n = in->left > 0;
            send_piece(in->at, n);
            break;
        default:
            break;
    }
    in->at += n;
    in->left -= n;
    turn_server();
}

static bool is_starved(void) {
    return getenv("DECNET_FUZZ_REFUSE") != NULL;
}

/* As if the server had just been started. */
static void begin(void) {
    if (control.server.workers.response != NULL) {
        MHD_destroy_response(control.server.workers.response);
    }
    control.server.workers = (struct dh_kept){0};
    clock_ns = UINT64_C(1763841600000000000);
    control.server.swept_ns = 0;
    control.signals_sent = 0;
    control.events.first = control.events.end = 0;
    control.events.first_id = control.events.next_id = 1;
    control.logs.first = control.logs.end = 0;
    control.logs.first_id = control.logs.next_id = 1;
    fake_init();
    dh_snapshot_fini(&control.snapshot);
    dh_snapshot_init(&control.snapshot, NULL);
    dh_snapshot_fill(&control.snapshot);
    current = 0;
    is_remote = false;
    wanted_count = 0;
    signals_wanted = 0;
    signals_sent = 0;
    for (int i = 0; i < CLIENTS; i++) {
        char *got = clients[i].got;
        clients[i] = (struct client){.fd = -1, .server_fd = -1, .got = got};
    }
}

static size_t count_asked(void) {
    size_t count = 0;
    for (int i = 0; i < CLIENTS; i++) {
        count += clients[i].asked_count;
    }
    return count;
}

static void turn_server_often(void) {
    for (int i = 0; i < 8; i++) {
        turn_server();
    }
}

/* The loop turns, time goes by, but not while an answer is on its way: whoever waits has his answer in the end,
** and then what he sent behind it is read. A request has to wait twice at most: for the loop, and for its order
** (/v1/shutdown). */
static void finish(void) {
    size_t before;
    size_t rounds = 0;
    do {
        before = count_asked();
        for (int i = 0; i < 8; i++) {
            fake_step();
            turn_server();
        }
        turn_server_often();
        if (control.server.waiting != NULL) {
            clock_ns += UINT64_C(3601000000000);
        }
        turn_server_often();
        HOLDS(rounds++ <= 3 * count_asked());
    } while (control.server.waiting != NULL || count_asked() > before);
}

static void check_answers(unsigned refused) {
    unsigned unanswered = 0;
    for (int i = 0; i < CLIENTS; i++) {
        struct client *c = &clients[i];
        bool is_cut = c->has_gone || c->sends_no_more || c->got_len == GOT_BYTES;
        size_t done =
            answers_read(c->got, c->got_len, c->asked, c->asked_count, is_cut || refused > 0);
        unanswered += done < c->asked_count && !is_cut;
    }
    HOLDS(unanswered <= refused);
}

/* Everybody goes; nothing may be left. */
static void end(void) {
    struct dh_orders *orders = &control.orders;
    for (int i = 0; i < CLIENTS; i++) {
        leave(&clients[i]);
    }
    for (int i = 0; i < 12 && (control.server.connections != NULL || orders->count > 0); i++) {
        clock_ns += UINT64_C(16000000000);
        fake_step();
        turn_server();
    }
    HOLDS(control.server.connections == NULL && control.server.connection_count == 0);
    HOLDS(control.server.streams == NULL && control.server.stream_count == 0);
    HOLDS(orders->count == 0 && orders->sent == NULL && orders->given == NULL);
    check_orders();
}

/* Where that is asked for: once more for each request that is refused meanwhile. */
static void start_control(void) {
    static const struct dh_control_options options = {
        .script = "w.lua", .version = "0", .socket_path = "", .listen = "0"};
    struct dh_error err = {0, ""};
    char address[DH_SOCKET_ADDRESS];
    bool is_over = false;
    for (unsigned n = is_starved(); !is_over; n++) {
        unsigned before = refuse_count();
        refuse_from(n, false);
        bool has_started = dh_control_start(&control, NULL, &options, address, &err) == 0;
        is_over = refuse_count() == before;
        HOLDS(has_started || (!is_over && err.text[0] != '\0'));
        if (has_started && !is_over) {
            dh_control_stop(&control);
        }
    }
    refuse_from(0, false);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    refuse_init();
    fake_init();
    start_control();
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].got = malloc(GOT_BYTES);
        HOLDS(clients[i].got != NULL);
    }
    return 0;
}

/* Returns how often memory was out. */
static unsigned play(const uint8_t *data, size_t size, unsigned refused) {
    struct fuzz_input in = {data, size};
    unsigned before = refuse_count();
    begin();
    refuse(refused);
    while (in.left > 0) {
        size_t n = literal(in.at, in.left);
        send_piece(in.at, n);
        in.at += n;
        in.left -= n;
        if (in.left > 0) {
            act(fuzz_byte(&in), &in);
        }
    }
    finish();
    unsigned count = refuse_count() - before;
    refuse_from(0, false);
    check_answers(count);
    end();
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned n = 0;
    if (size > 4096) {
        return 0;
    }
    play(data, size, 0);
    if (is_starved()) {
        do {
            n++;
        } while (play(data, size, n) > 0 && play(data, size, n | REFUSE_ALL) > 0);
    }
    return 0;
}
