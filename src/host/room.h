/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Room for file descriptors: libuv ends the process when there is none for the pipes of its loop, so
** that is asked before.
*/
#ifndef DH_HOST_ROOM_H
#define DH_HOST_ROOM_H

#include <stdbool.h>

/* Can so many (DH_ROOM_MAX at most) be opened? */
bool dh_room_for_files(int count);

#endif
