/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What makes a file descriptor, and what reads and writes. libc's own calls (those of fopen, say) do
** not pass here: a limit (ulimit -n) reaches them.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "starve/starve.h"

#define VISIBLE __attribute__((visibility("default")))

/* ---- descriptors --------------------------------------------------------------------------------- */

bool __real_dh_room_for_files(int count);
bool __wrap_dh_room_for_files(int count);

/* Who asks for room (host/room.h) and gets it opens so many without a look. */
static __thread int room;
static __thread unsigned arms_of_room; /* not beyond that arming */

bool __wrap_dh_room_for_files(int count) {
    room = 0;
    bool is_there = __real_dh_room_for_files(count);
    room = is_there ? count : 0;
    arms_of_room = starve_arms();
    return is_there;
}

static bool is_refused(void) {
    if (room > 0 && arms_of_room == starve_arms()) {
        room--;
        return false;
    }
    return starve_is_file_refused();
}

#define MAKES(...)                                                                                 \
    do {                                                                                           \
        if (is_refused()) {                                                                        \
            errno = EMFILE;                                                                        \
            return -1;                                                                             \
        }                                                                                          \
        return (int)syscall(__VA_ARGS__);                                                          \
    } while (0)

static mode_t mode_of(int flags, va_list args) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

VISIBLE int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    MAKES(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open"), visibility("default")));

VISIBLE int openat(int dir, const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    MAKES(SYS_openat, dir, path, flags, mode);
}

VISIBLE int socket(int domain, int type, int protocol) {
    MAKES(SYS_socket, domain, type, protocol);
}

VISIBLE int socketpair(int domain, int type, int protocol, int ret_fds[2]) {
    MAKES(SYS_socketpair, domain, type, protocol, ret_fds);
}

VISIBLE int accept(int fd, struct sockaddr *address, socklen_t *len) {
    MAKES(SYS_accept, fd, address, len);
}

VISIBLE int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags) {
    MAKES(SYS_accept4, fd, address, len, flags);
}

VISIBLE int pipe(int ret_fds[2]) {
    MAKES(SYS_pipe2, ret_fds, 0);
}

VISIBLE int pipe2(int ret_fds[2], int flags) {
    MAKES(SYS_pipe2, ret_fds, flags);
}

VISIBLE int eventfd(unsigned count, int flags) {
    MAKES(SYS_eventfd2, count, flags);
}

VISIBLE int epoll_create(int size) {
    MAKES(SYS_epoll_create, size);
}

VISIBLE int epoll_create1(int flags) {
    MAKES(SYS_epoll_create1, flags);
}

VISIBLE int inotify_init1(int flags) {
    MAKES(SYS_inotify_init1, flags);
}

VISIBLE int dup(int fd) {
    MAKES(SYS_dup, fd);
}

/* ---- reads and writes ---------------------------------------------------------------------------- */

/* EAGAIN is nobody's to expect of a descriptor that waits. */
static bool may_wait(int fd, int flags) {
    return !(flags & MSG_DONTWAIT) && !(syscall(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK);
}

/* An eventfd, and libuv's pipe for signals, are ready when they say so: they are no points. */
static bool is_point(int fd) {
    struct stat st;
    return fd <= STDERR_FILENO ||
           (syscall(SYS_fstat, fd, &st) == 0 && (S_ISSOCK(st.st_mode) || S_ISREG(st.st_mode)));
}

/* Fails with an errno, or makes *len short. */
static int disturb(int fd, int flags, size_t *len) {
    switch (is_point(fd) ? starve_call() : STARVE_GO_ON) {
        case STARVE_EINTR:
            errno = EINTR;
            return -1;
        case STARVE_EAGAIN:
            if (!may_wait(fd, flags)) {
                errno = EAGAIN;
                return -1;
            }
            return 0;
        case STARVE_SHORT:
            *len = *len > 1 ? 1 : *len;
            return 0;
        default:
            return 0;
    }
}

/* What may be read or written in part: a connection, and where the log goes. A datagram, a signal in
** libuv's pipe and the number of an eventfd are whole or nothing. */
static bool is_stream(int fd) {
    int type = 0;
    socklen_t len = sizeof(type);
    syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len);
    return type == SOCK_STREAM || fd == STDOUT_FILENO || fd == STDERR_FILENO;
}

static int disturb_some(int fd, int flags, size_t *len) {
    size_t shorter = *len;
    if (disturb(fd, flags, &shorter) != 0) {
        return -1;
    }
    *len = is_stream(fd) && shorter >= 1 ? shorter : *len;
    return 0;
}

VISIBLE ssize_t read(int fd, void *data, size_t len) {
    return disturb_some(fd, 0, &len) != 0 ? -1 : syscall(SYS_read, fd, data, len);
}

VISIBLE ssize_t write(int fd, const void *data, size_t len) {
    return disturb_some(fd, 0, &len) != 0 ? -1 : syscall(SYS_write, fd, data, len);
}

VISIBLE ssize_t recv(int fd, void *data, size_t len, int flags) {
    if (disturb_some(fd, flags, &len) != 0) {
        return -1;
    }
    return syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
}

VISIBLE ssize_t send(int fd, const void *data, size_t len, int flags) {
    if (disturb_some(fd, flags, &len) != 0) {
        return -1;
    }
    return syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
}

/* Of many pieces, the first byte of the first that has one. */
static ssize_t call_vector(int fd, const struct iovec *pieces, int count, int number) {
    size_t len = 2;
    if (disturb_some(fd, 0, &len) != 0) {
        return -1;
    }
    if (len == 2) {
        return syscall(number, fd, pieces, count);
    }
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len > 0) {
            const struct iovec piece = {pieces[i].iov_base, 1};
            return syscall(number, fd, &piece, 1);
        }
    }
    return 0;
}

VISIBLE ssize_t writev(int fd, const struct iovec *pieces, int count) {
    return call_vector(fd, pieces, count, SYS_writev);
}

VISIBLE ssize_t readv(int fd, const struct iovec *pieces, int count) {
    return call_vector(fd, pieces, count, SYS_readv);
}

static ssize_t call_message(int fd, const struct msghdr *message, int flags, int number) {
    struct msghdr some = *message;
    struct iovec piece;
    size_t len = 2;
    if (disturb_some(fd, flags, &len) != 0) {
        return -1;
    }
    if (len == 1 && some.msg_iovlen > 0 && some.msg_iov[0].iov_len > 0) {
        piece = (struct iovec){some.msg_iov[0].iov_base, 1};
        some.msg_iov = &piece;
        some.msg_iovlen = 1;
        return syscall(number, fd, &some, flags);
    }
    return syscall(number, fd, message, flags);
}

VISIBLE ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    return call_message(fd, message, flags, SYS_sendmsg);
}

VISIBLE ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    size_t len = 2;
    if (disturb(fd, flags, &len) != 0) { /* what is short would lose its control data */
        return -1;
    }
    return syscall(SYS_recvmsg, fd, message, flags);
}
