-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local spec = require "decnet.spec"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local forever = run.forever

describe("a declared worker", function()
  it("A01 has every default readable back", function()
    testing.run(function()
      local handle = decnet.worker("plain", forever)
      assert.equal("plain", handle.name)
      local options = handle:options()
      local expected = {
        restart = "on-failure", min_backoff = 1, backoff_factor = 2, max_backoff = 30, jitter = 0,
        reset_after = 60, max_restarts = math.huge, within = 60, essential = false,
        stop_timeout = 10, after = {}, notify = false, start_timeout = math.huge, watchdog = false,
        hang_timeout = 5, max_memory = false, preempt = true, group = false,
      }
      for key, value in pairs(expected) do
        assert.same(value, options[key], key)
      end
      for key in pairs(options) do
        assert.not_nil(expected[key], key .. " is in options() but not expected")
      end
      for _, option in ipairs(spec.options) do
        if not option.required then
          assert.not_nil(options[option.key], option.key .. " is missing in options()")
        end
      end
    end)
  end)

  it("A01 has what it was given readable back", function()
    testing.run(function()
      decnet.worker("first", forever)
      decnet.group "g"
      local given = {
        restart = "always", min_backoff = 0.5, backoff_factor = 1.5, max_backoff = 7, jitter = 0.25,
        reset_after = math.huge, max_restarts = 3, within = 9, essential = true,
        stop_timeout = math.huge, after = { "first" }, notify = true, start_timeout = 4,
        watchdog = 2.5, hang_timeout = 0.5, preempt = false, group = "g", max_memory = false,
      }
      local declaration = { name = "full", run = forever }
      for key, value in pairs(given) do
        declaration[key] = value
      end
      assert.same(given, decnet.worker(declaration):options())
    end)
  end)

  it("A07 keeps its name: a second of the same name is refused, the first untouched", function()
    testing.run(function(t)
      local ticks = 0
      local first = decnet.worker("twice", function()
        while true do
          ticks = ticks + 1
          decnet.sleep(1)
        end
      end)
      run.raises('worker "twice"', decnet.worker, "twice", error)
      t:advance(2.5)
      assert.equal(3, ticks)
      run.raises("already running", decnet.worker, "twice", error)
      t:advance(2)
      assert.equal(5, ticks)
      assert.equal(first, decnet.get "twice")
      assert.equal(1, t:status("twice").run)
    end)
  end)

  it("A14 may not wait in a circle: the path is printed", function()
    testing.run(function(t)
      decnet.worker { name = "a", run = forever, after = { "b" } }
      decnet.worker { name = "b", run = forever, after = { "c" } }
      decnet.worker { name = "c", run = forever, after = { "a" } }
      local message = run.raises("a", t.advance, t, 1)
      run.contains(message, "->")
      for _, name in ipairs { "a", "b", "c" } do
        run.contains(message, name)
        assert.equal("waiting", t:status(name).state)
      end
    end)
  end)

  it("A14 may not wait for one that nobody declares", function()
    testing.run(function(t)
      decnet.worker { name = "a", run = forever, after = { "nobody" } }
      local message = run.raises("nobody", t.advance, t, 1)
      run.contains(message, '"a"')
      assert.equal("waiting", t:status("a").state)
    end)
  end)

  it("A14 declared later may not either, and nothing changes", function()
    testing.run(function(t)
      decnet.worker("a", forever)
      t:advance(1)
      run.raises("nobody", decnet.worker, { name = "b", run = forever, after = { "nobody" } })
      assert.is_nil(decnet.get "b")
      decnet.worker { name = "b", run = forever, after = { "a" } }
      t:advance(1)
      assert.equal("running", t:status("b").state)
    end)
  end)

  it("B01 starts in the order of declaration", function()
    testing.run(function(t)
      local order = {}
      for i = 1, 20 do
        decnet.worker("w" .. i, function() order[#order + 1] = i end)
      end
      assert.same({}, order)
      t:advance(0)
      for i = 1, 20 do
        assert.equal(i, order[i])
      end
    end)
  end)

  it("starts at once when declared while the host runs, also by a worker", function()
    testing.run(function(t)
      local at
      decnet.worker("parent", function()
        decnet.sleep(3)
        decnet.worker("child", function() at = decnet.now() end)
        forever()
      end)
      t:advance(5)
      run.near(3, at, 1e-5)
      assert.equal("done", t:status("child").state)
    end)
  end)

  it("is refused by name when its run cannot be called", function()
    testing.run(function()
      run.raises('worker "bad": run', decnet.worker, "bad", 5)
      run.raises('worker "bad"', decnet.worker, { name = "bad" })
      assert.is_nil(decnet.get "bad")
    end)
  end)

  it("may be an object that can be called", function()
    testing.run(function(t)
      local got
      local object = setmetatable({}, { __call = function(me, self) got = { me, self.name } end })
      decnet.worker("object", object)
      t:advance(0)
      assert.same({ object, "object" }, got)
    end)
  end)
end)

describe("a coroutine as worker", function()
  it("B11 that has not started runs, and can be restarted", function()
    testing.run(function(t)
      local runs = {}
      decnet.worker("co", coroutine.create(function(self)
        runs[#runs + 1] = self.run
        decnet.sleep(1)
        error "boom"
      end))
      t:advance(9.5)
      assert.same({ 1, 2, 3 }, runs)
    end)
  end)

  it("B11 that has started, or is dead, is refused", function()
    testing.run(function()
      local started = coroutine.create(function() coroutine.yield() end)
      coroutine.resume(started)
      run.raises("a coroutine that has", decnet.worker, "a", started)
      coroutine.resume(started)
      run.raises("a coroutine that is dead", decnet.worker, "a", started)
      run.raises("a coroutine that is", decnet.worker, "a", (coroutine.running()))
      assert.is_nil(decnet.get "a")
    end)
  end)

  it("B11 is of use again when its declaration was refused, and spent when it was taken", function()
    testing.run(function()
      decnet.worker("other", function() end)
      local co = coroutine.create(function() return "went on" end)
      run.raises("already declared", decnet.worker, "other", co)
      assert.same({ true, "went on" }, { coroutine.resume(co) })
      co = coroutine.create(function() end)
      decnet.worker("a", co)
      run.raises("a coroutine that is dead", decnet.worker, "b", co)
      assert.is_false((coroutine.resume(co)))
    end)
  end)

  it("B12 made by a factory is a fresh one in each run", function()
    testing.run(function(t)
      local seen, runs = {}, {}
      decnet.worker("factory", function(self)
        local co = coroutine.create(function(body_self)
          runs[#runs + 1] = { self.run, body_self.run }
          decnet.sleep(1)
          error "boom"
        end)
        seen[#seen + 1] = co
        return co
      end)
      t:advance(4.5)
      assert.same({ { 1, 1 }, { 2, 2 } }, runs)
      assert.not_equal(seen[1], seen[2])
    end)
  end)

  it("B12 may come from a factory that awaits, and may call coroutine.yield", function()
    testing.run(function(t)
      local steps = 0
      decnet.worker("factory", function()
        decnet.sleep(1)
        return coroutine.create(function()
          for _ = 1, 3 do
            coroutine.yield()
            steps = steps + 1
          end
        end)
      end)
      t:advance(2)
      assert.equal(3, steps)
      assert.equal("done", t:status("factory").state)
    end)
  end)

  it("B12 made by a factory may return another, which is nobody's", function()
    testing.run(function(t)
      local is_entered = false
      decnet.worker("factory", function()
        return coroutine.create(function()
          return coroutine.create(function() is_entered = true end)
        end)
      end)
      t:advance(0)
      assert.equal("done", t:status("factory").state)
      assert.is_false(is_entered)
    end)
  end)

  it("is for one worker only", function()
    testing.run(function()
      local co = coroutine.create(function() end)
      decnet.worker("one", co)
      run.raises("other", decnet.worker, "other", co)
    end)
  end)

  it("B12 that has started, or is dead, is a crash of the run", function()
    for _, resumes in ipairs { 1, 2 } do
      local crash = run.crash(function()
        local co = coroutine.create(function() coroutine.yield() end)
        for _ = 1, resumes do
          coroutine.resume(co)
        end
        pcall(decnet.timeout, 1, error, "an error that was caught before")
        return co
      end)
      run.contains(crash.error, "already started or ended")
    end
    run.contains(run.crash(function() return (coroutine.running()) end).error, "already started")
  end)
end)
