/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Which host is asked: that of --socket, that of --script's script, or else the only one that answers in the
** directory of default sockets.
*/
#ifndef DH_CTL_FIND_H
#define DH_CTL_FIND_H

#include <sys/un.h>

#include "core/error.h"
#include "ctl/options.h"

#define DH_FIND_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

/* Errors: DH_EINVAL (a path too long, no XDG_RUNTIME_DIR), DH_ENOENT (none answers), DH_EEXIST (several
** do: they have been listed on stderr, and err has no text). */
int dh_find_socket(const struct dh_options *o, char ret_path[DH_FIND_BYTES], struct dh_error *err);

#endif
