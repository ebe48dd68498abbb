-- SPDX-License-Identifier: AGPL-3.0-or-later
-- max_memory: a run that holds too much is told, and ended if it does not listen; nobody else is.

local decnet = require "decnet"
local testing = require "decnet.testing"

local CAP = 1 << 20

local function grow()
  local list = {}
  for i = 1, math.huge do
    list[i] = { i }
  end
  return list
end

local function has_ended(t, name)
  local state = t:status(name).state
  return state == "done" or state == "failed"
end

-- Run `fn` as a worker that may hold 1 MiB, to its end; returns its status.
local function hog(fn, extra)
  local status
  testing.run(function(t)
    local ticks = 0
    decnet.worker("victim", function()
      while true do
        decnet.sleep(0.01)
        ticks = ticks + 1
      end
    end)
    decnet.worker { name = "hog", run = fn, max_memory = extra and extra.max_memory or CAP,
      restart = "never", preempt = not (extra and extra.preempt == false) }
    assert(t:run_until(function() return has_ended(t, "hog") end, 60))
    status = t:status "hog"
    t:advance(0.1)
    assert(ticks > 5)
    assert.equal(0, t:status "victim".restarts)
    assert.is_nil(t:status "victim".last_error)
  end, { slice = 0.01 })
  return status
end

local function is_memory_error(message)
  return message:find("^not enough memory: the run holds %d+ bytes, max_memory is " .. CAP) ~= nil
end

