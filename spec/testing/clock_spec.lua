-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"
local uv = require "luv"

describe("the virtual clock", function()
  it("starts at 0 and moves only when it is told", function()
    for _ = 1, 2 do
      testing.run(function(t)
        assert.equal(0, t:now())
        assert.equal(0, decnet.now())
        local started
        decnet.worker("w", function() started = decnet.now() end)
        assert.is_nil(started)
        t:advance(2.5)
        assert.equal(0, started)
        assert.equal(2.5, t:now())
        assert.equal(2.5, decnet.now())
      end)
    end
  end)

  it("moves through each deadline in turn", function()
    testing.run(function(t)
      local at = {}
      for i = 5, 1, -1 do
        decnet.worker("w" .. i, function()
          decnet.sleep(i)
          at[#at + 1] = decnet.now()
        end)
      end
      t:advance(100)
      assert.same({ 1, 2, 3, 4, 5 }, at)
    end)
  end)

  it("runs the first slice of a start or a wake due at t at t, the limit included", function()
    testing.run(function(t)
      local at = {}
      decnet.worker("w", function(self)
        at[#at + 1] = decnet.now()
        decnet.sleep(1)
        at[#at + 1] = decnet.now()
        if self.run == 1 then
          error "boom"
        end
      end)
      t:advance(1)
      assert.same({ 0, 1 }, at)
      t:advance(1)
      assert.same({ 0, 1, 2 }, at)
    end)
  end)

  it("moves 1 µs for each turn that leaves tasks ready", function()
    testing.run(function(t)
      local turns = 0
      decnet.worker("w", function()
        while true do
          decnet.yield()
          turns = turns + 1
        end
      end)
      t:advance(0.001)
      assert.is_true(math.abs(turns - 1000) <= 1, turns .. " turns")
      run.near(0.001, t:now())
    end)
  end)

  it("moves 1 µs for each restart that is due now", function()
    testing.run(function(t)
      decnet.worker { name = "w", min_backoff = 0, run = function() error "boom" end }
      t:advance(0.001)
      local runs = t:status("w").run
      assert.is_true(runs >= 300 and runs <= 1001, runs .. " runs")
    end)
  end)

  it("adds up over many small moves", function()
    testing.run(function(t)
      local ticks = 0
      decnet.worker("w", function()
        while true do
          decnet.sleep(1)
          ticks = ticks + 1
        end
      end)
      for _ = 1, 1000 do
        t:advance(0.01)
      end
      run.near(10, t:now(), 1e-6)
      assert.equal(10, ticks)
    end)
  end)

  it("with advance(0) does what is due now", function()
    testing.run(function(t)
      local log = {}
      decnet.worker("w", function()
        log[1] = true
        decnet.yield()
        log[2] = true
      end)
      t:advance(0)
      assert.same({ true }, log)
      t:advance(0)
      assert.same({ true, true }, log)
      assert.equal(0, t:now())
    end)
  end)

  it("refuses what is no time", function()
    testing.run(function(t)
      for _, bad in ipairs { -1, 0 / 0, "x" } do
        run.raises("seconds", t.advance, t, bad)
        run.raises("seconds", t.run_until, t, function() end, bad)
      end
    end)
  end)

  it("stands while a request is in flight", function()
    testing.run(function(t)
      local at
      decnet.worker("w", function()
        decnet.await(function(resume) uv.fs_stat(".", resume) end)
        at = decnet.now()
      end)
      decnet.worker("other", function() decnet.sleep(1) end)
      t:advance(10)
      assert.is_true(at < 0.01, "the answer came at " .. tostring(at))
    end)
  end)
end)

describe("run_until", function()
  it("stops as soon as its function returns true", function()
    testing.run(function(t)
      local n = 0
      decnet.worker("w", function()
        while true do
          decnet.sleep(1)
          n = n + 1
        end
      end)
      assert.is_true(t:run_until(function() return n == 3 end))
      run.near(3, t:now())
      assert.is_true(t:run_until(function() return true end))
      run.near(3, t:now())
    end)
  end)

  it("sees what an order did before time goes on", function()
    testing.run(function(t)
      local handle = decnet.worker("w", run.forever)
      t:advance(1)
      handle:stop()
      assert.is_true(t:run_until(function() return t:status("w").state == "stopped" end))
      run.near(1, t:now(), 1e-3)
      handle:remove()
      assert.is_true(t:run_until(function() return not decnet.get "w" end))
      run.near(1, t:now(), 1e-3)
    end)
  end)

  it("returns false when that does not come in time", function()
    testing.run(function(t)
      assert.is_false(t:run_until(function() return false end, 5))
      run.near(5, t:now())
      decnet.worker("w", run.forever)
      assert.is_false(t:run_until(function() return nil end, 5))
      run.near(10, t:now())
      assert.is_false(t:run_until(function() end))
      run.near(3610, t:now())
    end)
  end)

  it("cannot be called from inside a worker", function()
    testing.run(function(t)
      local errors = {}
      decnet.worker("w", function()
        errors[1] = select(2, pcall(t.advance, t, 1))
        errors[2] = select(2, pcall(t.run_until, t, function() end, 1))
        errors[3] = select(2, pcall(t.stop, t))
        errors[4] = select(2, pcall(testing.run, function() end))
      end)
      t:advance(1)
      for i = 1, 3 do
        run.contains(errors[i], "from inside a worker")
      end
      run.contains(errors[4], "a host is running already")
    end)
  end)
end)

describe("testing.run", function()
  it("fails with the error raised in its function, traceback and all", function()
    local err = run.raises("in the test", testing.run, function() error "in the test" end)
    run.contains(err, "clock_spec.lua:")
    run.contains(err, "stack traceback")
    local value = {}
    local ok, got = pcall(testing.run, function() error(value) end)
    assert.is_false(ok)
    assert.equal(value, got)
  end)

  it("leaves nothing for the next one, however it ended", function()
    local late = {}
    for _ = 1, 3 do
      pcall(testing.run, function(t)
        decnet.defaults { restart = "always" }
        decnet.worker("w", function()
          local timer = uv.new_timer()
          timer:start(0, 1, function() late[#late + 1] = true end)
          decnet.spawn(run.stubborn)
          run.stubborn()
        end)
        t:advance(1)
        error "left in the middle"
      end)
      local before = #late
      testing.run(function(t)
        assert.is_nil(decnet.get "w")
        assert.same({}, decnet.status())
        assert.equal("on-failure", decnet.worker("w", function() end):options().restart)
        t:advance(1)
        assert.equal(before, #late)
      end)
    end
    run.raises("there is no host here", decnet.status)
  end)

  it("runs the cleanup of what is left when its function returns", function()
    local log = {}
    testing.run(function(t)
      decnet.worker("w", function(self)
        self:defer(function() log[#log + 1] = "defer" end)
        local _ <close> = setmetatable({}, { __close = function() log[#log + 1] = "close" end })
        run.forever()
      end)
      t:advance(1)
    end)
    assert.same({ "close", "defer" }, log)
  end)

  it("refuses declarations that do not fit together, at the first move", function()
    testing.run(function(t)
      decnet.worker { name = "a", run = run.forever, after = { "nobody" } }
      run.raises("nobody", t.advance, t, 1)
      run.raises("nobody", t.run_until, t, print)
      run.raises("nobody", t.stop, t)
    end)
  end)

  it("never ends its host by itself", function()
    testing.run(function(t)
      decnet.worker("w", function() end)
      t:advance(1000)
      decnet.worker("later", function() end)
      t:advance(1)
      assert.equal("done", t:status("later").state)
    end)
  end)

  it("stop returns the exit code, and status still answers", function()
    testing.run(function(t)
      decnet.worker("good", run.forever)
      decnet.worker { name = "bad", restart = "never", run = error }
      t:advance(1)
      assert.equal(0, t:stop())
      assert.same({ "stopped", "failed" }, { t:status("good").state, t:status("bad").state })
      assert.is_true(#t:events() > 0)
    end)
    testing.run(function(t)
      decnet.worker { name = "bad", restart = "never", essential = true, run = error }
      assert.equal(1, (t:advance(1) or t:stop()))
    end)
    testing.run(function(t) assert.equal(0, t:stop()) end)
  end)

  it("stop fails when the host does not stop", function()
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = math.huge, run = function()
        pcall(run.forever)
        decnet.shield(math.huge, run.forever)
      end }
      t:advance(1)
      run.raises("the host does not stop", t.stop, t)
    end)
  end)

  it("status fails for a name that nobody has, at the caller's line", function()
    testing.run(function(t)
      local _, err = pcall(function()
        t:status "nobody"
      end)
      run.contains(err, "clock_spec.lua:")
      run.contains(err, "nobody")
    end)
  end)

  it("loads a workers.lua, and says what is wrong with one", function()
    local path = os.tmpname()
    local function write(text)
      local file = assert(io.open(path, "w"))
      file:write(text)
      file:close()
    end
    local before = arg
    write [[
      local decnet = require "decnet"
      decnet.worker("declared", function() decnet.sleep(1) end)
      return { { "returned", function() end }, { name = (...), run = function() end } }
    ]]
    testing.run(function(t)
      t:load(path, "argument")
      t:advance(2)
      assert.same({ "done", "done", "done" }, { t:status("declared").state,
        t:status("returned").state, t:status("argument").state })
    end)
    write "error 'in the script'"
    testing.run(function(t) run.raises("in the script", t.load, t, path) end)
    write "this is not Lua"
    testing.run(function(t) run.raises(":1:", t.load, t, path) end)
    os.remove(path)
    testing.run(function(t) run.raises("no such file", t.load, t, path) end)
    _G.arg = before
  end)

  it("starts workers at once, though the test before preempted a start #host", function()
    testing.run(function(t)
      decnet.worker("endless", function() while true do end end)
      t:advance(0)
    end, { preempt_every = 100 })
    testing.run(function(t)
      local has_begun = false
      decnet.worker("next", function() has_begun = true end)
      t:advance(0)
      assert.is_true(has_begun)
    end)
  end)

  it("refuses options that it does not have, with the nearest", function()
    local function ignored() error "the function was called" end
    run.raises('testing.run: options: unknown option "sed"; did you mean "seed"?', testing.run,
      ignored, { sed = 3 })
    run.raises('testing.run: options: unknown option 1; there are seed, ', testing.run, ignored,
      { "seed" })
    run.raises("testing.run: options: expected a table, got 3", testing.run, ignored, 3)
  end)

  it("has a canary: a test that leaks a handle fails", function()
    -- luv's own function, behind the host's back
    local _, new_timer = debug.getupvalue(uv.new_timer, 1)
    local leaked
    run.raises("1 luv handle(s) are still open", testing.run, function()
      leaked = new_timer()
    end)
    leaked:close()
    testing.run(function() end)
  end)

  it("has a canary: a worker that does not end fails the spec", function()
    run.raises("has not ended", run.worker, run.forever, 1)
    run.raises("boom", run.worker, function() error "boom" end)
    run.raises("Expected", run.worker, function() assert.equal(1, 2) end)
  end)
end)
