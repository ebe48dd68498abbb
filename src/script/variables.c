/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/variables.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "obs/text.h"
#include "script/limits.h"

/*
** A record a line, fields separated by tabs:
**
**   F  at  name     a function
**   L  name  value  a local of it
**   U  name  value  an upvalue of it
*/

#define MASK "***"
#define VALUE_BYTES 64
#define NAME_BYTES 48

enum { TABLE_FIELDS = 6 };

struct out {
    char *dst;
    size_t cap;
    size_t len;
};

/* A record as a whole, or not at all. */
static bool add_record(struct out *out, char kind, const char *a, const char *b) {
    size_t room = out->cap - out->len;
    int n = snprintf(out->dst + out->len, room, "%c\t%s\t%s\n", kind, a, b);
    if ((size_t)n >= room) {
        out->dst[out->len] = '\0';
        return false;
    }
    out->len += (size_t)n;
    return true;
}

static bool contains(const char *text, const char *word) {
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (word[i] != '\0' && tolower((unsigned char)text[i]) == word[i]) {
            i++;
        }
        if (word[i] == '\0') {
            return true;
        }
    }
    return false;
}

static bool is_secret(const char *name) {
    return contains(name, "password") || contains(name, "token") || contains(name, "secret") ||
           contains(name, "key");
}

static void describe_string(lua_State *L, int idx, char *dst, size_t cap) {
    size_t len;
    const char *s = lua_tolstring(L, idx, &len);
    dst[0] = '"';
    size_t n = dh_text_oneline(dst + 1, cap - 2, s, len);
    dst[n + 1] = '"';
    dst[n + 2] = '\0';
}

/* A value other than a table. Numbers are not converted in place: that would change a key under
** lua_next, and allocate. */
static void describe_plain(lua_State *L, int idx, char *dst, size_t cap) {
    lua_Debug ar;
    switch (lua_type(L, idx)) {
        case LUA_TSTRING:
            describe_string(L, idx, dst, cap);
            break;
        case LUA_TNUMBER:
            if (lua_isinteger(L, idx)) {
                snprintf(dst, cap, LUA_INTEGER_FMT, lua_tointeger(L, idx));
            } else {
                snprintf(dst, cap, LUA_NUMBER_FMT, lua_tonumber(L, idx));
            }
            break;
        case LUA_TBOOLEAN:
            snprintf(dst, cap, "%s", lua_toboolean(L, idx) ? "true" : "false");
            break;
        case LUA_TFUNCTION:
            lua_pushvalue(L, idx);
            lua_getinfo(L, ">S", &ar);
            snprintf(dst, cap, ar.linedefined > 0 ? "function <%s:%d>" : "function", ar.short_src,
                     ar.linedefined);
            break;
        default:
            snprintf(dst, cap, "%s", lua_typename(L, lua_type(L, idx)));
            break;
    }
}

static void describe_field(lua_State *L, char *dst, size_t cap) {
    char key[NAME_BYTES];
    char value[VALUE_BYTES / 2];
    if (lua_type(L, -2) == LUA_TSTRING) {
        size_t len;
        const char *s = lua_tolstring(L, -2, &len);
        dh_text_oneline(key, sizeof(key), s, len);
    } else {
        describe_plain(L, -2, value, sizeof(value));
        snprintf(key, sizeof(key), "[%s]", value);
    }
    describe_plain(L, -1, value, sizeof(value));
    snprintf(dst, cap, "%s = %s", key, is_secret(key) ? MASK : value);
}

/* A table's first fields, raw, one level deep. */
static void describe_table(lua_State *L, int idx, char *dst, size_t cap) {
    size_t n = (size_t)snprintf(dst, cap, "{");
    int shown = 0;
    int visited = 0;
    lua_pushnil(L);
    while (lua_next(L, idx) != 0) {
        char field[NAME_BYTES + VALUE_BYTES];
        describe_field(L, field, sizeof(field));
        if (++visited > TABLE_FIELDS || n + strlen(field) + 8 > cap) {
            lua_pop(L, 2);
            snprintf(dst + n, cap - n, ", ...}"); /* the first one always fits */
            return;
        }
        n += (size_t)snprintf(dst + n, cap - n, "%s%s", shown++ > 0 ? ", " : "", field);
        lua_pop(L, 1);
    }
    snprintf(dst + n, cap - n, "}");
}

/* Describe and pop the value on top. */
static bool add_variable(struct out *out, lua_State *L, char kind, const char *name) {
    char value[4 * VALUE_BYTES];
    if (is_secret(name)) {
        snprintf(value, sizeof(value), "%s", lua_isnil(L, -1) ? "nil" : MASK);
    } else if (lua_type(L, -1) == LUA_TTABLE) {
        describe_table(L, lua_gettop(L), value, sizeof(value));
    } else {
        describe_plain(L, lua_gettop(L), value, VALUE_BYTES);
    }
    lua_pop(L, 1);
    return add_record(out, kind, name, value);
}

