/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** decnet-host: a Lua state with decnet and luv built in, and the program in lua/decnet/cli.lua.
*/
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/host.h"
#include "host/signals.h"
#include "script/module.h"
#include "script/pool.h"
#include "script/vm.h"

struct arguments {
    int count;
    char **values;
};

/* 8 bytes each, of the kernel's memory. */
#define FILES_EXPECTED 32768u

/* The directory that share/decnet-host and lib/decnet-host are in: the program's own, as in a build
** tree, or the one above, as where it is installed in bin. So what is installed can be moved. */
static void find_root(lua_State *L, char *ret_root, size_t cap) {
    char own[4096];
    char probe[4200];
    ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
    if (n <= 0) {
        luaL_error(L, "cannot tell where the program is: /proc/self/exe: %s; is /proc mounted?",
                   strerror(errno));
    }
    own[n] = '\0';
    snprintf(ret_root, cap, "%s", own);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(ret_root, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        snprintf(probe, sizeof(probe), "%s/share/decnet-host/lua/decnet", ret_root);
        if (access(probe, R_OK) == 0) {
            return;
        }
    }
    luaL_error(L,
               "%s is not installed whole: there is no %s; install all of it, and start it there",
               own, probe);
}

/* Become the program that carries out the client verbs. Returns only if there is none: nil and a
** message. */
static int become_client(lua_State *L) {
    const struct arguments *args = lua_touserdata(L, lua_upvalueindex(1));
    const char *path = lua_tostring(L, lua_upvalueindex(2));
    execv(path, args->values);
    lua_pushnil(L);
    lua_pushfstring(L, "cannot execute %s: %s; is decnet-ctl installed?", path, strerror(errno));
    return 2;
}

/* package.path = DIR/?.lua;DIR/?/init.lua;package.path */
static void extend_path(lua_State *L, const char *root) {
    const char *dir = lua_pushfstring(L, "%s/share/decnet-host/lua", root);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "path");
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", dir, dir, lua_tostring(L, -1));
    lua_setfield(L, -3, "path");
    lua_pop(L, 3);
}

#if defined(__SANITIZE_ADDRESS__)
#define BUILD "with sanitizers"
#else
#define BUILD "release"
#endif

/* A closed stdin, stdout or stderr would be the number of the next file that somebody opens, and
** the log would be written into that. */
static int hold_standard_files(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0) {
        return -1;
    }
    close(fd);
    return 0;
}

/* Let the kernel make its table of open files large now, while there is one thread. Later each doubling
** of it would hold whoever opens the file, which is the loop, for up to 20 ms. */
static void make_room_for_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        rlim_t most = limit.rlim_cur < FILES_EXPECTED ? limit.rlim_cur : FILES_EXPECTED;
        int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)most - 1);
        if (fd >= 0) {
            close(fd);
        }
    }
}

/* How wide is stdout: what the terminal says, or who has set COLUMNS; 0: nobody does. */
static int count_columns(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        return size.ws_col > 0 ? size.ws_col : 80;
    }
    const char *columns = getenv("COLUMNS");
    return columns != NULL ? atoi(columns) : 0;
}

/* A Lua program may end by a closed pipe, as under lua5.4; a host must not. */
static bool is_plain_lua(int argc, char **argv) {
    return argc > 1 && strcmp(argv[1], "lua") == 0;
}

/* Returns what cli.main returns: the exit code. */
static int run(lua_State *L) {
    struct arguments *args = lua_touserdata(L, 1);
    char root[4096];
    find_root(L, root, sizeof(root));
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_decnet_core);
    lua_setfield(L, -2, "decnet.core");
    lua_pop(L, 1);
    extend_path(L, root);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "decnet.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_createtable(L, 0, 6); /* about this build */
    lua_pushlightuserdata(L, args);
    lua_pushfstring(L, "%s/libexec/decnet-host/decnet-ctl", root);
    lua_pushcclosure(L, become_client, 2);
    lua_setfield(L, -2, "become_client");
    lua_pushfstring(L, "%s/lib/decnet-host/decnet/control.so", root);
    lua_setfield(L, -2, "control");
    lua_pushliteral(L, DECNET_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushliteral(L, BUILD);
    lua_setfield(L, -2, "build");
    lua_pushliteral(L, LUA_RELEASE);
    lua_setfield(L, -2, "lua");
    int columns = count_columns();
    if (columns > 0) {
        lua_pushinteger(L, columns);
        lua_setfield(L, -2, "columns");
    }
    lua_createtable(L, args->count, 0);
    for (int i = 0; i < args->count; i++) {
        lua_pushstring(L, args->values[i]);
        lua_rawseti(L, -2, i);
    }
    lua_call(L, 2, 1);
    return 1;
}

/* An error outside of any protected call: only our own bug or the last memory can do that. */
static int on_panic(lua_State *L) {
    const char *text = lua_tostring(L, -1);
    dh_host_die(text != NULL ? text : "error object is not a string");
}

int main(int argc, char **argv) {
    struct arguments args = {argc, argv};
    int code = DH_EXIT_USAGE;
    if (hold_standard_files() != 0) {
        perror("decnet-host: cannot open /dev/null");
        return DH_EXIT_USAGE;
    }
    make_room_for_files();
    if (!is_plain_lua(argc, argv)) {
        dh_signals_ignore_pipe(NULL);
    }
    struct dh_pool *pool = dh_pool_new();
    lua_State *L = pool != NULL ? lua_newstate(dh_pool_realloc, pool) : NULL;
    if (L == NULL) {
        fputs("decnet-host: out of memory\n", stderr);
        return DH_EXIT_USAGE;
    }
    memset(lua_getextraspace(L), 0, LUA_EXTRASPACE); /* no vm yet; Lua leaves it as it was */
    lua_atpanic(L, on_panic);
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, &args);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
        code = (int)lua_tointeger(L, -1);
    } else {
        fprintf(stderr, "decnet-host: %s\n", luaL_tolstring(L, -1, NULL));
    }
    dh_vm_close_handles(L);
    lua_close(L);
    dh_pool_free(pool);
    return code;
}
