/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/fingerprint.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "script/bytecode.h"
#include "script/closure.h"
#include "script/table.h"
#include "script/unit.h"

#define SESSION_TYPE "decnet.fingerprints"

/* What the session's user values are. VALUES: of the nodes that are still to be explored. */
enum { VALUES = 1, FOREIGN, GLOBALS, ENVIRONMENTS, CODE };

/* What a hash begins with. */
enum { OF_SCALAR = 1, OF_FOREIGN, OF_TABLE, OF_FUNCTION, OF_CELL, OF_USERDATA, OF_THREAD, OF_ENV };
enum { KEY_METATABLE = 101, KEY_UPVALUE, KEY_GLOBAL, KEY_CONTENT };

#define NO_NODE UINT32_MAX
#define CYCLE_ROUNDS 4

struct node {
    const void *id;
    uint64_t own;  /* hash of what needs no edge */
    uint64_t hash; /* once is_done; before, the round's */
    uint32_t first_edge;
    uint32_t edge_count;
    uint32_t order; /* Tarjan: when it was met, from 1; 0: not yet */
    uint32_t low;
    uint32_t next_edge; /* Tarjan: the next to follow */
    uint32_t cycle;     /* number of its strongly connected component */
    uint32_t group;     /* link: union-find */
    uint8_t upvalue;    /* of a cell: which one of the function that is its value */
    bool is_state;
    bool reaches_state;
    bool is_done;
    bool is_in_cycle;
};

/* Key and value of an entry: a node, or the hash of what is none. */
struct edge {
    uint64_t key_hash;
    uint64_t value_hash;
    uint32_t key;
    uint32_t value;
};

/* A function, by what makes it: its code and its cells. */
struct closure {
    const void *code; /* NULL: there is none */
    const void *cells[UINT8_MAX];
    int cell_count;
    uint64_t hash;
};

struct session {
    struct node *nodes;
    size_t node_count;
    size_t node_cap;
    struct edge *edges;
    size_t edge_count;
    size_t edge_cap;
    uint32_t *slots; /* id -> node + 1, open addressing; a power of two */
    size_t slot_count;
    uint32_t *done; /* nodes in the order in which they were done: children first */
    size_t done_count;
    size_t done_cap;
    uint32_t *open; /* Tarjan's stack */
    size_t open_count;
    size_t open_cap;
    uint32_t *path; /* the way from the root */
    size_t path_count;
    size_t path_cap;
    uint64_t *rounds;
    size_t rounds_cap;
    size_t explored; /* nodes before this one have their edges */
    size_t base;     /* the node whose value is the first in VALUES */
    uint32_t met;
    uint32_t cycle_count;
    struct dh_bytecode code; /* of the last function, */
    const void *code_read;   /* which is this; NULL: none is known */
    size_t code_at;          /* see closure.h */
    struct closure last;     /* that was asked for */
};

static void *grow(lua_State *L, void *list, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) {
        return list;
    }
    size_t new_cap = *cap * 2 > need ? *cap * 2 : need + 64;
    void *bigger = realloc(list, new_cap * size);
    if (bigger == NULL) {
        luaL_error(L, "not enough memory");
    }
    *cap = new_cap;
    return bigger;
}

#define PUSH(L, s, list, count, cap, item)                                                         \
    ((s)->list = grow((L), (s)->list, &(s)->cap, (s)->count + 1, sizeof(*(s)->list)),              \
     (s)->list[(s)->count++] = (item))

/* Nodes */

static uint32_t *slot_of(const struct session *s, const void *id) {
    size_t mask = s->slot_count - 1;
    size_t at = (size_t)dh_mix((uint64_t)(uintptr_t)id) & mask;
    while (s->slots[at] != 0 && s->nodes[s->slots[at] - 1].id != id) {
        at = (at + 1) & mask;
    }
    return &s->slots[at];
}

static void grow_slots(lua_State *L, struct session *s) {
    size_t count = s->slot_count == 0 ? 256 : s->slot_count * 2;
    uint32_t *slots = calloc(count, sizeof(*slots));
    if (slots == NULL) {
        luaL_error(L, "not enough memory");
        return;
    }
    free(s->slots);
    s->slots = slots;
    s->slot_count = count;
    for (size_t i = 0; i < s->node_count; i++) {
        *slot_of(s, s->nodes[i].id) = (uint32_t)i + 1;
    }
}

