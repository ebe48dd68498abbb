/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Datagrams to somebody who may be there or not: systemd's service manager, its journal. Nothing here
** waits.
*/
#ifndef DH_OBS_DATAGRAM_H
#define DH_OBS_DATAGRAM_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/error.h"

struct dh_datagram {
    int fd;
    socklen_t address_len;
    struct sockaddr_un address;
};

/* address: the path of a unix socket, or '@' and the name of an abstract one. Nobody need be there.
** Returns 0, DH_EINVAL or DH_ESYSTEM, and then there is nothing to close. */
int dh_datagram_open(struct dh_datagram *d, const char *address, struct dh_error *err);

/* Returns 0 or a negative errno. For any thread; errno is left as it was. */
int dh_datagram_send(const struct dh_datagram *d, const void *data, size_t len);

void dh_datagram_close(struct dh_datagram *d);

#endif
