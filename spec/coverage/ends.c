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

static void (*of_others)(int); /* a module has counters of its own */

static void write_counters(int number) {
    signal(SIGALRM, SIG_DFL);
    alarm(5); /* whoever was just writing counters writes no more */
    __gcov_dump();
    if (dh_write_lines != NULL) {
        dh_write_lines();
    }
    if (of_others != SIG_DFL) {
        of_others(number);
    }
    if (number == SIGRTMAX) {
        kill(getpid(), SIGKILL);
    }
}

/* Those of the modules, too: the last one that was loaded is asked. */
static void write_all(void) {
    struct sigaction last;
    sigaction(SIGRTMAX, NULL, &last);
    last.sa_handler(0);
}

_Noreturn void __wrap__exit(int code) {
    write_all();
    __real__exit(code);
}

_Noreturn void __wrap_abort(void) {
    write_all();
    __real_abort();
}

int __wrap_execv(const char *path, char *const args[]) {
    __gcov_dump();
    int rc = __real_execv(path, args);
    __gcov_reset();
    return rc;
}

__attribute__((constructor)) static void wait_for_kill(void) {
    of_others = signal(SIGRTMAX, write_counters);
}
