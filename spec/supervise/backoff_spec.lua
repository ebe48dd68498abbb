-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function boom()
  error "boom"
end

-- The delays of the first n crashes of a worker with these options that crashes at once.
local function delays(n, options, test_options)
  local list = {}
  testing.run(function(t)
    options.name, options.run = "w", options.run or boom
    decnet.worker(options)
    t:run_until(function() return #run.events(t, "crash") >= n end, 1e6)
    for i, crash in ipairs(run.events(t, "crash")) do
      list[i] = crash.delay
    end
  end, test_options)
  return list
end

describe("the delay before a restart", function()
  it("H01 is exactly 1 2 4 8 16 30 30, to the nanosecond", function()
    testing.run(function(t)
      decnet.worker("w", boom)
      t:advance(200)
      local crashes, starts = run.events(t, "crash"), run.times(t, "start")
      for i, expected in ipairs { 1, 2, 4, 8, 16, 30, 30 } do
        assert.equal(expected, crashes[i].delay)
        local expected_ns = math.floor(crashes[i].at * 1e9 + 0.5) + expected * 1000000000
        assert.equal(expected_ns, math.floor(starts[i + 1] * 1e9 + 0.5))
      end
    end)
  end)

  it("H01 follows min_backoff, backoff_factor and max_backoff", function()
    assert.same({ 0.5, 1.5, 4.5, 10, 10 },
      delays(5, { min_backoff = 0.5, backoff_factor = 3, max_backoff = 10 }))
    assert.same({ 3, 3, 3 }, delays(3, { min_backoff = 3, backoff_factor = 1 }))
    assert.same({ 0, 0, 0 }, delays(3, { min_backoff = 0 }))
  end)

  it("H01 is capped from the first on", function()
    assert.same({ 0.01, 0.01 }, delays(2, { max_backoff = 0.01 }))
  end)

  it("H01 does not overflow in a long streak", function()
    local list = delays(500, { min_backoff = 0.001, backoff_factor = 1000, max_backoff = 1 })
    assert.equal(1, list[500])
  end)

  it("H03 with jitter stays in bounds, and the same seed gives the same delays", function()
    local options = { min_backoff = 10, backoff_factor = 1, max_backoff = 11, jitter = 0.5 }
    local function once(seed)
      return delays(300, { min_backoff = 10, backoff_factor = 1, max_backoff = options.max_backoff,
        jitter = options.jitter }, { seed = seed })
    end
    local list = once(7)
    local low, high = math.huge, 0
    for i = 1, 300 do
      low, high = math.min(low, list[i]), math.max(high, list[i])
    end
    assert.is_true(low >= 5 and low < 5.3, "low " .. low)
    assert.equal(11, high)
    assert.same(list, once(7))
    assert.not_same(list, once(8))
  end)

  it("H03 with jitter 1 lies between 0 and the cap", function()
    local list = delays(300, { min_backoff = 1, backoff_factor = 1, jitter = 1 }, { seed = 3 })
    for i = 1, 300 do
      assert.is_true(list[i] >= 0 and list[i] <= 2)
    end
  end)

  it("H04 is min_backoff again after a run of reset_after, not before", function()
    for _, case in ipairs { { 60, 1 }, { 59.999, 8 } } do
      testing.run(function(t)
        decnet.worker("w", function(self)
          if self.run == 4 then
            decnet.sleep(case[1])
          end
          boom()
        end)
        t:advance(80)
        assert.equal(case[2], run.events(t, "crash")[4].delay)
        assert.equal(case[2] == 1 and 1 or 4, run.events(t, "crash")[4].streak)
      end)
    end
  end)

  it("H04 never resets with reset_after = math.huge", function()
    testing.run(function(t)
      decnet.worker { name = "w", reset_after = math.huge, run = function(self)
        decnet.sleep(self.run == 3 and 1e6 or 0)
        boom()
      end }
      t:advance(2e6)
      assert.equal(4, run.events(t, "crash")[3].delay)
    end)
  end)

  it("H07 has a streak for each worker", function()
    testing.run(function(t)
      decnet.worker("a", boom)
      decnet.worker("b", function()
        decnet.sleep(6)
        boom()
      end)
      t:advance(6.5)
      assert.equal(8 / 2, run.events(t, "crash", "a")[3].delay)
      assert.equal(1, run.events(t, "crash", "b")[1].delay)
    end)
  end)

  it("H08 is skipped by retry, which keeps the streak", function()
    testing.run(function(t)
      local handle = decnet.worker("w", boom)
      t:advance(3.5)
      assert.equal(3, t:status("w").streak)
      assert(handle:retry())
      t:advance(0.001)
      assert.same({ 4, 4, "backoff" },
        { t:status("w").run, t:status("w").streak, t:status("w").state })
      assert.equal(8, run.events(t, "crash")[4].delay)
    end)
  end)

  it("H08 starts over after reset, which does not cut the wait short", function()
    testing.run(function(t)
      local handle = decnet.worker("w", boom)
      t:advance(3.5)
      assert(handle:reset())
      assert.equal(0, t:status("w").streak)
      run.near(3.5, t:status("w").next_retry_in, 1e-3)
      t:advance(3.6)
      assert.equal(1, run.events(t, "crash")[4].delay)
    end)
  end)

  it("H08 starts over after self:healthy()", function()
    testing.run(function(t)
      decnet.worker("w", function(self)
        if self.run == 4 then
          self:healthy()
          assert(t:status("w").streak == 0 or decnet.sleep(0) or t:status("w").streak == 0)
        end
        decnet.sleep(0.5)
        boom()
      end)
      t:advance(9.5)
      assert.equal(1, run.events(t, "crash")[4].delay)
      assert.equal(1, #run.events(t, "recovered"))
    end)
  end)

  it("H11 equal deadlines fire in the order they were armed", function()
    testing.run(function(t)
      local order = {}
      for i = 1, 50 do
        decnet.worker("w" .. i, function(self)
          order[#order + 1] = i
          if self.run == 1 then
            boom()
          end
        end)
      end
      t:advance(2)
      assert.equal(100, #order)
      for i = 1, 100 do
        assert.equal((i - 1) % 50 + 1, order[i])
      end
    end)
  end)

  it("H13 counts from the end of the run, closing included", function()
    testing.run(function(t)
      decnet.worker("w", function(self)
        decnet.sleep(5)
        self:defer(function() decnet.sleep(0.4) end)
        boom()
      end)
      t:advance(5.2)
      assert.equal("closing", t:status("w").state)
      run.near(0.8, t:status("w").next_retry_in, 1e-3)
      t:advance(0.4)
      assert.equal("backoff", t:status("w").state)
      t:advance(1)
      local starts = run.times(t, "start")
      run.near(6, starts[2], 1e-4)
    end)
  end)

  it("H13 does not start the next run before the last is closed", function()
    testing.run(function(t)
      local alive = 0
      decnet.worker { name = "w", max_backoff = 0, run = function(self)
        alive = alive + 1
        assert(alive == 1, "two runs at once")
        self:defer(function()
          decnet.sleep(3)
          alive = alive - 1
        end)
        boom()
      end }
      t:advance(10)
      assert.equal(4, t:status("w").run)
    end)
  end)
end)
