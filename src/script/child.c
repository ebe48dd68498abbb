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
#include <unistd.h>

#include "script/owned.h"

/* Numbers in /proc/PID/stat behind the program's name (proc(5) counts from 1, and two before). */
enum { STATE, PPID, GROUP, IGNORED = 30, CAUGHT = 31, NUMBERS };

static bool parse(const char *stat, char *ret_state, unsigned long long *numbers) {
    const char *at = strrchr(stat, ')'); /* the name may have some, too */
    for (int i = 0; i < NUMBERS; i++) {
        at = at != NULL ? strchr(at, ' ') : NULL;
        if (at == NULL) {
            return false;
        }
        at++;
        numbers[i] = strtoull(at, NULL, 10);
        *ret_state = i == STATE ? *at : *ret_state;
    }
    return true;
}

/* Is it alive, of the group, and would SIGTERM have ended it? */
static bool has_missed_it(const char *stat, pid_t group) {
    unsigned long long numbers[NUMBERS];
    char state = '\0';
    return parse(stat, &state, numbers) && state != 'Z' && state != 'X' &&
           numbers[GROUP] == (unsigned long long)group &&
           ((numbers[IGNORED] | numbers[CAUGHT]) >> (SIGTERM - 1) & 1) == 0;
}

/* Read /proc/PID/stat. Returns false if there is none. */
static bool read_stat(const char *pid, char *dst, size_t cap) {
    char path[300];
    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t len = read(fd, dst, cap - 1);
    close(fd);
    dst[len > 0 ? len : 0] = '\0';
    return len > 0;
}

static void tell_who_missed_it(pid_t group) {
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        char stat[1024];
        if (pid > 0 && read_stat(entry->d_name, stat, sizeof(stat)) && has_missed_it(stat, group)) {
            kill(pid, SIGTERM);
        }
    }
    closedir(proc);
}

void dh_child_tell(struct dh_handle *h, int signal) {
    uv_process_t *child = (uv_process_t *)*h->box;
    if (h->told == signal) {
        return;
    }
    h->told = signal;
    if (h->is_group) {
        uv_kill(-child->pid, signal);
    } else {
        uv_process_kill(child, signal);
    }
}

void dh_child_ended(const struct dh_handle *h) {
    if (h->is_group && h->told == SIGTERM) {
        pid_t group = ((uv_process_t *)*h->box)->pid;
        if (kill(-group, 0) == 0) { /* as a rule nobody is left */
            tell_who_missed_it(group);
        }
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
