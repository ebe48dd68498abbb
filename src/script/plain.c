/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/plain.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/limits.h"

#define PATH_MAX_LEN 200

/* What each value begins with. TABLE is followed by a hint of its length and by keys and values up
** to END; AGAIN by the number of a table that has been seen, from 1 in the order they begin. */
enum { NIL, FALSE, TRUE, INTEGER, FLOAT, STRING, TABLE, AGAIN, END };

/* The way from a value to what it contains: where on the stack the keys are. */
struct step {
    const struct step *up;
    int key;
};

struct encoder {
    lua_State *L;
    struct dh_plain *plain;
    int seen; /* stack index of: table -> its number, negative while it is being encoded */
    lua_Integer table_count;
    int depth;
};

bool dh_plain_append(struct dh_plain *plain, const void *bytes, size_t len) {
    if (len > plain->cap - plain->len) {
        size_t cap = plain->cap < 128 ? 256 : plain->cap * 2;
        if (cap < plain->len + len) {
            cap = plain->len + len; /* no overflow: all of it is in memory */
        }
        char *data = realloc(plain->data, cap);
        if (data == NULL) {
            return false;
        }
        plain->data = data;
        plain->cap = cap;
    }
    if (len > 0) {
        memcpy(plain->data + plain->len, bytes, len);
        plain->len += len;
    }
    return true;
}

void dh_plain_fini(struct dh_plain *plain) {
    free(plain->data);
    memset(plain, 0, sizeof(*plain));
}

/* Encoding */

static void put(struct encoder *e, const void *bytes, size_t len) {
    if (!dh_plain_append(e->plain, bytes, len)) {
        luaL_error(e->L, "not enough memory");
    }
}

static void put_tag(struct encoder *e, char tag) {
    put(e, &tag, 1);
}

static bool is_name(const char *s, size_t len) {
    size_t i = 0;
    while (i < len && (isalpha((unsigned char)s[i]) || s[i] == '_' ||
                       (i > 0 && isdigit((unsigned char)s[i])))) {
        i++;
    }
    return len > 0 && i == len;
}

/* Append "[3]", ".name" or "["a b"]" for each step, the outermost first. */
static void write_path(lua_State *L, const struct step *step, char *dst) {
    if (step == NULL) {
        return;
    }
    write_path(L, step->up, dst);
    size_t used = strlen(dst);
    size_t room = PATH_MAX_LEN - used;
    size_t len;
    switch (lua_type(L, step->key)) {
        case LUA_TSTRING: {
            const char *s = lua_tolstring(L, step->key, &len);
            snprintf(dst + used, room, is_name(s, len) ? ".%.40s" : "[\"%.40s\"]", s);
            break;
        }
        case LUA_TNUMBER:
            lua_pushvalue(L, step->key); /* lua_tostring changes the key, and confuses lua_next */
            snprintf(dst + used, room, "[%s]", lua_tostring(L, -1));
            lua_pop(L, 1);
            break;
        case LUA_TBOOLEAN:
            snprintf(dst + used, room, "[%s]", lua_toboolean(L, step->key) ? "true" : "false");
            break;
        default:
            snprintf(dst + used, room, "[a %s]", luaL_typename(L, step->key));
            break;
    }
}

static bool refuse(struct encoder *e, const struct step *step, const char *why) {
    char path[PATH_MAX_LEN] = "";
    luaL_checkstack(e->L, 4, "too many nested tables");
    write_path(e->L, step, path);
    lua_pushfstring(e->L, "%s %s", path, why);
    return false;
}

static bool encode(struct encoder *e, int idx, const struct step *step);

static bool encode_fields(struct encoder *e, int idx, const struct step *up) {
    lua_State *L = e->L;
    struct step step = {up, lua_gettop(L) + 1};
    lua_pushnil(L);
    while (lua_next(L, idx) != 0) {
        int type = lua_type(L, step.key);
        if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
            return refuse(e, &step, "is not a plain key: only strings, numbers and booleans are");
        }
        encode(e, step.key, NULL); /* a plain key can be */
        if (!encode(e, step.key + 1, &step)) {
            return false;
        }
        lua_pop(L, 1);
    }
    put_tag(e, END);
    return true;
}

static bool encode_table(struct encoder *e, int idx, const struct step *step) {
    lua_State *L = e->L;
    if (e->depth >= DH_OFFLOAD_DEPTH) {
        return refuse(e, step, "is nested too deeply");
    }
    luaL_checkstack(L, 8, "too many nested tables");
    lua_pushvalue(L, idx);
    lua_rawget(L, e->seen);
    lua_Integer number = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (number < 0) {
        return refuse(e, step, "contains itself");
    }
    if (number > 0) {
        put_tag(e, AGAIN);
        put(e, &number, sizeof(number));
        return true;
    }
    if (lua_getmetatable(L, idx)) {
        lua_pop(L, 1);
        return refuse(e, step, "has a metatable and cannot be copied to another thread");
    }
    number = ++e->table_count;
    lua_pushvalue(L, idx);
    lua_pushinteger(L, -number);
    lua_rawset(L, e->seen);
    uint64_t length = lua_rawlen(L, idx);
    put_tag(e, TABLE);
    put(e, &length, sizeof(length));
    e->depth++;
    if (!encode_fields(e, idx, step)) {
        return false;
    }
    e->depth--;
    lua_pushvalue(L, idx);
    lua_pushinteger(L, number);
    lua_rawset(L, e->seen);
    return true;
}

