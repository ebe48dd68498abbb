-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The standard library, spoiled by one worker, and another one that needs the host all the same.
-- It holds what it needs in locals, as a careful worker does; what is tested is the host.

local decnet = require "decnet"
local uv = require "luv"

local assert, error, getmetatable, ipairs, next, pcall, rawset, setmetatable, tostring, type =
  assert, error, getmetatable, ipairs, next, pcall, rawset, setmetatable, tostring, type
local format, find, sort = string.format, string.find, table.sort

local M = {}

local function is_ours(path)
  return find(path, "^package%.loaded%.") and not find(path, "decnet") and not find(path, "%.luv$")
end

-- Every function and plain value of the standard library: { table, key, path }, in a fixed order.
local function list(into, container, prefix, seen)
  local keys = {}
  for key in next, container do
    if type(key) == "string" then
      keys[#keys + 1] = key
    end
  end
  sort(keys)
  for _, key in ipairs(keys) do
    local value, path = container[key], prefix .. key
    if not is_ours(path) then
      if type(value) == "table" and not seen[value] then
        seen[value] = true
        list(into, value, path .. ".", seen)
      end
      into[#into + 1] = { container, key, path }
    end
  end
  return into
end

local STANDARD = {
  "assert", "collectgarbage", "coroutine", "debug", "dofile", "error", "getmetatable", "io",
  "ipairs", "load", "loadfile", "math", "next", "os", "package", "pairs", "pcall", "print",
  "rawequal", "rawget", "rawlen", "rawset", "require", "select", "setmetatable", "string", "table",
  "tonumber", "tostring", "type", "utf8", "warn", "xpcall",
}

--- What can be spoiled of the standard library: a list of { table, key, path }.
function M.library()
  local library = {}
  for _, name in ipairs(STANDARD) do
    library[name] = _G[name]
  end
  local targets = list({}, library, "", { [_G] = true, [package.loaded] = true })
  for _, target in ipairs(targets) do
    target[1] = target[1] == library and _G or target[1]
  end
  for _, name in ipairs { "_G", "decnet", "decnet.core", "decnet.stdlib", "luv", "string" } do
    targets[#targets + 1] = { package.loaded, name, "package.loaded." .. name }
  end
  targets[#targets + 1] = { getmetatable "", "__index", "string metatable" }
  targets[#targets + 1] = { getmetatable(io.stdout), "__index", "file metatable" }
  return targets
end

--- What can be spoiled of luv.
function M.luv()
  return list({}, uv, "uv.", {})
end

--- What they can be replaced by.
M.venoms = {
  ["nil"] = function() return nil end,
  ["a function that raises"] = function() return error end,
  ["a string"] = function() return "spoiled" end,
  ["a table that raises"] = function()
    return setmetatable({}, { __index = error, __newindex = error, __call = error })
  end,
}

--- Spoil the targets; returns a function that mends them.
function M.spoil(targets, venom)
  local old = {}
  for i, target in ipairs(targets) do
    old[i] = target[1][target[2]]
  end
  for i = 1, #targets do
    targets[i][1][targets[i][2]] = venom()
  end
  return function()
    for i = 1, #targets do
      rawset(targets[i][1], targets[i][2], old[i])
    end
  end
end

local function refused(part, fn, ...)
  local ok, message = pcall(fn, ...)
  if ok or not find(tostring(message), part, 1, true) then
    error(format("%q expected, got %s", part, tostring(message)), 2)
  end
end

local function forever()
  decnet.sleep(1e9)
end

local function waits(log)
  decnet.sleep(0.001)
  decnet.yield()
  assert(decnet.spawn(function(x) decnet.sleep(0) return x end, 5):join() == 5)
  assert(decnet.timeout(0.001, forever) == nil)
  assert(decnet.shield(1, function() return "shielded" end) == "shielded")
  assert(decnet.shared(function() return "shared" end) == "shared")
  assert(decnet.atomic(function() return "atomic" end) == "atomic")
  assert(decnet.await(function(resume) resume "resumed" end) == "resumed")
  local channel, event = decnet.channel(1), decnet.event()
  assert(channel:send(1) and channel:recv() == 1)
  event:set()
  assert(event:wait())
  assert(decnet.now() and decnet.current().name == "user")
  assert(decnet.is_cancelled(decnet.cancelled))
  log("waits")
end

local function asks_luv(log)
  assert(decnet.uv.fs_stat "/".type == "directory")
  local _, message, code = decnet.uv.fs_stat "/nowhere"
  assert(code == "ENOENT" and find(message, "no such file", 1, true))
  refused("string expected", decnet.uv.fs_stat, {})
  refused("did you mean", function() return decnet.uv.fs_sta end)
  assert(decnet.offload(function(x) return x + 1 end, 1) == 2)
  log("luv")
end

local function orders(log)
  local handle = decnet.worker { name = "added", stop_timeout = 1, run = forever }
  decnet.sleep(0)
  assert(handle:status().state == "running" and decnet.get "added" == handle)
  assert(#decnet.status() > 2)
  assert(handle:stop() and handle:start() and handle:restart() and handle:remove())
  refused("did you mean", decnet.worker, { "bad", forever, max_backof = 5 })
  refused("jitter", decnet.worker, { "bad", forever, jitter = "x" })
  refused("did you mean", decnet.on, "crsh", forever)
  decnet.supervise("supervised", function() end)
  log("orders")
end

-- A hook hears of the first crash of a loop only.
local function crashes(log, crash_count)
  decnet.worker { name = "crasher", min_backoff = 0.001, run = function(self)
    if self.run == 1 then
      error "first"
    elseif self.run == 2 then
      error(setmetatable({}, { __tostring = error }))
    elseif self.run == 3 then
      decnet.retry_after(0.001, { code = 3 })
    elseif self.run == 4 then
      decnet.spawn(error, "fourth")
      forever()
    end
    decnet.fatal "the end"
  end }
  repeat
    decnet.sleep(0.005)
  until decnet.get "crasher":status().state == "failed"
  decnet.sleep(0.001)
  assert(crash_count() > 0)
  assert(decnet.get "crasher":status().last_error.message)
  log("crashes")
end

--- Declare the workers. `spoil()` is called by one of them, before the other does its work; `log`
--- is told of each part of that.
function M.declare(spoil, log)
  local is_spoiled = decnet.event()
  local count = 0
  decnet.on("crash", function() count = count + 1 end)
  decnet.worker { name = "spoiler", restart = "never", run = function()
    spoil()
    is_spoiled:set()
  end }
  decnet.worker { name = "user", restart = "never", run = function(self)
    is_spoiled:wait()
    self:defer(function() log "deferred" end)
    self.log:info("at work", { number = 1, text = "x" })
    waits(log)
    asks_luv(log)
    orders(log)
    crashes(log, function() return count end)
  end }
end

M.parts = { "waits", "luv", "orders", "crashes", "deferred" }

return M
