-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Code that means ill, one worker each: what it is told, and that a neighbour does not notice.

local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function object(meta)
  return setmetatable({}, meta)
end

local function overflow()
  return 1 + overflow()
end

-- what it does -> { its function, part of its crash's error; false: it returns }
local CODE = {
  ["os.exit"] = { function() os.exit(3, true) end, "os.exit: a worker cannot end the host" },

  ["deep recursion"] = { overflow, "stack overflow" },
  ["deep recursion, caught"] = { function() pcall(overflow) error "after" end, "after" },
  ["deep recursion under debug.traceback"] = { function()
    xpcall(overflow, debug.traceback)
    error "after"
  end, "after" },
  ["nested gsub"] = { function()
    local function nest() return (("x"):gsub("x", nest)) end
    nest()
  end, "C stack overflow" },
  ["nested sort"] = { function()
    local function nest() table.sort({ 1, 2 }, nest) end
    nest()
  end, "C stack overflow" },
  ["nested __tostring"] = { function()
    local o
    o = object { __tostring = function() return ("%s"):format(o) end }
    tostring(o)
  end, "C stack overflow" },
  ["nested coroutines"] = { function()
    local function nest() return coroutine.wrap(nest)() end
    nest()
  end, "hostile_code_spec.lua:" },
  ["a module that requires itself"] = { function()
    package.preload["spec.cycle"] = function() return require "spec.cycle" end
    require "spec.cycle"
  end, "C stack overflow" },

  ["string.rep of 10 GB"] = { function() return ("x"):rep(1 << 40) end, "" },
  ["string.rep of string.rep"] = { function() return ("x"):rep(1 << 31):rep(1 << 33) end, "" },

  ["error(nil)"] = { function() error(nil) end, "nil" },
  ["error(self)"] = { function(self) error(self) end, "worker w, run 1" },
  ["error of a coroutine"] = { function() error(coroutine.create(print)) end, "thread: " },
  ["error of deep tables"] = { function()
    local t = {}
    for _ = 1, 1e5 do
      t = { t }
    end
    error(t)
  end, "table" },
  ["error with a __tostring that raises"] = { function()
    error(object { __tostring = error })
  end, "__tostring failed" },
  ["error with a __tostring that yields"] = { function()
    error(object { __tostring = function() coroutine.yield() end })
  end, "__tostring failed" },
  ["error with a __tostring that waits"] = { function()
    error(object { __tostring = function() decnet.sleep(1) end })
  end, "__tostring failed" },
  ["error with a __tostring that returns no string"] = { function()
    error(object { __tostring = function() return {} end })
  end, "__tostring failed" },
  ["error with a __tostring that raises itself"] = { function()
    local o
    o = object { __tostring = function() error(o) end }
    error(o)
  end, "__tostring failed" },
  ["error with other traps"] = { function()
    error(object { __index = error, __pairs = error, __len = error, __eq = error, __name = {},
      __metatable = error, __gc = error, __close = error, __concat = error })
  end, "table" },
  ["decnet.fatal with a trap"] = { function()
    decnet.fatal(object { __tostring = error })
  end, "__tostring failed" },
  ["decnet.fatal in decnet.fatal"] = { function()
    local err = "innermost"
    for _ = 1, 300 do
      err = select(2, pcall(decnet.fatal, err))
    end
    error(err)
  end, "innermost" },

  ["an error in a message handler"] = { function()
    assert(select(2, xpcall(error, error)) ~= nil)
    local function handler(err) error(err) end
    xpcall(error, handler, "x")
    error "after"
  end, "after" },
  ["a message handler that overflows"] = { function()
    xpcall(error, overflow)
    error "after"
  end, "after" },
  ["a message handler in a message handler"] = { function()
    local function raise() error "x" end
    local function handler() xpcall(raise, handler) end -- luacheck: ignore
    xpcall(raise, handler)
    error "after"
  end, "after" },
  ["an error in __gc"] = { function()
    for _ = 1, 10 do
      setmetatable({}, { __gc = function() error "in __gc" end })
    end
    collectgarbage()
    error "after"
  end, "after" },
  ["a __gc that makes another"] = { function()
    local left = 100
    local function make()
      left = left - 1
      if left > 0 then
        setmetatable({}, { __gc = make })
      end
    end
    make()
    collectgarbage()
    collectgarbage()
    error "after"
  end, "after" },

  ["closing its own coroutine"] = { function() coroutine.close(coroutine.running()) end,
    "cannot close a running coroutine" },
  ["resuming its own coroutine"] = { function()
    error(select(2, coroutine.resume(coroutine.running())))
  end, "cannot resume non-suspended coroutine" },
  ["wrap of itself"] = { function()
    local again
    again = coroutine.wrap(function() again() end)
    again()
  end, "cannot resume non-suspended coroutine" },
  ["resuming the main thread"] = { function()
    local main = debug.getregistry()[1]
    assert(not pcall(coroutine.close, main) and coroutine.status(main) == "normal")
    error(select(2, coroutine.resume(main)))
  end, "cannot resume non-suspended coroutine" },
  ["resuming another worker's task"] = { function(_, neighbour)
    assert(#debug.traceback(neighbour) > 0)
    assert(not pcall(coroutine.wrap(function() assert(coroutine.resume(neighbour)) end)))
    error(select(2, coroutine.resume(neighbour)))
  end, "cannot resume a task that waits in sleep" },
  ["closing another worker's task"] = { function(_, neighbour) coroutine.close(neighbour) end,
    "cannot close a task that waits in sleep" },
  ["declaring another worker's task"] = { function(_, neighbour) decnet.worker("x", neighbour) end,
    "a coroutine that has not started" },

  ["assigning to self"] = { function(self) self.name = "other" end, "attempt to index" },
  ["setmetatable(self)"] = { function(self) setmetatable(self, {}) end, "table expected" },
  ["getmetatable(self).__index = nil"] = { function(self)
    getmetatable(self).__index = nil
  end, "" },
  ["an _ENV that is nil"] = { function()
    load("_ENV = nil; x = 1", "=chunk")()
  end, "attempt to index a nil value" },
  ["an _ENV with traps"] = { function()
    load("return x", "=chunk", "t", object { __index = error })()
  end, "" },
  ["an invalid order function"] = { function()
    local t = {}
    for i = 1, 100 do
      t[i] = i
    end
    table.sort(t, function() return true end)
  end, "invalid order function" },
  ["errors in 190 <close> at once"] = { function()
    local function nest(n)
      local _ <close> = object { __close = function() error("close " .. n) end }
      return n < 190 and nest(n + 1) or error "innermost", n
    end
    nest(1)
  end, "close 1" },
  ["a pcall around every await"] = { function()
    for _ = 1, 1000 do
      pcall(decnet.sleep, "x")
    end
  end, false },
}

describe("hostile code", function()
  for what, case in pairs(CODE) do
    it("is contained: " .. what, function()
      testing.run(function(t)
        local ticks, neighbour = 0, nil
        decnet.worker("neighbour", function()
          neighbour = coroutine.running()
          while true do
            decnet.sleep(0.01)
            ticks = ticks + 1
          end
        end)
        decnet.worker { name = "w", restart = "never", after = { "neighbour" }, run = function(self)
          case[1](self, neighbour)
        end }
        -- a slice that is taken from it moves the clock by its real length: on a busy machine, far
        t:run_until(function() return t:status("w").run == 1 and not run.alive(t, "w") end, 60)
        local crash = run.events(t, "crash", "w")[1]
        if case[2] then
          run.contains(crash and crash.error, case[2])
        else
          assert.is_nil(crash)
        end
        local status = t:status "neighbour"
        assert.same({ "running", 1, 0 }, { status.state, status.run, status.restarts })
        local before = ticks
        t:advance(1)
        assert.is_true(ticks - before >= 99)
        assert.equal(0, t:stop())
      end)
    end)
  end
end)
