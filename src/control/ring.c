/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/ring.h"

#include <stdlib.h>
#include <string.h>

#include "control/limits.h"
#include "core/error.h"

/* Entries lie one behind the other, each with its length before it, around the end of the block. */

typedef uint32_t entry_len;

int dh_ring_init(struct dh_ring *ring, size_t capacity) {
    memset(ring, 0, sizeof(*ring));
    ring->bytes = malloc(capacity);
    if (ring->bytes == NULL) {
        return DH_ENOMEM;
    }
    ring->capacity = capacity;
    ring->first_id = 1;
    ring->next_id = 1;
    pthread_mutex_init(&ring->mutex, NULL);
    return 0;
}

void dh_ring_fini(struct dh_ring *ring) {
    if (ring->bytes != NULL) {
        pthread_mutex_destroy(&ring->mutex);
        free(ring->bytes);
        ring->bytes = NULL;
    }
}

static void copy_in(struct dh_ring *ring, uint64_t at, const void *src, size_t len) {
    size_t from = (size_t)(at % ring->capacity);
    size_t head = len < ring->capacity - from ? len : ring->capacity - from;
    if (len > 0) {
        memcpy(ring->bytes + from, src, head);
        memcpy(ring->bytes, (const char *)src + head, len - head);
    }
}

static void copy_out(const struct dh_ring *ring, uint64_t at, void *dst, size_t len) {
    size_t from = (size_t)(at % ring->capacity);
    size_t head = len < ring->capacity - from ? len : ring->capacity - from;
    memcpy(dst, ring->bytes + from, head);
    memcpy((char *)dst + head, ring->bytes, len - head);
}

static size_t len_at(const struct dh_ring *ring, uint64_t at) {
    entry_len len;
    copy_out(ring, at, &len, sizeof(len));
    return len;
}

static uint64_t behind(const struct dh_ring *ring, uint64_t at) {
    return at + sizeof(entry_len) + len_at(ring, at);
}

static bool lock_soon(struct dh_ring *ring) {
    for (int i = 0; i < DH_RING_TRIES; i++) {
        if (pthread_mutex_trylock(&ring->mutex) == 0) {
            return true;
        }
    }
    return false;
}

void dh_ring_add(struct dh_ring *ring, const void *head, size_t head_len, const void *body,
                 size_t body_len) {
    entry_len len = (entry_len)(head_len + body_len);
    size_t size = sizeof(len) + len;
    if (size > ring->capacity || !lock_soon(ring)) {
        atomic_fetch_add(&ring->dropped, 1);
        return;
    }
    while (ring->end - ring->first + size > ring->capacity) {
        ring->first = behind(ring, ring->first);
        ring->first_id++;
    }
    uint64_t at = ring->end;
    copy_in(ring, at, &len, sizeof(len));
    copy_in(ring, at + sizeof(len), head, head_len);
    copy_in(ring, at + sizeof(len) + head_len, body, body_len);
    ring->end += size;
    ring->next_id++;
    pthread_mutex_unlock(&ring->mutex);
}

void dh_ring_seek(struct dh_ring *ring, uint64_t after_id, struct dh_ring_cursor *ret_cursor) {
    pthread_mutex_lock(&ring->mutex);
    struct dh_ring_cursor c = {ring->first_id, ring->first};
    if (after_id >= ring->next_id - 1) {
        c = (struct dh_ring_cursor){ring->next_id, ring->end};
    }
    while (c.id <= after_id && c.id < ring->next_id) {
        c.at = behind(ring, c.at);
        c.id++;
    }
    pthread_mutex_unlock(&ring->mutex);
    *ret_cursor = c;
}

uint64_t dh_ring_next(struct dh_ring *ring, struct dh_ring_cursor *cursor, void *dst, size_t cap,
                      size_t *ret_len) {
    uint64_t id = 0;
    pthread_mutex_lock(&ring->mutex);
    if (cursor->id < ring->first_id) {
        *cursor = (struct dh_ring_cursor){ring->first_id, ring->first};
    }
    if (cursor->id < ring->next_id) {
        id = cursor->id++;
        *ret_len = len_at(ring, cursor->at);
        copy_out(ring, cursor->at + sizeof(entry_len), dst, *ret_len < cap ? *ret_len : cap);
        cursor->at = behind(ring, cursor->at);
    }
    pthread_mutex_unlock(&ring->mutex);
    return id;
}

bool dh_ring_has(struct dh_ring *ring, const struct dh_ring_cursor *cursor) {
    pthread_mutex_lock(&ring->mutex);
    bool has = cursor->id < ring->next_id;
    pthread_mutex_unlock(&ring->mutex);
    return has;
}
