-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function closing(fn)
  return setmetatable({}, { __close = fn })
end

describe("a cancellation", function()
  it("is decnet.cancelled, and says so", function()
    assert.equal("cancelled", tostring(decnet.cancelled))
    assert.is_true(decnet.is_cancelled(decnet.cancelled))
    for _, other in ipairs { "cancelled", 5, {}, io.stdout } do
      assert.is_false(decnet.is_cancelled(other))
    end
    assert.is_false(decnet.is_cancelled(nil))
    assert.is_false(decnet.is_cancelled())
  end)

  it("arrives at every kind of wait, and at each later one", function()
    local channel, event = decnet.channel(), decnet.event()
    local full = decnet.channel(1)
    full:try_send(1)
    local forever = decnet.event()
    local waits = {
      sleep = function() decnet.sleep(100) end,
      ["sleep 0"] = function() while true do decnet.sleep(0) end end,
      yield = function() while true do decnet.yield() end end,
      park = function() decnet.park() end,
      ["coroutine.yield"] = function() while true do coroutine.yield() end end,
      ["parked yield"] = function()
        coroutine.running()
        coroutine.yield()
      end,
      await = function() decnet.await(function() end) end,
      recv = function() channel:recv() end,
      send = function() full:send(1) end,
      wait = function() event:wait() end,
      join = function() decnet.spawn(forever.wait, forever):join() end,
      timeout = function() decnet.timeout(100, decnet.sleep, 200) end,
      nested = function() coroutine.wrap(decnet.sleep)(100) end,
      iter = function() for _ in channel:iter() do end end, -- luacheck: ignore 542
    }
    for what, wait in pairs(waits) do
      testing.run(function(t)
        local caught = {}
        decnet.worker("w", function()
          for i = 1, 3 do
            caught[i] = select(2, pcall(wait))
          end
          -- what would not have to wait is an await still
          caught[4] = select(2, pcall(full.recv, full))
          caught[5] = select(2, pcall(channel.send, channel, 1))
          forever:set()
          caught[6] = select(2, pcall(forever.wait, forever))
        end)
        t:advance(0.01)
        assert.same({}, caught)
        t:stop()
        for i = 1, 6 do
          assert.is_true(decnet.is_cancelled(caught[i]), ("%s, %d: %s"):format(what, i,
            tostring(caught[i])))
        end
        assert.equal("stopped", t:status("w").state)
        assert.equal(1, #full)
        forever:clear()
      end)
    end
  end)

  it("gives way for one turn each time, so that nobody holds the loop", function()
    testing.run(function(t)
      local swallowed, neighbour = 0, 0
      decnet.worker { name = "swallower", stop_timeout = 0.001, run = function()
        while true do
          pcall(decnet.sleep, 1)
          swallowed = swallowed + 1
        end
      end }
      decnet.worker("neighbour", function()
        while true do
          decnet.yield()
          neighbour = neighbour + 1
        end
      end)
      t:advance(0.001)
      local before = neighbour
      decnet.get("swallower"):stop()
      t:advance(0.002)
      assert.is_true(swallowed > 500)
      assert.is_true(neighbour - before > 500)
    end)
  end)

  it("of a task reaches this task only, and is sticky", function()
    run.worker(function()
      local count = 0
      local task = decnet.spawn(function()
        for _ = 1, 5 do
          if decnet.is_cancelled(select(2, pcall(decnet.sleep, 100))) then
            count = count + 1
          end
        end
        return "ended by itself"
      end)
      decnet.sleep(1)
      task:cancel()
      task:cancel()
      assert.equal("ended by itself", (task:join()))
      assert.equal(5, count)
      decnet.sleep(1)
      task:cancel()
    end)
  end)

  it("of oneself arrives at the next wait", function()
    run.worker(function()
      local me, after
      me = decnet.spawn(function()
        me:cancel()
        after = true
        decnet.sleep(1)
        after = "never"
      end)
      assert.same({ nil, "cancelled" }, { me:join() })
      assert.is_true(after)
    end)
  end)

  it("that comes when a task is about to go on arrives at its next wait", function()
    run.worker(function()
      local event, got = decnet.event(), {}
      local task = decnet.spawn(function()
        got[1] = event:wait()
        got[2] = pcall(decnet.sleep, 1)
      end)
      decnet.yield()
      event:set()
      task:cancel()
      task:join()
      assert.same({ true, false }, got)
    end)
  end)

  it("that nobody asked for is a crash", function()
    for _, fn in ipairs {
      function() error(decnet.cancelled, 0) end,
      function() error(decnet.cancelled) end,
      function()
        decnet.spawn(error, decnet.cancelled)
        run.forever()
      end,
      function() coroutine.wrap(error)(decnet.cancelled) end,
      function() decnet.timeout(1, error, decnet.cancelled) end,
    } do
      local crash = run.crash(fn)
      assert.equal("cancelled", crash.error)
    end
  end)

  it("that is kept and raised later is a crash", function()
    local kept
    local crash = run.crash(function()
      decnet.timeout(1, function() kept = select(2, pcall(decnet.sleep, 5)) end)
      error(kept, 0)
    end)
    assert.equal("cancelled", crash.error)
  end)

  it("turned into another error is a failure while stopping", function()
    testing.run(function(t)
      decnet.worker("w", function()
        local ok, err = pcall(run.forever)
        error("wrapped: " .. tostring(err) .. tostring(ok), 0)
      end)
      t:advance(1)
      t:stop()
      assert.equal("wrapped: cancelledfalse", t:status("w").last_error.message)
      assert.equal("stopped", t:status("w").state)
    end)
  end)

  it("lets <close> variables and handlers wait, shielded, inner ones first", function()
    testing.run(function(t)
      local log = {}
      decnet.worker("w", function()
        local _ <close> = closing(function()
          decnet.shield(1, decnet.sleep, 0.1)
          log[#log + 1] = "outer"
        end)
        coroutine.wrap(function()
          -- a coroutine that dies is closed from outside, as in stock Lua: no wait there
          local _ <close> = closing(function()
            log[#log + 1] = select(2, pcall(decnet.shield, 1, decnet.sleep, 0.1))
          end)
          xpcall(function()
            local _ <close> = closing(function()
              decnet.shield(1, decnet.sleep, 0.1)
              log[#log + 1] = "inner"
            end)
            run.forever()
          end, debug.traceback)
          error(decnet.cancelled, 0)
        end)()
      end)
      t:advance(1)
      t:stop()
      assert.same({ "inner", "outer" }, { log[1], log[3] })
      run.contains(log[2], "cannot wait inside")
      run.near(1.2, t:now(), 1e-3)
      assert.equal(0, #run.events(t, "crash"))
    end)
  end)

  it("can be told by code that asks before it works", function()
    testing.run(function(t)
      local loops = 0
      decnet.worker("w", function()
        while pcall(decnet.yield) do
          loops = loops + 1
        end
      end)
      t:advance(0.0001)
      t:stop()
      assert.is_true(loops > 50)
      assert.equal("stopped", t:status("w").state)
    end)
  end)
end)
