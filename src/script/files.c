/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/files.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "script/failure.h"
#include "script/instance.h"
#include "script/luv.h"
#include "script/owned.h"
#include "script/popen.h"
#include "script/printed.h"
#include "script/vm.h"

/* Where liolib keeps its default files. */
#define INPUT_KEY "_IO_input"
#define OUTPUT_KEY "_IO_output"

/* Run (light userdata; the vm for the host) -> { input, output }, while they are not in force. */
static const char defaults_key = 0;

/* Descriptors */

static bool make_room(struct dh_files *files, int fd) {
    if (fd < files->size) {
        return true;
    }
    int size = fd < 32 ? 64 : 2 * fd;
    struct dh_run **owners = realloc(files->owners, (size_t)size * sizeof(*owners));
    if (owners == NULL) {
        return false;
    }
    memset(owners + files->size, 0, (size_t)(size - files->size) * sizeof(*owners));
    files->owners = owners;
    files->size = size;
    return true;
}

void dh_files_add_fd(lua_State *L, struct dh_run *run, int fd) {
    struct dh_files *files = &run->instance->vm->files;
    if (!make_room(files, fd)) {
        close(fd);
        luaL_error(L, "out of memory");
    }
    dh_owned_of(L, run)->has_fds = true;
    files->owners[fd] = run;
}

static struct dh_run *owner_of(const struct dh_vm *vm, int fd) {
    return fd >= 0 && fd < vm->files.size ? vm->files.owners[fd] : NULL;
}

void dh_files_forget_fd(struct dh_vm *vm, int fd) {
    if (owner_of(vm, fd) != NULL) {
        vm->files.owners[fd] = NULL;
    }
}

bool dh_files_may_take(const struct dh_vm *vm, const struct dh_run *run, int fd) {
    const struct dh_run *owner = owner_of(vm, fd);
    return owner == NULL || run == NULL || owner == run || owner->unit == NULL;
}

bool dh_files_may_close(const struct dh_vm *vm, const struct dh_run *run, int fd) {
    return run == NULL || (owner_of(vm, fd) != NULL && dh_files_may_take(vm, run, fd));
}

/* Values */

/* Push the run's set of files and directories. Streams are its weak keys, which stay until after they
** have been finalized: one whose finalizer is still to come, perhaps much later, is closed with the
** run. Directories are weak values, by their address, which are taken out before that: one that luv
** has closed must not be found. */
static void push_values(lua_State *L, struct dh_run *run) {
    struct dh_owned *owned = dh_owned_of(L, run);
    if (owned->files == 0) {
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "kv");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        owned->files = dh_vm_anchor(L);
    }
    dh_vm_push_anchored(L, owned->files);
}

void dh_files_add_value(lua_State *L, struct dh_run *run) {
    push_values(L, run);
    lua_pushvalue(L, -2);
    if (luaL_testudata(L, -1, LUA_FILEHANDLE) != NULL) {
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    } else {
        lua_rawsetp(L, -2, lua_touserdata(L, -1));
    }
    lua_pop(L, 1);
}

/* What waits in its buffer for a pipe that nobody reads is lost. */
static void close_stream(luaL_Stream *stream) {
    if (stream->closef != NULL) {
        int fd = fileno(stream->f);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        stream->closef = NULL;
        fclose(stream->f);
    }
}

