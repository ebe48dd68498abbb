/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* This program must fail: what the world finds (here a leak) fails the test that it serves. */
#include <stdlib.h>

#include "check.h"
#include "world.h"

static void a_leak_fails(void) {
    struct world world;
    void *block;

    world_init(&world);
    block = world.memory.alloc.fn(&world.memory.alloc, NULL, 0, 1);
    world_fini(&world);
    free(block);
}

int main(void) {
    RUN(a_leak_fails);
    return check_report();
}
