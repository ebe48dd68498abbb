/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/notify.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int dh_notify_open(struct dh_notify *n, const char *address, struct dh_error *err) {
    size_t len = strlen(address);
    if ((address[0] != '/' && address[0] != '@') || len < 2) {
        return dh_error_set(err, DH_EINVAL, "'%s' is neither an absolute path nor @NAME", address);
    }
    if (len >= sizeof(n->address.sun_path)) {
        return dh_error_set(err, DH_EINVAL, "'%.40s...' is longer than the %zu bytes of an address",
                            address, sizeof(n->address.sun_path) - 1);
    }
    memset(n, 0, sizeof(*n));
    n->address.sun_family = AF_UNIX;
    memcpy(n->address.sun_path, address, len);
    if (address[0] == '@') {
        n->address.sun_path[0] = '\0';
    }
    n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (n->fd < 0) {
        return dh_error_set(err, DH_ESYSTEM, "%s", strerror(errno));
    }
    return 0;
}

bool dh_notify_send(const struct dh_notify *n, const char *text, size_t len) {
    ssize_t sent = sendto(n->fd, text, len, MSG_NOSIGNAL, (const struct sockaddr *)&n->address,
                          n->address_len);
    return sent >= 0 || (errno != EAGAIN && errno != EINTR && errno != ENOBUFS);
}

void dh_notify_close(struct dh_notify *n) {
    close(n->fd);
    n->fd = -1;
}
