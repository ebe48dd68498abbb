/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/debughook.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

#include "script/instance.h"
#include "script/limits.h"
#include "script/preempt.h"
#include "script/unit.h"
#include "script/vm.h"

/* A coroutine's hook; user value 1: the function. */
struct user_hook {
    int mask;         /* events that the user wants */
    int count;        /* of instructions between his count events */
    int left;         /* until the next one */
    int step;         /* until ours */
    bool is_entering; /* a call event was the last one */
};

/* Registry: coroutine -> userdata with a struct user_hook. Weak keys. */
static const char hooks_key = 0;

/* Push the entry of L1, or nil; L and L1 may be the same. */
static struct user_hook *push_hook(lua_State *L, lua_State *L1) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hooks_key);
    lua_pushthread(L1);
    if (L != L1) {
        lua_xmove(L1, L, 1);
    }
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return lua_touserdata(L, -1);
}

static void on_event(lua_State *L, lua_Debug *ar);

/* The next count event of ours in at most so many instructions. */
static void install(lua_State *L, struct user_hook *hook, int step) {
    bool has_count = hook->count > 0;
    bool needs_count = has_count || (hook->mask & LUA_MASKLINE) == 0;
    hook->step = has_count && hook->left < step ? hook->left : step;
    lua_sethook(L, on_event, hook->mask | (needs_count ? LUA_MASKCOUNT : 0), hook->step);
}

/* Is this count event of ours one of the user's? */
static bool is_counted(lua_State *L, struct user_hook *hook) {
    int step = hook->step;
    hook->left -= step;
    bool is_users = hook->count > 0 && hook->left <= 0;
    if (hook->left <= 0) {
        hook->left = hook->count;
    }
    int next = hook->is_entering ? 1 : DH_HOOK_STEP;
    if (step != next && (hook->count == 0 || step != hook->left)) {
        install(L, hook, next);
    }
    return is_users;
}

static void call_user(lua_State *L, lua_Debug *ar) {
    static const char *const names[] = {"call", "return", "line", "count", "tail call"};
    lua_getiuservalue(L, -1, 1);
    lua_pushstring(L, names[ar->event]);
    if (ar->event == LUA_HOOKLINE) {
        lua_pushinteger(L, ar->currentline);
    } else {
        lua_pushnil(L);
    }
    lua_call(L, 2, 0);
}

/* May the CPU be taken at this event? Not at the first instruction of a function whose call event the
** user has seen: he would see it again when the function goes on. */
static bool is_preemptible(struct user_hook *hook, int event) {
    bool is_ours = event == ((hook->mask & LUA_MASKLINE) != 0 ? LUA_HOOKLINE : LUA_HOOKCOUNT);
    bool was_entering = hook->is_entering;
    hook->is_entering = is_ours ? false : was_entering || event == LUA_HOOKCALL;
    return is_ours && !was_entering;
}

static void on_event(lua_State *L, lua_Debug *ar) {
    struct user_hook *hook = push_hook(L, L);
    if (hook == NULL) { /* a coroutine inherits it, but the hook is its creator's */
        lua_sethook(L, NULL, 0, 0);
        lua_pop(L, 1);
        return;
    }
    bool is_users = ar->event != LUA_HOOKCOUNT || is_counted(L, hook);
    bool can_preempt = is_preemptible(hook, ar->event);
    if (is_users) {
        call_user(L, ar);
    }
    lua_pop(L, 1);
    if (can_preempt) {
        dh_preempt_in_hook(L);
    }
}

int dh_debughook_is(lua_Hook hook) {
    return hook == on_event;
}

/* The coroutine that is meant, and *ret_arg more arguments before the others. */
static lua_State *coroutine_of(lua_State *L, int *ret_arg) {
    *ret_arg = lua_isthread(L, 1) ? 1 : 0;
    return lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
}

