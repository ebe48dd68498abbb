-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

-- Starts of a worker with this policy that ends after a second, in 100 seconds.
local function starts(restart, ends, seconds)
  local at, state = {}, nil
  testing.run(function(t)
    decnet.worker { name = "w", restart = restart, run = function()
      at[#at + 1] = decnet.now()
      decnet.sleep(1)
      ends()
    end }
    t:advance(seconds or 100)
    state = t:status("w")
  end)
  return at, state
end

local function returns() end
local function fails()
  error "boom"
end

describe("restart", function()
  it("C01 always: started again after it returned, after min_backoff", function()
    local at, status = starts("always", returns, 6.5)
    assert.equal(4, #at)
    for i, expected in ipairs { 0, 2, 4, 6 } do
      run.near(expected, at[i], 1e-4)
    end
    assert.same({ 3, 0 }, { status.restarts, status.streak })
  end)

  it("C03 always: started again after a crash, with backoff", function()
    local at, status = starts("always", fails, 11.5)
    for i, expected in ipairs { 0, 2, 5, 10 } do
      run.near(expected, at[i], 1e-4)
    end
    assert.same({ 3, 4 }, { status.restarts, status.streak })
    assert.equal("backoff", status.state)
  end)

  it("C04 on-failure: done after it returned, not restarted", function()
    local at, status = starts("on-failure", returns)
    assert.same({ 0 }, at)
    assert.same({ "done", "down", 1, 0 },
      { status.state, status.wanted, status.run, status.restarts })
  end)

  it("C06 on-failure: started again after a crash", function()
    local at, status = starts("on-failure", fails, 5.5)
    assert.equal(3, #at)
    assert.same({ "up", 3 }, { status.wanted, status.run })
  end)

  it("C06 on-failure is the default", function()
    assert.equal(3, #starts(nil, fails, 5.5))
    assert.equal(1, #starts(nil, returns))
  end)

  it("C07 never: done after it returned", function()
    local at, status = starts("never", returns)
    assert.equal(1, #at)
    assert.equal("done", status.state)
  end)

  it("C09 never: failed after a crash, not restarted", function()
    local at, status = starts("never", fails)
    assert.equal(1, #at)
    assert.same({ "failed", 0 }, { status.state, status.restarts })
    run.contains(status.last_error.message, "boom")
  end)

  it("C10 two failures and a third start that stays make exactly three starts", function()
    testing.run(function(t)
      local count = 0
      decnet.worker("w", function()
        count = count + 1
        if count < 3 then
          error "boom"
        end
        run.forever()
      end)
      t:advance(1e5)
      assert.equal(3, count)
      local status = t:status("w")
      assert.same({ "running", 3, 2, 0 },
        { status.state, status.run, status.restarts, status.streak })
      assert.equal(3, #run.events(t, "start"))
      assert.equal(2, #run.events(t, "restart"))
    end)
  end)

  it("C11 a crash loop leaves the sibling's ticks and run number alone", function()
    testing.run(function(t)
      local ticks = {}
      decnet.worker("sibling", function()
        while true do
          ticks[#ticks + 1] = decnet.now()
          decnet.sleep(0.01)
        end
      end)
      decnet.worker { name = "loop", max_backoff = 0.001, run = fails }
      t:advance(10.005)
      assert.equal(1001, #ticks)
      for i, at in ipairs(ticks) do
        run.near((i - 1) * 0.01, at, 2e-3)
      end
      assert.same({ 1, 0 }, { t:status("sibling").run, t:status("sibling").restarts })
      assert.is_true(t:status("loop").run > 5000)
    end)
  end)

  it("C17 fatal: not restarted even with always", function()
    testing.run(function(t)
      decnet.worker { name = "w", restart = "always", run = function()
        decnet.fatal "no use"
      end }
      decnet.worker { name = "plain", restart = "always", run = function()
        decnet.fatal { code = 5 }
      end }
      t:advance(1000)
      local status = t:status("w")
      assert.same({ "failed", 1, 0 }, { status.state, status.run, status.restarts })
      run.contains(status.last_error.message, "no use")
      run.contains(status.last_error.message, "restart_spec.lua:")
      run.contains(t:status("plain").last_error.message, "code = 5")
      local give_up = run.events(t, "give_up", "w")
      assert.equal(1, #give_up)
      run.contains(give_up[1].reason, "fatal")
    end)
  end)

  it("C17 fatal reaches the host through a timeout, a shield and a spawned task", function()
    for _, around in ipairs {
      function(fn) decnet.timeout(9, fn) end,
      function(fn) decnet.shield(9, fn) end,
      function(fn) decnet.atomic(fn) end,
      function(fn) decnet.spawn(fn) decnet.sleep(9) end,
      function(fn) coroutine.wrap(fn)() end,
      function(fn)
        local ok, err = pcall(fn)
        error(ok or err, 0)
      end,
    } do
      testing.run(function(t)
        decnet.worker("w", function()
          around(function() decnet.fatal "no use" end)
        end)
        t:advance(100)
        assert.same({ "failed", 1 }, { t:status("w").state, t:status("w").run })
        run.contains(t:status("w").last_error.message, "no use")
      end)
    end
  end)

  it("C18 retry_after(7): started again after exactly 7 seconds", function()
    testing.run(function(t)
      decnet.worker("w", function(self)
        decnet.sleep(1)
        if self.run == 1 then
          decnet.retry_after(7, "busy")
        end
        run.forever()
      end)
      t:advance(100)
      local at = run.times(t, "start")
      local crash = run.events(t, "crash")[1]
      assert.equal(7, crash.delay)
      run.contains(crash.error, "busy")
      assert.equal(crash.at + 7, at[2])
    end)
  end)

  it("C18 retry_after neither ends the streak nor is capped", function()
    testing.run(function(t)
      decnet.worker { name = "w", max_backoff = 4, run = function(self)
        if self.run == 2 then
          decnet.retry_after(100)
        end
        error "boom"
      end }
      t:advance(108)
      local delays = {}
      for i, crash in ipairs(run.events(t, "crash")) do
        delays[i] = crash.delay
      end
      assert.same({ 1, 100, 4, 4 }, delays)
    end)
  end)

  it("C18 retry_after refuses what is no delay, at the caller's line", function()
    run.worker(function()
      for _, bad in ipairs { -1, 0 / 0, math.huge, "x", {} } do
        local err = run.raises("seconds", decnet.retry_after, bad)
        assert.equal("string", type(err))
      end
      run.contains(select(2, pcall(function()
        decnet.retry_after(-1)
      end)), "restart_spec.lua:")
    end)
  end)

  it("B10 a failure of the first start is an ordinary crash: backoff, counted", function()
    testing.run(function(t)
      decnet.worker("w", fails)
      t:advance(0.5)
      local status = t:status("w")
      assert.same({ "backoff", 1, 1, 0, "up" },
        { status.state, status.run, status.streak, status.restarts, status.wanted })
      run.near(0.5, status.next_retry_in, 1e-3)
      t:advance(1)
      assert.equal(2, t:status("w").run)
      assert.equal(1, t:status("w").restarts)
    end)
  end)

  it("gives each run a fresh self with its number and the restarts so far", function()
    testing.run(function(t)
      local seen, selves = {}, {}
      decnet.worker("w", function(self)
        seen[#seen + 1] = { self.name, self.run, self.restarts, tostring(self) }
        selves[#selves + 1] = self
        assert(decnet.current() == self)
        error "boom"
      end)
      t:advance(2)
      assert.same({ { "w", 1, 0, "worker w, run 1" }, { "w", 2, 1, "worker w, run 2" } }, seen)
      assert.not_equal(selves[1], selves[2])
      assert.same({ "w", 1, 1 }, { selves[1].name, selves[1].run, selves[1].restarts })
      selves[1]:ready()
      selves[1]:beat()
      selves[1]:healthy()
      run.raises("this run has ended", selves[1].defer, selves[1], error)
    end)
  end)
end)