/* The node of id; a new one has the value at idx. */
static uint32_t node_of(lua_State *L, int session, struct session *s, const void *id, int idx) {
    if (s->node_count * 2 >= s->slot_count) {
        grow_slots(L, s);
    }
    uint32_t *slot = slot_of(s, id);
    if (*slot != 0) {
        return *slot - 1;
    }
    if (s->node_count >= NO_NODE - 1) { /* unreached: they take more memory than there is */
        luaL_error(L, "a script with too many values to compare");
    }
    lua_pushvalue(L, idx);
    lua_getiuservalue(L, session, VALUES);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)(s->node_count - s->base) + 1);
    lua_pop(L, 1);
    struct node n = {.id = id};
    PUSH(L, s, nodes, node_count, node_cap, n);
    *slot = (uint32_t)s->node_count;
    return *slot - 1;
}

/* Is the value at the absolute index a member of the set that is this user value? */
static bool is_in(lua_State *L, int session, int set, int idx) {
    lua_getiuservalue(L, session, set);
    lua_pushvalue(L, idx);
    bool is = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return is;
}

static uint64_t hash_number(lua_State *L, int idx) {
    lua_Number x;
    uint64_t bits = 0;
    if (lua_isinteger(L, idx)) {
        return dh_combine(2, (uint64_t)lua_tointeger(L, idx));
    }
    x = lua_tonumber(L, idx);
    memcpy(&bits, &x, sizeof(bits) < sizeof(x) ? sizeof(bits) : sizeof(x));
    return dh_combine(3, bits);
}

static uint64_t hash_string(lua_State *L, int idx) {
    size_t len;
    const char *text = lua_tolstring(L, idx, &len);
    return dh_hash_bytes(4, text, len);
}

static uint64_t hash_identity(lua_State *L, int idx) {
    lua_CFunction f = lua_tocfunction(L, idx); /* whichever closure of it */
    return dh_combine(OF_FOREIGN, f != NULL ? (uint64_t)(uintptr_t)f
                                            : (uint64_t)(uintptr_t)lua_topointer(L, idx));
}

/* Is the value at the absolute index not the script's? */
static bool look_at_library(lua_State *L, int session, int idx, uint64_t *ret_hash) {
    if (lua_iscfunction(L, idx)) {
        *ret_hash = hash_identity(L, idx);
        return true;
    }
    lua_getiuservalue(L, session, FOREIGN);
    lua_pushvalue(L, idx);
    int type = lua_rawget(L, -2);
    if (type != LUA_TNIL) {
        *ret_hash = hash_identity(L, type == LUA_TBOOLEAN ? idx : -1);
    }
    lua_pop(L, 2);
    return type != LUA_TNIL;
}

/* The node of the value at the absolute index, or NO_NODE and its hash. */
static uint32_t look_at(lua_State *L, int session, struct session *s, int idx, uint64_t *ret_hash) {
    int type = lua_type(L, idx);
    switch (type) {
        case LUA_TNIL:
            *ret_hash = dh_combine(OF_SCALAR, 0);
            return NO_NODE;
        case LUA_TBOOLEAN:
            *ret_hash = dh_combine(OF_SCALAR, 1 + (uint64_t)lua_toboolean(L, idx));
            return NO_NODE;
        case LUA_TNUMBER:
            *ret_hash = hash_number(L, idx);
            return NO_NODE;
        case LUA_TSTRING:
            *ret_hash = hash_string(L, idx);
            return NO_NODE;
        case LUA_TLIGHTUSERDATA:
            *ret_hash = dh_combine(OF_FOREIGN, (uint64_t)(uintptr_t)lua_touserdata(L, idx));
            return NO_NODE;
        default:
            break;
    }
    if (look_at_library(L, session, idx, ret_hash)) {
        return NO_NODE;
    }
    *ret_hash = 0;
    return node_of(L, session, s, lua_topointer(L, idx), idx);
}

/* Exploring: give a node its own hash and its edges */

static void add_edge(lua_State *L, struct session *s, struct edge e) {
    PUSH(L, s, edges, edge_count, edge_cap, e);
}

/* An entry whose key is known by its hash, and whose value is on top of the stack: it is popped. */
static void add_entry(lua_State *L, int session, struct session *s, uint64_t key_hash) {
    struct edge e = {.key_hash = key_hash, .key = NO_NODE};
    e.value = look_at(L, session, s, lua_gettop(L), &e.value_hash);
    add_edge(L, s, e);
    lua_pop(L, 1);
}