/* A hook in another worker's coroutine would run there: in his slice, and as his error. */
static void check_owner(lua_State *L, lua_State *L1) {
    struct dh_vm *vm = dh_vm_of(L);
    const struct dh_run *own = vm->current != NULL ? vm->current->run : NULL;
    const struct dh_task *t = dh_task_of(L1);
    if (t != NULL && t->run != own) {
        luaL_error(L,
                   "debug.sethook: the coroutine belongs to %s%s: a hook can only be set by itself",
                   t->run->unit != NULL ? "worker " : "the host",
                   t->run->unit != NULL ? t->run->unit->name : "");
    }
    if (L1 == vm->L && own != NULL) {
        luaL_error(L, "debug.sethook: the main coroutine belongs to the host: set the hook in the "
                      "worker's own coroutines");
    }
}

static void set_entry(lua_State *L, lua_State *L1, int value) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hooks_key);
    lua_pushthread(L1);
    if (L != L1) {
        lua_xmove(L1, L, 1);
    }
    lua_pushvalue(L, value);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static int make_mask(const char *text, int count) {
    return (strchr(text, 'c') != NULL ? LUA_MASKCALL : 0) |
           (strchr(text, 'r') != NULL ? LUA_MASKRET : 0) |
           (strchr(text, 'l') != NULL ? LUA_MASKLINE : 0) | (count > 0 ? LUA_MASKCOUNT : 0);
}

/* debug.sethook([thread,] hook, mask [, count]), as the manual of Lua says. */
static int l_sethook(lua_State *L) {
    int arg;
    int mask = 0;
    int count = 0;
    lua_State *L1 = coroutine_of(L, &arg);
    check_owner(L, L1);
    bool is_off = lua_isnoneornil(L, arg + 1);
    if (!is_off) {
        const char *text = luaL_checkstring(L, arg + 2);
        luaL_checktype(L, arg + 1, LUA_TFUNCTION);
        count = (int)luaL_optinteger(L, arg + 3, 0);
        count = count > 0 ? count : 0;
        mask = make_mask(text, count);
    }
    luaL_argcheck(L, L == L1 || lua_checkstack(L1, 1), 1, "stack overflow");
    lua_settop(L, arg + 1);
    if (is_off || mask == 0) {
        lua_pushnil(L);
        set_entry(L, L1, arg + 2);
        lua_sethook(L1, NULL, 0, 0);
        return 0;
    }
    struct user_hook *hook = lua_newuserdatauv(L, sizeof(*hook), 1);
    *hook = (struct user_hook){.mask = mask, .count = count, .left = count};
    lua_pushvalue(L, arg + 1);
    lua_setiuservalue(L, -2, 1);
    set_entry(L, L1, arg + 2);
    install(L1, hook, DH_HOOK_STEP);
    return 0;
}

/* debug.gethook([thread]) */
static int l_gethook(lua_State *L) {
    int arg;
    lua_State *L1 = coroutine_of(L, &arg);
    luaL_argcheck(L, L == L1 || lua_checkstack(L1, 1), 1, "stack overflow");
    const struct user_hook *hook = push_hook(L, L1);
    lua_Hook installed = lua_gethook(L1);
    char mask[4];
    size_t n = 0;
    int wanted;
    int count;
    if (hook != NULL) {
        lua_getiuservalue(L, -1, 1);
        wanted = hook->mask;
        count = hook->count;
    } else if (installed == NULL || dh_debughook_is(installed) || dh_preempt_is_hook(installed)) {
        luaL_pushfail(L);
        return 1;
    } else {
        lua_pushliteral(L, "external hook");
        wanted = lua_gethookmask(L1);
        count = lua_gethookcount(L1);
    }
    if (wanted & LUA_MASKCALL) {
        mask[n++] = 'c';
    }
    if (wanted & LUA_MASKRET) {
        mask[n++] = 'r';
    }
    if (wanted & LUA_MASKLINE) {
        mask[n++] = 'l';
    }
    lua_pushlstring(L, mask, n);
    lua_pushinteger(L, count);
    return 3;
}

static const luaL_Reg replaced[] = {
    {"gethook", l_gethook},
    {"sethook", l_sethook},
    {NULL, NULL},
};

void dh_debughook_replace(lua_State *L) {
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &hooks_key);
    if (lua_getglobal(L, LUA_DBLIBNAME) == LUA_TTABLE) {
        luaL_setfuncs(L, replaced, 0);
    }
    lua_pop(L, 1);
}
