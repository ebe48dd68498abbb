-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

-- A worker that crashes when it is told to, or after each `period`.
local function crasher(options)
  local period = options.period
  options.period = nil
  options.name = "w"
  options.min_backoff, options.max_backoff = options.min_backoff or 0, options.max_backoff or 0
  options.run = function()
    if period > 0 then
      decnet.sleep(period)
    end
    error "boom"
  end
  return decnet.worker(options)
end

describe("max_restarts", function()
  it("D01 failures wider apart than the window never give up", function()
    testing.run(function(t)
      crasher { period = 10.1, max_restarts = 1, within = 10 }
      t:advance(1e4)
      assert.is_true(t:status("w").run > 900)
      assert.equal(0, #run.events(t, "give_up"))
    end)
  end)

  it("D02 N inside the window pass, N + 1 give up", function()
    testing.run(function(t)
      crasher { period = 1, max_restarts = 3, within = 10 }
      t:advance(3.5)
      assert.same({ "running", 4, 3 },
        { t:status("w").state, t:status("w").run, t:status("w").restarts })
      t:advance(1)
      local status = t:status("w")
      assert.same({ "failed", 4, 3 }, { status.state, status.run, status.restarts })
      local give_up = run.events(t, "give_up")
      assert.equal(1, #give_up)
      run.contains(give_up[1].reason, "more than 3 restarts within 10 s")
      assert.is_false(run.events(t, "crash")[4].will_restart)
      assert.is_nil(run.events(t, "crash")[4].delay)
    end)
  end)

  it("D02 one exactly as old as the window still counts", function()
    for _, case in ipairs { { 10, "failed" }, { 10.001, "running" } } do
      testing.run(function(t)
        decnet.worker { name = "w", max_restarts = 1, within = 10, max_backoff = 1,
          run = function(self)
            if self.run == 2 then
              decnet.sleep(case[1] - 1)
            end
            if self.run <= 2 then
              error "boom"
            end
            run.forever()
          end }
        t:advance(30)
        assert.equal(case[2], t:status("w").state)
      end)
    end
  end)

  it("D04 starts that fail at once count", function()
    testing.run(function(t)
      crasher { period = 0, max_restarts = 5, within = 1 }
      t:advance(100)
      assert.same({ "failed", 6 }, { t:status("w").state, t:status("w").run })
    end)
  end)

  it("D05 0: the first failure gives up", function()
    testing.run(function(t)
      crasher { period = 1, max_restarts = 0 }
      t:advance(100)
      assert.same({ "failed", 1, 0 },
        { t:status("w").state, t:status("w").run, t:status("w").restarts })
    end)
  end)

  it("D06 manual restarts are free", function()
    testing.run(function(t)
      local handle = decnet.worker { name = "w", max_restarts = 0, run = run.forever }
      for _ = 1, 20 do
        t:advance(0.1)
        assert(handle:restart())
      end
      t:advance(1)
      assert.same({ "running", 21, 0 },
        { t:status("w").state, t:status("w").run, t:status("w").restarts })
    end)
  end)

  it("D07 clean finishes are free", function()
    testing.run(function(t)
      decnet.worker { name = "w", restart = "always", max_restarts = 0, max_backoff = 0.1,
        run = function() decnet.sleep(0.1) end }
      t:advance(20)
      assert.is_true(t:status("w").run > 90)
      assert.equal(0, #run.events(t, "give_up"))
    end)
  end)

  it("D09 nothing happens after giving up, however long", function()
    testing.run(function(t)
      crasher { period = 0, max_restarts = 2, within = 60 }
      t:advance(10)
      local events = #t:events()
      local since = t:status("w").since
      t:advance(1e7)
      assert.equal(events, #t:events())
      assert.same({ "failed", since, 3 },
        { t:status("w").state, t:status("w").since, t:status("w").run })
      assert.is_nil(t:status("w").next_retry_in)
    end)
  end)

  it("starts anew after somebody started it again, with a window of its own", function()
    testing.run(function(t)
      local handle = crasher { period = 1, max_restarts = 1, within = 100 }
      t:advance(10)
      assert.equal("failed", t:status("w").state)
      assert(handle:start())
      t:advance(0.5)
      assert.equal("running", t:status("w").state)
      t:advance(10)
      assert.same({ "failed", 4 }, { t:status("w").state, t:status("w").run })
    end)
  end)

  it("D12 an essential worker that gives up stops the host, exit code 1", function()
    testing.run(function(t)
      local cleaned
      decnet.worker("other", function()
        local _ <close> = setmetatable({}, { __close = function() cleaned = true end })
        run.forever()
      end)
      decnet.worker { name = "w", essential = true, max_restarts = 1, max_backoff = 0,
        run = function() error "boom" end }
      t:advance(5)
      assert.is_true(cleaned)
      assert.equal("stopped", t:status("other").state)
      assert.equal("failed", t:status("w").state)
      assert.equal(1, t:stop())
    end)
  end)
end)
