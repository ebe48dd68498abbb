/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Starvation: decnet-starved is decnet-host with these files in front of the C library. What it, Lua,
** libuv, libmicrohttpd, jansson and libc itself ask of the system passes here, is counted, and is
** refused where the plan says so. Whoever asks is a *point*; points are numbered from 1, from the
** moment the plan is armed.
**
** The plan is in the environment, DECNET_STARVE="KIND MODE N [K]":
**   memory once N | twice N K | on N | ceiling BYTES     malloc & co., Lua's allocator, new threads
**   memory at PLACE                                      and what only looks for room, see below
**   files  once N | twice N K | on N                     what makes a file descriptor: EMFILE
**   calls  eintr N | eagain N | short N | each-short 1   reads and writes
** twice: the N-th and the (N+K)-th. on: all from the N-th, until DECNET_STARVE_MS after it (for ever
** if 0). ceiling: all that would have more bytes than this above what was held when it was armed.
** at: what one place in the program asks for, by itself or through others, for as long as 'on'. A place
** is the return address of a call, in hexadecimal digits, as an offset into the program; 0 is none.
** Where the program could be refused memory only if it happened to need some just then, it is refused
** all the same: room on Lua's stack, a deadline, a slab of the pool.
**
** It is armed by starve.arm() in the script (require "starve"), or at start with
** DECNET_STARVE_ARMED=1. starve.disarm() ends it. DECNET_STARVE_THREAD=main or other: only points of
** the main thread or of the others.
**
** At exit DECNET_STARVE_REPORT, a file, gets "points N refused N blocks N bytes N descriptors N": the
** last three are what is still held. With DECNET_STARVE_TRACE=1 each refusal prints its stack on
** stderr, and the report the stacks of what is held. DECNET_STARVE_PLACES, a file, gets the stack of
** each point of memory, one a line, innermost first: the places of the program.
**
** Freed memory is overwritten, and fresh memory is not zero: who reads either is found out.
*/
#ifndef SPEC_STARVE_H
#define SPEC_STARVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum starve_kind { STARVE_NOTHING, STARVE_MEMORY, STARVE_FILES, STARVE_CALLS };

/* What a refused read or write does instead. */
enum starve_call { STARVE_GO_ON, STARVE_EINTR, STARVE_EAGAIN, STARVE_SHORT };

/* A point of memory, of so many bytes more. Is it refused? */
bool starve_is_memory_refused(size_t growth);

/* Not a point, but memory is what it would need: refused where it stands in the plan's place. */
bool starve_is_place_refused(void);

/* A point of files. */
bool starve_is_file_refused(void);

/* A point of calls. */
enum starve_call starve_call(void);

/* The block was allocated or is about to be freed; bytes it has. */
void starve_on_taken(void *block, size_t bytes);
void starve_on_freed(void *block, size_t bytes);

/* So many bytes more are held, that belong to no block. */
void starve_on_bytes(int64_t bytes);

void starve_arm(void);
void starve_disarm(void);
bool starve_is_armed(void);

/* How often it was armed. */
unsigned starve_arms(void);

#endif
