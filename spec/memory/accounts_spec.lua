-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Who holds how much memory: a bill for each run.

local decnet = require "decnet"
local testing = require "decnet.testing"

-- Lets the collector complete a cycle in which nobody is late.
local function collect()
  collectgarbage()
  collectgarbage()
end

local function fill(count)
  local list = {}
  for i = 1, count do
    list[i] = { i }
  end
  return list
end

describe("the bill of a run #host", function()
  it("says what the run holds, and what it has allocated since it began", function()
    testing.run(function(t)
      decnet.worker("holds", function()
        local list = fill(10000)
        decnet.sleep(1)
        fill(10000)
        decnet.sleep(1)
        list[1] = nil
      end)
      t:advance(0.5)
      local first = t:status "holds"
      assert(first.memory_bytes > 500000 and first.memory_bytes < 1500000, first.memory_bytes)
      assert(first.allocated_bytes >= first.memory_bytes)
      t:advance(1)
      collect()
      local second = t:status "holds"
      assert(math.abs(second.memory_bytes - first.memory_bytes) < 100000, second.memory_bytes)
      assert(second.allocated_bytes > first.allocated_bytes + 500000)
    end)
  end)

  it("begins with little, and is paid by nobody else", function()
    testing.run(function(t)
      decnet.worker("large", function() local list = fill(100000) decnet.park() return list end)
      decnet.worker("small", decnet.park)
      t:advance(0)
      local small = t:status "small".memory_bytes
      assert(small > 500 and small < 4000, small)
      assert(t:status "large".memory_bytes > 5000000)
    end)
  end)

  it("counts coroutines, strings, closures, userdata and spawned tasks #measures", function()
    testing.run(function(t)
      local function weighs(name, make)
        decnet.worker(name, function()
          local held = make()
          decnet.park()
          return held
        end)
      end
      weighs("coroutine", function() return coroutine.create(function() end) end)
      weighs("string", function() return ("x"):rep(5000) end)
      weighs("spawned", function() return decnet.spawn(decnet.park) end)
      weighs("callback", function()
        return decnet.await(function(resume) resume(("y"):rep(5000)) end)
      end)
      weighs("nothing", function() end)
      t:advance(0)
      local nothing = t:status "nothing".memory_bytes
      local bounds = { coroutine = 1000, string = 5000, spawned = 1000, callback = 5000 }
      for name, least in pairs(bounds) do
        local more = t:status(name).memory_bytes - nothing
        assert(more >= least and more < least + 2000, name .. ": " .. more)
      end
    end)
  end)

  it("is a new one for the next run; what the first one left is its leftover", function()
    testing.run(function(t)
      local kept = {}
      decnet.worker("collects", function()
        while true do
          decnet.sleep(1)
          collectgarbage()
        end
      end)
      decnet.worker { name = "leaves", min_backoff = 0.1, run = function(self)
        if self.run == 1 then
          kept[1] = fill(10000)
          error "boom"
        end
        decnet.park()
      end }
      t:advance(0.5)
      assert(t:status "leaves".memory_bytes < 4000)
      t:advance(2)
      local left = t:status "leaves".leftover_bytes
      assert(left > 500000 and left < 1500000, left)
      assert.equal(1, kept[1][1][1])
      kept[1] = nil
      t:advance(2)
      assert(t:status "leaves".leftover_bytes < 4000)
    end)
  end)

  it("is nothing while no run is alive", function()
    testing.run(function(t)
      decnet.worker("done", function() fill(1000) end)
      t:advance(0)
      assert.equal("done", t:status "done".state)
      assert.equal(0, t:status "done".memory_bytes)
      assert.equal(0, t:status "done".allocated_bytes)
    end)
  end)

  it("stays with who allocated first, whoever frees", function()
    testing.run(function(t)
      local list
      decnet.worker("makes", function()
        list = fill(10000)
        assert(#list == 10000)
        decnet.park()
      end)
      local is_freed
      decnet.worker("frees", function()
        list = nil
        collectgarbage()
        is_freed = true
        decnet.park()
      end)
      assert(t:run_until(function() return is_freed end, 60))
      assert(t:status "makes".memory_bytes < 10000)
      assert(t:status "frees".memory_bytes < 4000)
    end)
  end)

  it("adds up to what Lua holds", function()
    testing.run(function(t)
      for i = 1, 20 do
        decnet.worker("w" .. i, function()
          local list = fill(1000 * i)
          decnet.park()
          return list
        end)
      end
      collect()
      local before = collectgarbage "count" * 1024
      t:advance(0)
      local sum = 0
      for _, status in ipairs(decnet.status()) do
        sum = sum + status.memory_bytes
      end
      local grown = collectgarbage "count" * 1024 - before
      assert(math.abs(grown - sum) < 0.2 * sum + 50000, ("%d, %d"):format(grown, sum))
    end)
  end)
end)
