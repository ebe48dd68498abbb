-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet.uv: luv's one-shot requests as calls that wait. decnet.uv.fs_stat(path) is
-- uv.fs_stat(path, callback) whose results are returned: what the callback got, `true` where that
-- is nothing, or nil, a message and the name of the error.
--
-- A request cannot be taken back once a thread works on it. So when a wait is cancelled, the
-- request goes on by itself, and what it opened is closed when its callback comes. The closing of
-- something is never cancelled.

local stdlib = require "decnet.stdlib"()
local _ENV = stdlib

if stdlib.kept "decnet.uv" then -- somebody has cleared package.loaded
  return stdlib.kept "decnet.uv"
end

local core = require "decnet.core"
local luv = require "luv"
local suggest = require "decnet.suggest"

local CHILD_GRACE_MS = 5000 -- as DH_CHILD_GRACE_NS in src/script/limits.h
local RANDOM_CHUNK = 65536
local DIR_ENTRIES_MAX = 65536 -- luv allocates them where an error would end the process
local PIPE_NAME_MAX = 107 -- sun_path; libuv 1.44 connects to the truncated name

local unpack = table.unpack

-- The argument that is luv's callback: mostly the last, after optional ones.
local CALLBACK_AT = {
  fs_access = 3, fs_chmod = 3, fs_chown = 4, fs_close = 2, fs_closedir = 2, fs_copyfile = 4,
  fs_fchmod = 3, fs_fchown = 4, fs_fdatasync = 2, fs_fstat = 2, fs_fsync = 2, fs_ftruncate = 3,
  fs_futime = 4, fs_lchown = 4, fs_link = 3, fs_lstat = 2, fs_lutime = 4, fs_mkdir = 3,
  fs_mkdtemp = 2, fs_mkstemp = 2, fs_open = 4, fs_opendir = 2, fs_read = 4, fs_readdir = 2,
  fs_readlink = 2, fs_realpath = 2, fs_rename = 3, fs_rmdir = 2, fs_scandir = 2, fs_sendfile = 5,
  fs_stat = 2, fs_statfs = 2, fs_symlink = 4, fs_unlink = 2, fs_utime = 4, fs_write = 4,
  getaddrinfo = 4, getnameinfo = 2,
  pipe_connect = 3, shutdown = 2, tcp_connect = 4, udp_send = 5, write = 3, write2 = 4,
}

local DEFAULTS = {
  fs_mkdir = { [2] = 511 }, -- octal 777 and 666: the umask decides
  fs_open = { [3] = 438 },
}

-- What to do with results that nobody takes any more.
local DISCARD = {
  fs_mkdtemp = function(path)
    luv.fs_rmdir(path)
  end,
  fs_mkstemp = function(fd, path)
    luv.fs_close(fd)
    luv.fs_unlink(path)
  end,
  fs_open = function(fd)
    luv.fs_close(fd)
  end,
  fs_opendir = function(dir)
    luv.fs_closedir(dir)
  end,
}

local function is_bytes(value)
  return type(value) == "string" or type(value) == "number"
end

-- luv checks this after it has allocated, and leaks that; libuv asserts that there is something.
local function check_data(args, at)
  local data = args[at]
  if type(data) == "table" then
    for i = 1, rawlen(data) do
      if not is_bytes(data[i]) then
        return at, string.format("table of strings expected, got %s at [%d]", type(data[i]), i)
      end
    end
    if rawlen(data) == 0 then
      args[at] = ""
    end
  elseif not is_bytes(data) then
    return at, string.format("string or table of strings expected, got %s", type(data))
  end
end

local function is_closed(handle)
  local ok, is_closing = pcall(luv.is_closing, handle)
  return ok and is_closing
end

