/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Linked into each program and module of the build that counts (CMakeLists.txt, DECNET_COVERAGE): the
** counters are written at exit, and these ends of a process are none. SIGKILL cannot be told of, so the
** specs of processes kill by the last signal instead (spec/process/process.lua).
*/
#include <gcov.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void __real__exit(int code);
_Noreturn void __real_abort(void);
int __real_execv(const char *path, char *const args[]);

_Noreturn void __wrap__exit(int code);
_Noreturn void __wrap_abort(void);
int __wrap_execv(const char *path, char *const args[]);

/* What else is to be written. */
__attribute__((weak)) void dh_write_lines(void);

_Noreturn void __wrap__exit(int code) {
    __gcov_dump();
    __real__exit(code);
}

_Noreturn void __wrap_abort(void) {
    __gcov_dump();
    __real_abort();
}

int __wrap_execv(const char *path, char *const args[]) {
    __gcov_dump();
    int rc = __real_execv(path, args);
    __gcov_reset();
    return rc;
}

static void (*of_others)(int); /* a module has counters of its own */

static void on_kill(int number) {
    signal(SIGALRM, SIG_DFL);
    alarm(5); /* whoever was just writing counters writes no more */
    __gcov_dump();
    if (dh_write_lines != NULL) {
        dh_write_lines();
    }
    if (of_others != SIG_DFL) {
        of_others(number);
    }
    kill(getpid(), SIGKILL);
}

__attribute__((constructor)) static void wait_for_kill(void) {
    of_others = signal(SIGRTMAX, on_kill);
}
