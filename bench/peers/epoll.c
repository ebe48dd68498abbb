/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The least an echo server can cost: no workers, no coroutines, no Lua. What the others are measured
** against.   epoll PORT
*/
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void watch(int epoll, int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv) {
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET};
    here.sin_port = htons((uint16_t)(argc == 2 ? atoi(argv[1]) : 0));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&here, sizeof(here)) != 0 || listen(listener, 128) != 0) {
        return 1;
    }
    int epoll = epoll_create1(0);
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            char buffer[4096];
            int fd = events[i].data.fd;
            if (fd == listener) {
                fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                watch(epoll, fd);
                continue;
            }
            ssize_t n = read(fd, buffer, sizeof(buffer));
            if (n <= 0 || write(fd, buffer, (size_t)n) != n) {
                close(fd);
            }
        }
    }
}