-- What has to be known before luv is called: returns the number of an argument and what is wrong
-- with it; or false, and the code of an error to return.
local CHECKS = {
  fs_copyfile = function(args) -- libuv refuses these without a reason, and luv makes one up
    if math.type(args[3]) == "integer" and args[3] & ~7 ~= 0 then
      return false, "EINVAL"
    end
  end,
  fs_opendir = function(args)
    local entries = args[3]
    if entries ~= nil and not (math.tointeger(entries) and entries >= 1
        and entries <= DIR_ENTRIES_MAX) then
      return 2, string.format("an integer from 1 to %d expected", DIR_ENTRIES_MAX)
    end
  end,
  fs_read = function(args)
    local size = tonumber(args[2])
    if size and size < 0 then
      return 2, "a size >= 0 expected"
    end
  end,
  fs_write = function(args)
    return check_data(args, 2)
  end,
  pipe_connect = function(args)
    if type(args[2]) == "string" and #args[2] > PIPE_NAME_MAX then
      return false, "ENAMETOOLONG"
    end
  end,
  udp_send = function(args)
    return check_data(args, 2)
  end,
  write = function(args)
    return check_data(args, 2)
  end,
  write2 = function(args)
    return check_data(args, 2)
  end,
}

---@class decnet.uv.Kind
---@field name string
---@field callback_at integer
---@field is_pooled boolean libuv's thread pool works on it, and it can be cancelled
---@field is_close boolean it must be done whatever happens to the caller
---@field on_dir boolean
---@field level integer of who is to blame for a misuse, seen from `call`
local KINDS = {}
for name, callback_at in pairs(CALLBACK_AT) do
  KINDS[name] = luv[name] and {
    name = name,
    callback_at = callback_at,
    is_pooled = string.find(name, "^fs_") ~= nil or string.find(name, "^get") ~= nil,
    is_close = name == "fs_close" or name == "fs_closedir",
    on_dir = name == "fs_readdir" or name == "fs_closedir",
    level = name == "write" and 3 or 2, -- a C function is in between
  }
end

-- Errors ------------------------------------------------------------------------------------------

-- File system errors come as "ENOENT: no such file or directory: path", all others as "ENOENT".
-- Where libuv refuses arguments before it begins, luv finds no name.
local function failure(err)
  local code = string.match(err, "^E[%u%d_]+")
  if not code then
    return nil, "EINVAL: invalid argument", "EINVAL"
  end
  return nil, err == code and core.uv_message(code) or err, code
end

-- "bad argument #3 to '?' (...)", which luv raises from where it knows neither name nor line.
local function misuse(name, message)
  message = tostring(message)
  local number, text = string.match(message, "^bad argument #(%d+) to '[^']*' %((.*)%)$")
  if not number then
    return string.format("uv.%s: %s", name, message)
  end
  if name == "fs_opendir" and number == "3" then
    number = "2"
  end
  return string.format("bad argument #%s to 'uv.%s' (%s)", number, name, text)
end

-- Requests ----------------------------------------------------------------------------------------

---@class decnet.uv.Request
---@field kind decnet.uv.Kind
---@field args table kept until the callback has come: luv does not keep a directory alive
---@field resume function?
---@field handle any luv's request
---@field results table? what nobody has taken yet
---@field raised string? why luv refused its arguments
---@field is_started boolean?
---@field is_pending boolean? its callback will come
---@field is_unwanted boolean? the wait is over
---@field is_delivered boolean?
local Request = {}
Request.__index = Request

-- A directory's requests in order: libuv's threads must not work on the same one at a time.
-- dir -> { requests; the first is the one under way }, is_closed
local lines = setmetatable({}, { __mode = "k" })

function Request:finish(...)
  if DISCARD[self.kind.name] and (...) then
    self.results = table.pack(...)
    if self.is_unwanted then
      self:discard()
      return
    end
  end
  if not self.is_unwanted then
    self.resume(...)
  end
end

function Request:discard()
  local results = self.results
  self.results = nil
  DISCARD[self.kind.name](unpack(results, 1, results.n))
end

function Request:on_done(err, ...)
  self.is_pending = false
  if self.kind.name == "fs_scandir" and self.handle then -- memory was there to note it
    core.forget_request(self.handle)
  end
  if err then
    self:finish(failure(err))
  elseif select("#", ...) == 0 then
    self:finish(true)
  else
    self:finish(...)
  end
  if self.kind.on_dir then
    self:leave_line()
  end
end

-- The callback comes once, later, or never, and then finish has been called.
function Request:start()
  local kind, args = self.kind, self.args
  self.is_started = true
  args[kind.callback_at] = core.request(function(...)
    self:on_done(...)
  end)
  local ok, handle, message, code = pcall(luv[kind.name], unpack(args, 1, args.n))
  if not ok then
    self.raised = misuse(kind.name, handle)
    self:finish()
  elseif handle == nil then
    self:finish(failure(code and string.find(code, "^E") and message or tostring(code)))
  else
    self.handle = handle
    self.is_pending = true
    return true
  end
