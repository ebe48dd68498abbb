/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Linked into decnet-host in the build that counts (CMakeLists.txt wraps these functions): each Lua
** state that the program makes has a line hook wherever there is no other one. What lines of
** lua/decnet/ were executed is appended, at exit, to the file that DECNET_LUA_LINES names:
** "reload.lua:12" each.
*/
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES_MAX 64
#define LINES_MAX 1024

void dh_write_lines(void);
lua_State *__real_lua_newstate(lua_Alloc alloc, void *ud);
lua_State *__wrap_lua_newstate(lua_Alloc alloc, void *ud);
void __real_lua_sethook(lua_State *L, lua_Hook hook, int mask, int count);
void __wrap_lua_sethook(lua_State *L, lua_Hook hook, int mask, int count);
lua_Hook __real_lua_gethook(lua_State *L);
lua_Hook __wrap_lua_gethook(lua_State *L);

static struct {
    char name[64];
    bool is_hit[LINES_MAX];
} files[FILES_MAX];

static void on_line(lua_State *L, lua_Debug *ar) {
    static const char dir[] = "/lua/decnet/";
    lua_getinfo(L, "S", ar);
    const char *name = ar->source[0] == '@' ? strstr(ar->source, dir) : NULL;
    if (name == NULL) {
        return;
    }
    name += sizeof(dir) - 1;
    for (int i = 0; i < FILES_MAX; i++) {
        if (files[i].name[0] == '\0') {
            snprintf(files[i].name, sizeof(files[i].name), "%s", name);
        }
        if (strcmp(files[i].name, name) == 0) {
            if (ar->currentline > 0 && ar->currentline < LINES_MAX) {
                files[i].is_hit[ar->currentline] = true;
            }
            return;
        }
    }
}

__attribute__((destructor)) void dh_write_lines(void) {
    const char *path = getenv("DECNET_LUA_LINES");
    FILE *f = path != NULL ? fopen(path, "a") : NULL;
    if (f != NULL) {
        setvbuf(f, NULL, _IOLBF, 0); /* several processes append */
    }
    for (int i = 0; f != NULL && i < FILES_MAX; i++) {
        for (int line = 0; line < LINES_MAX; line++) {
            if (files[i].is_hit[line]) {
                fprintf(f, "%s:%d\n", files[i].name, line);
            }
        }
    }
    if (f != NULL) {
        fclose(f);
    }
}

static bool is_wanted;

/* Where nobody else has a hook, ours is; nobody sees it. */
void __wrap_lua_sethook(lua_State *L, lua_Hook hook, int mask, int count) {
    if (is_wanted && (hook == NULL || mask == 0)) {
        __real_lua_sethook(L, on_line, LUA_MASKLINE, 0);
    } else {
        __real_lua_sethook(L, hook, mask, count);
    }
}

lua_Hook __wrap_lua_gethook(lua_State *L) {
    lua_Hook hook = __real_lua_gethook(L);
    return hook == on_line ? NULL : hook;
}

lua_State *__wrap_lua_newstate(lua_Alloc alloc, void *ud) {
    lua_State *L = __real_lua_newstate(alloc, ud);
    is_wanted = getenv("DECNET_LUA_LINES") != NULL;
    if (L != NULL) {
        lua_sethook(L, NULL, 0, 0);
    }
    return L;
}
