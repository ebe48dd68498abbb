/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/socket.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "control/limits.h"
#include "control/place.h"

#define BACKLOG 511

/* The default path */

/* The directory of default sockets: ours, and closed to others. */
static int check_directory(const char *dir, struct dh_error *err) {
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return dh_error_set(err, DH_ESYSTEM,
                            "cannot make the directory %s: %s; mend it, or pass --socket PATH", dir,
                            strerror(errno));
    }
    if (lstat(dir, &st) != 0) {
        return dh_error_set(err, DH_ESYSTEM, "%s: %s", dir, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        return dh_error_set(err, DH_ESYSTEM,
                            "%s must be a directory of user %u with mode 0700; mend it, or pass "
                            "--socket PATH",
                            dir, (unsigned)geteuid());
    }
    return 0;
}

/* Opening */

/* Lock the directory that path is in, waiting for a second at most; returns a descriptor, or -1. */
static int lock_directory(const char *path) {
    char dir[sizeof(((struct dh_socket *)0)->path)];
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash == NULL) {
        snprintf(dir, sizeof(dir), ".");
    } else {
        slash[slash == dir ? 1 : 0] = '\0';
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < 100; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return fd;
        }
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static void unlock_directory(int lock) {
    if (lock >= 0) {
        close(lock);
    }
}

static int set_address(struct sockaddr_un *address, const char *path, struct dh_error *err) {
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    assert(path[0] != '\0'); /* the command line takes none */
    if (strlen(path) >= sizeof(address->sun_path)) {
        return dh_error_set(err, DH_EINVAL,
                            "the path of a socket has 1 to %zu bytes, this one has %zu",
                            sizeof(address->sun_path) - 1, strlen(path));
    }
    snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
    return 0;
}

/* What is at the path? Remove it, or say why not. */
static int make_room(const struct sockaddr_un *address, struct dh_error *err) {
    const char *path = address->sun_path;
    struct stat st;
    if (lstat(path, &st) != 0) {
        return errno == ENOENT ? 0 : dh_error_set(err, DH_ESYSTEM, "%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return dh_error_set(err, DH_ESYSTEM,
                            "%s exists and is not a socket; remove it, or pass another path", path);
    }
    if (st.st_uid != geteuid()) {
        return dh_error_set(err, DH_ESYSTEM,
                            "%s is a socket of another user (%u); pass another path", path,
                            (unsigned)st.st_uid);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return dh_error_set(err, DH_ESYSTEM, "no socket: %s", strerror(errno));
    }
    int result = 0;
    bool answers = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
    if (answers || errno != ECONNREFUSED) {
        struct ucred peer = {0};
        socklen_t len = sizeof(peer);
        if (answers) {
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
        }
        result = peer.pid > 0 ? dh_error_set(err, DH_EBUSY, "%s is in use by process %d", path,
                                             (int)peer.pid)
                              : dh_error_set(err, DH_EBUSY, "%s is in use", path);
    } else if (unlink(path) != 0) {
        result =
            dh_error_set(err, DH_ESYSTEM, "cannot remove the stale %s: %s", path, strerror(errno));
    }
    close(fd);
    return result;
}

static int bind_at(struct dh_socket *s, const struct sockaddr_un *address, struct dh_error *err) {
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return dh_error_set(err, DH_ESYSTEM, "no socket: %s", strerror(errno));
    }
    /* before bind: the mode that its name will have */
    if (fchmod(fd, 0600) != 0 ||
        bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        int code = errno;
        close(fd);
        return dh_error_set(err, DH_ESYSTEM, "cannot make the socket %s: %s; pass another path",
                            address->sun_path, strerror(code));
    }
    if (listen(fd, BACKLOG) != 0 || lstat(address->sun_path, &st) != 0) {
        int code = errno;
        unlink(address->sun_path);
        close(fd);
        return dh_error_set(err, DH_ESYSTEM, "%s: %s", address->sun_path, strerror(code));
    }
    s->fd = fd;
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    memcpy(s->path, address->sun_path, sizeof(s->path));
    return 0;
}

/* The directory is locked. */
static int open_at(struct dh_socket *s, const char *path, struct dh_error *err) {
    struct sockaddr_un address;
    int result = set_address(&address, path, err);
    result = result == 0 ? make_room(&address, err) : result;
    return result == 0 ? bind_at(s, &address, err) : result;
}

int dh_socket_open(struct dh_socket *s, const char *path, struct dh_error *err) {
    int lock = lock_directory(path);
    int result = open_at(s, path, err);
    unlock_directory(lock);
    return result;
}

