/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A file of its own: term.h makes macros of words such as "lines".
*/
#include "ctl/terminal.h"

#include <ncurses.h>
#include <term.h>

bool dh_terminal_is_known(int fd) {
    int found;
    if (setupterm(NULL, fd, &found) != OK) {
        return false;
    }
    del_curterm(cur_term);
    return true;
}
