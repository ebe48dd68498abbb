/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Every bound that the script layer keeps, with its reason.
*/
#ifndef DH_SCRIPT_LIMITS_H
#define DH_SCRIPT_LIMITS_H

/* An error message goes into a log line and a status table: what is longer is not read anyway. */
#define DH_MESSAGE_MAX 1024

/* A traceback of this many levels shows where an error came from; deeper stacks are nearly always
** one function calling itself (a full traceback of an overflowed stack takes 100 ms). */
#define DH_TRACEBACK_LEVELS 24
#define DH_TRACEBACK_MAX 4096

/* The variables of a failing stack: of its innermost functions, where the reason nearly always is. */
#define DH_VARIABLES_FRAMES 8
#define DH_VARIABLES_PER_FRAME 16
#define DH_VARIABLES_MAX 4096

/* Endings of a worker that its dossier keeps: a night of crashes with the longest default delay is
** a thousand, but they repeat themselves. */
#define DH_DOSSIER_ENDINGS 32

/* What a worker prints becomes lines of the log that can be followed; longer ones come in pieces, and so
** much of a line that has not ended is kept for each run. */
#define DH_PRINTED_BYTES 4096

/* What the account of a run that ended may hold, so that the next run goes on with it: its coroutine and
** a hundred messages. So much of one run may be billed to the next. */
#define DH_SPARE_BYTES 16384

/* Fields of one log line that a worker gives: more do not fit into a readable line. */
#define DH_FIELDS_MAX 32

/* Tasks killed, handles or files closed in one go: a fraction of a millisecond. */
#define DH_PIECE 64

/* Requests of one run that libuv's threads have at once: enough for them to be busy, and reading the
** results of that many, of names at 12 us each, takes less than a millisecond. */
#define DH_BACKLOG_MAX 64
#define DH_BACKLOG_NS 100000000u

/* What is fetched of a coroutine before its turn: about so long is a lua_State of 5.4. */
#define DH_COROUTINE_BYTES 208u

/* So many runs that are awake were asleep: of fewer, that give way to each other, all is at hand. */
#define DH_FETCH_RUNS 3

/* ... and of its innermost frames: the record of a call, and the values of a few calls. */
#define DH_FRAME_BYTES 64u
#define DH_STACK_BYTES 192u

/* What one read of decnet.uv.read may bring: as much as libuv suggests to anybody. */
#define DH_READ_BYTES 65536u

/* Writes in a row that a socket takes, or refuses, at once; then the task gives way. */
#define DH_WRITES_AT_ONCE 32

/* Free places in the registry when luv is called that must get them: none of its functions takes more
** than two. */
#define DH_LUV_REFS 2

/* How long a child process of a run that ended has between SIGTERM and SIGKILL. */
#define DH_CHILD_GRACE_NS 5000000000u

/* decnet.offload. Threads: its functions are bound by the CPU or by a disk, and more of them than
** that only take the CPU from the loop. A function that was abandoned but does not end (it sits in
** C) no longer counts, until all threads do. The queue has no bound of its own: a task waits for
** each job in it. */
#define DH_OFFLOAD_THREADS 4
#define DH_OFFLOAD_THREADS_MAX 64

/* Instructions between two looks at the stop flag, about 10 us. */
#define DH_OFFLOAD_HOOK_COUNT 1000

/* Tables in tables: copying them recurs in C. */
#define DH_OFFLOAD_DEPTH 190

/* What a thread gets to end when the state closes; an abandoned Lua function needs less than 1 ms. */
#define DH_OFFLOAD_CLOSE_S 2

/* The monitor looks once in each cell of this length while there may be something to see; the cells grow
** with the age of the slice they see, because each look may cost the worker 20 us (looks.h). */
#define DH_LOOK_NS 500000u
#define DH_LOOK_MAX_NS 4000000u

/* ... and in each of this length when no slice has taken long for some time. That takes 2 % of a CPU that
** is busy instead of 5. The next slice to take long is preempted after 1.4 ms on average instead of 0.8. */
#define DH_LOOK_CALM_NS 1000000u
#define DH_CALM_NS 100000000u

/* A slice takes long that has been watched for so long; a turn that is so late may have one. */
#define DH_LONG_NS 250000u

/* What the monitor asks the kernel for: the least that there is. A look takes a tenth of it. */
#define DH_MONITOR_TURN_NS 100000u

/* Looks without a new turn before the monitor parks. */
#define DH_LINGER_LOOKS 2

/* What a task may use of the CPU although somebody waits for it: preempting costs some 10 us. */
#define DH_MIN_SLICE_NS 500000u
#define DH_SLICE_NS 10000000u