/* Stack: set of files, number of them. Returns whether there may be more. */
static int close_values(lua_State *L) {
    for (lua_Integer n = lua_tointeger(L, 2); n > 0; n--) {
        lua_pushnil(L);
        if (lua_next(L, 1) == 0) {
            return 0;
        }
        lua_pushvalue(L, -2);
        lua_pushnil(L);
        lua_rawset(L, 1);
        luaL_Stream *stream = luaL_testudata(L, -2, LUA_FILEHANDLE);
        if (stream != NULL) {
            close_stream(stream);
        } else {
            dh_luv_push_function(L, "fs_closedir"); /* one that is closed it refuses */
            lua_pushvalue(L, -2);
            lua_call(L, 1, 0);
        }
        lua_settop(L, 2);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* Defaults */

static void push_defaults_key(lua_State *L, struct dh_run *run) {
    lua_pushlightuserdata(L, run != NULL ? (void *)run : (void *)dh_vm_of(L));
}

/* Put the defaults that are in force away as those of the run (NULL: the host). */
static void put_away(lua_State *L, struct dh_run *run) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &defaults_key);
    push_defaults_key(L, run);
    lua_createtable(L, 2, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, INPUT_KEY);
    lua_rawseti(L, -2, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, OUTPUT_KEY);
    lua_rawseti(L, -2, 2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* The run's defaults come into force. A run that has none yet begins with what is there. */
static void put_in_force(lua_State *L, struct dh_run *run) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &defaults_key);
    push_defaults_key(L, run);
    if (lua_rawget(L, -2) == LUA_TTABLE) {
        lua_rawgeti(L, -1, 1);
        lua_setfield(L, LUA_REGISTRYINDEX, INPUT_KEY);
        lua_rawgeti(L, -1, 2);
        lua_setfield(L, LUA_REGISTRYINDEX, OUTPUT_KEY);
    }
    lua_pop(L, 2);
}

static void switch_defaults(lua_State *L, struct dh_run *to) {
    struct dh_files *files = &dh_vm_of(L)->files;
    if (files->defaults_of != to) {
        put_away(L, files->defaults_of);
        put_in_force(L, to);
        files->defaults_of = to;
    }
}

/* The run whose code calls; NULL: no worker's. */
static struct dh_run *caller(lua_State *L) {
    const struct dh_task *t = dh_vm_of(L)->current;
    return t != NULL ? t->run : NULL;
}

/* The caller's defaults come into force. */
static struct dh_run *use_defaults(lua_State *L) {
    struct dh_run *run = caller(L);
    bool has_own = run != NULL && run->owned != NULL && run->owned->has_defaults;
    switch_defaults(L, has_own ? run : NULL);
    return run;
}

/* Stack: run. */
static int drop_defaults(lua_State *L) {
    struct dh_run *run = lua_touserdata(L, 1);
    if (dh_vm_of(L)->files.defaults_of == run) {
        switch_defaults(L, NULL);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &defaults_key);
    lua_pushlightuserdata(L, run);
    lua_pushnil(L);
    lua_rawset(L, -3);
    return 0;
}

/* Closing */

/* Those that a thread may still use stay open: their numbers must not become other files. Returns
** what is left of n. */
static unsigned close_fds(struct dh_run *run, unsigned n, bool is_safe) {
    struct dh_files *files = &run->instance->vm->files;
    int fd = run->owned->first_fd;
    for (; fd < files->size && n > 0; fd++) {
        if (files->owners[fd] == run) {
            files->owners[fd] = NULL;
            n--;
            if (is_safe) {
                close(fd);
            }
        }
    }
    run->owned->first_fd = fd;
    return n;
}

/* Returns what f does: a boolean; false after an error. */
static bool call_protected(struct dh_run *run, lua_CFunction f, int nargs) {
    lua_State *L = run->instance->vm->L;
    bool result = false;
    lua_pushcfunction(L, f);
    lua_insert(L, -1 - nargs);
    if (lua_pcall(L, nargs, 1, 0) != LUA_OK) {
        dh_instance_report_cleanup(run, dh_failure_capture(L, -1, 0));
    } else {
        result = lua_toboolean(L, -1);
    }
    lua_pop(L, 1);
    return result;
}

static bool close_some_values(struct dh_run *run, unsigned n) {
    struct dh_vm *vm = run->instance->vm;
    dh_vm_push_anchored(vm->L, run->owned->files);
    lua_pushinteger(vm->L, n);
    return !call_protected(run, close_values, 2);
}

