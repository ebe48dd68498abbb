/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The ring of what is kept for those who follow: what does not fit, what is being read, what is gone.
*/
#include "control/ring.h"

#include "obs/check.h"

static struct dh_ring ring;

static void add(const char *text) {
    dh_ring_add(&ring, text, strlen(text), "", 0);
}

static void check_next(struct dh_ring_cursor *at, uint64_t id, const char *text) {
    char entry[64];
    size_t len = 0;
    CHECK_INT(dh_ring_next(&ring, at, entry, sizeof(entry), &len), id);
    CHECK_BYTES(entry, len, text);
}

static void what_is_new_pushes_out_what_is_oldest(void) {
    struct dh_ring_cursor at;
    CHECK_INT(dh_ring_init(&ring, 24), 0);
    dh_ring_seek(&ring, 0, &at);
    add("one");
    add("second");
    check_next(&at, 1, "one");
    add("third");
    add("fourth");
    check_next(&at, 3, "third");
    check_next(&at, 4, "fourth");
    CHECK(!dh_ring_has(&ring, &at));
    dh_ring_fini(&ring);
}

static void what_has_no_bytes_is_an_entry_too(void) {
    struct dh_ring_cursor at;
    CHECK_INT(dh_ring_init(&ring, 24), 0);
    dh_ring_seek(&ring, 0, &at);
    add("");
    check_next(&at, 1, "");
    dh_ring_fini(&ring);
}

static void what_never_fits_is_dropped_and_counted(void) {
    CHECK_INT(dh_ring_init(&ring, 24), 0);
    add("short");
    add("longer than all of the ring");
    CHECK_INT(ring.dropped, 1);
    CHECK_INT(ring.next_id, 2);
    dh_ring_fini(&ring);
}

/* The loop must not wait for a reader. */
static void what_comes_while_somebody_reads_for_long_is_dropped_and_counted(void) {
    CHECK_INT(dh_ring_init(&ring, 24), 0);
    pthread_mutex_lock(&ring.mutex);
    add("one");
    pthread_mutex_unlock(&ring.mutex);
    CHECK_INT(ring.dropped, 1);
    add("two");
    CHECK_INT(ring.next_id, 2);
    dh_ring_fini(&ring);
}

static const struct check_case cases[] = {
    {"what is new pushes out what is oldest", what_is_new_pushes_out_what_is_oldest},
    {"what has no bytes is an entry, too", what_has_no_bytes_is_an_entry_too},
    {"what never fits is dropped and counted", what_never_fits_is_dropped_and_counted},
    {"what comes while somebody reads for long is dropped and counted",
     what_comes_while_somebody_reads_for_long_is_dropped_and_counted},
};

CHECK_MAIN(cases)