/* A signal that found no Lua code to stop is sent again, later each time: arming a hook costs time
** that grows with the depth of the stack (2 ms where it overflows), and must not be all that is done. */
#define DH_RESEND_NS 500000u
#define DH_RESEND_MAX_NS 16000000u
#define DH_RESEND_SHARE 8u /* so many times what the last one took to handle, on top */

/* A slice that disturbs nobody is looked into this often: it may be over its hang_timeout. */
#define DH_PROBE_NS 50000000u

/* Instructions between two looks at whether a coroutine with a count hook of the user's should be
** preempted, about 0.1 ms. */
#define DH_HOOK_STEP 10000

/* A slice this old has a name: who asks who holds the CPU is told. */
#define DH_HELD_NS 100000000u

/* After so long in one call that no hook interrupts there is a line in the log, then after twice as
** long each time. */
#define DH_DEAF_NS 1000000000u

/* When no block of memory has moved for this long, the stack is not being moved either: the largest
** takes 5 ms. */
#define DH_STILL_NS 500000000u

/* hang_timeout of what belongs to no worker. */
#define DH_HANG_DEFAULT_NS 5000000000u

/* Over its hang_timeout by this much, a slice that caught the error and went on is broken off: what
** else it closes until then still runs. */
#define DH_HANG_GRACE_NS 500000000u

/* The collector. The host steps it in units of 2^n bytes allocated: about 30 us, so that the time
** below is kept. What Lua does by itself while somebody allocates comes in units twice as large. The
** speed is a quarter of Lua's default, at which whoever allocates a kilobyte in the middle of a cycle
** pays 60 us, also the host while it reads results for libuv, and neighbours for what another one has
** left; a cycle is complete when the heap has grown by some 6 % all the same. */
#define DH_COLLECT_STEP 9
#define DH_COLLECT_OWN_STEP 10
#define DH_COLLECT_STEPMUL 25
#define DH_COLLECT_IDLE_NS 100000u

/* In a cycle that the host steps, workers may allocate so much before they must step, too. */
#define DH_COLLECT_CREDIT_KB 1024

/* What a worker's run begins with: 'self', a coroutine with its stack, call frames. */
#define DH_COLLECT_START_BYTES 1300u

/* Less than this allocated since the last cycle is not worth a cycle in idle time. */
#define DH_COLLECT_MIN_BYTES 1000000u

/* A run that has stopped the collector may let the heap grow by so much since it did so first. */
#define DH_STOPPED_BYTES 64000000u

/* collectgarbage("step", n) of a worker: what it does in one go is not preempted. */
#define DH_STEP_MAX_KB 16

/* Blocks refused to a run, at twice its max_memory: each may cost everybody a full collection. */
#define DH_CAP_REFUSALS 3
#define DH_CAP_TEXT 240

/* Above --max-memory such a block is refused; smaller ones are granted until a run has been chosen. A
** run that holds less than that is not worth being chosen. */
#define DH_CEILING_REFUSES_BYTES 65536u
#define DH_CEILING_LEAST_BYTES 65536u

/* What Lua warns of (errors in finalizers): so many lines, in so long. */
#define DH_WARNING_TEXT 512
#define DH_WARNINGS 10
#define DH_WARNINGS_NS 10000000000u

/* What a dead run leaves behind is reported from here on. */
#define DH_LEFTOVER_BYTES 65536u

/* How deep a preempted stack is searched for a __close that a cancellation must not interrupt. */
#define DH_CLOSE_LEVELS 64

/* Coroutines being closed, each from a __close of another: until Lua 5.4.5 closing one does not count
** as C levels, and each may have 200 of these, of up to 1 KB. */
#define DH_CLOSINGS_MAX 30

/* What luv and libuv may ask for in one call, and use without looking whether they got it. */
#define DH_SLACK_BYTES 16384

/* libuv's own: how many threads its pool has unless UV_THREADPOOL_SIZE says so, and at most. */
#define DH_POOL_THREADS 4
#define DH_POOL_THREADS_MAX 1024

/* A run that cannot be closed for want of memory: so long until the next try. */
#define DH_RETRY_NS 10000000u

/* Runs that can end at the same time when memory is out: what each needs for that is kept, 100 bytes. */
#define DH_SPARE_CLOSINGS 64

/* The same of runs that have ended, kept for the next that do: as many as end in a turn, 25 KB. */
#define DH_KEPT_CLOSINGS 256

/* The greatest number of a script, which those that are loaded later share (lua/decnet/made.lua). */
#define DH_SCRIPT_MAX 127u

/* Of a metatable, and of its table of methods: twice as many as any of them has keys, or more. */
#define DH_TYPE_PLACES 16

#endif
