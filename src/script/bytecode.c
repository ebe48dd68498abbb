/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/bytecode.h"

#include <stdlib.h>
#include <string.h>

/* Lua 5.4: the header, and what the compiler makes of upvalues (lopcodes.h). */
enum { HEADER_LEN = 31, VERSION_AT = 4, VERSION = 0x54 };
enum { OP_GETUPVAL = 9, OP_SETUPVAL = 10, OP_GETTABUP = 11, OP_SETTABUP = 15 };
enum { CONST_FLOAT = 19, CONST_INTEGER = 3, CONST_SHORT_STRING = 4, CONST_LONG_STRING = 20 };

uint64_t dh_hash_bytes(uint64_t h, const char *bytes, size_t len) {
    uint64_t word;
    h = dh_combine(h, len);
    for (; len >= sizeof(word); bytes += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        h = dh_combine(h, word);
    }
    if (len > 0) {
        word = 0;
        memcpy(&word, bytes, len);
        h = dh_combine(h, word);
    }
    return h;
}

void dh_bytecode_fini(struct dh_bytecode *b) {
    free(b->dump);
    free(b->accesses);
    free(b->constants);
    memset(b, 0, sizeof(*b));
}

static bool grow(void **list, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) {
        return true;
    }
    size_t new_cap = *cap * 2 > need ? *cap * 2 : need + 64;
    void *bigger = realloc(*list, new_cap * size);
    if (bigger == NULL) {
        return false;
    }
    *list = bigger;
    *cap = new_cap;
    return true;
}

static int write_dump(lua_State *L, const void *bytes, size_t len, void *arg) {
    struct dh_bytecode *b = arg;
    (void)L;
    if (!grow((void **)&b->dump, &b->dump_cap, b->dump_len + len, 1)) {
        return 1;
    }
    memcpy(b->dump + b->dump_len, bytes, len);
    b->dump_len += len;
    return 0;
}

/* Reading: a cursor that stays at its end once it has run over it. */

struct cursor {
    struct dh_bytecode *b;
    const char *at;
    const char *end;
    bool is_bad;     /* another format, or */
    bool is_starved; /* no memory */
};

static const char *take(struct cursor *c, size_t len) {
    const char *from = c->at;
    if (c->is_bad || (size_t)(c->end - c->at) < len) {
        c->is_bad = true;
        return NULL;
    }
    c->at += len;
    return from;
}

static uint8_t take_byte(struct cursor *c) {
    const char *p = take(c, 1);
    return p != NULL ? (uint8_t)*p : 0;
}

/* Seven bits a byte, the highest first; the last one has its top bit set. */
static size_t take_size(struct cursor *c) {
    size_t n = 0;
    while (!c->is_bad) {
        uint8_t byte = take_byte(c);
        n = (n << 7) | (byte & 0x7f);
        if (byte & 0x80) {
            break;
        }
    }
    return n;
}

static struct dh_span take_string(struct cursor *c) {
    size_t size = take_size(c);
    struct dh_span s = {NULL, 0};
    if (size > 0) {
        s.len = size - 1;
        s.text = take(c, s.len);
    }
    return s;
}

static void hash_span(struct cursor *c, const char *from) {
    if (!c->is_bad) {
        c->b->hash = dh_hash_bytes(c->b->hash, from, (size_t)(c->at - from));
    }
}

static void put_constant(struct cursor *c, struct dh_span s) {
    struct dh_bytecode *b = c->b;
    if (!grow((void **)&b->constants, &b->constant_cap, b->constant_count + 1, sizeof(s))) {
        c->is_bad = c->is_starved = true;
        return;
    }
    b->constants[b->constant_count++] = s;
}

static void take_constants(struct cursor *c) {
    for (size_t n = take_size(c); n > 0 && !c->is_bad; n--) {
        struct dh_span s = {NULL, 0};
        switch (take_byte(c)) {
            case CONST_FLOAT:
            case CONST_INTEGER:
                take(c, 8);
                break;
            case CONST_SHORT_STRING:
            case CONST_LONG_STRING:
                s = take_string(c);
                break;
            default:
                break; /* nil, false, true */
        }
        put_constant(c, s);
    }
}

static void note_access(struct cursor *c, uint8_t upvalue, size_t first, unsigned constant) {
    struct dh_bytecode *b = c->b;
    if (first + constant >= b->constant_count) {
        c->is_bad = true;
        return;
    }
    if (!grow((void **)&b->accesses, &b->access_cap, b->access_count + 1, sizeof(*b->accesses))) {
        c->is_bad = c->is_starved = true;
        return;
    }
    struct dh_span s = b->constants[first + constant];
    b->accesses[b->access_count++] = (struct dh_field_access){s.text, s.len, upvalue};
}

struct upvalue_sets {
    uint64_t assigned[4];
    uint64_t escapes[4];
};

static void add(uint64_t *set, unsigned upvalue) {
    set[(upvalue >> 6) & 3] |= UINT64_C(1) << (upvalue & 63);
}