bool dh_files_close(struct dh_run *run, unsigned n) {
    struct dh_owned *owned = run->owned;
    struct dh_vm *vm = run->instance->vm;
    if (owned->has_fds) {
        n = close_fds(run, n, owned->fd_count == 0);
    }
    if (n == 0 || (owned->files != 0 && !close_some_values(run, n))) {
        return false;
    }
    if (owned->has_defaults) {
        lua_pushlightuserdata(vm->L, run);
        call_protected(run, drop_defaults, 1);
    }
    if (owned->files != 0) {
        dh_vm_release(vm, owned->files);
    }
    return true;
}

/* io. Upvalue 1: the function that is replaced, which has no upvalues. */

static int call_io(lua_State *L) {
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* The result at -n, if it is a file, is the caller's. */
static int owned_result(lua_State *L, int n) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    if (run != NULL && luaL_testudata(L, -n, LUA_FILEHANDLE) != NULL) {
        lua_pushvalue(L, -n);
        dh_files_add_value(L, run);
        lua_pop(L, 1);
    }
    return n;
}

/* open, tmpfile */
static int l_open(lua_State *L) {
    return owned_result(L, call_io(L));
}

static int l_popen(lua_State *L) {
    if (caller(L) == NULL) {
        return owned_result(L, call_io(L));
    }
    return owned_result(L, dh_popen(L));
}

static int refuse_stdin(lua_State *L, const char *what) {
    return luaL_error(L,
                      "%s: reading the host's stdin would hold up every worker: give io.input a "
                      "file, or read with uv.new_pipe or uv.new_tty",
                      what);
}

static bool is_stdin(lua_State *L, int idx) {
    const luaL_Stream *stream = luaL_testudata(L, idx, LUA_FILEHANDLE);
    return stream != NULL && stream->closef != NULL && stream->f == stdin;
}

static void check_default_input(lua_State *L, const char *what) {
    lua_getfield(L, LUA_REGISTRYINDEX, INPUT_KEY);
    if (is_stdin(L, -1)) {
        refuse_stdin(L, what);
    }
    lua_pop(L, 1);
}

static int l_read(lua_State *L) {
    if (use_defaults(L) != NULL) {
        check_default_input(L, "io.read");
    }
    return call_io(L);
}

static int l_lines(lua_State *L) {
    bool has_name = !lua_isnoneornil(L, 1);
    if (use_defaults(L) != NULL && !has_name) {
        check_default_input(L, "io.lines");
    }
    int n = call_io(L);
    if (n == 4) { /* iterator, nil, nil, file: a name was given */
        owned_result(L, 1);
    }
    return n;
}

/* Whose is what is printed? NULL: nobody asks. */
static struct dh_run *printer(lua_State *L) {
    return dh_printed_by(dh_vm_of(L));
}

/* Arguments from 'first' on are being written to the file at idx. If that is the host's stdout or
** stderr: the run's. */
static void note_printed(lua_State *L, struct dh_run *run, int idx, int first, int last) {
    const luaL_Stream *stream = luaL_testudata(L, idx, LUA_FILEHANDLE);
    if (stream == NULL || stream->closef == NULL || (stream->f != stdout && stream->f != stderr)) {
        return;
    }
    enum dh_source source = stream->f == stderr ? DH_SOURCE_STDERR : DH_SOURCE_STDOUT;
    for (int i = first; i <= last; i++) {
        char number[64];
        size_t len;
        const char *text = number;
        switch (lua_type(L, i)) {
            case LUA_TNUMBER: /* as liolib does, without making a string of the argument */
                len =
                    (size_t)(lua_isinteger(L, i) ? snprintf(number, sizeof(number), LUA_INTEGER_FMT,
                                                            (LUAI_UACINT)lua_tointeger(L, i))
                                                 : snprintf(number, sizeof(number), LUA_NUMBER_FMT,
                                                            (LUAI_UACNUMBER)lua_tonumber(L, i)));
                break;
            case LUA_TSTRING:
                text = lua_tolstring(L, i, &len);
                break;
            default: /* an error of the caller's */
                return;
        }
        dh_printed_add(run, source, text, len);
    }
}

