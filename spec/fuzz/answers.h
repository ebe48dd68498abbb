/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What came back over one connection, read as HTTP/1.1 (RFC 9112) and by what docs/control.md says of the
** bodies.
*/
#ifndef DH_SPEC_ANSWERS_H
#define DH_SPEC_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

/* A request that got as far as our code. */
struct asked {
    bool is_head;
    bool is_probe;   /* /readyz, /livez: 503 is an answer */
    bool is_refused; /* by its head; it may have been HEAD */
};

/* Read them; ends the process (fuzz.h) where something is wrong: a status that nobody answers with, a
** length that is not the body's, a body that is not of its type, an answer that nobody asked for. The last
** one may lack its end if is_cut. Returns how many of those that were asked have been answered. */
size_t answers_read(const char *text, size_t len, const struct asked *asked, size_t count,
                    bool is_cut);

#endif
