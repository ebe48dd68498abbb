/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/failure.h"

#include <assert.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/timerq.h"
#include "obs/crashlog.h"
#include "obs/text.h"
#include "script/limits.h"
#include "script/table.h"
#include "script/tag.h"
#include "script/variables.h"
#include "script/wait.h"

#define ENDING_TYPE "decnet.ending"

/* What decnet.fatal and decnet.retry_after raise; the user value is the error. */
struct ending {
    uint64_t retry_after_ns;
    bool is_fatal;
};

/* Bounded appending. */
struct text {
    char *dst;
    size_t cap;
    size_t len;
};

static void append(struct text *t, const char *s) {
    size_t n = strlen(s);
    size_t room = t->cap - 1 - t->len;
    if (n > room) {
        n = room;
    }
    memcpy(t->dst + t->len, s, n);
    t->len += n;
    t->dst[t->len] = '\0';
}

static void append_level(struct text *t, lua_Debug *ar) {
    char line[LUA_IDSIZE + 160];
    if (ar->currentline > 0) {
        snprintf(line, sizeof(line), "\n\t%s:%d: in ", ar->short_src, ar->currentline);
    } else {
        snprintf(line, sizeof(line), "\n\t%s: in ", ar->short_src);
    }
    append(t, line);
    if (*ar->namewhat != '\0') {
        snprintf(line, sizeof(line), "%s '%.80s'", ar->namewhat, ar->name);
    } else if (*ar->what == 'm') {
        snprintf(line, sizeof(line), "main chunk");
    } else if (*ar->what != 'C') {
        snprintf(line, sizeof(line), "function <%s:%d>", ar->short_src, ar->linedefined);
    } else {
        snprintf(line, sizeof(line), "?");
    }
    append(t, line);
    if (ar->istailcall) {
        append(t, "\n\t(...tail calls...)");
    }
}

size_t dh_traceback_write(lua_State *co, int level, char *dst, size_t cap) {
    struct text t = {dst, cap, 0};
    lua_Debug ar;
    int n = 0;
    dst[0] = '\0';
    bool is_next = lua_getstack(co, level, &ar);
    while (is_next) {
        if (n++ == DH_TRACEBACK_LEVELS) {
            append(&t, "\n\t...");
            break;
        }
        lua_getinfo(co, "Slnt", &ar);
        lua_Debug next;
        is_next = lua_getstack(co, ++level, &next);
        if (is_next || *ar.what != 'C') {
            append_level(&t, &ar); /* all but the host's own entry at the bottom */
        }
        ar = next;
    }
    if (t.len > 0) {
        memmove(dst, dst + 1, t.len);
        t.len--;
    }
    return t.len;
}

static int call_tostring(lua_State *L) {
    luaL_tolstring(L, 1, NULL);
    return 1;
}

static size_t print(char *dst, size_t cap, const char *fmt, const char *arg) {
    size_t n = (size_t)snprintf(dst, cap, fmt, arg);
    assert(n < cap); /* names of types, and less than a line */
    return n;
}

/* The string at -1, cut and made printable; pops it. */
static size_t take_string(lua_State *L, char *dst, size_t cap) {
    size_t len;
    const char *s = lua_tolstring(L, -1, &len);
    len = dh_text_oneline(dst, cap, s, len);
    lua_pop(L, 1);
    return len;
}

enum { SHOWN_KEYS = 8 };

/* The alphabetically first string keys of the table at idx that have plain values: an order that
** does not change from run to run. Returns how many. */
static int first_keys(lua_State *L, int idx, const char *keys[SHOWN_KEYS]) {
    int n = 0;
    lua_pushnil(L);
    while (lua_next(L, idx) != 0) {
        int type = lua_type(L, -1);
        bool is_plain = type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN;
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING || !is_plain) {
            continue;
        }
        const char *key = lua_tostring(L, -1);
        int at = n < SHOWN_KEYS ? n++ : SHOWN_KEYS;
        for (; at > 0 && strcmp(keys[at - 1], key) > 0; at--) {
            if (at < SHOWN_KEYS) {
                keys[at] = keys[at - 1];
            }
        }
        if (at < SHOWN_KEYS) {
            keys[at] = key;
        }
    }
    return n;
}

