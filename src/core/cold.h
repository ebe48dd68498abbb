/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What a hot function calls in rare cases only.
*/
#ifndef DH_CORE_COLD_H
#define DH_CORE_COLD_H

/* A function apart: so its callers save no registers for it on their usual way, and are small enough
** to be inlined. */
#define DH_COLD __attribute__((cold, noinline))

#endif
