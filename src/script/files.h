/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Files: what a run opens through luv (file descriptors, directories) or io is closed when it ends,
** after what threads still did with it is done. io's defaults are the run's own once it sets one; its
** stdin is nobody's to read, since that would hold up everybody. The functions of io, and print, are
** replaced in place, as those of coroutine are: what a worker prints is known as its own (printed.h).
*/
#ifndef DH_SCRIPT_FILES_H
#define DH_SCRIPT_FILES_H

#include <lua.h>
#include <stdbool.h>

struct dh_run;
struct dh_vm;

/* Who opened which file descriptor. */
struct dh_files {
    struct dh_run **owners; /* by descriptor; NULL: nobody through luv */
    int size;
    struct dh_run *defaults_of; /* whose default files are in force; NULL: the host's */
};

/* The run has opened fd; the value on top of L's stack, a file or directory. Raise when memory is
** out; then fd is closed. */
void dh_files_add_fd(lua_State *L, struct dh_run *run, int fd);
void dh_files_add_value(lua_State *L, struct dh_run *run);

/* fd is being closed, or has become a handle's. */
void dh_files_forget_fd(struct dh_vm *vm, int fd);

/* May code of the run (NULL: no worker's) close fd, or make a handle of it? Not what another one has
** opened; and it may close only what was opened as a file. */
bool dh_files_may_close(const struct dh_vm *vm, const struct dh_run *run, int fd);
bool dh_files_may_take(const struct dh_vm *vm, const struct dh_run *run, int fd);

/* Close n of what the run opened: it is over. Returns true when all is closed. */
bool dh_files_close(struct dh_run *run, unsigned n);

/* Replace the functions of io, and print. Raises on memory errors. */
void dh_files_open(lua_State *L);

/* Free what vm->files holds. */
void dh_files_fini(struct dh_files *files);

#endif