/* A table without __tostring: its string keys with plain values, raw, so that error{code = 5} says
** more than an address. */
static size_t describe_table(lua_State *L, int idx, char *dst, size_t cap) {
    struct text t = {dst, cap, 0};
    append(&t, "{");
    const char *keys[SHOWN_KEYS]; /* strings of the table's: they stay */
    int n = first_keys(L, idx, keys);
    if (n == 0) {
        return print(dst, cap, "(error object is a %s value)", "table");
    }
    for (int i = 0; i < n; i++) {
        char piece[128];
        append(&t, i > 0 ? ", " : "");
        dh_text_oneline(piece, 48, keys[i], strlen(keys[i]));
        append(&t, piece);
        append(&t, " = ");
        lua_pushstring(L, keys[i]);
        lua_rawget(L, idx);
        const char *quote = lua_type(L, -1) == LUA_TSTRING ? "\"" : "";
        luaL_tolstring(L, -1, NULL);
        take_string(L, piece, sizeof(piece));
        lua_pop(L, 1);
        append(&t, quote);
        append(&t, piece);
        append(&t, quote);
    }
    append(&t, "}");
    return t.len;
}

static int describe_table_protected(lua_State *L) {
    char *dst = lua_touserdata(L, 2);
    size_t cap = (size_t)lua_tointeger(L, 3);
    lua_pushinteger(L, (lua_Integer)describe_table(L, 1, dst, cap));
    return 1;
}

size_t dh_failure_describe(lua_State *L, int idx, char *dst, size_t cap) {
    if (!lua_checkstack(L, 8)) {
        return print(dst, cap, "%s", "(error object: no stack left to describe it)");
    }
    idx = lua_absindex(L, idx);
    if (luaL_testudata(L, idx, ENDING_TYPE) != NULL) {
        lua_getiuservalue(L, idx, 1);
        size_t n = dh_failure_describe(L, lua_gettop(L), dst, cap);
        lua_pop(L, 1);
        return n;
    }
    switch (lua_type(L, idx)) {
        case LUA_TSTRING:
            lua_pushvalue(L, idx);
            return take_string(L, dst, cap);
        case LUA_TNIL:
            return print(dst, cap, "%s", "nil (error was called without a value)");
        default:
            break;
    }
    bool has_tostring = luaL_getmetafield(L, idx, "__tostring") != LUA_TNIL;
    lua_settop(L, has_tostring ? lua_gettop(L) - 1 : lua_gettop(L));
    if (lua_type(L, idx) == LUA_TTABLE && !has_tostring) {
        lua_pushcfunction(L, describe_table_protected);
        lua_pushvalue(L, idx);
        lua_pushlightuserdata(L, dst);
        lua_pushinteger(L, (lua_Integer)cap);
        if (lua_pcall(L, 3, 1, 0) == LUA_OK) {
            size_t n = (size_t)lua_tointeger(L, -1);
            lua_pop(L, 1);
            return n;
        }
        lua_pop(L, 1);
        return print(dst, cap, "(error object is a %s value)", "table");
    }
    lua_pushcfunction(L, call_tostring);
    lua_pushvalue(L, idx);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
        return take_string(L, dst, cap);
    }
    lua_pop(L, 1);
    return print(dst, cap, "(error object is a %s whose __tostring failed)", luaL_typename(L, idx));
}

struct piece {
    const char *text;
    size_t len;
};

static const char *store(char **at, struct piece piece) {
    char *text = *at;
    memcpy(text, piece.text, piece.len);
    text[piece.len] = '\0';
    *at += piece.len + 1;
    return text;
}

static struct dh_failure *make(struct piece message, struct piece traceback,
                               struct piece variables) {
    struct dh_failure *f = malloc(sizeof(*f) + message.len + traceback.len + variables.len + 3);
    if (f == NULL) {
        return NULL;
    }
    char *at = (char *)(f + 1);
    memset(f, 0, sizeof(*f));
    f->message = store(&at, message);
    f->message_len = message.len;
    f->traceback = store(&at, traceback);
    f->traceback_len = traceback.len;
    f->variables = store(&at, variables);
    f->variables_len = variables.len;
    f->hash = dh_crashlog_hash(message.text, message.len, traceback.text, traceback.len);
    f->retry_after_ns = DH_NEVER;
    f->holders = 1;
    return f;
}

/* f with some of its text replaced; f is freed, or returned when memory is out. */
static struct dh_failure *rewrite(struct dh_failure *f, struct piece message,
                                  struct piece traceback) {
    struct dh_failure *new =
        make(message, traceback, (struct piece){f->variables, f->variables_len});
    if (new == NULL) {
        return f;
    }
    new->retry_after_ns = f->retry_after_ns;
    new->at_ns = f->at_ns;
    new->identity = f->identity;
    new->run = f->run;
    new->is_fatal = f->is_fatal;
    dh_failure_free(f);
    return new;
}