static int l_write(lua_State *L) {
    use_defaults(L);
    struct dh_run *run = printer(L);
    if (run != NULL) {
        int n = lua_gettop(L);
        lua_getfield(L, LUA_REGISTRYINDEX, OUTPUT_KEY);
        note_printed(L, run, n + 1, 1, n);
        lua_pop(L, 1);
    }
    return call_io(L);
}

/* file:write */
static int l_file_write(lua_State *L) {
    struct dh_run *run = printer(L);
    if (run != NULL) {
        note_printed(L, run, 1, 2, lua_gettop(L));
    }
    return call_io(L);
}

/* print, as it is in Lua: piece by piece, since __tostring may raise or print. */
static int l_print(lua_State *L) {
    struct dh_run *run = printer(L);
    if (run == NULL) {
        return call_io(L);
    }
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        size_t len;
        const char *text = luaL_tolstring(L, i, &len);
        if (i > 1) {
            fputc('\t', stdout);
            dh_printed_add(run, DH_SOURCE_STDOUT, "\t", 1);
        }
        fwrite(text, 1, len, stdout);
        dh_printed_add(run, DH_SOURCE_STDOUT, text, len);
        lua_pop(L, 1);
    }
    fputc('\n', stdout);
    fflush(stdout);
    dh_printed_add(run, DH_SOURCE_STDOUT, "\n", 1);
    return 0;
}

/* input, output */
static int l_default(lua_State *L) {
    bool is_set = !lua_isnoneornil(L, 1), is_opened = lua_type(L, 1) == LUA_TSTRING;
    struct dh_run *run = caller(L);
    if (run != NULL && run->unit != NULL && is_set) {
        dh_owned_of(L, run)->has_defaults = true;
    }
    use_defaults(L);
    int n = call_io(L);
    return is_opened ? owned_result(L, n) : n;
}

static int l_close(lua_State *L) {
    const struct dh_run *run = use_defaults(L);
    bool has_own = run != NULL && run->owned != NULL && run->owned->has_defaults;
    if (lua_isnone(L, 1) && run != NULL && !has_own) {
        return luaL_error(L, "io.close: the default output is the host's: name the file to close");
    }
    return call_io(L);
}

/* file:read, file:lines */
static int l_method(lua_State *L) {
    if (is_stdin(L, 1) && caller(L) != NULL) {
        return refuse_stdin(L, "io.stdin");
    }
    return call_io(L);
}

/* Replace functions of the table on top of L's stack; those that are somebody else's already stay. */
static void replace(lua_State *L, const luaL_Reg *functions) {
    int table = lua_gettop(L);
    for (const luaL_Reg *f = functions; f->name != NULL; f++) {
        lua_getfield(L, table, f->name);
        if (lua_iscfunction(L, -1) && lua_getupvalue(L, -1, 1) == NULL) {
            lua_pushcclosure(L, f->func, 1);
            lua_setfield(L, table, f->name);
        }
        lua_settop(L, table);
    }
}

void dh_files_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"close", l_close},    {"input", l_default}, {"lines", l_lines}, {"open", l_open},
        {"output", l_default}, {"popen", l_popen},   {"read", l_read},   {"tmpfile", l_open},
        {"write", l_write},    {NULL, NULL},
    };
    static const luaL_Reg methods[] = {
        {"lines", l_method}, {"read", l_method}, {"write", l_file_write}, {NULL, NULL}};
    static const luaL_Reg globals[] = {{"print", l_print}, {NULL, NULL}};
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &defaults_key);
    if (lua_getglobal(L, LUA_IOLIBNAME) == LUA_TTABLE) {
        replace(L, functions);
    }
    lua_pop(L, 1);
    lua_pushglobaltable(L);
    replace(L, globals);
    lua_pop(L, 1);
    if (luaL_getmetatable(L, LUA_FILEHANDLE) == LUA_TTABLE) {
        lua_getfield(L, -1, "__index");
        replace(L, methods);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void dh_files_fini(struct dh_files *files) {
    free(files->owners);
    files->owners = NULL;
    files->size = 0;
}
