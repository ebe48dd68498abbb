-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A restart goes on with the coroutine and the 'self' of the run before, if nobody can tell: what
-- somebody has kept never sees a later run. In processes of their own, as some cases are for good.

local process = require "spec.process.process"

local SCRIPT = [[
local decnet = require "decnet"
local testing = require "decnet.testing"

local kept = {}
local function keep(value)
  kept[#kept + 1] = value
end

-- Worker "w" crashes again and again. How many bytes does a restart take?
local function bytes_per_restart(run)
  local bytes
  testing.run(function(t)
    decnet.worker { name = "w", run = run, min_backoff = 1, max_backoff = 1 }
    t:advance(10.5)
    collectgarbage()
    collectgarbage "stop"
    local before, restarts = collectgarbage "count", t:status "w".restarts
    t:advance(20)
    bytes = (collectgarbage "count" - before) * 1024 / (t:status "w".restarts - restarts)
    collectgarbage "restart"
    assert(t:status "w".restarts >= 20)
  end)
  return bytes
end

local CASES = {}

function CASES.kept_by_nobody()
  return bytes_per_restart(function() error "x" end)
end

function CASES.has_waited()
  return bytes_per_restart(function() decnet.sleep(0.1) error "x" end)
end

function CASES.takes_self()
  return bytes_per_restart(function(self)
    assert(#kept == 0 or kept[#kept].run == self.run - 1)
    kept = { self }
    error "x"
  end)
end

function CASES.failing_task()
  return bytes_per_restart(function()
    decnet.spawn(error, "x")
    decnet.park()
  end)
end

function CASES.running()
  local bytes = bytes_per_restart(function()
    keep(coroutine.running())
    error "x"
  end)
  for i, co in ipairs(kept) do
    assert(coroutine.status(co) == "dead" and kept[i + 1] ~= co)
  end
  return bytes
end

function CASES.stale_self()
  local bytes = bytes_per_restart(function(self)
    keep(self)
    error "x"
  end)
  for i, self in ipairs(kept) do
    assert(self.run == i and self.name == "w")
  end
  return bytes
end

function CASES.current()
  local bytes = bytes_per_restart(function()
    keep(decnet.current())
    error "x"
  end)
  for i, self in ipairs(kept) do
    assert(self.run == i)
  end
  return bytes
end

function CASES.callback()
  local uv = require "luv"
  return bytes_per_restart(function()
    keep(decnet.current())
    local timer = uv.new_timer()
    timer:start(10, 0, print)
    error "x"
  end)
end

function CASES.getuservalue()
  local bytes = bytes_per_restart(function(self)
    keep(debug.getuservalue(self, 1))
    error "x"
  end)
  for i, co in ipairs(kept) do
    assert(type(co) == "thread" and kept[i + 1] ~= co)
  end
  return bytes
end

function CASES.getregistry()
  debug.getregistry()
  return bytes_per_restart(function() error "x" end)
end

function CASES.hook()
  local lines, runs = 0, 0
  local bytes = bytes_per_restart(function()
    runs = runs + 1
    if runs == 12 then
      assert(not debug.gethook())
      debug.sethook(function() lines = lines + 1 end, "l")
    end
    assert((debug.gethook() ~= nil) == (runs == 12))
    error "x"
  end)
  assert(lines > 0 and lines < 5)
  return bytes
end

function CASES.library()
  package.loadlib(arg[2], "no_such_function")
  return bytes_per_restart(function() error "x" end)
end

-- What a run has left on its stack is not to be seen, and what it has set is not in force.
function CASES.clean()
  local runs = 0
  return bytes_per_restart(function(...)
    runs = runs + 1
    assert(select("#", ...) == 1 and (...).run == runs and (...).restarts == runs - 1)
    local closed <close> = setmetatable({}, { __close = function() end })
    decnet.timeout(5, decnet.sleep, 0.01)
    assert(decnet.current():defer(function() end) == nil and closed)
    pcall(error)
    error({ runs })
  end)
end

-- A worker that is stopped, removed, declared anew while it waits for its restart.
function CASES.orders()
  testing.run(function(t)
    local function crash() error "x" end
    local w = decnet.worker { name = "w", run = crash, min_backoff = 1, max_backoff = 1 }
    t:advance(3.5)
    w:stop()
    t:advance(1)
    assert(t:status "w".state == "stopped")
    w:start()
    t:advance(2.2)
    w:restart()
    t:advance(0.1)
    w:remove()
    t:advance(0.1)
    w = decnet.worker { name = "w", run = crash, min_backoff = 1, max_backoff = 1 }
    t:advance(1.5)
    assert(t:status "w".run == 2)
    w:stop()
    t:advance(0)
    collectgarbage()
    collectgarbage()
    t:advance(5)
    assert(t:status "w".memory_bytes == 0 and t:status "w".leftover_bytes == 0)
  end)
  return 0
end

print("bytes " .. math.floor(CASES[arg[1] ]()))
]]

describe("a restart of what", function()
  after_each(process.clean)

  local function bytes_of(case)
    local dir = process.dir()
    process.write(dir .. "/case.lua", SCRIPT)
    local library = process.cpath:gsub("%?", "decnet/core")
    local child = process.start(process.host, { "lua", "case.lua", case, library }, { cwd = dir })
    child:ends(0)
    return tonumber(child:says "bytes (%d+)")
  end

  -- Compared with one that makes nothing: a coroutine is a kilobyte, 'self' a quarter of one.
  local function makes(least, most, ...)
    local nothing = bytes_of "kept_by_nobody"
    for _, case in ipairs { ... } do
      local bytes = bytes_of(case) - nothing
      assert(bytes >= least and bytes <= most, case .. " takes more by " .. bytes)
    end
  end

  it("nobody can have a reference to makes nothing anew", function()
    makes(0, 400, "hook")
    makes(0, 800, "has_waited") -- and one event more
  end)

  it("was given its self makes that anew", function()
    makes(200, 600, "takes_self", "stale_self", "current")
  end)

  it("has a coroutine that somebody could have makes that anew", function()
    makes(1000, 2000, "running", "getuservalue", "getregistry", "library")
  end)

  it("had a handle, tasks, deferred functions begins with none of them", function()
    makes(0, 6000, "callback", "clean", "failing_task")
  end)

  it("is stopped or removed meanwhile leaves nothing behind", function()
    bytes_of "orders"
  end)
end)
