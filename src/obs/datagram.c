/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/datagram.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int dh_datagram_open(struct dh_datagram *d, const char *address, struct dh_error *err) {
    size_t len = strlen(address);
    if ((address[0] != '/' && address[0] != '@') || len < 2) {
        return dh_error_set(err, DH_EINVAL, "'%s' is neither an absolute path nor @NAME", address);
    }
    if (len >= sizeof(d->address.sun_path)) {
        return dh_error_set(err, DH_EINVAL, "'%.40s...' is longer than the %zu bytes of an address",
                            address, sizeof(d->address.sun_path) - 1);
    }
    memset(d, 0, sizeof *d);
    d->address.sun_family = AF_UNIX;
    memcpy(d->address.sun_path, address, len);
    if (address[0] == '@') {
        d->address.sun_path[0] = '\0';
    }
    d->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    d->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0) {
        return dh_error_set(err, DH_ESYSTEM, "%s", strerror(errno));
    }
    return 0;
}

int dh_datagram_send(const struct dh_datagram *d, const void *data, size_t len) {
    int saved_errno = errno;
    ssize_t sent = sendto(d->fd, data, len, MSG_NOSIGNAL, (const struct sockaddr *)&d->address,
                          d->address_len);
    int err = sent < 0 ? -errno : 0;
    errno = saved_errno;
    return err;
}

void dh_datagram_close(struct dh_datagram *d) {
    close(d->fd);
    d->fd = -1;
}
