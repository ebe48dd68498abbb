-- SPDX-License-Identifier: AGPL-3.0-or-later
-- supervise and run_group, as in the Python original. run_group has a clock of its own, the real
-- one: these specs wait for events, never for time.
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local QUIET = { install_signals = false, log = false }

local function quiet(options)
  return setmetatable(options, { __index = QUIET, __pairs = function()
    local all = { install_signals = false, log = false }
    for key, value in next, options do
      all[key] = value
    end
    return pairs(all)
  end })
end

describe("decnet.supervise", function()
  it("refuses a worker that never ends", function()
    run.raises("never return", decnet.supervise, "w", function() end, { restart = "always" })
  end)

  it("comes back wherever its caller is preempted, and leaves no worker behind", function()
    for every = 1, 7 do
      testing.run(function(t)
        for i = 1, 4 do
          decnet.worker("caller" .. i, function()
            for k = 1, 4 do
              decnet.supervise(("child %d.%d"):format(i, k), function() end)
            end
          end)
        end
        t:advance(10)
        local status = decnet.status()
        assert.equal(4, #status)
        for _, caller in ipairs(status) do
          assert.equal("done", caller.state)
          assert.equal(1, caller.run)
        end
      end, { preempt_every = every })
    end
  end)

  it("restarts after a crash, with growing backoff, until a clean return", function()
    run.worker(function()
      local at = {}
      decnet.supervise("child", function()
        at[#at + 1] = decnet.now()
        if #at < 5 then
          error "boom"
        end
      end)
      for i, expected in ipairs { 0, 1, 3, 7, 15 } do
        run.near(expected, at[i], 1e-4)
      end
      assert.equal(5, #at)
      assert.is_nil(decnet.get "child")
    end)
  end)

  it("takes the options of a worker", function()
    run.worker(function()
      local at = {}
      decnet.supervise("child", function()
        at[#at + 1] = decnet.now()
        if #at < 4 then
          error "boom"
        end
      end, { max_backoff = 0.5 })
      run.near(1.5, at[4], 1e-4)
    end)
  end)

  it("returns at once on a clean return", function()
    run.worker(function()
      local runs = 0
      decnet.supervise("child", function() runs = runs + 1 end)
      assert.equal(1, runs)
      run.near(0, decnet.now(), 1e-4)
    end)
  end)

  it("does not swallow a cancellation: raises it and stops the child", function()
    testing.run(function(t)
      local log, err = {}, nil
      decnet.worker("parent", function()
        local ok
        ok, err = pcall(decnet.supervise, "child", function(self)
          self:defer(function()
            decnet.sleep(1)
            log[#log + 1] = "cleaned"
          end)
          run.forever()
        end)
        assert(not ok)
        log[#log + 1] = "raised"
        error(err, 0)
      end)
      t:advance(1)
      assert.equal("running", t:status("child").state)
      decnet.get("parent"):stop()
      t:advance(5)
      assert.is_true(decnet.is_cancelled(err))
      assert.same({ "cleaned", "raised" }, log)
      assert.is_nil(decnet.get "child")
      assert.equal("stopped", t:status("parent").state)
    end)
  end)

  it("leaves no child behind when its caller is killed", function()
    testing.run(function(t)
      decnet.worker { name = "parent", stop_timeout = 0, run = function()
        decnet.supervise("child", run.forever)
      end }
      t:advance(1)
      decnet.get("parent"):stop()
      t:advance(1)
      assert.is_nil(decnet.get "child")
      local observers = #decnet._listening(t.host).observers
      assert.equal(1, observers)
    end)
  end)

  it("raises the error of a child that is given up", function()
    run.worker(function()
      local err = run.raises("no use", decnet.supervise, "child", function()
        decnet.fatal "no use"
      end)
      run.contains(err, 'worker "child" failed')
      assert.is_nil(decnet.get "child")
    end)
  end)

  it("raises cancelled when somebody else stops the child", function()
    run.worker(function()
      decnet.spawn(function()
        decnet.sleep(1)
        decnet.get("child"):stop()
      end)
      local ok, err = pcall(decnet.supervise, "child", run.forever)
      assert(not ok and decnet.is_cancelled(err))
      run.near(1, decnet.now(), 1e-3)
    end)
  end)

  it("raises cancelled when somebody else removes the child", function()
    run.worker(function()
      decnet.spawn(function() decnet.get("child"):remove() end)
      local ok, err = pcall(decnet.supervise, "child", run.forever)
      assert(not ok and decnet.is_cancelled(err), err)
    end)
  end)

  it("refuses bad options at the caller's line", function()
    run.worker(function()
      local err = run.raises("max_backof", decnet.supervise, "child", error, { max_backof = 1 })
      run.contains(err, "supervise")
      run.contains(run.raises("name", decnet.supervise, nil, error), "name")
    end)
  end)

  it("has a host of its own outside of a host", function()
    local runs = 0
    decnet.supervise("child", function()
      runs = runs + 1
      if runs < 3 then
        error "boom"
      end
    end, { max_backoff = 0, log = false, install_signals = false })
    assert.equal(3, runs)
  end)

  it("outside of a host raises what its child failed with", function()
    run.raises("no use", decnet.supervise, "child", function() decnet.fatal "no use" end,
      { log = false, install_signals = false })
  end)
end)

describe("decnet.run_group", function()
  it("ends with 1 when an essential worker has failed", function()
    assert.equal(1, decnet.run_group({
      { name = "core", essential = true, restart = "never", run = function() error "boom" end },
      { "other", function() decnet.park() end },
    }, quiet {}))
  end)

  it("B03 returns at once for an empty list", function()
    assert.equal(0, decnet.run_group({}, quiet {}))
    decnet.run_group({})
  end)

  it("leaves siblings alone when one crashes", function()
    local stop, ticks, runs = decnet.event(), 0, {}
    decnet.run_group({
      { name = "loop", max_backoff = 0, run = function(self)
        runs.loop = self.run
        decnet.yield()
        if self.run == 50 then
          stop:set()
        end
        error "boom"
      end },
      { "sibling", function(self)
        runs.sibling = self.run
        while true do
          ticks = ticks + 1
          decnet.yield()
        end
      end },
    }, quiet { stop = stop })
    assert.equal(1, runs.sibling)
    assert.is_true(runs.loop >= 50 and ticks >= 50)
  end)

  it("stops all on the stop event, and awaits them", function()
    local stop, begun, ended = decnet.event(), {}, {}
    local function body(self)
      self:defer(function()
        decnet.yield()
        ended[self.name] = true
      end)
      begun[self.name] = true
      if begun.a and begun.b and begun.c then
        stop:set()
      end
      run.forever()
    end
    decnet.run_group({ { "a", body }, { "b", body }, { "c", body } }, quiet { stop = stop })
    assert.same({ a = true, b = true, c = true }, ended)
  end)

  it("returns at once when the stop event is set already", function()
    local stop, ended = decnet.event(), false
    stop:set()
    decnet.run_group({ { "a", function(self)
      self:defer(function() ended = true end)
      run.forever()
    end } }, quiet { stop = stop })
    assert.is_false(ended) -- it never started
  end)

  it("stays when all have finished", function()
    local stop, started = decnet.event(), 0
    decnet.run_group({
      { "first", function() started = started + 1 end },
      { "last", function()
        for _ = 1, 20 do
          decnet.yield()
        end
        -- the others have finished; this one has too, before the event is set from a callback
        local uv = require "luv"
        decnet.shared(function()
          local timer = uv.new_timer()
          timer:start(1, 0, function()
            timer:close()
            stop:set()
          end)
        end)
      end },
    }, quiet { stop = stop })
    assert.equal(1, started)
    assert.is_true(stop:is_set())
  end)

  it("B09 is an error while one is running", function()
    local stop, message = decnet.event(), nil
    decnet.run_group({ { "w", function()
      message = run.raises("running already", decnet.run_group, { { "x", error } }, QUIET)
      stop:set()
      run.forever()
    end } }, quiet { stop = stop })
    run.contains(message, "run_group")
  end)

  it("refuses bad declarations before anything starts, and can be called again", function()
    local started = false
    local good = { "good", function() started = true end }
    run.raises("specs[2]", decnet.run_group, { good, { "bad", 5 } }, QUIET)
    run.raises('"good"', decnet.run_group, { good, good }, QUIET)
    run.raises("nobody", decnet.run_group, { good, { name = "x", run = error,
      after = { "nobody" } } }, QUIET)
    run.raises("unknown option", decnet.run_group, { good }, { stopp = 1 })
    run.raises("expected a table", decnet.run_group, { good }, 5)
    assert.is_false(started)
    decnet.run_group({}, QUIET)
  end)

  it("refuses a stop that is no event", function()
    run.raises("stop", decnet.run_group, { { "w", run.forever } },
      { stop = {}, install_signals = false, log = false })
  end)

  it("names workers with the workers' own decnet functions", function()
    local stop, seen = decnet.event(), {}
    decnet.run_group({ { "w", function(self)
      seen = { decnet.current() == self, decnet.get("w"):status().state, #decnet.status() }
      stop:set()
    end } }, quiet { stop = stop })
    assert.same({ true, "running", 1 }, seen)
    run.raises("there is no host here", decnet.get, "w")
  end)
end)