/* The name of the local variable number i, its value pushed; NULL if there is none. A temporary value
** and the state of a loop have none of their own: *ret_is_named tells. */
static const char *next_local(lua_State *co, lua_Debug *ar, int i, bool *ret_is_named) {
    const char *name = lua_getlocal(co, ar, i);
    *ret_is_named = name != NULL && name[0] != '(';
    return name;
}

/* The innermost, such as the variable of a loop, say most about what was going on. */
static bool add_locals(struct out *out, lua_State *co, lua_Debug *ar) {
    const char *name;
    bool is_named;
    int left_off = -DH_VARIABLES_PER_FRAME;
    for (int i = 1; next_local(co, ar, i, &is_named) != NULL; i++) {
        left_off += is_named;
        lua_pop(co, 1);
    }
    for (int i = 1; (name = next_local(co, ar, i, &is_named)) != NULL; i++) {
        if (!is_named || left_off-- > 0) {
            lua_pop(co, 1);
        } else if (!add_variable(out, co, 'L', name)) {
            return false;
        }
    }
    return true;
}

static bool add_upvalues(struct out *out, lua_State *co, lua_Debug *ar) {
    const char *name;
    bool has_room = true;
    lua_getinfo(co, "f", ar);
    for (int i = 1; has_room && i <= DH_VARIABLES_PER_FRAME; i++) {
        name = lua_getupvalue(co, -1, i);
        if (name == NULL) {
            break;
        } else if (strcmp(name, "_ENV") == 0) {
            lua_pop(co, 1);
        } else {
            has_room = add_variable(out, co, 'U', name);
        }
    }
    lua_pop(co, 1);
    return has_room;
}

/* Chunks and fields may have any bytes for a name. */
static bool add_function(struct out *out, const char *at, const char *name) {
    char clean_at[2 * LUA_IDSIZE];
    char clean_name[2 * LUA_IDSIZE];
    dh_text_oneline(clean_at, sizeof(clean_at), at, strlen(at));
    dh_text_oneline(clean_name, sizeof(clean_name), name, strlen(name));
    return add_record(out, 'F', clean_at, clean_name);
}

static bool add_frame(struct out *out, lua_State *co, lua_Debug *ar) {
    char at[LUA_IDSIZE + 16];
    char name[NAME_BYTES + LUA_IDSIZE];
    snprintf(at, sizeof(at), "%s:%d", ar->short_src, ar->currentline);
    if (*ar->namewhat != '\0') {
        snprintf(name, sizeof(name), "%s '%.40s'", ar->namewhat, ar->name);
    } else {
        snprintf(name, sizeof(name), "%s <%s:%d>", *ar->what == 'm' ? "main chunk" : "function",
                 ar->short_src, ar->linedefined);
    }
    return add_function(out, at, name) && add_locals(out, co, ar) && add_upvalues(out, co, ar);
}

size_t dh_variables_write(lua_State *co, int level, char *dst, size_t cap) {
    struct out out = {dst, cap, 0};
    lua_Debug ar;
    int frames = 0;
    dst[0] = '\0';
    if (!lua_checkstack(co, 8)) {
        return 0;
    }
    for (; frames < DH_VARIABLES_FRAMES && lua_getstack(co, level, &ar); level++) {
        lua_getinfo(co, "Sln", &ar);
        if (*ar.what == 'C') {
            continue;
        }
        frames++;
        if (!add_frame(&out, co, &ar)) {
            break;
        }
    }
    return out.len;
}

/* Reading */

/* Push the field that ends at 'end' of the text at *at, which moves behind it. */
static void push_field(lua_State *L, const char **at, char end) {
    const char *stop = strchr(*at, end);
    lua_pushlstring(L, *at, (size_t)(stop - *at));
    *at = stop + 1;
}

/* Append the record at 'at', a variable, to the field 'list' of the table on top. */
static const char *push_variable(lua_State *L, const char *at, const char *list) {
    lua_getfield(L, -1, list);
    lua_createtable(L, 0, 2);
    push_field(L, &at, '\t');
    lua_setfield(L, -2, "name");
    push_field(L, &at, '\n');
    lua_setfield(L, -2, "value");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
    return at;
}

static const char *push_frame(lua_State *L, const char *at) {
    lua_createtable(L, 0, 4);
    push_field(L, &at, '\t');
    lua_setfield(L, -2, "at");
    push_field(L, &at, '\n');
    lua_setfield(L, -2, "name");
    lua_newtable(L);
    lua_setfield(L, -2, "locals");
    lua_newtable(L);
    lua_setfield(L, -2, "upvalues");
    return at;
}

void dh_variables_push(lua_State *L, const char *text, size_t len) {
    const char *at = text;
    lua_newtable(L);
    int list = lua_gettop(L);
    while (at < text + len) {
        char kind = *at;
        at += 2;
        if (kind == 'F') {
            lua_settop(L, list);
            at = push_frame(L, at);
            lua_pushvalue(L, -1);
            lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
        } else {
            at = push_variable(L, at, kind == 'L' ? "locals" : "upvalues");
        }
    }
    lua_settop(L, list);
}