/* Returns the sum of the entries that need no edge. The table is at idx. */
static uint64_t explore_entries(lua_State *L, int session, struct session *s, int idx) {
    uint64_t sum = 0;
    lua_pushnil(L);
    while (lua_next(L, idx) != 0) {
        struct edge e;
        e.value = look_at(L, session, s, idx + 2, &e.value_hash);
        e.key = look_at(L, session, s, idx + 1, &e.key_hash);
        if (e.key == NO_NODE && e.value == NO_NODE) {
            sum += dh_combine(e.key_hash, e.value_hash);
        } else {
            add_edge(L, s, e);
        }
        lua_pop(L, 1);
    }
    return sum;
}

/* The globals of the script, all of them: somebody holds _ENV as a value. */
static uint64_t explore_globals(lua_State *L, int session, struct session *s) {
    lua_getiuservalue(L, session, GLOBALS);
    uint64_t sum = explore_entries(L, session, s, lua_gettop(L));
    lua_pop(L, 1);
    return dh_combine(OF_ENV, sum);
}

static uint64_t explore_table(lua_State *L, int session, struct session *s, int idx) {
    if (is_in(L, session, ENVIRONMENTS, idx)) {
        return explore_globals(L, session, s);
    }
    uint64_t own = dh_combine(OF_TABLE, explore_entries(L, session, s, idx));
    if (lua_getmetatable(L, idx)) {
        add_entry(L, session, s, KEY_METATABLE);
    }
    return own;
}

