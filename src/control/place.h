/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Where the sockets of hosts are, unless --socket says something else: what a host and its clients must
** agree on. Nothing is made, opened or looked for here, but for the script's real path.
*/
#ifndef DH_CONTROL_PLACE_H
#define DH_CONTROL_PLACE_H

#include <stddef.h>

#include "core/error.h"

/* The directory: /run/decnet for root, $XDG_RUNTIME_DIR/decnet for everybody else. Errors: DH_EINVAL
** (no XDG_RUNTIME_DIR, or it is too long). */
int dh_place_directory(char *ret_dir, size_t cap, struct dh_error *err);

/*
** The socket of a script's host: DIR/NAME-HASH.sock. NAME is the script's file name without ".lua",
** HASH the FNV-1a hash (32 bits, 8 hexadecimal digits) of its real path (of "/" and what it was called,
** if that leads nowhere: a pipe). Errors: DH_EINVAL (as above, or the path does not fit in cap).
*/
int dh_place_of_script(const char *script, char *ret_path, size_t cap, struct dh_error *err);

#endif