/* FNV-1a over 64 bits, by words where it can be. */
static uint64_t mix(uint64_t hash, uint64_t word) {
    return (hash ^ word) * UINT64_C(0x100000001b3);
}

static uint64_t mix_text(uint64_t hash, const char *text) {
    size_t len = strlen(text);
    uint64_t word = 0;
    for (; len >= sizeof(word); len -= sizeof(word), text += sizeof(word)) {
        memcpy(&word, text, sizeof(word));
        hash = mix(hash, word);
    }
    word = 0;
    memcpy(&word, text, len);
    return mix(hash, word);
}

/* A hash of what a traceback from 'level' on is made of, but for the names of functions, which
** follow from it, and for the host's own entry at the bottom of each task. */
static uint64_t place_of(lua_State *co, int level) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    bool has_entry = dh_tag_of(co) == DH_TAG_ROOT;
    lua_Debug ar;
    lua_Debug next;
    bool is_there = lua_getstack(co, level, &next);
    for (int n = 1; is_there && n <= DH_TRACEBACK_LEVELS + 1; n++) {
        ar.i_ci = next.i_ci;
        is_there = lua_getstack(co, level + n, &next);
        if (!is_there && has_entry) {
            break;
        }
        lua_getinfo(co, "Sl", &ar);
        hash = mix(hash, (uint64_t)(unsigned)ar.currentline << 32 | (unsigned)ar.linedefined);
        hash = mix_text(hash, ar.short_src);
    }
    return hash;
}

/* What message says, of co's stack from 'level' on. */
static struct dh_failure *make_of_stack(struct piece message, lua_State *co, int level) {
    char traceback[DH_TRACEBACK_MAX];
    char variables[DH_VARIABLES_MAX];
    size_t traceback_len = dh_traceback_write(co, level, traceback, sizeof(traceback));
    size_t variables_len = dh_variables_write(co, level, variables, sizeof(variables));
    struct dh_failure *f = make(message, (struct piece){traceback, traceback_len},
                                (struct piece){variables, variables_len});
    if (f != NULL) {
        f->place = place_of(co, level);
    }
    return f;
}

/* A record that shares the texts of another. */
static struct dh_failure *make_sharing(const struct dh_failure *known) {
    struct dh_failure *f = malloc(sizeof(*f));
    if (f == NULL) {
        return NULL;
    }
    *f = *known;
    f->origin = dh_failure_hold(known->origin != NULL ? known->origin : (struct dh_failure *)known);
    f->retry_after_ns = DH_NEVER;
    f->holders = 1;
    return f;
}

/* Is the string at idx what 'known' said? It is not made printable first: what needs that is not
** equal. */
static bool says_the_same(const struct dh_failure *known, lua_State *L, int idx) {
    size_t len;
    const char *s = lua_type(L, idx) == LUA_TSTRING ? lua_tolstring(L, idx, &len) : NULL;
    return s != NULL && len == known->message_len && memcmp(s, known->message, len) == 0;
}

/* Describe the value at idx of co in L: a coroutine that an error has ended can call no __tostring. */
static size_t describe_in(lua_State *L, lua_State *co, int idx, char *dst, size_t cap) {
    if (L == co) {
        return dh_failure_describe(L, idx, dst, cap);
    }
    if (!lua_checkstack(L, 1) || !lua_checkstack(co, 1)) {
        return print(dst, cap, "%s", "(error object: no stack left to describe it)");
    }
    lua_pushvalue(co, idx);
    lua_xmove(co, L, 1);
    size_t len = dh_failure_describe(L, -1, dst, cap);
    lua_pop(L, 1);
    return len;
}

struct dh_failure *dh_failure_capture_of(lua_State *L, lua_State *co, int idx, int level) {
    char message[DH_MESSAGE_MAX];
    idx = lua_absindex(co, idx);
    size_t len = describe_in(L, co, idx, message, sizeof(message));
    struct dh_failure *f = make_of_stack((struct piece){message, len}, co, level);
    const struct ending *e = lua_checkstack(co, 4) ? luaL_testudata(co, idx, ENDING_TYPE) : NULL;
    if (f != NULL) {
        f->identity = lua_topointer(co, idx);
    }
    if (f != NULL && e != NULL) {
        f->is_fatal = e->is_fatal;
        f->retry_after_ns = e->retry_after_ns;
    }
    return f;
}

struct dh_failure *dh_failure_capture(lua_State *L, int idx, int level) {
    return dh_failure_capture_of(L, L, idx, level);
}

