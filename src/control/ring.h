/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The last entries of a stream, numbered from 1: what is new pushes out what is oldest.
**
** One mutex, held for the time of a copy. Who adds never waits for it: after DH_RING_TRIES attempts
** the entry is dropped and counted.
*/
#ifndef DH_CONTROL_RING_H
#define DH_CONTROL_RING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dh_ring {
    pthread_mutex_t mutex;
    char *bytes;
    size_t capacity;
    uint64_t first; /* where the oldest entry is and the next will be: bytes since the beginning */
    uint64_t end;
    uint64_t first_id; /* of the oldest entry; next_id: there is none */
    uint64_t next_id;
    _Atomic uint64_t dropped;
};

/* Where a reader stands. */
struct dh_ring_cursor {
    uint64_t id; /* of the next entry */
    uint64_t at;
};

/* Returns 0 or DH_ENOMEM. */
int dh_ring_init(struct dh_ring *ring, size_t capacity);
void dh_ring_fini(struct dh_ring *ring);

/* Add an entry made of two parts. One that does not fit at all is dropped. For any thread. */
void dh_ring_add(struct dh_ring *ring, const void *head, size_t head_len, const void *body,
                 size_t body_len);

/* Stand behind the entry after_id: 0 is before the oldest, UINT64_MAX behind the last. */
void dh_ring_seek(struct dh_ring *ring, uint64_t after_id, struct dh_ring_cursor *ret_cursor);

/* Copy the entry at the cursor, at most cap bytes of it, and go on to the next. If it is gone, that is
** the oldest. Returns its number and its length; 0: there is none yet. */
uint64_t dh_ring_next(struct dh_ring *ring, struct dh_ring_cursor *cursor, void *dst, size_t cap,
                      size_t *ret_len);

/* Is there something at the cursor? */
bool dh_ring_has(struct dh_ring *ring, const struct dh_ring_cursor *cursor);

#endif
