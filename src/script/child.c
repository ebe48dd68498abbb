/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "script/owned.h"
#include "script/run.h"

#ifndef CLOCK_BOOTTIME /* not Linux: there is no such /proc either */
#define CLOCK_BOOTTIME CLOCK_MONOTONIC
#endif

/* What of /proc/PID/stat is looked at: numbers behind the program's name, the first of proc(5) is 3. */
enum { STATE = 0, PARENT = 1, BEGAN = 19, BLOCKED = 29, IGNORED = 30, CAUGHT = 31, NUMBERS };

struct stat_line {
    char state;
    unsigned long long numbers[NUMBERS];
};

/* In the unit of BEGAN: clock ticks since the machine was started. */
static uint64_t ticks(void) {
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t a_second = (uint64_t)sysconf(_SC_CLK_TCK);
    return (uint64_t)now.tv_sec * a_second + (uint64_t)now.tv_nsec * a_second / 1000000000u;
}

static bool parse(const char *text, struct stat_line *ret_line) {
    const char *at = strrchr(text, ')'); /* the name may have some, too */
    for (int i = 0; i < NUMBERS; i++) {
        at = at != NULL ? strchr(at, ' ') : NULL;
        if (at == NULL) {
            return false;
        }
        at++;
        if (i == STATE) {
            ret_line->state = *at;
        }
        ret_line->numbers[i] = strtoull(at, NULL, 10);
    }
    return true;
}

/* Returns false if there is no such process any more. */
static bool read_line(pid_t pid, struct stat_line *ret_line) {
    char text[1024];
    snprintf(text, sizeof(text), "/proc/%d/stat", (int)pid);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    return parse(text, ret_line);
}

/* Has the member not got the SIGTERM that the group was sent at told_ticks? Of those that began in that
** very tick, of 10 ms, those have not that it would have ended. */
static bool has_missed_it(const struct stat_line *line, pid_t group, uint64_t told_ticks) {
    const unsigned long long *n = line->numbers;
    if (line->state == 'Z' || line->state == 'X' || n[BEGAN] < told_ticks ||
        getpgid((pid_t)n[PARENT]) == group) {
        return false;
    }
    unsigned long long spared = n[BLOCKED] | n[IGNORED] | n[CAUGHT];
    return n[BEGAN] > told_ticks || (spared >> (SIGTERM - 1) & 1) == 0;
}

static void tell_who_missed_it(pid_t group, uint64_t told_ticks) {
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        kill(-group, SIGTERM); /* better twice than never */
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        struct stat_line line;
        if (pid > 0 && getpgid(pid) == group && read_line(pid, &line) &&
            has_missed_it(&line, group, told_ticks)) {
            kill(pid, SIGTERM);
        }
    }
    closedir(proc);
}

void dh_child_tell(struct dh_handle *h, int signal) {
    uv_process_t *child = (uv_process_t *)*h->box;
    if (h->told == signal || h->told == SIGKILL) {
        return;
    }
    h->told = signal;
    h->told_ticks = ticks();
    if (h->is_group) {
        uv_kill(-child->pid, signal);
    } else {
        uv_process_kill(child, signal);
    }
}

void dh_child_ended(const struct dh_handle *h) {
    if (!h->is_group || h->told == 0) {
        return;
    }
    pid_t group = ((uv_process_t *)*h->box)->pid;
    if (kill(-group, 0) != 0) { /* as a rule nobody is left */
        return;
    }
    if (h->run->is_killed) {
        kill(-group, SIGKILL);
    } else {
        tell_who_missed_it(group, h->told_ticks);
    }
}

static int l_end_child(lua_State *L) {
    struct dh_handle *h = dh_owned_find(L, 1);
    if (h != NULL && dh_owned_is_living_child(h)) {
        dh_child_tell(h, lua_toboolean(L, 2) ? SIGKILL : SIGTERM);
    }
    return 0;
}

void dh_child_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"end_child", l_end_child}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
