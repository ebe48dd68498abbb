/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The allocator of decnet-host's Lua state: size classes in slabs, and who pays for each block.
**
** A worker that sleeps is seven small blocks (a stack, call frames, two userdata, ...). malloc pays
** 8 to 24 bytes for each and knows nothing of their sizes; Lua tells the size of what it frees, so a
** slab needs no header per block. A slab is 64 KiB of blocks of one size, aligned to its size so
** that a block finds its slab; it is carved as needed, and when it is empty it serves another size
** or goes back to the system. Blocks larger than DH_POOL_MAX are malloc's.
**
**   slab    | header | payers | block | block | free -> | block | ... | not yet carved |
**   malloc  | payer  | block  |
**
** A payer is the id of an account (account.h), 3 bytes a block.
**
** Under AddressSanitizer everything is malloc's, so that it sees each block.
*/
#ifndef DH_SCRIPT_POOL_H
#define DH_SCRIPT_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "script/account.h"

#define DH_POOL_MAX 1024

struct dh_pool;

/* NULL when there is no memory. */
struct dh_pool *dh_pool_new(void);

/* Everything allocated from it must have been freed. */
void dh_pool_free(struct dh_pool *pool);

/* How many blocks dh_pool_realloc has resized so far, counted before the block moves. For signal
** handlers, too. */
const uint64_t *dh_pool_moves(const struct dh_pool *pool);

/* A lua_Alloc; ud is the pool. */
void *dh_pool_realloc(void *ud, void *block, size_t old_size, size_t new_size);

/* Give back to the system what is kept empty for the next to come: up to 1 MB. */
void dh_pool_trim(struct dh_pool *pool);

/* Its accounts. */
struct dh_ledger *dh_pool_ledger(struct dh_pool *pool);
struct dh_pool *dh_pool_of(struct dh_ledger *ledger);

#endif