end

function Request:join_line()
  local dir = self.args[1]
  local line = lines[dir]
  if not line then
    line = {}
    lines[dir] = line
  end
  if line.is_closed then
    self:finish(failure "EBADF")
    return
  end
  line.is_closed = self.kind.is_close
  table.insert(line, self)
  if #line == 1 and not self:start() then
    self:leave_line()
  end
end

function Request:leave_line()
  local line = lines[self.args[1]]
  repeat
    table.remove(line, 1)
    local next = line[1]
  until not next or (not next.is_unwanted or next.kind.is_close) and next:start()
end

function Request:start_or_join()
  local kind, args = self.kind, self.args
  if kind.on_dir and type(args[1]) == "userdata" and string.find(tostring(args[1]), "^uv_dir") then
    self:join_line()
  elseif not kind.is_pooled and is_closed(args[1]) then
    self:finish(failure "EBADF")
  else
    self:start()
  end
end

-- Preempted in the middle of it, the request would be done, or those before it in its line, by when
-- it is noted; or cancelled there, it would stay in the line.
function Request:begin()
  core.atomic(self.start_or_join, self)
end

-- The wait is over: timeout, cancellation, kill.
function Request:withdraw()
  self.is_unwanted = true
  if self.is_pending and self.kind.is_pooled and not self.kind.is_close then
    luv.cancel(self.handle)
  end
end

-- On every way out of the call. In a task that is killed it is the only one, and the results may
-- have come.
function Request:__close(err)
  self.is_unwanted = true
  if self.results and not self.is_delivered then
    self:discard()
  end
  if self.kind.is_close and not self.is_started and err ~= nil and core.is_cancelled(err) then
    self:begin()
  end
end

---@return decnet.uv.Request
local function new_request(kind, ...)
  local args = table.pack(...)
  local last = kind.callback_at
  for at, default in pairs(DEFAULTS[kind.name] or {}) do
    if args[at] == nil then
      args[at] = default
    end
  end
  if kind.name == "fs_opendir" then
    args[3], last = args[2], 3
  end
  args.n = last
  return setmetatable({ kind = kind, args = args }, Request)
end

-- More arguments than there are mean nothing, as everywhere in Lua (an iterator gets two); but who
-- gives a callback expects it to be called.
local function refuse_callback(level, name, callback_at, ...)
  for i = callback_at, select("#", ...) do
    if type((select(i, ...))) == "function" then
      error(string.format("uv.%s waits and returns the results: give it no callback", name),
        level + 1)
    end
  end
end

-- Each await may be the last thing that a run which is being killed does; then it cannot wait.
local function check_wait(level, name, is_pooled)
  local ok, can_wait = pcall(core.check_wait, "uv." .. name, is_pooled)
  if not ok then
    error(can_wait, level + 1)
  end
  return can_wait
end

local function deliver(request, ...)
  if request.raised then
    error(request.raised, request.kind.level + 1)
  end
  request.is_delivered = true
  return ...
end

local function call(kind, ...)
  refuse_callback(kind.level, kind.name, kind.callback_at, ...)
  local request <close> = new_request(kind, ...)
  local can_wait = check_wait(kind.level, kind.name, kind.is_pooled)
  local check = CHECKS[kind.name]
  if check then
    local at, problem = check(request.args)
    if at then
      error(string.format("bad argument #%d to 'uv.%s' (%s)", at, kind.name, problem),
        kind.level)
    elseif problem then
      return failure(problem) -- its code
    end
  end
  if not can_wait then
    if kind.is_close then
      request.is_unwanted = true
      request:begin()
    end
    error(string.format("uv.%s: this run is being killed and can wait no more", kind.name),
      kind.level)
  end
  return deliver(request, core.await(function(resume)
    request.resume = resume
    request:begin()
    return function()
      request:withdraw()
    end
  end))
end

-- What the socket does not take at once.
local write = core.writer(function(...)
  return call(KINDS.write, ...)
end)

-- Those that are not requests of luv's ------------------------------------------------------------

