/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The terminal that TERM names.
*/
#ifndef DH_CTL_TERMINAL_H
#define DH_CTL_TERMINAL_H

#include <stdbool.h>

/* Is it known? To be asked before ncurses is started, which leaks where it is not. */
bool dh_terminal_is_known(int fd);

#endif
