/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Every bound that the host layer keeps, with its reason.
*/
#ifndef DH_HOST_LIMITS_H
#define DH_HOST_LIMITS_H

/* Between two polls there is this much time for turns: a poll costs as much as four resumes, and a
** neighbour's I/O waits no longer than this. */
#define DH_TURNS_NS 100000u

/* Tasks between two looks at the clock, once it is clear that they are short. */
#define DH_BUDGET_LOOK 16

/* An idle loop waits so much longer than its earliest deadline, as Linux lets every sleep do (by 50 us):
** what falls due meanwhile is served with it, four deadlines for one wait where there are 20,000 a
** second, thirty of 200,000. Half of it is how late a wake-up is: less than a tick of any host that
** counts milliseconds, and 20 % less CPU than with 50 us. A thread that is given more slack has more
** (timerslack of prctl, TimerSlackNSec of systemd), but by far not DH_STANDSTILL_NS: a wait that ends so
** late is a standstill, whose time no watchdog counts. */
#define DH_SLACK_NS 160000u
#define DH_SLACK_MAX_NS 50000000u

/* Where one wait follows the other they end one slack and this after each other: on average a
** wake-up is as late as where the way to the first deadline and the arming come on top. */
#define DH_GAP_NS 110000u

/* Ends of waits that were foreseen, until the next one is armed ahead; a bad one halves what there is.
** An alarm that is not wanted costs as much as one that is saves, so 4 of 5 should be. */
#define DH_HITS_ENOUGH 4
#define DH_HITS_MAX 8

/* Longest real time for which the virtual clock stands still, waiting for other threads: a request
** that never ends must not hang a test. */
#define DH_VIRTUAL_STAND_NS 5000000000u

/* Longest time between a second SIGTERM and the end of the process, if the loop cannot be reached
** because some code does not give up the CPU. */
#define DH_STUCK_SECONDS 2

/* Descriptors that libuv opens for a loop, and some more: it ends the process without. */
#define DH_LOOP_FILES 10
#define DH_ROOM_MAX 16

/* How long a host that is otherwise over waits for hooks: what one of them may take. */
#define DH_HOLD_NS 10000000000u

/* The names of members in the line on a group's restart: some thirty; what does not fit is "...". */
#define DH_TAKEN_BYTES 512

/* The histogram of how late deadlines were met: from 66 us, doubling up to 8.6 s. */
#define DH_LATENESS_NS 65536u
#define DH_LATENESS_BUCKETS 18

/* What the service manager is told in one line: counts, and the name of one worker. */
#define DH_STATUS_BYTES 512

/* It is told no more often, and again after so long if it did not take it. */
#define DH_STATUS_NS 1000000000u
#define DH_NOTIFY_RETRY_NS 100000000u

/* The watchdog is fed no more often, whatever it asks for: a thousand meals a second take 3 % of a CPU. */
#define DH_WATCHDOG_MIN_NS 1000000u

/* While the host stops the service manager is told, at half of this time, to wait for that long. */
#define DH_EXTEND_NS UINT64_C(10000000000)

#endif
