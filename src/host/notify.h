/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Datagrams to the service manager (sd_notify(3)): assignments, one a line.
*/
#ifndef DH_HOST_NOTIFY_H
#define DH_HOST_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/error.h"

struct dh_notify {
    int fd;
    socklen_t address_len;
    struct sockaddr_un address;
};

/* address: the path of a socket, or '@' and the name of an abstract one. Nobody need be there. Returns
** 0, DH_EINVAL or DH_ESYSTEM, and then there is nothing to close. */
int dh_notify_open(struct dh_notify *n, const char *address, struct dh_error *err);

/* Never waits. Returns false if nobody takes it now: try again later. That nobody is there is none of
** the host's business: true. */
bool dh_notify_send(const struct dh_notify *n, const char *text, size_t len);

void dh_notify_close(struct dh_notify *n);

#endif
