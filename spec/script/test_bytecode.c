/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The reader of bytecode on dumps that are made here, as this program's Lua makes none that are
** unknown to it: another Lua may. */
#include "script/bytecode.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

static unsigned char dump[512];
static size_t dump_len;

/* Instead of Lua's: in pieces, of which none is empty. */
int lua_dump(lua_State *L, lua_Writer writer, void *arg, int strip) {
    size_t first = dump_len / 2 + 1;
    (void)strip;
    if (writer(L, dump, first, arg) != 0) {
        return 1;
    }
    return first < dump_len ? writer(L, dump + first, dump_len - first, arg) : 0;
}

static void put(int byte) {
    dump[dump_len++] = (unsigned char)byte;
}

static void put_size(size_t n) {
    if (n > 127) {
        put((int)(n >> 7));
    }
    put((int)(n & 127) | 128);
}

static void put_string(const char *text) {
    put(4);
    put_size(strlen(text) + 1);
    for (; *text != '\0'; text++) {
        put(*text);
    }
}

enum { GETUPVAL = 9, SETUPVAL = 10, GETTABUP = 11, SETTABUP = 15, RETURN = 70 };

static void put_code(int op, int a, int b, int c) {
    uint32_t word = (uint32_t)op | (uint32_t)a << 7 | (uint32_t)b << 16 | (uint32_t)c << 24;
    memcpy(dump + dump_len, &word, sizeof(word));
    dump_len += sizeof(word);
}

static void put_upvalue(int is_local, int idx) {
    put(is_local);
    put(idx);
    put(0);
}

/* Source, lines, three bytes of a function. */
static void begin_function(void) {
    put_size(0);
    put_size(10);
    put_size(300);
    put(0);
    put(0);
    put(2);
}

static void end_function(void) {
    for (int i = 0; i < 4; i++) {
        put_size(0); /* what is stripped */
    }
}

/* function(...) log.n = 1; local f = function() up = log.x; return up, 2.5 end end, as it were:
** upvalue 0 is _ENV, 1 is what the inner one assigns, 2 what it reads. */
static void make_dump(void) {
    dump_len = 0;
    for (int i = 0; i < 32; i++) {
        put(i == 4 ? 0x54 : i);
    }
    begin_function();
    put_size(2);
    put_code(SETTABUP, 0, 0, 1);
    put_code(RETURN, 0, 1, 1);
    put_size(2); /* constants */
    put_string("log");
    put(0); /* nil */
    put_size(3);
    put_upvalue(1, 0);
    put_upvalue(1, 1);
    put_upvalue(1, 2);
    put_size(1);
    begin_function();
    put_size(3);
    put_code(GETTABUP, 0, 1, 0);
    put_code(SETUPVAL, 0, 0, 0);
    put_code(GETUPVAL, 0, 2, 0);
    put_size(2);
    put_string("field of some length");
    put(19); /* a float */
    for (int i = 0; i < 8; i++) {
        put(i);
    }
    put_size(4);
    put_upvalue(0, 1);
    put_upvalue(0, 0);
    put_upvalue(0, 2);
    put_upvalue(1, 0); /* a local of the outer one */
    put_size(0);
    end_function();
    end_function();
}

static bool takes_all(const uint64_t *set) {
    for (int i = 0; i < 256; i++) {
        if (!dh_bytecode_has(set, i)) {
            return false;
        }
    }
    return true;
}

static bool has_access(const struct dh_bytecode *b, int upvalue, const char *name) {
    for (size_t i = 0; i < b->access_count; i++) {
        const struct dh_field_access *a = &b->accesses[i];
        if (a->upvalue == upvalue && a->len == strlen(name) && memcmp(a->name, name, a->len) == 0) {
            return true;
        }
    }
    return false;
}

static void what_becomes_of_upvalues_is_read_through_nested_functions(void) {
    struct dh_bytecode b = {0};
    make_dump();
    CHECK(dh_bytecode_read(&b, NULL));
    CHECK_EQ(b.access_count, 2);
    CHECK(has_access(&b, 0, "log"));
    CHECK(has_access(&b, 0, "field of some length"));
    CHECK_EQ(b.assigned[0], 1 << 1);
    CHECK_EQ(b.escapes[0], 1 << 2);
    dh_bytecode_fini(&b);
}

/* Where the code stands in the script does not matter, what it does matters. */
static void lines_are_not_part_of_the_hash(void) {
    struct dh_bytecode b = {0};
    make_dump();
    dh_bytecode_read(&b, NULL);
    uint64_t hash = b.hash;
    dump[33] ^= 1; /* the first line */
    dh_bytecode_read(&b, NULL);
    CHECK(b.hash == hash);
    dump[39] ^= 1; /* the first instruction */
    dh_bytecode_read(&b, NULL);
    CHECK(b.hash != hash);
    dh_bytecode_fini(&b);
}

/* Nothing is known about its upvalues, and each byte counts. */
static bool is_taken_as_a_whole(const struct dh_bytecode *b) {
    return b->access_count == 0 && takes_all(b->escapes);
}

static void a_dump_that_is_cut_is_taken_as_a_whole(void) {
    struct dh_bytecode b = {0};
    make_dump();
    size_t whole = dump_len;
    uint64_t before = 0;
    for (dump_len = 1; dump_len < whole; dump_len++) {
        CHECK(dh_bytecode_read(&b, NULL));
        CHECK(is_taken_as_a_whole(&b));
        CHECK(b.hash != before);
        before = b.hash;
    }
    dh_bytecode_fini(&b);
}

static void a_dump_of_another_version_is_taken_as_a_whole(void) {
    struct dh_bytecode b = {0};
    make_dump();
    dump[4] = 0x53;
    CHECK(dh_bytecode_read(&b, NULL));
    CHECK(is_taken_as_a_whole(&b));
    dh_bytecode_fini(&b);
}

/* No byte of it makes the reader leave the dump (the sanitizers see that), or an access that names
** nothing. */
static void whatever_byte_is_changed_nothing_else_is_read(void) {
    struct dh_bytecode b = {0};
    make_dump();
    for (size_t at = 0; at < dump_len; at++) {
        unsigned char original = dump[at];
        for (int byte = 0; byte < 256; byte++) {
            dump[at] = (unsigned char)byte;
            CHECK(dh_bytecode_read(&b, NULL));
            for (size_t i = 0; i < b.access_count; i++) {
                const char *end = b.accesses[i].name + b.accesses[i].len;
                CHECK(b.accesses[i].name == NULL || end <= b.dump + b.dump_len);
            }
        }
        dump[at] = original;
    }
    dh_bytecode_fini(&b);
}

int main(void) {
    RUN(what_becomes_of_upvalues_is_read_through_nested_functions);
    RUN(lines_are_not_part_of_the_hash);
    RUN(a_dump_that_is_cut_is_taken_as_a_whole);
    RUN(a_dump_of_another_version_is_taken_as_a_whole);
    RUN(whatever_byte_is_changed_nothing_else_is_read);
    return check_report();
}