struct dh_failure *dh_failure_capture_again(const struct dh_failure *known, lua_State *L,
                                            lua_State *co, int idx, int level) {
    if (known == NULL || known->is_fatal || !says_the_same(known, co, idx) ||
        known->place != place_of(co, level)) {
        return dh_failure_capture_of(L, co, idx, level);
    }
    struct dh_failure *f = make_sharing(known);
    if (f != NULL) {
        f->identity = lua_topointer(co, idx);
    }
    return f;
}

struct dh_failure *dh_failure_from_text(const char *text) {
    char message[DH_MESSAGE_MAX];
    size_t len = dh_text_oneline(message, sizeof(message), text, strlen(text));
    struct piece none = {"", 0};
    return make((struct piece){message, len}, none, none);
}

struct dh_failure *dh_failure_of_stack(const char *text, lua_State *co) {
    return make_of_stack((struct piece){text, strlen(text)}, co, 0);
}

struct dh_failure *dh_failure_prepend_traceback(struct dh_failure *f, const char *text) {
    char traceback[DH_TRACEBACK_MAX];
    int len = snprintf(traceback, sizeof(traceback), "%s\n%s", text, f->traceback);
    if ((size_t)len >= sizeof(traceback)) {
        len = (int)strlen(traceback);
    }
    return rewrite(f, (struct piece){f->message, f->message_len},
                   (struct piece){traceback, (size_t)len});
}

struct dh_failure *dh_failure_retell(struct dh_failure *f, lua_State *L, int idx) {
    char message[DH_MESSAGE_MAX];
    size_t len = dh_failure_describe(L, idx, message, sizeof(message));
    f->identity = lua_topointer(L, idx);
    f->is_fatal = false; /* the text is a string now */
    f->retry_after_ns = DH_NEVER;
    return rewrite(f, (struct piece){message, len}, (struct piece){f->traceback, f->traceback_len});
}

void dh_failure_free(struct dh_failure *f) {
    if (f != NULL && --f->holders == 0) {
        dh_failure_free(f->origin);
        free(f);
    }
}

struct dh_failure *dh_failure_hold(struct dh_failure *f) {
    f->holders++;
    return f;
}

bool dh_failure_is_equal(const struct dh_failure *a, const struct dh_failure *b) {
    if (a->message == b->message) {
        return true; /* shared */
    }
    return a->message_len == b->message_len && a->traceback_len == b->traceback_len &&
           a->variables_len == b->variables_len &&
           memcmp(a->message, b->message,
                  a->message_len + a->traceback_len + a->variables_len + 3) == 0;
}

bool dh_failure_speaks_of(const struct dh_failure *f, lua_State *L, lua_State *co, int idx) {
    char message[DH_MESSAGE_MAX];
    idx = lua_absindex(co, idx);
    if (f->identity == NULL || f->identity != lua_topointer(co, idx) || !lua_checkstack(co, 4)) {
        return false;
    }
    const struct ending *e = luaL_testudata(co, idx, ENDING_TYPE);
    return f->is_fatal == (e != NULL && e->is_fatal) &&
           f->retry_after_ns == (e != NULL ? e->retry_after_ns : DH_NEVER) &&
           f->message_len == describe_in(L, co, idx, message, sizeof(message)) &&
           memcmp(f->message, message, f->message_len) == 0;
}

/* Raise the error at idx as an ending. Strings get the position of the caller, as with error. */
static int raise_ending(lua_State *L, int idx, uint64_t retry_after_ns, bool is_fatal) {
    struct ending *e = lua_newuserdatauv(L, sizeof(*e), 1);
    e->retry_after_ns = retry_after_ns;
    e->is_fatal = is_fatal;
    if (lua_type(L, idx) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_pushvalue(L, idx);
        lua_concat(L, 2);
    } else {
        lua_pushvalue(L, idx);
    }
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, ENDING_TYPE);
    return lua_error(L);
}

int dh_failure_fatal(lua_State *L) {
    lua_settop(L, 1);
    return raise_ending(L, 1, DH_NEVER, true);
}

int dh_failure_retry_after(lua_State *L) {
    double seconds = dh_wait_seconds(L, 1, "seconds");
    luaL_argcheck(L, seconds < 1e9, 1, "seconds: a finite delay expected");
    lua_settop(L, 2);
    return raise_ending(L, 2, (uint64_t)llround(seconds * 1e9), false);
}

static int ending_tostring(lua_State *L) {
    luaL_checkudata(L, 1, ENDING_TYPE);
    lua_getiuservalue(L, 1, 1);
    luaL_tolstring(L, -1, NULL);
    return 1;
}

void dh_failure_open(lua_State *L) {
    luaL_newmetatable(L, ENDING_TYPE);
    dh_table_seal(L);
    lua_pushcfunction(L, ending_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
}
