/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/memory.h"

#include <stdlib.h>

#include "core/env.h"

static void *reallocate(struct dh_alloc *self, void *block, size_t old_size, size_t new_size) {
    (void)self;
    (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, new_size);
}

struct dh_alloc *dh_memory_alloc(void) {
    static struct dh_alloc alloc = {reallocate};
    return &alloc;
}
