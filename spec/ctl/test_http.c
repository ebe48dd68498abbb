/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The limit of an answer: who never comes to its end is given up, and who only has a slow reader is not.
*/
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl/http.h"

#define HEAD "HTTP/1.1 200 OK\r\n\r\n"

static char dir[] = "/tmp/decnet-http-XXXXXX";
static char path[64];

static void rest_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static int listen_there(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/x.sock", dir);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 8) == 0);
    return fd;
}

static void send_text(int fd, const char *text) {
    (void)!write(fd, text, strlen(text));
}

/* Gives every request the same answer: 'times' bytes, one each 'ms'; times < 0: without an end, of the head
** if is_head. */
static void serve(int fd, int times, long ms, bool is_head) {
    char request[4096];
    signal(SIGPIPE, SIG_DFL); /* the client has hung up: the end */
    for (;;) {
        int client = accept(fd, NULL, NULL);
        if (read(client, request, sizeof(request)) > 0) {
            send_text(client, is_head ? "HTTP/1.1 200 OK\r\n" : HEAD);
            for (int i = 0; times < 0 || i < times; i++) {
                rest_ms(ms);
                send_text(client, is_head ? "X: y\r\n" : "x");
            }
        }
        close(client);
    }
}

struct reader {
    long rest_ms; /* with each piece */
    int count;
};

static bool take(void *arg, const char *bytes, size_t len) {
    struct reader *reader = arg;
    (void)bytes;
    reader->count += (int)len;
    rest_ms(reader->rest_ms);
    return true;
}

static int ask(int fd, int times, long ms, bool is_head, struct reader *reader,
               struct dh_error *err) {
    struct dh_http http;
    struct dh_question q = {
        .target = "/", .patience_s = 20, .limit_s = 0.5, .take = take, .arg = reader};
    pid_t server = fork();
    if (server == 0) {
        serve(fd, times, ms, is_head);
    }
    assert(server > 0 && dh_http_init(&http, path) == 0);
    int result = dh_http_ask(&http, &q, err);
    dh_http_fini(&http);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return result;
}

int main(void) {
    struct dh_error err;
    struct reader quick = {0};
    struct reader slow = {.rest_ms = 700};
    int fd = listen_there();

    assert(ask(fd, -1, 20, false, &quick, &err) == DH_ESYSTEM);
    assert(strstr(err.text, "does not come to an end") != NULL);
    assert(ask(fd, -1, 20, true, &quick, &err) == DH_ESYSTEM);
    assert(strstr(err.text, "does not come to an end") != NULL);
    assert(ask(fd, 3, 1, false, &slow, &err) == 0);
    assert(slow.count == 3);
    unlink(path);
    rmdir(dir);
    return 0;
}
