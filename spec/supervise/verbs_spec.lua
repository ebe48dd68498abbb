-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local forever = run.forever

local function names()
  local list = {}
  for i, status in ipairs(decnet.status()) do
    list[i] = status.name
  end
  return table.concat(list, " ")
end

describe("administration while running", function()
  it("G01 a worker that is added starts at once", function()
    testing.run(function(t)
      t:advance(5)
      decnet.worker("w", forever)
      t:advance(0)
      assert.equal("running", t:status("w").state)
      assert.equal(5, t:status("w").since)
    end)
  end)

  it("G02 the name of a running one is refused: already running", function()
    testing.run(function(t)
      decnet.worker("w", forever)
      t:advance(1)
      run.raises("already running", decnet.worker, "w", forever)
    end)
  end)

  it("G04 G07 an unknown name is not found", function()
    testing.run(function(t)
      t:advance(0)
      local handle, message, code = decnet.get "nobody"
      assert.is_nil(handle)
      run.contains(message, "nobody")
      assert.equal("ENOENT", code)
      run.raises("name: expected a string, got nil", decnet.get)
    end)
  end)

  it("G04 G07 verbs of a removed worker: not found", function()
    testing.run(function(t)
      local handle = decnet.worker("w", forever)
      t:advance(1)
      handle:remove()
      t:advance(1)
      for _, verb in ipairs { "start", "stop", "restart", "retry", "reset", "remove", "status",
        "options" } do
        local ok, message, code = handle[verb](handle)
        assert.is_nil(ok, verb)
        run.contains(message, "not found")
        assert.equal("ENOENT", code)
      end
      assert.equal("worker w (gone)", tostring(handle))
      assert.equal("w", handle.name)
    end)
  end)

  it("G05 to stop twice is fine", function()
    testing.run(function(t)
      local handle = decnet.worker("w", forever)
      t:advance(1)
      assert.is_true(handle:stop())
      assert.is_true(handle:stop())
      t:advance(1)
      assert.is_true(handle:stop())
      t:advance(1)
      assert.equal("stopped", t:status("w").state)
      assert.equal(1, #run.events(t, "stop"))
    end)
  end)

  it("G06 to start one that runs changes nothing", function()
    testing.run(function(t)
      local handle = decnet.worker("w", forever)
      t:advance(1)
      assert.is_true(handle:start())
      t:advance(1)
      assert.same({ "running", 1 }, { t:status("w").state, t:status("w").run })
    end)
  end)

  it("G08 a restart replaces the run and counts as none of the policy's", function()
    testing.run(function(t)
      local handle = decnet.worker("w", forever)
      t:advance(1)
      assert.is_true(handle:restart())
      t:advance(0.001)
      assert.same({ "running", 2, 0 },
        { t:status("w").state, t:status("w").run, t:status("w").restarts })
    end)
  end)

  it("G09 a removed one is gone", function()
    testing.run(function(t)
      local handle = decnet.worker("w", forever)
      decnet.worker("other", forever)
      t:advance(1)
      handle:stop()
      t:advance(1)
      assert.is_true(handle:remove())
      t:advance(0)
      assert.is_nil(decnet.get "w")
      assert.equal("other", names())
    end)
  end)

  it("G10 added after it was removed, its counters start anew", function()
    testing.run(function(t)
      local handle = decnet.worker("w", function() error "boom" end)
      t:advance(10)
      assert.is_true(t:status("w").restarts > 2)
      handle:remove()
      t:advance(1)
      decnet.worker("w", forever)
      t:advance(0)
      local status = t:status("w")
      assert.same({ 1, 0, 0 }, { status.run, status.restarts, status.streak })
      assert.is_nil(status.last_error)
    end)
  end)

  it("G12 the list and the counts are right at each step", function()
    testing.run(function(t)
      assert.equal("", names())
      local a = decnet.worker("a", forever)
      local b = decnet.worker("b", forever)
      assert.equal("a b", names())
      t:advance(1)
      decnet.worker("c", forever)
      assert.equal("a b c", names())
      b:remove()
      t:advance(1)
      assert.equal("a c", names())
      decnet.worker("b", forever)
      t:advance(1)
      assert.equal("a c b", names())
      a:stop()
      t:advance(1)
      assert.equal("a c b", names())
      local states = {}
      for i, status in ipairs(decnet.status()) do
        states[i] = status.state
      end
      assert.same({ "stopped", "running", "running" }, states)
    end)
  end)

  it("G15 nothing is heard of a worker after it was removed", function()
    testing.run(function(t)
      local handle = decnet.worker("w", function(self)
        self:defer(function() error "in a deferred function" end)
        decnet.spawn(run.stubborn)
        error "boom"
      end)
      t:advance(0.5)
      handle:remove()
      t:run_until(function() return not decnet.get "w" end)
      local count = #t:events()
      t:advance(1e5)
      assert.equal(count, #t:events())
    end)
  end)

  it("G16 ten thousand added and removed leave no memory behind", function()
    testing.run(function(t)
      local function round(n)
        for i = 1, n do
          decnet.worker("w" .. i, forever)
        end
        t:advance(0)
        for i = 1, n do
          decnet.get("w" .. i):remove()
        end
        t:advance(0.1)
        t.recorded = {}
        assert.equal("", names())
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      round(2500)
      local before = round(2500)
      for _ = 1, 3 do
        round(2500)
      end
      local after = round(2500)
      assert.is_true(after < before + 16, ("%.1f KiB grew to %.1f KiB"):format(before, after))
    end)
  end)
end)

describe("a handle's verb in a task", function()
  it("answers when it is done", function()
    testing.run(function(t)
      local steps = {}
      local slow = decnet.worker("slow", function()
        pcall(forever)
        decnet.shield(9, decnet.sleep, 2)
      end)
      decnet.worker("admin", function()
        decnet.sleep(1)
        assert(slow:stop())
        steps[#steps + 1] = { decnet.now(), slow:status().state }
        assert(slow:start())
        steps[#steps + 1] = { decnet.now(), slow:status().state }
        assert(slow:restart())
        steps[#steps + 1] = { decnet.now(), slow:status().state, slow:status().run }
        assert(slow:remove())
        steps[#steps + 1] = { decnet.now(), decnet.get "slow" }
      end)
      t:advance(20)
      run.near(3, steps[1][1], 1e-3)
      assert.equal("stopped", steps[1][2])
      run.near(3, steps[2][1], 1e-3)
      assert.equal("running", steps[2][2])
      run.near(5, steps[3][1], 1e-3)
      assert.same({ "running", 3 }, { steps[3][2], steps[3][3] })
      run.near(7, steps[4][1], 1e-3)
      assert.is_nil(steps[4][2])
    end)
  end)

  it("is an await: the waiter can be cancelled, the order stands", function()
    testing.run(function(t)
      local slow = decnet.worker { name = "slow", stop_timeout = 5, run = run.stubborn }
      local result
      decnet.worker("admin", function()
        result = { decnet.timeout(1, slow.stop, slow) }
      end)
      t:advance(2)
      assert.same({ nil, "timeout" }, result)
      t:advance(10)
      assert.equal("stopped", t:status("slow").state)
    end)
  end)

  it("stops its own worker: the cancellation arrives in the call", function()
    testing.run(function(t)
      local err
      decnet.worker("suicide", function(self)
        local ok
        ok, err = pcall(function() decnet.get(self.name):stop() end)
        assert(not ok)
        error(err, 0)
      end)
      t:advance(1)
      assert.is_true(decnet.is_cancelled(err))
      assert.same({ "stopped", 0 }, { t:status("suicide").state, #run.events(t, "crash") })
    end)
  end)

  it("restarts its own worker", function()
    testing.run(function(t)
      decnet.worker("phoenix", function(self)
        if self.run < 3 then
          decnet.get(self.name):restart()
        end
        forever()
      end)
      t:advance(1)
      assert.same({ "running", 3, 0 }, { t:status("phoenix").state, t:status("phoenix").run,
        #run.events(t, "crash") })
    end)
  end)

  it("removes its own worker", function()
    testing.run(function(t)
      decnet.worker("w", function(self) decnet.get(self.name):remove() end)
      t:advance(1)
      assert.is_nil(decnet.get "w")
    end)
  end)

  it("is a request where the task cannot wait: in the cleanup of a killed run", function()
    testing.run(function(t)
      decnet.worker("child", forever)
      decnet.worker { name = "parent", stop_timeout = 0, run = function(self)
        self:defer(function() assert(decnet.get("child"):stop()) end)
        local _ <close> = setmetatable({}, {
          __close = function() assert(decnet.get("other"):stop()) end })
        forever()
      end }
      decnet.worker("other", forever)
      t:advance(1)
      decnet.get("parent"):stop()
      t:advance(1)
      assert.same({ "stopped", "stopped", "stopped" }, { t:status("child").state,
        t:status("parent").state, t:status("other").state })
    end)
  end)

  it("answers at once where there is nothing to wait for", function()
    testing.run(function(t)
      local answers = {}
      decnet.worker("done", function() end)
      decnet.worker("admin", function()
        decnet.sleep(1)
        local done = decnet.get "done"
        answers[1] = { done:retry() }
        answers[2] = { done:stop() }
        answers[3] = { done:reset() }
      end)
      t:advance(2)
      assert.is_nil(answers[1][1])
      run.contains(answers[1][2], "nothing to do")
      assert.equal("ESTATE", answers[1][3])
      assert.same({ { true }, { true } }, { answers[2], answers[3] })
    end)
  end)
end)

describe("a status table", function()
  it("has what API.md lists", function()
    testing.run(function(t)
      decnet.worker("w", function(self)
        if self.run == 1 then
          error "boom"
        end
        decnet.spawn(forever)
        forever()
      end)
      decnet.worker { name = "waiter", run = forever, after = { "never" } }
      decnet.worker { name = "never", run = forever, notify = true }
      t:advance(5)
      local status = t:status("w")
      assert.same({ "w", "running", 2, 1, 1, "up", true, 2, 0 },
        { status.name, status.state, status.run, status.restarts, status.streak, status.wanted,
          status.ready, status.tasks, status.handles })
      run.near(1, status.since, 1e-4)
      assert.same({ 1, 0 }, { status.last_error.run, math.floor(status.last_error.at) })
      run.contains(status.last_error.message, "verbs_spec.lua:")
      run.contains(status.last_error.traceback, "verbs_spec.lua:")
      status = t:status("waiter")
      assert.same({ "waiting", "never", false },
        { status.state, status.waiting_for, status.ready })
      assert.is_false(t:status("never").ready)
    end)
  end)
end)
