-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function closing(fn)
  return setmetatable({}, { __close = fn })
end

describe("stopping the host", function()
  it("F01 stops in reverse order of declaration", function()
    testing.run(function(t)
      for i = 1, 5 do
        decnet.worker("w" .. i, run.forever)
      end
      t:advance(1)
      assert.equal(0, t:stop())
      local names = {}
      for i, event in ipairs(run.events(t, "stop")) do
        names[i] = event.worker
      end
      assert.same({ "w5", "w4", "w3", "w2", "w1" }, names)
    end)
  end)

  it("F01 stops nothing before what depends on it has ended", function()
    testing.run(function(t)
      local ended = {}
      local function body(seconds)
        return function(self)
          local _ <close> = closing(function() ended[#ended + 1] = self.name end)
          self:defer(function() decnet.sleep(seconds) end)
          run.forever()
        end
      end
      decnet.worker { name = "db", run = body(0) }
      decnet.worker { name = "cache", run = body(0) }
      decnet.worker { name = "api", run = body(2), after = { "db", "cache" } }
      decnet.worker { name = "web", run = body(1), after = { "api" } }
      decnet.worker { name = "free", run = body(0) }
      t:advance(1)
      t:stop()
      assert.same({ "free", "web", "api", "cache", "db" }, ended)
      run.near(4, t:now(), 1e-3)
    end)
  end)

  it("F02 waits for a stop_timeout of math.huge", function()
    testing.run(function(t)
      decnet.worker { name = "slow", stop_timeout = math.huge, run = function()
        pcall(run.forever)
        decnet.shield(math.huge, decnet.sleep, 1e5)
      end }
      t:advance(1)
      assert.equal(0, t:stop())
      run.near(1e5 + 1, t:now(), 1e-3)
    end)
  end)

  it("F03 kills only the late one", function()
    testing.run(function(t)
      local ended = {}
      for _, seconds in ipairs { 2, 5, 4 } do
        decnet.worker { name = "w" .. seconds, stop_timeout = 4.5, run = function()
          pcall(run.forever)
          decnet.shield(100, decnet.sleep, seconds)
          ended[#ended + 1] = seconds
        end }
      end
      t:advance(1)
      assert.equal(0, t:stop())
      assert.same({ 2, 4 }, ended)
      run.near(5.5, t:now(), 1e-3)
    end)
  end)

  it("F04 kills at once with a stop_timeout of 0", function()
    testing.run(function(t)
      local log = {}
      decnet.worker { name = "w", stop_timeout = 0, run = function(self)
        self:defer(function() log[#log + 1] = "defer" end)
        local _ <close> = closing(function() log[#log + 1] = "close" end)
        log[#log + 1] = pcall(run.forever) and "returned" or "refused"
      end }
      t:advance(1)
      assert.equal(0, t:stop())
      assert.same({ "close", "defer" }, log)
      run.near(1, t:now(), 1e-4)
    end)
  end)

  it("F08 records a failure while stopping and completes the stop", function()
    testing.run(function(t)
      decnet.worker("w", function()
        pcall(run.forever)
        error "in the middle of it"
      end)
      decnet.worker("other", run.forever)
      t:advance(1)
      assert.equal(0, t:stop())
      local status = t:status("w")
      assert.same({ "stopped", 0, "down" }, { status.state, status.streak, status.wanted })
      run.contains(status.last_error.message, "in the middle of it")
      local crash = run.events(t, "crash")
      assert.same({ 1, false }, { #crash, crash[1].will_restart })
    end)
  end)

  it("F09 takes not longer than the slowest polite end, if nothing depends on anything", function()
    testing.run(function(t)
      for i = 1, 20 do
        decnet.worker { name = "w" .. i, run = function()
          pcall(run.forever)
          decnet.shield(9, decnet.sleep, 3)
        end }
      end
      t:advance(1)
      t:stop()
      run.near(4, t:now(), 1e-2)
    end)
  end)

  it("F09 takes not longer than stop_timeout, whichever part of a run is slow", function()
    local slow = {
      main = run.stubborn,
      task = function()
        decnet.spawn(run.stubborn)
        run.forever()
      end,
      defer = function(self)
        self:defer(run.stubborn)
        run.forever()
      end,
      ["late defer"] = function(self)
        self:defer(run.stubborn)
        pcall(run.forever)
        decnet.shield(9, decnet.sleep, 3)
      end,
      ["late task"] = function()
        decnet.spawn(run.stubborn)
        pcall(run.forever)
        decnet.shield(9, decnet.sleep, 3)
      end,
      ["task of a defer"] = function(self)
        self:defer(function() decnet.spawn(run.stubborn) end)
        run.forever()
      end,
    }
    for what, fn in pairs(slow) do
      testing.run(function(t)
        decnet.worker { name = "w", stop_timeout = 4, run = fn }
        t:advance(1)
        assert.equal(0, t:stop())
        assert.is_true(t:now() <= 5.01, ("%s: took until %g"):format(what, t:now()))
        assert.equal("stopped", t:status("w").state)
      end)
    end
  end)

  it("F12 runs the cleanup of every worker", function()
    testing.run(function(t)
      local done = {}
      for i = 1, 10 do
        decnet.worker("w" .. i, function(self)
          self:defer(function()
            decnet.sleep(0.1)
            done[#done + 1] = "defer"
          end)
          local _ <close> = closing(function()
            decnet.shield(1, decnet.sleep, 0.1)
            done[#done + 1] = "close"
          end)
          local ok, err = pcall(run.forever)
          assert(not ok and decnet.is_cancelled(err))
          done[#done + 1] = "handler"
          error(err, 0)
        end)
      end
      t:advance(1)
      assert.equal(0, t:stop())
      local counts = {}
      for _, what in ipairs(done) do
        counts[what] = (counts[what] or 0) + 1
      end
      assert.same({ handler = 10, close = 10, defer = 10 }, counts)
    end)
  end)

  it("F19 refuses orders from then on", function()
    testing.run(function(t)
      local answers = {}
      local victim = decnet.worker("victim", run.forever)
      decnet.worker("late", function()
        pcall(run.forever)
        for _, verb in ipairs { "start", "stop", "restart", "retry", "reset", "remove" } do
          local ok, message, code = decnet.shield(1, victim[verb], victim)
          answers[#answers + 1] = { ok, code }
          run.contains(message, "stop")
        end
        answers[#answers + 1] = { pcall(decnet.worker, "new", run.forever) }
      end)
      t:advance(1)
      t:stop()
      for i = 1, 6 do
        assert.same({ nil, "ESHUTDOWN" }, answers[i])
      end
      assert.is_false(answers[7][1])
      assert.is_nil(decnet.get "new")
    end)
  end)

  it("F23 ends a worker that swallows its cancellation by stop_timeout", function()
    testing.run(function(t)
      local turns, others = 0, 0
      decnet.worker { name = "swallower", stop_timeout = 0.01, run = function()
        while true do
          pcall(decnet.sleep, 1)
          turns = turns + 1
        end
      end }
      decnet.worker { name = "neighbour", stop_timeout = math.huge, run = function()
        pcall(run.forever)
        for _ = 1, 100 do
          decnet.shield(1, decnet.yield)
          others = others + 1
        end
      end }
      t:advance(0.5)
      assert.equal(0, t:stop())
      assert.equal(100, others)
      assert.is_true(turns > 100)
      assert.equal("stopped", t:status("swallower").state)
      run.near(0.51, t:now(), 1e-3)
    end)
  end)

  it("is as patient when asked again, and kills when told to", function()
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = math.huge, run = run.stubborn }
      t:advance(1)
      t.host:stop()
      t:advance(5)
      assert.equal("stopping", t:status("w").state)
      t.host:stop()
      t:advance(1)
      assert.equal("stopping", t:status("w").state)
      t.host:kill()
      t:advance(0.001)
      assert.equal("stopped", t:status("w").state)
    end)
  end)

  it("is asked for by a worker with decnet.stop, which goes on until it is cancelled", function()
    testing.run(function(t)
      local after
      decnet.worker("w", function()
        decnet.sleep(1)
        decnet.stop "enough"
        after = true
        run.forever()
      end)
      decnet.worker("other", run.forever)
      t:advance(2)
      assert.is_true(after)
      assert.same({ "stopped", "stopped" }, { t:status("w").state, t:status("other").state })
    end)
  end)
end)

describe("stopping one worker", function()
  it("F11 in backoff: at once, for good", function()
    testing.run(function(t)
      local handle = decnet.worker("w", function() error "boom" end)
      t:advance(0.5)
      assert.equal("backoff", t:status("w").state)
      assert(handle:stop())
      t:advance(0)
      assert.same({ "stopped", "down" }, { t:status("w").state, t:status("w").wanted })
      t:advance(1e6)
      assert.same({ "stopped", 1 }, { t:status("w").state, t:status("w").run })
    end)
  end)

  it("is not restarted afterwards, not even with always", function()
    testing.run(function(t)
      local handle = decnet.worker { name = "w", restart = "always", run = run.forever }
      t:advance(1)
      assert(handle:stop())
      t:advance(1000)
      assert.same({ "stopped", 1 }, { t:status("w").state, t:status("w").run })
      assert.equal(0, #run.events(t, "crash"))
      assert.equal(1, #run.events(t, "stop"))
    end)
  end)

  it("outranks a restart that was asked for before", function()
    testing.run(function(t)
      local handle = decnet.worker("w", function()
        pcall(run.forever)
        decnet.shield(9, decnet.sleep, 1)
      end)
      t:advance(1)
      assert(handle:restart())
      t:advance(0.5)
      assert.equal("stopping", t:status("w").state)
      assert(handle:stop())
      t:advance(100)
      assert.same({ "stopped", 1 }, { t:status("w").state, t:status("w").run })
    end)
  end)

  it("that is restarted while it stops starts once afterwards", function()
    testing.run(function(t)
      local handle = decnet.worker("w", function(self)
        if self.run == 1 then
          pcall(run.forever)
          decnet.shield(9, decnet.sleep, 1)
        end
        run.forever()
      end)
      t:advance(1)
      handle:stop()
      t:advance(0.2)
      handle:restart()
      handle:restart()
      t:advance(100)
      assert.same({ "running", 2, 0 },
        { t:status("w").state, t:status("w").run, t:status("w").restarts })
    end)
  end)

  it("that crashes while it is asked to end is recorded, not counted, not restarted", function()
    testing.run(function(t)
      local handle = decnet.worker { name = "w", max_restarts = 0, run = function()
        pcall(run.forever)
        error "late"
      end }
      t:advance(1)
      handle:stop()
      t:advance(100)
      assert.same({ "stopped", 0, 0 },
        { t:status("w").state, t:status("w").streak, t:status("w").restarts })
      run.contains(t:status("w").last_error.message, "late")
    end)
  end)
end)