-- luv 1.44 loses some memory with each random that has a callback. Without one it does not wait
-- for anything, but takes long for much.
local function random_chunk(size, flags)
  local ok, bytes, message, code = pcall(luv.random, size, flags)
  if not ok then
    error(misuse("random", bytes), 3)
  end
  return bytes, message, code
end

local function random(size, flags, ...)
  refuse_callback(2, "random", 3, size, flags, ...)
  check_wait(2, "random")
  if math.type(size) ~= "integer" or size <= RANDOM_CHUNK or size > 0x7fffffff then
    local bytes, message, code = random_chunk(size, flags)
    if bytes then
      return bytes
    end
    return nil, message, code
  end
  local parts = {}
  for at = 0, size - 1, RANDOM_CHUNK do
    local bytes, message, code = random_chunk(math.min(size - at, RANDOM_CHUNK), flags)
    if not bytes then
      return nil, message, code
    end
    parts[#parts + 1] = bytes
    core.yield()
  end
  return table.concat(parts)
end

---@class decnet.uv.Child
---@field handle any luv's, once it is started
---@field timer any
---@field raised string? why luv refused its arguments
---@field is_over boolean?
local Child = {}
Child.__index = Child

local function close(handle)
  if handle and not luv.is_closing(handle) then
    luv.close(handle)
  end
end

-- In one step, as all that knows the handle of a child that may exit at any time.
function Child:start(resume, file, options)
  local on_exit = core.request(function(...)
    self.is_over = true
    close(self.timer)
    close(self.handle)
    resume(...)
  end)
  local ok, handle, message, code = pcall(luv.spawn, file, options or {}, on_exit)
  if not ok then
    self.raised = misuse("spawn", handle)
    resume()
  elseif not handle then
    resume(nil, message, code)
  else
    self.handle = handle
  end
end

-- Politely; and where that does not help, not so.
function Child:terminate()
  if self.is_over or not self.handle or luv.is_closing(self.handle) then
    return
  end
  core.end_child(self.handle, false)
  self.timer = luv.new_timer()
  self.timer:start(CHILD_GRACE_MS, 0, core.request(function()
    if not self.is_over then
      core.end_child(self.handle, true)
    end
    close(self.timer)
  end))
end

-- On every way out of the call.
function Child:__close()
  core.atomic(self.terminate, self)
end

local function spawn(file, options, ...)
  refuse_callback(2, "spawn", 3, file, options, ...)
  if not check_wait(2, "spawn") then
    error("uv.spawn: this run is being killed and can wait no more", 2)
  end
  local child <close> = setmetatable({ handle = false }, Child)
  local code, signal, name = core.await(function(resume)
    core.atomic(child.start, child, resume, file, options)
  end)
  if child.raised then
    error(child.raised, 2)
  elseif not code then
    return nil, signal, name
  end
  return code, signal
end

-- The table ---------------------------------------------------------------------------------------

local function refusal(name)
  if name == "listen" or string.find(name, "_start") or string.find(name, "_work$") then
    return string.format("uv.%s calls back many times: give it a callback", name)
  end
  return string.format("uv.%s waits for nothing: call it in require \"luv\"", name)
end

local function function_for(name)
  local kind = KINDS[name]
  if kind then
    return function(...)
      return call(kind, ...)
    end
  elseif name == "fs_scandir_next" then -- takes one entry of what fs_scandir returned
    return luv.fs_scandir_next
  end
  return function()
    error(refusal(name), 2)
  end
end

local function known_names()
  local names = {}
  for name, value in pairs(luv) do
    if type(value) == "function" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

---@class decnet.uv
---@field read fun(stream: any, seconds: number?): string?, string?, string? the next piece
---@field [string] fun(...): ...
local M = { random = random, read = core.read, spawn = spawn, write = write }

setmetatable(M, {
  __index = function(self, name)
    if type(luv[name]) ~= "function" then
      local near = suggest.near(name, known_names())
      error(string.format("decnet.uv: luv has no function %q%s", tostring(name),
        near and string.format("; did you mean %q?", near) or ""), 2)
    end
    local fn = function_for(name)
    rawset(self, name, fn)
    return fn
  end,
})

return stdlib.keep("decnet.uv", stdlib.sealed("decnet.uv", M))
