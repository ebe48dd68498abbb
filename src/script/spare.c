/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/spare.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "script/instance.h"
#include "script/leftover.h"
#include "script/limits.h"
#include "script/unit.h"
#include "script/vm.h"

/* Whose references may have got out */

static bool maps_word(int fd, const char *word) {
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size <= 0) {
        return true;
    }
    void *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED) {
        return true;
    }
    bool has_word = memmem(file, (size_t)st.st_size, word, strlen(word)) != NULL;
    munmap(file, (size_t)st.st_size);
    return has_word;
}

/* Could the library make a reference to the coroutine that calls it? There is but one function for that,
** whose name stands in the file of who imports it. */
static bool is_able(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return true;
    }
    bool is = maps_word(fd, "lua_pushthread");
    close(fd);
    return is;
}

/* The table at -1 is Lua's list of libraries, and of their paths. */
static bool is_any_able(lua_State *L) {
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING && is_able(lua_tostring(L, -1))) {
            lua_pop(L, 1);
            return true;
        }
    }
    return false;
}

static bool may_libraries_know(struct dh_vm *vm) {
    lua_State *L = vm->L;
    dh_vm_push_anchored(L, vm->library_list);
    size_t count = lua_rawlen(L, -1);
    if (count != vm->libraries) {
        vm->is_bared = vm->is_bared || is_any_able(L);
        vm->libraries = count;
    }
    lua_pop(L, 1);
    return vm->is_bared;
}

/* Upvalue 1: the original. */
static int l_bare(lua_State *L) {
    dh_vm_of(L)->is_bared = true;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

void dh_spare_open(lua_State *L) {
    static const char *const names[] = {"getregistry", "getuservalue", NULL};
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "_CLIBS"); /* Lua's own list */
    dh_vm_of(L)->library_list = dh_vm_anchor(L);
    if (lua_getglobal(L, LUA_DBLIBNAME) == LUA_TTABLE) {
        for (int i = 0; names[i] != NULL; i++) {
            lua_getfield(L, -1, names[i]);
            lua_pushcclosure(L, l_bare, 1);
            lua_setfield(L, -2, names[i]);
        }
    }
    lua_pop(L, 1);
}

/* What is kept */

static bool is_account_fit(const struct dh_vm *vm, const struct dh_unit *unit, uint32_t account) {
    return account != DH_ACCOUNT_HOST && unit->worker.policy->max_memory_bytes == UINT64_MAX &&
           dh_account_held(vm->ledger, account, DH_ACCOUNT_NO_LINE) <= DH_SPARE_BYTES;
}

static bool is_coroutine_fit(struct dh_vm *vm, const struct dh_task *t) {
    return t->has_unwound && !t->is_known && lua_gethook(t->co) == NULL && !may_libraries_know(vm);
}

bool dh_spare_keep(struct dh_vm *vm, struct dh_run *run) {
    struct dh_unit *unit = run->unit;
    struct dh_task *t = &run->main;
    if (unit->trouble == NULL || unit->worker.state != DH_BACKOFF ||
        !is_account_fit(vm, unit, run->account) || !is_coroutine_fit(vm, t)) {
        return false;
    }
    lua_settop(t->co, 0);
    unit->trouble->spare = (struct dh_spare){t->co, run, t->anchor, run->account};
    if (run->is_known) {
        lua_State *L = vm->L;
        unit->trouble->spare.run = NULL;
        dh_vm_push_anchored(L, t->anchor);
        lua_getiuservalue(L, -1, 1);
        dh_vm_anchor_again(L, t->anchor);
        dh_unit_push(L, unit);
        lua_setiuservalue(L, -2, 1);
        lua_pop(L, 1);
    }
    return true;
}

void dh_spare_let_go(struct dh_vm *vm, struct dh_run *run) {
    lua_State *L = vm->L;
    /* a 'self' that somebody keeps still knows its worker */
    dh_vm_push_anchored(L, run->main.anchor);
    dh_unit_push(L, run->unit);
    lua_setiuservalue(L, -2, 1);
    lua_pop(L, 1);
    dh_vm_release(vm, run->main.anchor);
    if (run->account != DH_ACCOUNT_HOST) {
        dh_leftover_add(vm, run->unit, run->number, run->account);
    }
}

void dh_spare_drop(struct dh_vm *vm, struct dh_unit *unit) {
    struct dh_spare *spare = unit->trouble != NULL ? &unit->trouble->spare : NULL;
    if (spare == NULL || spare->co == NULL) {
        return;
    }
    dh_vm_release(vm, spare->anchor);
    dh_leftover_add(vm, unit, unit->worker.run, spare->account);
    *spare = (struct dh_spare){0};
}

uint32_t dh_spare_account(struct dh_vm *vm, struct dh_unit *unit) {
    const struct dh_spare *spare = unit->trouble != NULL ? &unit->trouble->spare : NULL;
    if (spare != NULL && spare->co != NULL) {
        struct dh_account *account = &vm->ledger->accounts[spare->account];
        if (lua_gethook(vm->L) == NULL && !vm->is_bared &&
            is_account_fit(vm, unit, spare->account)) {
            account->allocated = dh_account_held(vm->ledger, spare->account, DH_ACCOUNT_NO_LINE);
            return spare->account;
        }
        dh_spare_drop(vm, unit);
    }
    return vm->ledger != NULL ? dh_account_open(vm->ledger) : DH_ACCOUNT_HOST;
}

bool dh_spare_has_all(const struct dh_unit *unit) {
    return unit->trouble != NULL && unit->trouble->spare.run != NULL;
}
