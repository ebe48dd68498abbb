-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Drives a soak: a real host with the workers of a scene, orders by decnet-ctl, measures from
-- outside. All it does goes into the host's log, by the side of the host's own lines.

local uv = require "luv"
local share = require "spec.soak.share"
local tidy = require "spec.tidy"

local M = {}

-- Milliseconds between two orders, and names in one; two clients at a time.
local PAUSE_MS = 120
local NAMES = 4
local CLIENTS = 2
-- Milliseconds between two reloads.
local RELOAD_MS = 15000
-- Seconds that a calm waits for the last descriptor and child, at most.
local SETTLE = 15
-- Seconds that a stop may take, and any other order: some workers are never ready.
local STOP_TIMEOUT = 30
local ORDER_TIMEOUT = 3
-- Seconds until an answer must have come, whatever it is.
local PATIENCE = 60

-- ---- the log -----------------------------------------------------------------------------------

local function quote(value)
  if type(value) == "string" then
    return '"' .. value:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
  elseif type(value) ~= "table" then
    return value == math.huge and "1e999" or tostring(value)
  end
  local parts = {}
  for _, item in ipairs(value) do
    parts[#parts + 1] = quote(item)
  end
  if #parts > 0 or next(value) == nil then
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for key, item in pairs(value) do
    parts[#parts + 1] = quote(key) .. ":" .. quote(item)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function stamp()
  local s, us = uv.gettimeofday()
  return os.date("!%Y-%m-%dT%H:%M:%S", s) .. (".%03dZ"):format(us // 1000)
end

-- One write: the host writes to this file, too.
local function log(self, line)
  line.ts = stamp()
  assert(uv.fs_write(self.log_fd, quote(line) .. "\n"))
end

-- ---- what there is outside ---------------------------------------------------------------------

local function count_entries(path)
  local request, n = uv.fs_scandir(path), 0
  while request and uv.fs_scandir_next(request) do
    n = n + 1
  end
  return n
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "a"
  if file then
    file:close()
  end
  return text or ""
end

-- The process IDs of all who have the mark in their environment: the host and its children.
local function marked(self)
  local pids, request = {}, uv.fs_scandir "/proc"
  for name in function() return uv.fs_scandir_next(request) end do
    if name:find "^%d+$" and
      read("/proc/" .. name .. "/environ"):find("DECNET_SOAK=" .. self.dir, 1, true) then
      pids[#pids + 1] = tonumber(name)
    end
  end
  return pids
end

local function children(self)
  local n = 0
  for _, pid in ipairs(marked(self)) do
    n = n + (pid ~= self.pid and 1 or 0)
  end
  return n
end

-- Nobody of them can refuse.
local function kill_all(self)
  for _, pid in ipairs(marked(self)) do
    uv.kill(pid, "sigkill")
  end
end

-- What its descriptors are: "socket 4, pipe 2".
local function describe_files(self)
  local path, kinds, list = ("/proc/%d/fd"):format(self.pid), {}, {}
  local request = uv.fs_scandir(path)
  for name in function() return request and uv.fs_scandir_next(request) end do
    local kind = (uv.fs_readlink(path .. "/" .. name) or "gone"):gsub(":%[%d+%]$", "")
    kinds[kind] = (kinds[kind] or 0) + 1
  end
  for kind, n in pairs(kinds) do
    list[#list + 1] = ("%s %d"):format(kind, n)
  end
  table.sort(list)
  return table.concat(list, ", ")
end

local function measure(self)
  local proc = "/proc/" .. self.pid
  local kilobytes = read(proc .. "/status"):match "VmRSS:%s+(%d+)"
  return { resident = tonumber(kilobytes or 0) * 1024, files = count_entries(proc .. "/fd"),
    children = children(self) }
end

-- ---- waiting: everything runs in one coroutine or in callbacks ---------------------------------

local function sleep(ms)
  local co, timer = coroutine.running(), uv.new_timer()
  timer:start(math.max(1, math.floor(ms)), 0, function()
    timer:close()
    assert(coroutine.resume(co))
  end)
  coroutine.yield()
end

local function wait_until(pred, seconds)
  local deadline = uv.hrtime() + seconds * 1e9
  while not pred() and uv.hrtime() < deadline do
    sleep(50)
  end
  return pred()
end

-- ---- orders ------------------------------------------------------------------------------------

-- decnet-ctl; `done(code)` when it has ended.
local function client(self, args, timeout, done)
  local all = table.move(args, 1, #args, 1, {})
  table.move({ "--socket", self.socket, "--timeout", tostring(timeout) }, 1, 4, #all + 1, all)
  local handle, watchdog
  self.clients = self.clients + 1
  handle = assert(uv.spawn(self.host, { args = all }, function(code, signal)
    handle:close()
    watchdog:close()
    self.clients = self.clients - 1
    done(signal == 0 and code or 128 + signal)
  end))
  watchdog = uv.new_timer()
  watchdog:start(PATIENCE * 1000, 0, function()
    self.lost = self.lost + 1
    handle:kill "sigkill"
  end)
end

-- Tells the log: "order" before it is given, "answered" afterwards.
local function tell(self, msg, verb, names, code)
  for _, name in ipairs(names) do
    self.busy[name] = msg == "order"
    log(self, { worker = name, msg = msg, verb = verb, code = code })
  end
end

local function order(self, verb, names, args)
  tell(self, "order", verb, names)
  client(self, args or { verb, table.unpack(names) }, ORDER_TIMEOUT, function(code)
    tell(self, "answered", verb, names, code)
  end)
end

-- To all at once. A client waits for one after the other: the first one does not wait.
local function order_all(self, verb)
  local args = { verb, table.unpack(self.names) }
  tell(self, "order", verb, self.names)
  client(self, args, 0, function()
    client(self, args, verb == "stop" and STOP_TIMEOUT or 0, function(code)
      tell(self, "answered", verb, self.names, code)
    end)
  end)
end

-- Who is not down is likelier to be told to go; who is told to start may be up.
local VERBS = { "start", "start", "start", "start", "restart", "restart", "retry", "stop", "reset" }

local function order_some(self)
  local names, seen = {}, {}
  for _ = 1, NAMES do
    local name = self.names[math.random(#self.names)]
    if not self.busy[name] and not seen[name] then
      names[#names + 1], seen[name] = name, true
    end
  end
  if #names > 0 then
    order(self, VERBS[math.random(#VERBS)], names)
  end
end

local function reload(self)
  local changed = {}
  self.epoch = self.epoch + 1
  for i, name in ipairs(self.names) do
    if share.version(i, self.epoch) == self.epoch then
      changed[#changed + 1] = name
    end
  end
  local file = assert(io.open(self.dir .. "/epoch", "w"))
  file:write(self.epoch)
  file:close()
  order(self, "reload", changed, { "reload" })
end

local function is_idle(self)
  return self.clients == 0
end

-- ---- phases ------------------------------------------------------------------------------------

-- Everything is stopped, what is left is measured.
local function calm(self)
  assert(wait_until(function() return is_idle(self) end, 2 * PATIENCE), "clients do not end")
  order_all(self, "stop")
  assert(wait_until(function() return is_idle(self) end, 2 * PATIENCE), "stop has no answer")
  local now
  wait_until(function()
    now = measure(self)
    self.files = self.files or now.files
    return now.children == 0 and now.files <= self.files
  end, SETTLE)
  if now.files > self.files then
    now.held = describe_files(self)
  end
  now.msg = "a calm"
  log(self, now)
  if self.on_calm then
    self.on_calm(now)
  end
end

local function work(self, seconds)
  local over = uv.hrtime() + seconds * 1e9
  local next_reload = uv.hrtime() + RELOAD_MS * 1e6
  order_all(self, "start")
  while uv.hrtime() < over and not self.ended do
    if self.clients < CLIENTS then
      if uv.hrtime() > next_reload and is_idle(self) then
        reload(self)
        next_reload = uv.hrtime() + RELOAD_MS * 1e6
      else
        order_some(self)
      end
    end
    sleep(math.random(PAUSE_MS) + PAUSE_MS / 2)
  end
end

local function declare(self)
  local scene = share.scene(self.dir .. "/scene.lua")
  local defaults = { min_backoff = 0, max_backoff = 0, backoff_factor = 1, jitter = 0,
    reset_after = math.huge }
  for _, worker in ipairs(scene.workers) do
    local o = worker.options
    self.names[#self.names + 1] = worker.name
    local told = { restart = o.restart, max_restarts = o.max_restarts, within = o.within }
    for key, default in pairs(defaults) do
      told[key] = o[key] or default
    end
    log(self, { worker = worker.name, msg = "declared", options = told, after = o.after,
      is_grouped = o.group ~= nil,
      is_watched = o.watchdog < math.huge or o.start_timeout < math.huge })
  end
end

local function start_host(self, leak)
  local env = {}
  for key, value in pairs(uv.os_environ()) do
    env[#env + 1] = key .. "=" .. value
  end
  env[#env + 1] = "DECNET_SOAK=" .. self.dir
  local args = { "--log-format", "json", "--log-level", "debug", "--keep-alive", "--socket",
    self.socket, "--seed", tostring(self.seed), "spec/soak/workers.lua", self.dir .. "/scene.lua",
    self.dir .. "/epoch", leak }
  local null = assert(uv.fs_open("/dev/null", "r+", 0))
  local handle, pid
  handle, pid = uv.spawn(self.host, { args = args, env = env,
    stdio = { null, null, self.log_fd } }, function(code, signal)
      handle:close()
      self.ended = { code = code, signal = signal }
    end)
  assert(handle, pid)
  self.pid = pid
  uv.fs_close(null)
end

local function run(self, seconds, calms)
  assert(wait_until(function()
    return self.ended or uv.fs_stat(self.socket)
  end, PATIENCE) and not self.ended, "the host does not start; see its log")
  for _ = 1, calms do
    calm(self)
    work(self, seconds / calms)
  end
  calm(self)
  uv.kill(self.pid, "sigterm")
  assert(wait_until(function() return self.ended end, PATIENCE), "the host does not end")
  wait_until(function() return children(self) == 0 end, SETTLE)
  log(self, { msg = "host ended", code = self.ended.code, signal = self.ended.signal,
    children = children(self) })
end

--- options: host, scene (the program), dir, seed, seconds, calms, scenes, leak, on_calm. Returns
--- the path of the log, or nil and what went wrong.
function M.run(options)
  local self = { host = options.host, dir = options.dir, seed = options.seed, names = {}, busy = {},
    clients = 0, lost = 0, epoch = 0, socket = options.dir .. "/socket",
    on_calm = options.on_calm }
  local path = self.dir .. "/log"
  math.randomseed(self.seed)
  assert(os.execute(("'%s' %d %d >'%s/scene.lua' && echo 0 >'%s/epoch'"):format(options.scene,
    self.seed, options.scenes or 5, self.dir, self.dir)))
  self.log_fd = assert(uv.fs_open(path, "a", tonumber("600", 8)))
  declare(self)
  start_host(self, options.leak)
  local ok, err
  tidy.when_told_to_end(function()
    kill_all(self)
    tidy.remove(self.dir)
  end)
  coroutine.wrap(function()
    ok, err = xpcall(run, debug.traceback, self, options.seconds, options.calms)
    if not self.ended then
      uv.kill(self.pid, "sigkill")
    end
  end)()
  uv.run()
  uv.fs_close(self.log_fd)
  if ok and self.lost > 0 then
    return nil, ("%d orders had no answer within %d s"):format(self.lost, PATIENCE), path
  end
  return ok and path or nil, err, path
end

return M
