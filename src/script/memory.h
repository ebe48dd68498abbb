/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Memory for core, by the C library.
*/
#ifndef DH_SCRIPT_MEMORY_H
#define DH_SCRIPT_MEMORY_H

struct dh_alloc;

/* A stateless allocator over realloc and free, good for the whole process. */
struct dh_alloc *dh_memory_alloc(void);

#endif
