/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** datagrams ADDRESS: a unix socket (a path, or @NAME) that prints the datagrams that come, one a line:
** line ends in them as '|', other control characters as \xNN. Prints "listening" first. For specs:
** luv has no such sockets.
*/
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static void print(const char *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            putchar('|');
        } else if ((unsigned char)data[i] < ' ') {
            printf("\\x%02x", (unsigned)data[i]);
        } else {
            putchar(data[i]);
        }
    }
    putchar('\n');
}

int main(int argc, char **argv) {
    static char data[1 << 18];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = argc == 2 ? strlen(argv[1]) : 0;
    if (len == 0 || len >= sizeof(address.sun_path)) {
        fputs("usage: datagrams PATH|@NAME\n", stderr);
        return 2;
    }
    memcpy(address.sun_path, argv[1], len);
    if (address.sun_path[0] == '@') {
        address.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (bind(fd, (const struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0) {
        perror(argv[1]);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("listening");
    ssize_t n;
    while ((n = recv(fd, data, sizeof(data), 0)) >= 0) {
        print(data, (size_t)n);
    }
    return 1;
}
