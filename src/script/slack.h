/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Memory and threads for those who do not look whether they got them. luv uses what malloc returns,
** and libuv aborts when it cannot start its threads. So they are asked only when there is slack: when
** what they are about to ask for could be had a moment ago, and was given back.
*/
#ifndef DH_SCRIPT_SLACK_H
#define DH_SCRIPT_SLACK_H

#include <stdbool.h>
#include <uv.h>

struct dh_vm;

/* Are there DH_SLACK_BYTES to be had? */
bool dh_slack_of_memory(void);

/* And what a start of the handle may need for libuv's table of who watches which descriptor? It grows when
** one watches that is beyond it, to twice its size or more. NULL: no handle. */
bool dh_slack_for_handle(const uv_handle_t *handle);

/* Can the threads of libuv's pool be started, or have they been? */
bool dh_slack_of_threads(struct dh_vm *vm);

#endif
