/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"
#include "script/module.h"
#include "script/pool.h"

/* Loops that do not end are no finding. */
#define LINES_MAX 20000

#define OURS "@" FUZZ_ROOT

static unsigned lines_run;
static bool is_bound; /* by LINES_MAX */

/* What libFuzzer takes for edges, besides those of C. A build without it has a table nobody reads. */
#define LINES 8192
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t lines[LINES];

/* Lines of decnet's own Lua are told to libFuzzer, others counted. */
static void on_line(lua_State *L, lua_Debug *ar) {
    lua_getinfo(L, "S", ar);
    if (strncmp(ar->source, OURS, sizeof(OURS) - 1) == 0) {
        uintptr_t place = (uintptr_t)ar->source * 31u + (uintptr_t)ar->currentline * 7919u;
        lines[(place ^ place >> 17) % LINES]++;
    } else if (is_bound && ++lines_run > LINES_MAX) {
        luaL_error(L, "too many lines");
    }
}

/* FUZZ_BOUND(is_bound): from now on so many lines of others may run, and then none, so that no pcall is
** of use. What follows without bounds runs without the hook, too: the host's own hooks are at work
** there. */
static int l_bound(lua_State *L) {
    is_bound = lua_toboolean(L, 1);
    lines_run = 0;
    lua_sethook(L, is_bound ? on_line : NULL, is_bound ? LUA_MASKLINE : 0, 0);
    return 0;
}

static void set_globals(lua_State *L, bool is_canary) {
    int fd = memfd_create("script", MFD_CLOEXEC);
    HOLDS(fd >= 0);
    lua_pushfstring(L, "/proc/self/fd/%d", fd);
    lua_setglobal(L, "FUZZ_PATH");
    lua_pushcfunction(L, l_bound);
    lua_setglobal(L, "FUZZ_BOUND");
    lua_pushboolean(L, is_canary);
    lua_setglobal(L, "FUZZ_CANARY");
}

static void run_file(lua_State *L, const char *file) {
    if (luaL_loadfile(L, file) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
}

static void set_path(lua_State *L) {
    lua_getglobal(L, "package");
    lua_pushliteral(L, FUZZ_ROOT "/lua/?.lua;" FUZZ_ROOT "/lua/?/init.lua;" FUZZ_ROOT "/?.lua");
    lua_setfield(L, -2, "path");
    lua_pop(L, 1);
}

lua_State *state_open(const char *file, bool is_canary) {
    char path[512];
    struct dh_pool *pool = dh_pool_new();
    lua_State *L = pool != NULL ? lua_newstate(dh_pool_realloc, pool) : NULL;
    HOLDS(L != NULL);
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_decnet_core);
    lua_setfield(L, -2, "decnet.core");
    lua_pop(L, 1);
    set_path(L);
    set_globals(L, is_canary);
    snprintf(path, sizeof(path), FUZZ_ROOT "/spec/fuzz/%s", file);
    run_file(L, path);
    return L;
}

void state_run(lua_State *L, const uint8_t *data, size_t size, bool bounded) {
    lua_pushvalue(L, -1);
    lua_pushlstring(L, (const char *)data, size);
    is_bound = bounded;
    lines_run = 0;
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    int status = lua_pcall(L, 1, 0, 0);
    lua_sethook(L, NULL, 0, 0);
    if (status != LUA_OK) {
        fuzz_fail("spec/fuzz", 0, luaL_tolstring(L, -1, NULL));
    }
}
