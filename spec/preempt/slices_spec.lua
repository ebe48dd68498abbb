-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Who computes without waiting disturbs nobody, and can be stopped. The clock is virtual; a
-- preempted slice moves it by its real length.

local decnet = require "decnet"
local testing = require "decnet.testing"

local function run(fn)
  testing.run(fn, { slice = 0.01 })
end

local function spin()
  while true do end
end

local function never(t, name)
  return t:status(name).restarts == 0 and t:status(name).last_error == nil
end

-- A neighbour that ticks; returns a function that tells how often it has.
local function ticker()
  local ticks = 0
  decnet.worker("victim", function()
    while true do
      decnet.sleep(0.01)
      ticks = ticks + 1
    end
  end)
  return function() return ticks end
end

describe("a worker that computes without waiting", function()
  it("L03 lets a neighbour's ticker run", function()
    run(function(t)
      local ticks = ticker()
      decnet.worker("loop", spin)
      assert.is_true(t:run_until(function() return ticks() >= 5 end, 60))
      assert.is_true(never(t, "victim"))
      assert.equal("running", t:status("loop").state)
      assert.is_true(t:status("loop").preemptions > 0)
    end)
  end)

  it("L06 in a nested coroutine is preempted, and never reported as a finish", function()
    run(function(t)
      decnet.worker("loop", function()
        local co = coroutine.wrap(function()
          pcall(function() coroutine.wrap(spin)() end)
        end)
        co()
      end)
      t:advance(0.1)
      assert.equal("running", t:status("loop").state)
      assert.is_true(t:status("loop").preemptions > 0)
    end)
  end)

  it("gets its cancellation where it computes", function()
    run(function(t)
      local seen
      decnet.worker("loop", function()
        local ok, err = pcall(spin)
        seen = not ok and decnet.is_cancelled(err)
        error(err, 0)
      end)
      t:advance(0.05)
      assert.equal(0, t:stop())
      assert.is_true(seen)
      assert.equal("stopped", t:status("loop").state)
    end)
  end)

  it("gets each of its timeouts where it computes, and a cancellation after them", function()
    run(function(t)
      local results, seen = {}, nil
      decnet.worker("loop", function()
        results[1] = select(2, decnet.timeout(0.05, decnet.sleep, 1))
        for i = 2, 3 do
          results[i] = select(2, decnet.timeout(0.05, spin))
        end
        results[4] = select(2, decnet.timeout(0.05, coroutine.wrap(spin)))
        results[5] = select(2, decnet.timeout(0.05, function()
          coroutine.wrap(function() decnet.timeout(10, spin) end)()
        end))
        coroutine.wrap(function() results[6] = select(2, decnet.timeout(0.05, spin)) end)()
        local ok, err = pcall(spin)
        seen = not ok and decnet.is_cancelled(err)
      end)
      assert.is_true(t:run_until(function() return results[6] end, 10))
      assert.same({ "timeout", "timeout", "timeout", "timeout", "timeout", "timeout" }, results)
      t:advance(0.05)
      assert.equal(0, t:stop())
      assert.is_true(seen)
    end)
  end)

  it("gets a timeout of its cleanup, which a shield keeps its cancellation from", function()
    run(function(t)
      local result
      decnet.worker("loop", function()
        pcall(spin)
        decnet.shield(5, function() result = select(2, decnet.timeout(0.05, spin)) end)
      end)
      t:advance(0.05)
      assert.equal(0, t:stop())
      assert.equal("timeout", result)
    end)
  end)

  it("gets a timeout once, and what it does then is not hit again", function()
    run(function(t)
      local count, is_over = 0, false
      decnet.worker("loop", function()
        decnet.timeout(0.05, function()
          for _ = 1, 2 do
            count = count + (pcall(spin) and 0 or 1)
          end
        end)
        is_over = true
      end)
      t:advance(1)
      assert.equal(1, count)
      assert.is_false(is_over)
    end)
  end)

  -- Preempted right before the call of park, which leaves nothing to raise the cancellation in.
  it("cannot leave its cancellation to a neighbour", function()
    run(function(t)
      local find, park = string.find, decnet.park
      local text, pattern = ("a"):rep(60), (".-"):rep(4) .. "b"
      decnet.worker("loop", function()
        park(find(text, pattern))
      end)
      t:advance(0)
      assert.equal(1, t:status("loop").preemptions)
      decnet.get "loop":stop()
      decnet.worker("victim", spin)
      t:advance(0.05)
      assert.equal("stopped", t:status("loop").state)
      assert.is_true(t:status("victim").preemptions > 0)
      assert.is_true(never(t, "victim"))
    end)
  end)

  it("gets its cancellation in a nested coroutine as an error of that coroutine", function()
    run(function(t)
      local closed, ok, err
      decnet.worker("loop", function()
        ok, err = coroutine.resume(coroutine.create(function()
          local _ <close> = setmetatable({}, { __close = function() closed = true end })
          spin()
        end))
        error(err, 0)
      end)
      t:advance(0.05)
      assert.equal(0, t:stop())
      assert.is_true(closed)
      assert.is_false(ok)
      assert.is_true(decnet.is_cancelled(err))
    end)
  end)

  it("is not hit again in the cleanup that follows its cancellation", function()
    run(function(t)
      local cleaned = 0
      local function busy()
        local till = os.clock() + 0.04
        while os.clock() < till do end
        cleaned = cleaned + 1
      end
      decnet.worker("loop", function(self)
        self:defer(busy)
        local _ <close> = setmetatable({}, { __close = busy })
        local ok = pcall(spin)
        assert(not ok)
        busy()
      end)
      t:advance(0.05)
      assert.equal(0, t:stop())
      assert.equal(3, cleaned)
    end)
  end)

  it("is not hit in a __close by a cancellation that comes while it runs", function()
    run(function(t)
      local closed, err
      decnet.worker("loop", function()
        do
          local _ <close> = setmetatable({}, { __close = function()
            local till = os.clock() + 0.08
            while os.clock() < till do end
            closed = true
          end })
        end
        err = select(2, pcall(spin))
        error(err, 0)
      end)
      t:advance(0.02)
      assert.equal(0, t:stop())
      assert.is_true(closed)
      assert.is_true(decnet.is_cancelled(err))
    end)
  end)

  it("is killed after stop_timeout although it swallows every cancellation", function()
    run(function(t)
      local closed = false
      decnet.worker { "loop", stop_timeout = 0.05, run = function()
        local _ <close> = setmetatable({}, { __close = function() closed = true end })
        while true do
          pcall(spin)
        end
      end }
      t:advance(0.02)
      local began = t:now()
      assert.equal(0, t:stop())
      assert.is_true(closed)
      assert.is_true(t:now() - began >= 0.05)
      assert.equal("stopped", t:status("loop").state)
    end)
  end)

  it("raises where it cannot be preempted, after hang_timeout", function()
    run(function(t)
      decnet.worker { "sorter", hang_timeout = 0.05, restart = "never", run = function()
        table.sort({ 3, 1, 2 }, spin)
      end }
      decnet.worker("other", function() decnet.sleep(100) end)
      t:run_until(function() return t:status("sorter").state == "failed" end, 5)
      local message = t:status("sorter").last_error.message
      assert.truthy(message:find("hang_timeout", 1, true), message)
      assert.equal("running", t:status("other").state)
    end)
  end)

  it("is left alone inside decnet.atomic, and with preempt = false", function()
    run(function(t)
      local function busy(seconds)
        local till = os.clock() + seconds
        while os.clock() < till do end
      end
      decnet.worker("atomic", function() decnet.atomic(busy, 0.03) end)
      decnet.worker { "stubborn", preempt = false, run = function() busy(0.03) end }
      decnet.worker("other", function() decnet.sleep(100) end)
      t:advance(1)
      assert.is_true(t:status("atomic").preemptions <= 1) -- when it is no longer
      assert.equal(0, t:status("stubborn").preemptions)
      assert.equal("done", t:status("stubborn").state)
    end)
  end)

  it("keeps other tasks of its run waiting: code between awaits is atomic for it", function()
    testing.run(function(t)
      local torn = false
      decnet.worker("pair", function()
        local a, b = 0, 0
        decnet.spawn(function()
          while true do
            torn = torn or a ~= b
            decnet.yield()
          end
        end)
        for _ = 1, 200 do
          a = a + 1
          for _ = 1, 2000 do end
          b = b + 1
          if a % 10 == 0 then
            decnet.yield()
          end
        end
      end)
      t:advance(1)
      assert.is_false(torn)
    end, { preempt_every = 50 })
  end)

  it("leaves a worker alone that is not to be preempted", function()
    testing.run(function(t)
      local others, seen = 0, nil
      decnet.worker { name = "alone", preempt = false, run = function()
        local before = others
        for _ = 1, 10000 do end
        seen = others - before
      end }
      decnet.worker("other", function()
        for _ = 1, 100 do
          others = others + 1
          decnet.yield()
        end
      end)
      t:advance(1)
      assert.equal(0, seen)
      assert.equal(0, t:status("alone").preemptions)
    end, { preempt_every = 50 })
  end)

  it("leaves no hook in coroutines that outlive the host", function()
    local first, second
    local function count()
      local n = 0
      for i = 1, 1000 do
        n = n + i
      end
      return n
    end
    testing.run(function(t)
      decnet.worker("w", function()
        first, second = coroutine.create(count), coroutine.create(count)
        count()
      end)
      t:advance(1)
    end, { preempt_every = 50 })
    assert.same({ true, 500500 }, { coroutine.resume(first) })
    local got
    testing.run(function(t)
      decnet.worker("w", function() got = { coroutine.resume(second) } end)
      t:advance(1)
    end)
    assert.same({ true, 500500 }, got)
  end)

  it("keeps the user's own hook", function()
    run(function(t)
      local lines = 0
      decnet.worker("hooked", function()
        debug.sethook(function() lines = lines + 1 end, "l")
        local till = os.clock() + 0.05
        while os.clock() < till do
          local _ = 1
        end
        local before = lines
        local _ = 1
        _ = 2
        assert(lines > before, "the hook is gone")
        debug.sethook()
      end)
      decnet.worker("other", function() while true do decnet.sleep(0.001) end end)
      t:run_until(function() return t:status("hooked").state == "done" end, 10)
      assert.equal("done", t:status("hooked").state)
    end)
  end)

  -- A signal can come between any two instructions, also while Lua is about to call a hook.
  it("is preempted again and again, whenever the signals come", function()
    local uv = require "luv"
    local began, is_enough = uv.hrtime(), false
    local function is_over(seconds) return uv.hrtime() > began + seconds * 1e9 end
    local storm = uv.new_thread(function(pid, until_ns)
      local luv = require "luv"
      while luv.hrtime() < until_ns do
        luv.kill(pid, "sigurg")
      end
    end, uv.os_getpid(), began + 3000000000)
    finally(function() storm:join() end)
    testing.run(function(t)
      decnet.worker { name = "loop", hang_timeout = 60, run = function()
        while not is_enough and not is_over(20) do
          string.gsub("a", ".", function() for _ = 1, 1000 do end end)
        end
      end }
      while not is_over(3) do t:advance(0.01) end
      local enough = t:status("loop").preemptions + 5
      assert.is_true(t:run_until(function() return t:status("loop").preemptions > enough end, 60))
      is_enough = true
    end, { slice = 0.0005 })
  end)

  -- Each found by a hostile reviewer: a wish that could not be obeyed at once was forgotten.
  local RESTLESS = {
    ["sorts without end, a little at a time"] = function()
      local list = {}
      while true do
        for i = 1, 1000 do
          list[i] = i * 7919 % 1009
        end
        table.sort(list, function(a, b) return a < b end)
      end
    end,
    ["replaces without end, a little at a time"] = function()
      local text = ("a"):rep(1000)
      while true do
        text:gsub(".", function() local _ = {} end)
      end
    end,
    ["runs coroutines whose body is a C function"] = function()
      local wrap, rep = coroutine.wrap, string.rep
      while true do
        wrap(rep)("x", 1e5)
      end
    end,
    ["is atomic again and again"] = function()
      while true do
        decnet.atomic(function() for _ = 1, 1e4 do end end)
      end
    end,
  }

  for what, body in pairs(RESTLESS) do
    it("is preempted though it " .. what, function()
      run(function(t)
        local ticks = ticker()
        decnet.worker { name = "loop", hang_timeout = 2, run = body }
        assert.is_true(t:run_until(function() return t:status("loop").preemptions >= 20 end, 60))
        assert.is_true(ticks() >= 10)
        assert.is_true(never(t, "loop"))
      end)
    end)
  end

  it("is broken off by hang_timeout though it is over its max_memory all the time #host", function()
    run(function(t)
      decnet.worker { name = "loop", restart = "never", hang_timeout = 0.1, max_memory = "1M",
        run = function()
          ("a"):rep(1000):gsub(".", function()
            while true do
              local _ = ("x"):rep(1000000)
            end
          end)
        end }
      t:run_until(function() return t:status("loop").state == "failed" end, 60)
      assert.matches("hang_timeout", t:status("loop").last_error.message)
    end)
  end)

  it("is known by name and place once it has had the CPU for long", function()
    run(function(t)
      local first, last
      local clock = os.clock -- a global is looked up in a Lua function of busted's
      decnet.worker("quick", function() first = t.host:holder() end)
      decnet.worker("loop", function()
        decnet.atomic(function()
          local till = clock() + 5
          repeat
            last = t.host:holder()
          until last and last.line or clock() > till
        end)
      end)
      t:advance(0)
      assert.is_nil(first)
      assert.equal("loop", last.worker)
      assert.equal(1, last.run)
      assert.truthy(last.line:find "slices_spec.lua:%d+$", last.line)
      assert.is_nil(t.host:holder())
    end)
  end)

  it("shares the CPU fairly", function()
    run(function(t)
      local counts = { 0, 0 }
      for i = 1, 2 do
        decnet.worker("loop" .. i, function()
          while true do counts[i] = counts[i] + 1 end
        end)
      end
      t:advance(0.4)
      local share = counts[1] / (counts[1] + counts[2])
      assert.is_true(share > 0.25 and share < 0.75, "share " .. share)
    end)
  end)
end)