static void scan_code(struct cursor *c, const char *code, size_t n, size_t first_constant,
                      struct upvalue_sets *sets) {
    for (size_t i = 0; i < n && !c->is_bad; i++) {
        uint32_t op;
        memcpy(&op, code + i * sizeof(op), sizeof(op));
        uint8_t arg_a = (uint8_t)(op >> 7);
        uint8_t arg_b = (uint8_t)(op >> 16);
        uint8_t arg_c = (uint8_t)(op >> 24);
        switch (op & 0x7f) {
            case OP_GETUPVAL:
                add(sets->escapes, arg_b);
                break;
            case OP_SETUPVAL:
                add(sets->assigned, arg_b);
                break;
            case OP_GETTABUP:
                note_access(c, arg_b, first_constant, arg_c);
                break;
            case OP_SETTABUP:
                note_access(c, arg_a, first_constant, arg_b);
                break;
            default:
                break;
        }
    }
}

/* What a nested function does to its upvalues that are upvalues of the outer one, too. */
static void inherit(struct cursor *c, const char *descriptions, size_t n, size_t first_access,
                    const struct upvalue_sets *inner, struct upvalue_sets *outer) {
    struct dh_bytecode *b = c->b;
    size_t kept = first_access;
    for (size_t i = 0; i < n; i++) {
        bool is_local = descriptions[i * 3] != 0;
        uint8_t idx = (uint8_t)descriptions[i * 3 + 1];
        if (!is_local && dh_bytecode_has(inner->assigned, (int)i)) {
            add(outer->assigned, idx);
        }
        if (!is_local && dh_bytecode_has(inner->escapes, (int)i)) {
            add(outer->escapes, idx);
        }
    }
    for (size_t i = first_access; i < b->access_count; i++) {
        struct dh_field_access access = b->accesses[i];
        if (access.upvalue < n && descriptions[access.upvalue * 3] == 0) {
            access.upvalue = (uint8_t)descriptions[access.upvalue * 3 + 1];
            b->accesses[kept++] = access;
        }
    }
    b->access_count = kept;
}

/* One function and those in it; *ret_upvalues: where its upvalues come from. Nesting is bounded by
** Lua's compiler. */
static size_t take_function(struct cursor *c, struct upvalue_sets *sets,
                            const char **ret_descriptions) {
    size_t first_constant = c->b->constant_count;
    memset(sets, 0, sizeof(*sets));
    take_string(c); /* source */
    take_size(c);   /* first and last line: where it stands does not matter */
    take_size(c);
    const char *from = c->at;
    take(c, 3);
    size_t code_len = take_size(c);
    const char *code = take(c, code_len <= (size_t)(c->end - c->at) / 4 ? code_len * 4 : SIZE_MAX);
    take_constants(c);
    hash_span(c, from);
    size_t upvalues = take_size(c);
    *ret_descriptions = take(c, upvalues <= 255 ? upvalues * 3 : SIZE_MAX);
    if (c->is_bad) {
        return 0;
    }
    scan_code(c, code, code_len, first_constant, sets);
    c->b->constant_count = first_constant;
    for (size_t n = take_size(c); n > 0 && !c->is_bad; n--) {
        struct upvalue_sets inner;
        const char *descriptions;
        size_t first_access = c->b->access_count;
        size_t count = take_function(c, &inner, &descriptions);
        if (!c->is_bad) {
            /* not those of the outermost: in which register of the script a variable lay says nothing */
            c->b->hash = dh_hash_bytes(c->b->hash, descriptions, count * 3);
            inherit(c, descriptions, count, first_access, &inner, sets);
        }
    }
    for (int i = 0; i < 4; i++) {
        c->is_bad |= take_size(c) != 0; /* stripped: no lines, no names */
    }
    return upvalues;
}

bool dh_bytecode_read(struct dh_bytecode *b, lua_State *L) {
    struct cursor c = {.b = b};
    struct upvalue_sets sets;
    const char *descriptions;
    b->dump_len = b->access_count = b->constant_count = 0;
    b->hash = 0;
    if (lua_dump(L, write_dump, b, 1) != 0) {
        return false;
    }
    c.at = b->dump;
    c.end = b->dump + b->dump_len;
    const char *header = take(&c, HEADER_LEN + 1); /* and the number of upvalues */
    c.is_bad = c.is_bad || header[VERSION_AT] != VERSION;
    take_function(&c, &sets, &descriptions);
    if (c.is_starved) { /* not what it says: who takes it for that restarts what has not changed */
        return false;
    }
    if (c.is_bad) {
        b->hash = dh_hash_bytes(0, b->dump, b->dump_len);
        b->access_count = 0;
        memset(&sets, 0, sizeof(sets));
        memset(sets.escapes, 0xff, sizeof(sets.escapes));
    }
    memcpy(b->assigned, sets.assigned, sizeof(sets.assigned));
    memcpy(b->escapes, sets.escapes, sizeof(sets.escapes));
    return true;
}
