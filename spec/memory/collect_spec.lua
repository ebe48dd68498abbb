-- SPDX-License-Identifier: AGPL-3.0-or-later
-- collectgarbage in a worker: for itself, not for the others.

local decnet = require "decnet"
local testing = require "decnet.testing"

local function forgotten()
  return setmetatable({ {} }, { __mode = "v" })
end

-- Run `fn` as the only worker to its end; its error fails the spec.
local function worker(fn, preempt)
  testing.run(function(t)
    local ok, err
    decnet.worker { name = "w", preempt = preempt ~= false, run = function(self)
      ok, err = pcall(fn, self, t)
    end }
    assert(t:run_until(function() return t:status "w".state == "done" end, 60))
    assert(ok, err)
  end, { slice = 0.01 })
end

describe("collectgarbage in a worker #host", function()
  it("collects everything that was garbage when it was called", function()
    worker(function()
      for _ = 1, 5 do
        local weak = forgotten()
        assert.equal(0, collectgarbage())
        assert.is_nil(weak[1])
      end
    end)
  end)

  it("waits for it, and so do the tasks of its run; the others go on", function()
    testing.run(function(t)
      local log, ticks, ended = {}, 0, false
      decnet.worker("victim", function()
        while not ended do
          decnet.yield()
          ticks = ticks + 1
        end
      end)
      decnet.worker("collects", function()
        decnet.spawn(function() log[#log + 1] = "task" end)
        local before = ticks
        collectgarbage()
        log[#log + 1] = "collected"
        assert(ticks > before)
        decnet.yield()
        log[#log + 1] = "yielded"
        ended = true
      end)
      t:run_until(function() return ended end, 60)
      assert.same({ "collected", "task", "yielded" }, log)
      assert.is_nil(t:status "collects".last_error)
    end)
  end)

  it("works in nested coroutines, in pcall, and where nobody can wait", function()
    worker(function()
      local function collects()
        local weak = forgotten()
        collectgarbage "collect"
        return weak[1] == nil
      end
      assert(collects())
      assert(coroutine.wrap(collects)())
      assert(select(2, pcall(collects)))
      local collected
      table.sort({ 2, 1 }, function(a, b)
        collected = collects()
        return a < b
      end)
      assert(collected)
      assert(decnet.atomic(collects))
    end)
    worker(function()
      local weak = forgotten()
      collectgarbage()
      assert.is_nil(weak[1])
    end, false)
  end)

  it("stops the collector for itself, and not for the others", function()
    testing.run(function(t)
      local mine, theirs, seen
      decnet.worker("stops", function()
        assert.is_true(collectgarbage "isrunning")
        assert.equal(0, collectgarbage "stop")
        assert.is_false(collectgarbage "isrunning")
        mine = forgotten()
        for i = 1, 20000 do
          local _ = { i }
        end
        seen = mine[1] ~= nil
        decnet.park()
      end)
      decnet.worker("other", function()
        decnet.sleep(0.01)
        assert.is_true(collectgarbage "isrunning")
        theirs = forgotten()
        for i = 1, 2000000 do
          local _ = { i }
          if i % 1000 == 0 and not theirs[1] then
            break
          end
        end
        decnet.park()
      end)
      t:run_until(function() return theirs and not theirs[1] end, 60)
      assert.is_true(seen)
      assert.is_nil(theirs[1])
    end)
  end)

  it("cannot stop it for as long as it likes", function()
    worker(function()
      collectgarbage()
      collectgarbage "stop"
      local before, most = collectgarbage "count", 0
      for i = 1, 5000000 do
        local _ = { i, i, i, i }
        if i % 1000 == 0 then
          most = math.max(most, collectgarbage "count")
        end
        if i % 100000 == 0 then
          decnet.yield() -- the bound is looked at between slices, and in long ones
        end
      end
      assert(most < before + 120000, ("%.0f, %.0f KB"):format(before, most))
    end)
  end)

  it("goes on for the host when a worker stops and starts it all the time", function()
    worker(function()
      collectgarbage()
      local weak = forgotten()
      local limit = 3 * collectgarbage "count" + 10000
      for i = 1, math.huge do
        collectgarbage "stop"
        collectgarbage "restart"
        local _ = { i, ("x"):rep(100) }
        if not weak[1] then
          return
        end
        assert(collectgarbage "count" < limit, "nothing was collected")
      end
    end)
  end)

  it("remembers modes and parameters for the run, and the next run has its own", function()
    local stepmul = collectgarbage("setstepmul", 100)
    collectgarbage("setstepmul", stepmul)
    testing.run(function(t)
      local failed
      local function remembers(self)
        assert.equal(200, collectgarbage("setpause", 150))
        assert.equal(150, collectgarbage("setpause", 1000))
        assert.equal(1000, collectgarbage("setpause", 100))
        assert.equal(100, collectgarbage("setstepmul", 400))
        assert.equal(400, collectgarbage("setstepmul", 200))
        assert.equal("incremental", collectgarbage "generational")
        assert.equal("generational", collectgarbage("incremental", 110, 150, 10))
        assert.equal("incremental", collectgarbage "incremental")
        assert.equal(110, collectgarbage("setpause", 110))
        decnet.yield()
        assert.equal(110, collectgarbage("setpause", 110))
        assert(self.run > 1, "again")
      end
      decnet.worker { name = "w", max_restarts = 1, min_backoff = 0, run = function(self)
        local ok, err = pcall(remembers, self)
        failed = self.run > 1 and err or nil
        assert(ok, err)
      end }
      t:run_until(function()
        return t:status "w".run == 2 and t:status "w".state ~= "running"
      end, 60)
      assert.is_nil(failed)
      assert.equal(2, t:status "w".run)
    end)
    -- and the host has what it had
    assert.equal(200, collectgarbage("setpause", 200))
    assert.equal(stepmul, collectgarbage("setstepmul", stepmul))
  end)

  it("does bounded steps, which complete a cycle in the end", function()
    worker(function()
      local weak = forgotten()
      local steps = 0
      while weak[1] do
        collectgarbage("step", 1000000)
        steps = steps + 1
        assert(steps < 100000)
      end
      while not collectgarbage "step" do
        steps = steps + 1
        assert(steps < 100000)
      end
    end)
  end)

  it("refuses what is no option", function()
    worker(function()
      local ok, err = pcall(collectgarbage, "sweep")
      assert.is_false(ok)
      assert(err:find("invalid option 'sweep'", 1, true), err)
      assert(collectgarbage "count" > 0)
    end)
  end)

  it("can be cancelled and killed while it waits", function()
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 0.001, run = function()
        while true do
          collectgarbage()
        end
      end }
      decnet.worker { name = "swallows", stop_timeout = 0.0005, run = function()
        while true do
          pcall(collectgarbage)
        end
      end }
      t:advance(0.0005)
      assert.equal(0, t:stop())
    end)
  end)

  it("outside of workers is Lua's own", function()
    local weak = forgotten()
    assert.equal(0, collectgarbage())
    assert.is_nil(weak[1])
    assert.is_true(collectgarbage "isrunning")
    collectgarbage "stop"
    assert.is_false(collectgarbage "isrunning")
    collectgarbage "restart"
    assert.is_boolean(collectgarbage("step", 1))
  end)
end)