static void encode_number(struct encoder *e, int idx) {
    if (lua_isinteger(e->L, idx)) {
        lua_Integer i = lua_tointeger(e->L, idx);
        put_tag(e, INTEGER);
        put(e, &i, sizeof(i));
    } else {
        lua_Number x = lua_tonumber(e->L, idx);
        put_tag(e, FLOAT);
        put(e, &x, sizeof(x));
    }
}

static bool encode(struct encoder *e, int idx, const struct step *step) {
    lua_State *L = e->L;
    switch (lua_type(L, idx)) {
        case LUA_TNIL:
            put_tag(e, NIL);
            return true;
        case LUA_TBOOLEAN:
            put_tag(e, lua_toboolean(L, idx) ? TRUE : FALSE);
            return true;
        case LUA_TNUMBER:
            encode_number(e, idx);
            return true;
        case LUA_TSTRING: {
            size_t len;
            const char *s = lua_tolstring(L, idx, &len);
            put_tag(e, STRING);
            put(e, &len, sizeof(len));
            put(e, s, len);
            return true;
        }
        case LUA_TTABLE:
            return encode_table(e, idx, step);
        default: {
            char why[80];
            snprintf(why, sizeof(why), "is a %s, which cannot be copied to another thread",
                     luaL_typename(L, idx));
            return refuse(e, step, why);
        }
    }
}

bool dh_plain_encode(lua_State *L, int first, int count, struct dh_plain *plain, int *ret_index) {
    struct encoder e = {L, plain, 0, 0, 0};
    luaL_checkstack(L, 8, "too many values");
    lua_newtable(L);
    e.seen = lua_gettop(L);
    for (int i = 0; i < count; i++) {
        if (!encode(&e, first + i, NULL)) {
            lua_replace(L, e.seen);
            lua_settop(L, e.seen);
            *ret_index = i + 1;
            return false;
        }
    }
    lua_settop(L, e.seen - 1);
    plain->count += count;
    return true;
}

/* Decoding */

struct decoder {
    lua_State *L;
    const char *at;
    int seen; /* stack index of: number -> table */
    lua_Integer table_count;
};

static void take(struct decoder *d, void *dst, size_t len) {
    memcpy(dst, d->at, len);
    d->at += len;
}

static void decode_string(struct decoder *d) {
    size_t len;
    take(d, &len, sizeof(len));
    lua_pushlstring(d->L, d->at, len);
    d->at += len;
}

static void decode(struct decoder *d);

static void decode_table(struct decoder *d) {
    lua_State *L = d->L;
    uint64_t length;
    take(d, &length, sizeof(length));
    luaL_checkstack(L, 8, "too many nested tables");
    lua_createtable(L, length < INT16_MAX ? (int)length : INT16_MAX, 0);
    lua_pushvalue(L, -1);
    lua_rawseti(L, d->seen, ++d->table_count);
    while (*d->at != END) {
        decode(d);
        decode(d);
        lua_rawset(L, -3);
    }
    d->at++;
}

/* Push the next value. */
static void decode(struct decoder *d) {
    lua_State *L = d->L;
    lua_Integer i;
    lua_Number x;
    switch (*d->at++) {
        case FALSE:
            lua_pushboolean(L, 0);
            break;
        case TRUE:
            lua_pushboolean(L, 1);
            break;
        case INTEGER:
            take(d, &i, sizeof(i));
            lua_pushinteger(L, i);
            break;
        case FLOAT:
            take(d, &x, sizeof(x));
            lua_pushnumber(L, x);
            break;
        case STRING:
            decode_string(d);
            break;
        case TABLE:
            decode_table(d);
            break;
        case AGAIN:
            take(d, &i, sizeof(i));
            lua_rawgeti(L, d->seen, i);
            break;
        default:
            lua_pushnil(L);
            break;
    }
}

int dh_plain_decode(lua_State *L, const struct dh_plain *plain) {
    struct decoder d = {L, plain->data, 0, 0};
    luaL_checkstack(L, plain->count + 8, "too many values");
    lua_newtable(L);
    d.seen = lua_gettop(L);
    for (int i = 0; i < plain->count; i++) {
        decode(&d);
    }
    lua_remove(L, d.seen);
    return plain->count;
}