/* Upvalue i (from 0), which is _ENV: an edge to each global of the script that the code names. */
static void add_globals(lua_State *L, int session, struct session *s, int i) {
    lua_getiuservalue(L, session, GLOBALS);
    int globals = lua_gettop(L);
    for (size_t k = 0; k < s->code.access_count; k++) {
        const struct dh_field_access *access = &s->code.accesses[k];
        if (access->upvalue != i || access->name == NULL) {
            continue;
        }
        lua_pushlstring(L, access->name, access->len);
        uint64_t key_hash = dh_hash_bytes(KEY_GLOBAL, access->name, access->len);
        if (lua_rawget(L, globals) != LUA_TNIL) {
            add_entry(L, session, s, key_hash);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static void add_cell(lua_State *L, int session, struct session *s, int idx, int i) {
    struct edge e = {.key_hash = dh_combine(KEY_UPVALUE, (uint64_t)i), .key = NO_NODE};
    e.value = node_of(L, session, s, lua_upvalueid(L, idx, i + 1), idx);
    struct node *cell = &s->nodes[e.value];
    if (cell->upvalue == 0) {
        cell->upvalue = (uint8_t)(i + 1);
    }
    cell->is_state |= dh_bytecode_has(s->code.assigned, i);
    add_edge(L, s, e);
}

/* A hundred thousand closures of one piece of code, one after the other, are read once. */
static void read_code(lua_State *L, struct session *s, int idx) {
    const void *code = dh_closure_code(L, idx, s->code_at);
    if (code != NULL && code == s->code_read) {
        return;
    }
    s->code_read = NULL;
    lua_pushvalue(L, idx);
    bool is_read = dh_bytecode_read(&s->code, L);
    lua_pop(L, 1);
    if (!is_read) {
        luaL_error(L, "not enough memory");
    }
    s->code_read = code;
}

static uint64_t explore_function(lua_State *L, int session, struct session *s, int idx) {
    read_code(L, s, idx);
    for (int i = 0; lua_getupvalue(L, idx, i + 1) != NULL; i++) {
        bool is_env = lua_istable(L, -1) && is_in(L, session, ENVIRONMENTS, lua_gettop(L));
        if (is_env && !dh_bytecode_has(s->code.escapes, i)) {
            add_globals(L, session, s, i);
        } else {
            add_cell(L, session, s, idx, i);
        }
        lua_pop(L, 1);
    }
    return dh_combine(OF_FUNCTION, s->code.hash);
}

static uint64_t explore_userdata(lua_State *L, int idx) {
    const char *name = dh_unit_name_of(L, idx);
    if (name != NULL) { /* a handle: the same worker keeps it */
        return dh_hash_bytes(OF_USERDATA, name, strlen(name));
    }
    uint64_t own = OF_USERDATA;
    if (lua_getmetatable(L, idx)) {
        own = dh_combine(own, (uint64_t)(uintptr_t)lua_topointer(L, -1));
        lua_pop(L, 1);
    }
    return own;
}

static void explore(lua_State *L, int session, struct session *s, uint32_t i) {
    lua_getiuservalue(L, session, VALUES);
    lua_rawgeti(L, -1, (lua_Integer)(i - s->base) + 1);
    lua_pushnil(L);
    lua_rawseti(L, -3, (lua_Integer)(i - s->base) + 1);
    lua_remove(L, -2);
    int idx = lua_gettop(L);
    uint32_t first_edge = (uint32_t)s->edge_count;
    bool is_state = false;
    uint64_t own;
    if (s->nodes[i].upvalue != 0) {
        own = OF_CELL;
        lua_getupvalue(L, idx, s->nodes[i].upvalue);
        add_entry(L, session, s, KEY_CONTENT);
    } else if (lua_istable(L, idx)) {
        own = explore_table(L, session, s, idx);
        is_state = !is_in(L, session, CODE, idx) && !is_in(L, session, ENVIRONMENTS, idx);
    } else if (lua_isfunction(L, idx)) {
        own = explore_function(L, session, s, idx);
    } else if (lua_isthread(L, idx)) {
        own = OF_THREAD;
        is_state = true;
    } else {
        own = explore_userdata(L, idx);
        is_state = dh_unit_name_of(L, idx) == NULL;
    }
    lua_settop(L, idx - 1);
    struct node *n = &s->nodes[i];
    n->own = own;
    n->is_state |= is_state;
    n->first_edge = first_edge;
    n->edge_count = (uint32_t)(s->edge_count - first_edge);
}

/* Hashing */

static uint64_t side(const struct session *s, uint32_t node, uint64_t hash) {
    return node != NO_NODE ? s->nodes[node].hash : hash;
}

static uint64_t sum_edges(const struct session *s, const struct node *n) {
    uint64_t sum = n->own;
    for (uint32_t i = 0; i < n->edge_count; i++) {
        const struct edge *e = &s->edges[n->first_edge + i];
        sum += dh_combine(side(s, e->key, e->key_hash), side(s, e->value, e->value_hash));
    }
    return dh_mix(sum);
}

static bool is_own_child(const struct session *s, uint32_t i) {
    const struct node *n = &s->nodes[i];
    for (uint32_t k = 0; k < n->edge_count; k++) {
        const struct edge *e = &s->edges[n->first_edge + k];
        if (e->key == i || e->value == i) {
            return true;
        }
    }
    return false;
}

/* The members of a cycle are the last of 'done', from 'first' on. */
static void hash_cycle(lua_State *L, struct session *s, size_t first) {
    size_t count = s->done_count - first;
    const uint32_t *members = s->done + first;
    uint64_t total = 0;
    s->rounds = grow(L, s->rounds, &s->rounds_cap, count, sizeof(*s->rounds));
    for (size_t i = 0; i < count; i++) {
        s->nodes[members[i]].hash = s->nodes[members[i]].own;
    }
    for (int round = 0; round < CYCLE_ROUNDS; round++) {
        for (size_t i = 0; i < count; i++) {
            s->rounds[i] = sum_edges(s, &s->nodes[members[i]]);
        }
        for (size_t i = 0; i < count; i++) {
            s->nodes[members[i]].hash = s->rounds[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        total += dh_mix(s->rounds[i]);
    }
    for (size_t i = 0; i < count; i++) {
        s->nodes[members[i]].hash = dh_combine(s->rounds[i], total);
    }
}

/* n is the first met of its strongly connected component, all of which has been seen. */
static void finish(lua_State *L, struct session *s, uint32_t root) {
    size_t first = s->done_count;
    uint32_t i;
    s->cycle_count++;
    do {
        i = s->open[--s->open_count];
        s->nodes[i].is_done = true;
        s->nodes[i].cycle = s->cycle_count;
        PUSH(L, s, done, done_count, done_cap, i);
    } while (i != root);
    if (s->done_count - first > 1 || is_own_child(s, root)) {
        for (size_t k = first; k < s->done_count; k++) {
            s->nodes[s->done[k]].is_in_cycle = true;
        }
        hash_cycle(L, s, first);
    } else {
        s->nodes[root].hash = sum_edges(s, &s->nodes[root]);
    }
}

static void enter(lua_State *L, struct session *s, uint32_t i) {
    struct node *n = &s->nodes[i];
    n->order = n->low = ++s->met;
    n->next_edge = 0;
    PUSH(L, s, open, open_count, open_cap, i);
    PUSH(L, s, path, path_count, path_cap, i);
}

/* Follow side number next_edge of n (two for each edge); returns a node that must be entered first,
** or NO_NODE. */
static uint32_t follow(struct session *s, struct node *n) {
    const struct edge *e = &s->edges[n->first_edge + n->next_edge / 2];
    uint32_t to = n->next_edge % 2 == 0 ? e->key : e->value;
    n->next_edge++;
    if (to == NO_NODE || s->nodes[to].is_done) {
        return NO_NODE;
    }
    if (s->nodes[to].order == 0) {
        return to;
    }
    if (s->nodes[to].order < n->low) {
        n->low = s->nodes[to].order;
    }
    return NO_NODE;
}

/* Tarjan's strongly connected components, without recursion: children are done before parents. */
static void hash_from(lua_State *L, struct session *s, uint32_t root) {
    enter(L, s, root);
    while (s->path_count > 0) {
        uint32_t i = s->path[s->path_count - 1];
        struct node *n = &s->nodes[i];
        if (n->next_edge < n->edge_count * 2) {
            uint32_t child = follow(s, n);
            if (child != NO_NODE) {
                enter(L, s, child);
            }
            continue;
        }
        s->path_count--;
        if (n->low == n->order) {
            finish(L, s, i);
        }
        if (s->path_count > 0) {
            struct node *parent = &s->nodes[s->path[s->path_count - 1]];
            if (!n->is_done && n->low < parent->low) {
                parent->low = n->low;
            }
        }
    }
}

static struct session *check_session(lua_State *L, int idx) {
    return luaL_checkudata(L, idx, SESSION_TYPE);
}

/* The node of the value, explored and hashed, or NO_NODE and its hash. */
static uint32_t visit(lua_State *L, int session, int idx, uint64_t *ret_hash) {
    struct session *s = lua_touserdata(L, session);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    s->base = s->node_count; /* all are explored */
    uint32_t root = look_at(L, session, s, lua_absindex(L, idx), ret_hash);
    while (s->explored < s->node_count) {
        explore(L, session, s, (uint32_t)s->explored);
        s->explored++;
    }
    if (root != NO_NODE) {
        if (!s->nodes[root].is_done) {
            hash_from(L, s, root);
        }
        *ret_hash = s->nodes[root].hash;
    }
    return root;
}

static const void *code_of(lua_State *L, const struct session *s, int idx) {
    bool is_ours = lua_isfunction(L, idx) && !lua_iscfunction(L, idx);
    return is_ours ? dh_closure_code(L, idx, s->code_at) : NULL;
}

/* Is the value the last function once more, another closure of it? One that has a node may be in a
** cycle, which tells it from its like. */
static bool is_like_last(lua_State *L, const struct session *s, int idx) {
    const struct closure *last = &s->last;
    if (last->code == NULL || code_of(L, s, idx) != last->code ||
        *slot_of(s, lua_topointer(L, idx)) != 0) {
        return false;
    }
    for (int i = 0; i < last->cell_count; i++) {
        if (lua_upvalueid(L, idx, i + 1) != last->cells[i]) {
            return false;
        }
    }
    return true;
}

static void note_last(lua_State *L, struct session *s, int idx, uint32_t root, uint64_t hash) {
    struct closure *last = &s->last;
    bool is_alone = root != NO_NODE && !s->nodes[root].is_in_cycle;
    last->code = is_alone ? code_of(L, s, idx) : NULL;
    last->hash = hash;
    if (last->code != NULL) {
        lua_Debug ar;
        lua_pushvalue(L, idx);
        lua_getinfo(L, ">u", &ar);
        last->cell_count = ar.nups;
        for (int i = 0; i < ar.nups; i++) {
            last->cells[i] = lua_upvalueid(L, idx, i + 1);
        }
    }
}

uint32_t dh_fingerprint(lua_State *L, int session, int idx) {
    struct session *s = lua_touserdata(L, session);
    uint64_t hash = s->last.hash;
    if (!is_like_last(L, s, idx)) {
        uint32_t root = visit(L, session, idx, &hash);
        note_last(L, s, idx, root, hash);
    }
    return (uint32_t)(hash ^ (hash >> 32));
}

static int session_hash(lua_State *L) {
    check_session(L, 1);
    luaL_checkany(L, 2);
    lua_pushinteger(L, (lua_Integer)dh_fingerprint(L, 1, 2));
    return 1;
}

/* Linking */

static uint32_t find(struct session *s, uint32_t i) {
    while (s->nodes[i].group != i) {
        s->nodes[i].group = s->nodes[s->nodes[i].group].group;
        i = s->nodes[i].group;
    }
    return i;
}

static bool edge_reaches_state(const struct session *s, const struct edge *e) {
    return (e->key != NO_NODE && s->nodes[e->key].reaches_state) ||
           (e->value != NO_NODE && s->nodes[e->value].reaches_state);
}

/* Which nodes reach state? Children are done before parents, a cycle is done together. */
static void find_state(struct session *s) {
    for (size_t i = 0; i < s->done_count;) {
        uint32_t cycle = s->nodes[s->done[i]].cycle;
        bool reaches = false;
        size_t end = i;
        for (; end < s->done_count && s->nodes[s->done[end]].cycle == cycle; end++) {
            struct node *n = &s->nodes[s->done[end]];
            n->group = s->done[end];
            n->reaches_state = false;
            reaches |= n->is_state;
            for (uint32_t k = 0; k < n->edge_count && !reaches; k++) {
                reaches = edge_reaches_state(s, &s->edges[n->first_edge + k]);
            }
        }
        for (; i < end; i++) {
            s->nodes[s->done[i]].reaches_state = reaches;
        }
    }
}

static void join(struct session *s, uint32_t from, uint32_t to) {
    if (to != NO_NODE && s->nodes[to].reaches_state) {
        s->nodes[find(s, from)].group = find(s, to);
    }
}

static int session_link(lua_State *L) {
    struct session *s = check_session(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
    uint64_t hash;
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, i);
        visit(L, 1, -1, &hash);
        lua_pop(L, 1);
    }
    find_state(s);
    for (size_t i = 0; i < s->done_count; i++) {
        const struct node *n = &s->nodes[s->done[i]];
        for (uint32_t k = 0; k < n->edge_count; k++) {
            join(s, s->done[i], s->edges[n->first_edge + k].key);
            join(s, s->done[i], s->edges[n->first_edge + k].value);
        }
    }
    lua_createtable(L, (int)count, 0);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, i);
        uint32_t node = visit(L, 1, -1, &hash);
        bool is_linked = node != NO_NODE && s->nodes[node].reaches_state;
        lua_pop(L, 1);
        lua_pushinteger(L, is_linked ? (lua_Integer)find(s, node) + 1 : 0);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static int session_gc(lua_State *L) {
    struct session *s = lua_touserdata(L, 1);
    free(s->nodes);
    free(s->edges);
    free(s->slots);
    free(s->done);
    free(s->open);
    free(s->path);
    free(s->rounds);
    dh_bytecode_fini(&s->code);
    memset(s, 0, sizeof(*s));
    return 0;
}

/* fingerprints(options): a session. */
static int l_fingerprints(lua_State *L) {
    static const char *const names[] = {"foreign", "globals", "environments", "code"};
    luaL_checktype(L, 1, LUA_TTABLE);
    struct session *s = lua_newuserdatauv(L, sizeof(*s), CODE);
    memset(s, 0, sizeof(*s));
    luaL_setmetatable(L, SESSION_TYPE);
    s->code_at = dh_closure_find_code(L);
    lua_newtable(L);
    lua_setiuservalue(L, -2, VALUES);
    for (int i = 0; i < 4; i++) {
        lua_getfield(L, 1, names[i]);
        lua_setiuservalue(L, -2, FOREIGN + i);
    }
    return 1;
}

static const luaL_Reg methods[] = {{"hash", session_hash}, {"link", session_link}, {NULL, NULL}};

void dh_fingerprint_open(lua_State *L) {
    luaL_newmetatable(L, SESSION_TYPE);
    dh_table_seal(L);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, session_gc);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__gc");
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_fingerprints);
    lua_setfield(L, -2, "fingerprints");
}
