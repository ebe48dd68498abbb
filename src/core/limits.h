/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Every bound that core keeps, with its reason.
*/
#ifndef DH_CORE_LIMITS_H
#define DH_CORE_LIMITS_H

/* Names are printed in every log line and their length is kept in one byte of each worker. */
#define DH_NAME_MAX 200

/* Names in one 'after'. More than that is a generated script gone wrong; the count is kept in 16
** bits. */
#define DH_AFTER_MAX 4096

/* Bytes of 'waiting_for' in a status: a few names; the rest is cut with "...". */
#define DH_WAITING_FOR_MAX 256

/* Bytes of a generated reason, such as "not ready within 5 s". */
#define DH_REASON_MAX 128

/* Restart-intensity rings grow by doubling from this many timestamps up to max_restarts: nobody
** pays for a limit of a million before the million happens. */
#define DH_WINDOW_FIRST 4

/* What crashed on trial is to be replaced at once by whoever put it on trial; if he cannot, it must
** not spin. */
#define DH_TRIAL_DELAY_NS UINT64_C(1000000000)

/* A loop that looks at its deadlines so much too late stood still: ten slices, and more than most
** collections of garbage take. Watches have room for less. */
#define DH_STANDSTILL_NS UINT64_C(100000000)

/* Slots of a deadline queue's first block; doubled from there. */
#define DH_TIMERQ_FIRST 16

/* Bytes that a CPU fetches at once, on all machines that matter. */
#define DH_CACHE_LINE 64u

/* Slots of the name table's first block. */
#define DH_NAMES_FIRST 16

/* Decisions of one step that share a look at the clock: together they take some 5 us. */
#define DH_DECISIONS_AT_ONCE 16

/* Buckets for interned policies. Fixed: scripts have a handful of different policies, and a
** thousand different ones still make short chains. */
#define DH_POLICY_BUCKETS 64

#endif
