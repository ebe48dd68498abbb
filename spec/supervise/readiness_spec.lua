-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local forever = run.forever

describe("after", function()
  it("lets a worker start when those it names are ready", function()
    testing.run(function(t)
      decnet.worker { name = "web", run = forever, after = { "db", "cache" } }
      decnet.worker { name = "db", notify = true, run = function(self)
        decnet.sleep(2)
        self:ready()
        forever()
      end }
      decnet.worker { name = "cache", notify = true, run = function(self)
        decnet.sleep(3)
        self:ready()
        forever()
      end }
      t:advance(1)
      assert.same({ "waiting", "db, cache" },
        { t:status("web").state, t:status("web").waiting_for })
      t:advance(1.5)
      assert.equal("cache", t:status("web").waiting_for)
      t:advance(1)
      assert.equal("running", t:status("web").state)
      assert.is_nil(t:status("web").waiting_for)
      run.near(3, run.times(t, "start", "web")[1], 1e-4)
    end)
  end)

  it("counts one that awaits for the first time, or has returned, as ready", function()
    testing.run(function(t)
      local order = {}
      decnet.worker { name = "third", after = { "second" },
        run = function() order[#order + 1] = "third" end }
      decnet.worker { name = "second", after = { "first" }, run = function()
        order[#order + 1] = "second"
        forever()
      end }
      decnet.worker("first", function() order[#order + 1] = "first" end)
      t:advance(0.001)
      assert.same({ "first", "second", "third" }, order)
    end)
  end)

  it("names one that failed as the reason of the wait", function()
    testing.run(function(t)
      decnet.worker { name = "db", restart = "never", notify = true,
        run = function() error "boom" end }
      decnet.worker { name = "web", run = forever, after = { "db" } }
      t:advance(10)
      assert.same({ "waiting", "db (failed)" },
        { t:status("web").state, t:status("web").waiting_for })
      decnet.get("db"):stop()
      t:advance(1)
    end)
  end)

  it("ends the delay of one that is in backoff when what it waits for is ready again", function()
    testing.run(function(t)
      local up = decnet.event()
      decnet.worker { name = "db", notify = true, run = function(self)
        if self.run > 1 then
          up:wait()
        end
        self:ready()
        decnet.sleep(5)
        error "lost"
      end }
      decnet.worker { name = "web", after = { "db" }, min_backoff = 30, run = function()
        decnet.sleep(6)
        error "no db"
      end }
      t:advance(7)
      assert.same({ "backoff", 1 }, { t:status("web").state, t:status("web").run })
      t:advance(3)
      up:set()
      t:advance(0.1)
      assert.same({ "running", 2, 1 },
        { t:status("web").state, t:status("web").run, t:status("web").restarts })
    end)
  end)

  it("does not stop a worker whose dependency crashes later", function()
    testing.run(function(t)
      decnet.worker("db", function()
        decnet.sleep(5)
        error "boom"
      end)
      decnet.worker { name = "web", run = forever, after = { "db" } }
      t:advance(100)
      assert.same({ "running", 1 }, { t:status("web").state, t:status("web").run })
    end)
  end)
end)

describe("readiness", function()
  it("is reported once a run", function()
    testing.run(function(t)
      decnet.worker { name = "w", notify = true, run = function(self)
        decnet.sleep(1)
        assert(not decnet.get("w"):status().ready)
        self:ready()
        self:ready()
        decnet.sleep(1)
        assert(decnet.get("w"):status().ready)
        error "boom"
      end }
      t:advance(4.5)
      local at = run.times(t, "ready")
      assert.equal(2, #at)
      run.near(1, at[1], 1e-4)
      run.near(4, at[2], 1e-4)
    end)
  end)

  it("is not reached by a run that crashes in its first slice", function()
    testing.run(function(t)
      decnet.worker("w", function() error "boom" end)
      t:advance(0.5)
      assert.equal(0, #run.events(t, "ready"))
    end)
  end)

  it("start_timeout: not ready by then is a crash", function()
    testing.run(function(t)
      decnet.worker { name = "w", notify = true, start_timeout = 5, run = forever }
      t:advance(5.5)
      local crash = run.events(t, "crash")
      assert.equal(1, #crash)
      run.near(5, crash[1].at, 1e-3)
      run.contains(crash[1].error, "not ready within 5 s")
      assert.equal(1, t:status("w").streak)
      t:advance(1)
      assert.equal(2, t:status("w").run)
    end)
  end)

  it("start_timeout: nothing happens to one that was ready in time", function()
    testing.run(function(t)
      decnet.worker { name = "w", notify = true, start_timeout = 5, run = function(self)
        decnet.sleep(4.9)
        self:ready()
        forever()
      end }
      t:advance(100)
      assert.same({ "running", 1 }, { t:status("w").state, t:status("w").run })
    end)
  end)

  it("watchdog: a beat that stays away is a crash, one that comes is not", function()
    testing.run(function(t)
      decnet.worker { name = "w", watchdog = 3, run = function(self)
        for _ = 1, 4 do
          decnet.sleep(2.9)
          self:beat()
        end
        forever()
      end }
      t:advance(15.5)
      local crash = run.events(t, "crash")
      assert.equal(1, #crash)
      run.near(4 * 2.9 + 3, crash[1].at, 1e-3)
      run.contains(crash[1].error, "no beat within 3 s")
    end)
  end)

  it("watchdog: one that ignores the cancellation is killed after stop_timeout", function()
    testing.run(function(t)
      decnet.worker { name = "w", watchdog = 3, stop_timeout = 2, run = run.stubborn }
      t:advance(4)
      assert.equal("stopping", t:status("w").state)
      t:advance(1.5)
      assert.equal("backoff", t:status("w").state)
      run.contains(run.events(t, "crash")[1].error, "no beat within 3 s")
    end)
  end)
end)
