/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Closing what a run, or a host, has opened through luv.
*/
#ifndef DH_SCRIPT_LUVCLOSE_H
#define DH_SCRIPT_LUVCLOSE_H

#include <lua.h>

struct dh_run;
struct dh_vm;

/* luv is open: its own uv.close is on top of L's stack. Pops it. Raises on memory errors. */
void dh_luvclose_open(lua_State *L);

/* Close what the run, which owns something, opened, cancel what it asked for: each handle counts itself
** out with dh_run_on_handle_closed, each request with dh_run_on_request_done. Children are asked to end,
** and their handles closed when they have. After 'begin', close_owned looks at n handles a call, until it
** has seen all; without memory it may be called again. */
enum dh_luv_progress { DH_LUV_CLOSED_ALL, DH_LUV_CLOSED_SOME, DH_LUV_NO_MEMORY };
void dh_luv_begin_closing(struct dh_run *run);
enum dh_luv_progress dh_luv_close_owned(struct dh_run *run, unsigned n);

/* A child of the run has ended. */
void dh_luv_on_exit(struct dh_run *run);

/* Close every handle on the loop that is not the host's and let the close callbacks run. */
void dh_luv_close_all(struct dh_vm *vm);

#endif