describe("max_memory #host", function()
  it("raises an error that says what to do where the run was, and that is its crash", function()
    local status = hog(grow)
    assert.equal("failed", status.state)
    assert(is_memory_error(status.last_error.message), status.last_error.message)
    assert(status.last_error.message:find("hold less, or raise it", 1, true))
    assert(status.last_error.traceback:find("cap_spec.lua", 1, true), status.last_error.traceback)
  end)

  it("is not reached by garbage", function()
    local status = hog(function()
      for i = 1, 200000 do
        local _ = { i, ("x"):rep(100) .. i }
      end
    end)
    assert.equal("done", status.state)
  end)

  -- The line was moved on each time, and nothing was collected until what was held was too much.
  for name, call in next, {
    ["decnet.atomic"] = decnet.atomic,
    ["a gsub callback"] = function(fn) ("x"):gsub("x", fn) end,
  } do
    it("is not reached by garbage made in " .. name .. ", a little each time", function()
      local status = hog(function()
        collectgarbage "stop"
        for i = 1, 20000 do
          call(function()
            local _ = { ("x"):rep(500) .. i }
          end)
        end
      end)
      assert.is_nil(status.last_error)
      assert.equal("done", status.state)
    end)
  end

  it("raises in a nested coroutine as an error of that coroutine", function()
    local ok, err, after
    local status = hog(function()
      ok, err = coroutine.resume(coroutine.create(grow))
      after = true
      decnet.sleep(0.01)
    end)
    assert.is_false(ok)
    assert(is_memory_error(err), err)
    assert.is_true(after)
    assert.equal("done", status.state)
  end)

  it("may be caught, again and again, by a run that then lets go", function()
    local caught = 0
    local status = hog(function()
      for _ = 1, 5 do
        local ok, err = pcall(grow)
        assert(not ok and is_memory_error(err))
        caught = caught + 1
      end
    end)
    assert.is_nil(status.last_error)
    assert.equal(5, caught)
  end)

  -- Each time it could hold a quarter more than before, up to twice its max_memory; there it
  -- got Lua's own error, which says nothing.
  -- What is to be sent crosses the line: the error cannot be raised before the call, which waits.
  it("is not held against a run that has not been told yet", function()
    local status = hog(function()
      local channel = decnet.channel(0)
      local send, rep = channel.send, string.rep
      for _ = 1, 32 do
        decnet.spawn(function() send(channel, rep("x", 50000)) end)
        decnet.sleep(0.002)
      end
      assert.is_false((pcall(grow)))
      channel:close()
    end)
    assert.is_nil(status.last_error)
    assert.equal("done", status.state)
  end)

  it("is as low as before when a run has let go", function()
    local status = hog(function()
      for _ = 1, 8 do
        local _, err = pcall(grow)
        local held = tonumber(err:match "holds (%d+) bytes")
        assert(held and held < CAP * 1.3, err)
        collectgarbage()
      end
    end)
    assert.is_nil(status.last_error)
  end)

  it("ends a run that catches it and goes on holding too much", function()
    local caught, closed = 0, 0
    local status = hog(function()
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      local list = {}
      while true do
        if not pcall(function()
          for i = #list + 1, math.huge do
            list[i] = { i }
          end
        end) then
          caught = caught + 1
        end
      end
    end)
    assert.equal("failed", status.state)
    assert(is_memory_error(status.last_error.message))
    assert.equal(1, caught)
    assert.equal(1, closed)
  end)

  for name, fn in next, {
    ["a sort comparator"] = function() table.sort({ 3, 2, 1 }, grow) end,
    ["a gsub callback"] = function() ("x"):gsub("x", grow) end,
    ["decnet.atomic"] = function() decnet.atomic(grow) end,
  } do
    it("is raised in " .. name .. ", where the collector cannot be waited for", function()
      local status = hog(fn)
      assert.equal("failed", status.state)
      assert(is_memory_error(status.last_error.message), status.last_error.message)
    end)
  end

  it("is raised in a worker that is not preempted", function()
    local status = hog(grow, { preempt = false })
    assert.equal("failed", status.state)
    assert(is_memory_error(status.last_error.message), status.last_error.message)
  end)

  it("refuses a block that is far too large without a full collection", function()
    local message
    local status = hog(function()
      message = select(2, pcall(string.rep, "x", 100 * CAP))
      decnet.sleep(0)
    end)
    assert.equal("not enough memory", message)
    assert.equal("done", status.state)
  end)

  it("explains a refused block that ends the run", function()
    local status = hog(function()
      local s = ("x"):rep(CAP // 2)
      return s .. s .. s .. s .. s .. s
    end)
    assert.equal("failed", status.state)
    assert(status.last_error.message:find "a block of %d+ bytes was refused: the run holds %d+",
      status.last_error.message)
  end)

  -- The error was raised on the new task's stack, where nobody catches: it ended the host.
  it("is told to who spawns a task whose arguments have no room, whatever room that is", function()
    for n = 20000, 34000, 1000 do
      local list = {}
      hog(function()
        for i = 1, n do
          list[i] = i
        end
        pcall(decnet.spawn, decnet.yield, table.unpack(list))
      end)
    end
  end)

  it("ends a run that is refused blocks again and again", function()
    local refused = 0
    local status = hog(function()
      local s = ("x"):rep(CAP // 2)
      while true do
        local _ = pcall(function() return s .. s .. s .. s .. s .. s end)
        refused = refused + 1
      end
    end)
    assert.equal("failed", status.state)
    assert(status.last_error.message:find("refused again and again", 1, true))
    assert(refused <= 10, refused)
  end)

  it("hit inside a __close skips no other <close> variable", function()
    local closed = {}
    local function closes(name, fn)
      return setmetatable({}, { __close = function()
        if fn then
          fn()
        end
        closed[#closed + 1] = name
      end })
    end
    local status = hog(function()
      local _ <close> = closes "first"
      local _ <close> = closes "second"
      local _ <close> = closes("third", grow)
      local _ <close> = closes "fourth"
    end)
    assert.equal("failed", status.state)
    assert.same({ "fourth", "second", "first" }, closed)
  end)

  it("leaves a cleanup alone that needs little", function()
    local cleaned
    local status = hog(function(self)
      self:defer(function()
        local list = {}
        for i = 1, 1000 do
          list[i] = { i }
        end
        cleaned = #list
      end)
      grow()
    end)
    assert.equal("failed", status.state)
    assert.equal(1000, cleaned)
  end)

  it("counts each run for itself", function()
    testing.run(function(t)
      local kept = {}
      decnet.worker { name = "leaves", max_memory = CAP, restart = "always", min_backoff = 0.01,
        run = function(self)
          local list = {}
          for i = 1, 8000 do
            list[i] = { i }
          end
          kept[self.run] = list
        end }
      t:advance(0.2)
      local status = t:status "leaves"
      assert(status.run > 5 and #kept > 5)
      assert.is_nil(status.last_error)
    end)
  end)

  it("waits for the collector with all its tasks: code between two awaits stays atomic", function()
    local seen
    local status = hog(function()
      local inside = false
      decnet.spawn(function()
        while true do
          seen = seen or inside
          decnet.yield()
        end
      end)
      for _ = 1, 20 do
        inside = true
        for i = 1, 20000 do
          local _ = { i }
        end
        inside = false
        decnet.yield()
      end
    end)
    assert.equal("done", status.state)
    assert.is_false(seen)
  end)

  it("of a run that waits for the collector does not keep it from being killed", function()
    testing.run(function(t)
      decnet.worker { name = "hog", max_memory = CAP, stop_timeout = 0, run = function()
        while true do
          pcall(grow)
        end
      end }
      t:advance(0.0005)
      assert.equal(0, t:stop())
      assert.equal("stopped", t:status "hog".state)
    end, { slice = 0.01 })
  end)
end)

describe("the host's max_memory #host", function()
  -- The same host option as --max-memory; what the specs themselves hold is in it.
  local function limited(more, fn)
    collectgarbage()
    testing.run(fn, { slice = 0.01, max_memory = collectgarbage "count" * 1024 // 1 + more })
  end

  it("crashes the run that holds most, and nobody else", function()
    limited(16 << 20, function(t)
      decnet.worker("modest", function()
        local list = {}
        for i = 1, 20000 do
          list[i] = { i }
        end
        decnet.park()
        return list
      end)
      decnet.worker { name = "hog", run = grow, restart = "never" }
      t:run_until(function() return t:status "hog".state == "failed" end, 60)
      assert(t:status "hog".last_error.message:find("the host's %d+ bytes, %-%-max%-memory is"))
      assert.equal("running", t:status "modest".state)
    end)
  end)

  it("has a say in runs alone: who waits to start holds nothing", function()
    limited(16 << 20, function(t)
      decnet.worker { name = "slow", notify = true, run = decnet.park }
      decnet.worker { name = "waits", after = { "slow" }, run = decnet.park }
      decnet.worker { name = "stopping", stop_timeout = math.huge, run = function(self)
        self:defer(function() decnet.shield(1000, decnet.park) end)
        decnet.park()
      end }
      t:advance(1)
      decnet.get("stopping"):stop()
      decnet.worker { name = "hog", run = grow, restart = "never" }
      t:run_until(function() return t:status "hog".state == "failed" end, 60)
      assert.equal("waiting", t:status "waits".state)
      assert.equal("closing", t:status "stopping".state)
    end)
  end)

  it("crashes one without a bound of its own, also where the collector cannot be waited for",
    function()
      limited(8 << 20, function(t)
        decnet.worker("modest", decnet.park)
        decnet.worker { name = "hog", restart = "never", run = function()
          local list = {}
          decnet.atomic(function()
            for i = 1, 300000 do
              list[i] = { i }
            end
          end)
          decnet.park()
          return list
        end }
        t:run_until(function() return t:status "hog".state == "failed" end, 60)
        assert.equal("failed", t:status "hog".state)
        assert.equal("running", t:status "modest".state)
      end)
    end)

  it("crashes nobody for what the host itself holds", function()
    limited(4 << 20, function(t)
      decnet.worker("modest", decnet.park)
      t:advance(1)
      local list = {}
      for i = 1, 200000 do
        list[i] = { i }
      end
      t:advance(1)
      decnet.worker("churn", function()
        for i = 1, 300000 do
          local _ = { i }
        end
      end)
      t:run_until(function() return has_ended(t, "churn") end, 60)
      assert.equal("done", t:status "churn".state)
      assert.equal("running", t:status "modest".state)
      assert.equal(200000, #list)
    end)
  end)

  it("is not reached by garbage", function()
    limited(16 << 20, function(t)
      decnet.worker("churn", function()
        for i = 1, 1000000 do
          local _ = { i }
        end
      end)
      t:run_until(function() return has_ended(t, "churn") end, 60)
      assert.equal("done", t:status "churn".state)
    end)
  end)

  it("refuses one block that does not fit", function()
    limited(16 << 20, function(t)
      local message
      decnet.worker("block", function()
        message = select(2, pcall(string.rep, "x", 1 << 30))
      end)
      t:advance(1)
      assert.equal("not enough memory", message)
      assert.equal("done", t:status "block".state)
    end)
  end)
end)
