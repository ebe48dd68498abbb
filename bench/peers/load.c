/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The clients of an echo server: CONNECTIONS of them send 64 bytes, wait for them to come back, and
** send again, for SECONDS after half a second of warming up. One thread, one line of JSON.
**
**   load PORT CONNECTIONS SECONDS
*/
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES 64
#define WARM_NS UINT64_C(500000000)
#define BUCKET_NS 100
#define BUCKETS 2000000
#define CONNECTIONS_MAX 1024
#define CONNECT_TRIES 200 /* 50 ms each: the server may still be starting */

struct client {
    int fd;
    int received;
    uint64_t sent_ns;
};

static struct client clients[CONNECTIONS_MAX];
static unsigned late[BUCKETS];
static const char message[MESSAGE_BYTES];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int connect_to(uint16_t port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < CONNECT_TRIES; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
            int one = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            fcntl(fd, F_SETFL, O_NONBLOCK);
            return fd;
        }
        close(fd);
        usleep(50000);
    }
    die("load: connect");
    return -1;
}

static void send_message(struct client *c, uint64_t now) {
    c->sent_ns = now;
    c->received = 0;
    if (write(c->fd, message, sizeof(message)) != sizeof(message)) {
        die("load: write");
    }
}

static double quantile_us(uint64_t count, double q) {
    uint64_t sum = 0;
    for (int i = 0; i < BUCKETS; i++) {
        sum += late[i];
        if ((double)sum >= (double)count * q) {
            return i * BUCKET_NS / 1e3;
        }
    }
    return BUCKETS * BUCKET_NS / 1e3;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* The answers of c that are there. Returns whether it has the whole message, and sends the next. */
static int receive(struct client *c, uint64_t *ret_took_ns) {
    char buffer[4096];
    ssize_t n = read(c->fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        die("load: closed by the server");
    }
    c->received += (int)n;
    if (c->received < MESSAGE_BYTES) {
        return 0;
    }
    uint64_t now = now_ns();
    *ret_took_ns = now - c->sent_ns;
    send_message(c, now);
    return 1;
}

int main(int argc, char **argv) {
    int count = argc == 4 ? atoi(argv[2]) : 0;
    if (count < 1 || count > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: load PORT CONNECTIONS SECONDS; 1 to %d\n", CONNECTIONS_MAX);
        return 2;
    }
    int epoll = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        clients[i].fd = connect_to((uint16_t)atoi(argv[1]));
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &clients[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &e);
    }
    uint64_t began = now_ns(), warm = began + WARM_NS, now = began;
    uint64_t end = warm + (uint64_t)(atof(argv[3]) * 1e9);
    uint64_t answers = 0, all_answers = 0;
    for (int i = 0; i < count; i++) {
        send_message(&clients[i], now);
    }
    while (now < end) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 1000);
        if (ready == 0) {
            fprintf(stderr, "load: no answer within a second\n");
            return 1;
        }
        now = now_ns();
        for (int i = 0; i < ready; i++) {
            uint64_t took_ns;
            if (!receive(events[i].data.ptr, &took_ns)) {
                continue;
            }
            all_answers++;
            if (now >= warm) {
                answers++;
                late[took_ns / BUCKET_NS < BUCKETS ? took_ns / BUCKET_NS : BUCKETS - 1]++;
            }
        }
    }
    printf("{\"req_s\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"requests\": %llu, \"client_cpu_pct\": %.1f}\n",
           (double)answers / ((double)(now - warm) / 1e9), quantile_us(answers, 0.5),
           quantile_us(answers, 0.99), quantile_us(answers, 0.999), (unsigned long long)all_answers,
           cpu_s() / ((double)(now - began) / 1e9) * 100);
    return 0;
}
