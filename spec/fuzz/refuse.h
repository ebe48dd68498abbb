/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Memory and descriptors that run out: what a fuzzer links statically asks here (CMakeLists.txt wraps these functions of
** libc and MHD), and so does jansson. What shared libraries need for themselves is not refused here; for that
** there is spec/starve.
*/
#ifndef DH_SPEC_REFUSE_H
#define DH_SPEC_REFUSE_H

#include <stdbool.h>

/* Once, before anything else. */
void refuse_init(void);

/* From now on refuse the n-th request, or all from the n-th; 0: none. */
void refuse_from(unsigned n, bool all);

/* A request: is it refused? */
bool refuse_this(void);

/* How many have been refused, ever? */
unsigned refuse_count(void);

#endif