/* Is it the name of a default socket: NAME-HASH.sock? */
static bool is_default_name(const char *name) {
    size_t len = strlen(name);
    const char *hash = len >= 14 ? name + len - 14 : "";
    return hash[0] == '-' && strspn(hash + 1, "0123456789abcdef") == 8 &&
           strcmp(hash + 9, ".sock") == 0;
}

/* Remove the default sockets that nobody answers. The directory is ours alone, and locked: a host that
** has bound its socket and does not listen yet holds the lock. */
static void sweep(const char *dir) {
    struct sockaddr_un address;
    char path[sizeof(address.sun_path)];
    const struct dirent *entry;
    int looked_at = 0;
    DIR *d = opendir(dir);
    while (d != NULL && looked_at < DH_SWEEP_MAX && (entry = readdir(d)) != NULL) {
        int len = snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (is_default_name(entry->d_name) && (size_t)len < sizeof(path)) {
            set_address(&address, path, NULL);
            make_room(&address, NULL);
            looked_at++;
        }
    }
    if (d != NULL) {
        closedir(d);
    }
}

int dh_socket_open_default(struct dh_socket *s, const char *script, struct dh_error *err) {
    char path[sizeof(s->path)];
    char dir[PATH_MAX];
    int result = dh_place_of_script(script, path, sizeof(path), err);
    result = result == 0 ? dh_place_directory(dir, sizeof(dir), err) : result;
    result = result == 0 ? check_directory(dir, err) : result;
    if (result != 0) {
        return result;
    }
    int lock = lock_directory(path);
    if (lock >= 0) {
        sweep(dir);
    }
    result = open_at(s, path, err);
    unlock_directory(lock);
    return result;
}

void dh_socket_unlink(struct dh_socket *s) {
    struct stat st;
    if (s->path[0] != '\0' && lstat(s->path, &st) == 0 && st.st_dev == s->dev &&
        st.st_ino == s->ino) {
        unlink(s->path);
    }
    s->path[0] = '\0';
}

/* TCP */

static struct addrinfo *resolve(const char *where, struct dh_error *err) {
    char address[128] = "127.0.0.1";
    const char *port = strrchr(where, ':');
    if (port == NULL) {
        port = where;
    } else if (port > where) {
        bool is_bracketed = where[0] == '[' && port[-1] == ']';
        snprintf(address, sizeof(address), "%.*s", (int)(port - where) - (is_bracketed ? 2 : 0),
                 where + (is_bracketed ? 1 : 0));
    }
    port += *port == ':';
    char *end;
    long number = strtol(port, &end, 10);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool is_number = port[0] >= '0' && port[0] <= '9' && *end == '\0' && number <= 65535;
    if (!is_number || getaddrinfo(address, port, &hints, &found) != 0) {
        dh_error_set(err, DH_EINVAL,
                     "a port, ADDRESS:PORT or [ADDRESS]:PORT in numbers expected, got '%s'", where);
        return NULL;
    }
    return found;
}

/* Where it listens: IPv4 or IPv6; neither if the system does not say. */
static union dh_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address_of(int fd) {
    union dh_address address = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t len = sizeof(address);
    getsockname(fd, &address.any, &len);
    return address;
}

bool dh_socket_is_loopback(int fd) {
    union dh_address a = address_of(fd);
    return a.any.sa_family == AF_INET6
               ? memcmp(&a.v6.sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback)) == 0
               : ntohl(a.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* As it can be connected to. */
static void write_address(int fd, char dst[DH_SOCKET_ADDRESS]) {
    union dh_address a = address_of(fd);
    bool is_v6 = a.any.sa_family == AF_INET6;
    char host[NI_MAXHOST] = "";
    char port[NI_MAXSERV] = "";
    getnameinfo(&a.any, is_v6 ? sizeof(a.v6) : sizeof(a.v4), host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(dst, DH_SOCKET_ADDRESS, "%s%.100s%s:%.5s", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
             port);
}

int dh_socket_listen(const char *where, char ret_address[DH_SOCKET_ADDRESS], struct dh_error *err) {
    struct addrinfo *at = resolve(where, err);
    if (at == NULL) {
        return DH_EINVAL;
    }
    int one = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
              bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    int code = errno;
    freeaddrinfo(at);
    if (!ok) {
        if (fd >= 0) {
            close(fd);
        }
        return dh_error_set(err, code == EADDRINUSE ? DH_EBUSY : DH_ESYSTEM,
                            "cannot listen at %s: %s", where, strerror(code));
    }
    write_address(fd, ret_address);
    return fd;
}
