/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/room.h"

#include <assert.h>
#include <unistd.h>

#include "host/limits.h"

bool dh_room_for_files(int count) {
    int fds[DH_ROOM_MAX];
    int opened = 0;
    assert(count <= DH_ROOM_MAX);
    while (opened < count && (fds[opened] = dup(STDERR_FILENO)) >= 0) {
        opened++;
    }
    for (int i = 0; i < opened; i++) {
        close(fds[i]);
    }
    return opened == count;
}
