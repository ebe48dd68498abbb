/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The unix socket that the control plane listens on: where it is, whose it is, who may use it.
**
** It has mode 0600 before it has a name. What is found there is replaced only if it is a socket of
** ours that nobody answers; the directory is locked meanwhile, so that of two hosts that start at the
** same time one finds the other. What hosts that were killed have left among the default sockets is
** removed by the next one that starts.
*/
#ifndef DH_CONTROL_SOCKET_H
#define DH_CONTROL_SOCKET_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/error.h"

struct dh_socket {
    int fd; /* -1: not open */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    dev_t dev;
    ino_t ino;
};

/* Listen at path. Errors: DH_EBUSY (a host answers there: the text names its pid), DH_EINVAL (too
** long), DH_ESYSTEM (something that is not ours is there, or the system refuses). */
int dh_socket_open(struct dh_socket *s, const char *path, struct dh_error *err);

/* Listen at the default path for a script (control/place.h); its directory is made with mode 0700 if
** need be. Errors: as above, and DH_EINVAL (no XDG_RUNTIME_DIR), DH_ESYSTEM (the directory cannot be
** made, or is not ours alone). */
int dh_socket_open_default(struct dh_socket *s, const char *script, struct dh_error *err);

/* Remove the name, if it is still that of this socket. The descriptor is its user's to close. */
void dh_socket_unlink(struct dh_socket *s);

/* "127.0.0.1:8080", "[::1]:8080" */
#define DH_SOCKET_ADDRESS 112

/* Listen at "PORT", "ADDRESS:PORT" or "[ADDRESS]:PORT"; without an address, at 127.0.0.1. Numbers
** only. Returns a descriptor, and the address with the port that it is if 0 was asked for, or a
** negative DH_E* code. */
int dh_socket_listen(const char *where, char ret_address[DH_SOCKET_ADDRESS], struct dh_error *err);

/* Does it listen where only this machine can ask? */
bool dh_socket_is_loopback(int fd);

#endif
