-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

describe("decnet.spawn", function()
  it("runs a task of the same run, after the spawner gives way", function()
    run.worker(function(self)
      local log = {}
      local task = decnet.spawn(function(...)
        log[#log + 1] = table.concat({ ... }, ",")
        assert(decnet.current() == self)
        return 1, nil, 3
      end, "a", "b")
      assert.same({}, log)
      assert.same({ 1, nil, 3, n = 3 }, table.pack(task:join()))
      assert.same({ "a,b" }, log)
      assert.same({ 1, nil, 3, n = 3 }, table.pack(task:join()))
    end)
  end)

  it("takes a thousand arguments and returns a thousand results", function()
    run.worker(function()
      local task = decnet.spawn(function(...) return ... end, table.unpack({}, 1, 1000))
      assert.equal(1000, select("#", task:join()))
      assert.equal(5000, select("#", decnet.spawn(function()
        return table.unpack({}, 1, 5000)
      end):join()))
    end)
  end)

  it("starts tasks in order", function()
    run.worker(function()
      local order = {}
      for i = 1, 100 do
        decnet.spawn(function() order[i] = #order + 1 end)
      end
      decnet.yield()
      for i = 1, 100 do
        assert.equal(i, order[i])
      end
    end)
  end)

  it("is refused outside of tasks", function()
    run.raises("only a worker has tasks", decnet.spawn, print)
    testing.run(function() run.raises("only a worker has tasks", decnet.spawn, print) end)
  end)

  it("names a bad function at the caller's line", function()
    run.worker(function()
      local _, err = pcall(function()
        decnet.spawn(5)
      end)
      run.contains(err, "spawn_spec.lua:")
      run.contains(err, "fn: a function expected, got number")
    end)
  end)

  it("C19 its crash is the run's crash", function()
    local crash = run.crash(function()
      decnet.spawn(function()
        decnet.sleep(1)
        error "in a task"
      end)
      run.forever()
    end)
    run.contains(crash.error, "in a task")
    run.contains(crash.traceback, "spawn_spec.lua:")
    run.near(1, crash.at, 1e-4)
  end)

  it("lets siblings clean up after the crash of one", function()
    testing.run(function(t)
      local log = {}
      decnet.worker { name = "w", restart = "never", run = function()
        decnet.spawn(function()
          local ok, err = pcall(run.forever)
          log[#log + 1] = not ok and decnet.is_cancelled(err) and "sibling"
          decnet.shield(5, decnet.sleep, 1)
          log[#log + 1] = "later"
        end)
        decnet.spawn(function()
          decnet.sleep(1)
          error "boom"
        end)
        pcall(run.forever)
        log[#log + 1] = "main"
      end }
      t:advance(1.5)
      assert.equal("closing", t:status("w").state)
      t:advance(2)
      table.sort(log)
      assert.same({ "later", "main", "sibling" }, log)
      assert.equal("failed", t:status("w").state)
    end)
  end)

  it("ends all tasks of the run when main returns", function()
    testing.run(function(t)
      local log = {}
      decnet.worker("w", function()
        for i = 1, 5 do
          decnet.spawn(function()
            local ok, err = pcall(run.forever)
            assert(not ok and decnet.is_cancelled(err))
            log[#log + 1] = i
          end)
        end
        decnet.spawn(error, "never started")
        decnet.sleep(0)
        decnet.spawn(error, "never started either")
      end)
      t:advance(1)
      assert.is_nil(t:status("w").last_error and t:status("w").last_error.message:find "either")
      assert.equal(5, #log)
    end)
  end)

  it("never starts a task that was spawned in the last slice", function()
    testing.run(function(t)
      local started
      decnet.worker("w", function() decnet.spawn(function() started = true end) end)
      t:advance(1)
      assert.is_nil(started)
      assert.same({ "done", 0 }, { t:status("w").state, t:status("w").tasks })
    end)
  end)

  it("keeps the run queue whole when tasks are ended before they started", function()
    testing.run(function(t)
      local others = 0
      for i = 1, 10 do
        decnet.worker("short" .. i, function() decnet.spawn(print, "not to be seen") end)
        decnet.worker("long" .. i, function()
          decnet.yield()
          others = others + 1
          run.forever()
        end)
      end
      t:advance(1)
      assert.equal(10, others)
    end)
  end)

  it("is possible in a deferred function, which then waits for it", function()
    testing.run(function(t)
      local log = {}
      decnet.worker("w", function(self)
        self:defer(function()
          log[#log + 1] = decnet.spawn(function()
            decnet.sleep(1)
            return "spawned"
          end):join()
        end)
      end)
      t:advance(2)
      assert.same({ "spawned" }, log)
      assert.equal("done", t:status("w").state)
    end)
  end)
end)

describe("join", function()
  it("returns nil, crashed or cancelled where there are no results", function()
    testing.run(function(t)
      local seen = {}
      local task
      decnet.worker { name = "w", restart = "never", run = function()
        local cancelled = decnet.spawn(run.forever)
        decnet.yield()
        cancelled:cancel()
        seen.cancelled = table.pack(cancelled:join())
        local unstarted = decnet.spawn(run.forever)
        unstarted:cancel()
        seen.unstarted = table.pack(unstarted:join())
        task = decnet.spawn(error, "boom")
        run.forever()
      end }
      decnet.worker("other", function()
        decnet.sleep(1)
        seen.crashed = table.pack(task:join())
      end)
      t:advance(5)
      assert.same({ nil, "cancelled", n = 2 }, seen.cancelled)
      assert.same({ nil, "cancelled", n = 2 }, seen.unstarted)
      assert.same({ nil, "crashed", n = 2 }, seen.crashed)
    end)
  end)

  it("returns nil, timeout after its time", function()
    run.worker(function()
      local task = decnet.spawn(decnet.sleep, 5)
      assert.same({ nil, "timeout", n = 2 }, table.pack(task:join(1)))
      run.near(1, decnet.now(), 1e-4)
      assert.equal(0, select("#", task:join(10)))
      run.near(5, decnet.now(), 1e-4)
      run.raises("seconds", task.join, task, -1)
      run.raises("seconds", task.join, task, "x")
    end)
  end)

  it("wakes all who wait, in order", function()
    run.worker(function()
      local task, order = decnet.spawn(decnet.sleep, 1), {}
      for i = 1, 5 do
        decnet.spawn(function()
          task:join()
          order[#order + 1] = i
        end)
      end
      decnet.sleep(2)
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)
  end)

  it("of oneself is refused, and of a circle can be cancelled", function()
    run.worker(function()
      local me
      me = decnet.spawn(function() run.raises("cannot wait for itself", me.join, me) end)
      me:join()
      local a, b
      a = decnet.spawn(function() b:join() end)
      b = decnet.spawn(function() a:join() end)
      decnet.yield()
      a:cancel()
      a:join()
      b:join()
    end)
  end)

  it("of a task of another worker returns when that is killed", function()
    testing.run(function(t)
      local task, result
      decnet.worker { name = "a", stop_timeout = 0, run = function()
        task = decnet.spawn(run.stubborn)
        run.forever()
      end }
      decnet.worker("b", function() result = table.pack(task:join()) end)
      t:advance(1)
      decnet.get("a"):stop()
      t:advance(1)
      assert.same({ nil, "cancelled", n = 2 }, result)
    end)
  end)

  it("refuses what is no task", function()
    run.worker(function()
      local task = decnet.spawn(print)
      task:cancel()
      run.raises("decnet.task expected", task.join, 5)
      run.raises("decnet.task expected", task.cancel, {})
    end)
  end)
end)

describe("decnet.atomic", function()
  it("refuses every wait inside, and passes results", function()
    run.worker(function()
      local function same(...) return ... end
      assert.same({ 1, nil, n = 2 }, table.pack(decnet.atomic(same, 1, nil)))
      local channel, event = decnet.channel(), decnet.event()
      local task = decnet.spawn(run.forever)
      for what, fn in pairs {
        sleep = function() decnet.sleep(1) end,
        yield = function() decnet.yield() end,
        park = function() decnet.park() end,
        ["coroutine.yield"] = function() coroutine.yield() end,
        await = function() decnet.await(print) end,
        recv = function() channel:recv() end,
        send = function() channel:send(1) end,
        wait = function() event:wait() end,
        join = function() task:join() end,
      } do
        run.raises("inside decnet.atomic", decnet.atomic, fn)
        run.contains(run.raises(what, decnet.atomic, fn), "cannot wait")
      end
      decnet.sleep(1) -- after an error inside, waiting is possible again
      run.raises("inside decnet.atomic", decnet.atomic, decnet.atomic, decnet.sleep, 1)
      decnet.sleep(1)
    end)
  end)

  it("allows what needs no waiting", function()
    run.worker(function()
      local channel, event = decnet.channel(1), decnet.event()
      decnet.atomic(function()
        assert(channel:send(1))
        assert.equal(1, (channel:recv()))
        event:set()
        decnet.spawn(print):cancel()
        assert.equal("a", coroutine.wrap(function() coroutine.yield "a" end)())
      end)
    end)
  end)

  it("refuses waits in a nested coroutine too", function()
    run.worker(function()
      run.raises("inside decnet.atomic", decnet.atomic, coroutine.wrap(function()
        decnet.sleep(1)
      end))
    end)
  end)

  it("is a plain call outside of tasks", function()
    assert.equal(5, decnet.atomic(function(x) return x end, 5))
    assert.equal(5, decnet.shared(function(x) return x end, 5))
  end)
end)

describe("decnet.shared", function()
  it("lets what it opens live longer than the run", function()
    local uv = require "luv"
    testing.run(function(t)
      local timer, other
      decnet.worker("w", function()
        timer = decnet.shared(uv.new_timer)
        other = uv.new_timer()
        decnet.shared(function()
          decnet.sleep(1)
          assert.equal(1, t:status("w").handles)
        end)
        assert.equal(1, t:status("w").handles)
      end)
      t:advance(2)
      assert.equal("done", t:status("w").state)
      assert.is_false(timer:is_closing())
      assert.is_true(other:is_closing())
    end)
  end)

  it("is not in force while a generator inside it is suspended, or was closed", function()
    local uv = require "luv"
    run.worker(function(_, t)
      local function opened_outside(co)
        local before = t:status("w").handles
        uv.new_timer()
        assert.equal(before + 1, t:status("w").handles)
        return co
      end
      local co = coroutine.create(function()
        decnet.shared(function()
          coroutine.yield()
          uv.new_timer()
        end)
        uv.new_timer()
      end)
      coroutine.resume(co)
      opened_outside()
      assert.is_true(coroutine.resume(co))
      assert.equal(2, t:status("w").handles)
      co = coroutine.create(function() decnet.shared(coroutine.yield) end)
      coroutine.resume(co)
      coroutine.close(co)
      opened_outside()
      co = opened_outside(coroutine.resume(coroutine.create(function()
        decnet.shared(coroutine.yield)
      end)))
      collectgarbage()
      opened_outside(co)
    end)
  end)

  it("opens where nobody can wait, too", function()
    local uv = require "luv"
    run.worker(function(_, t)
      table.sort({ 2, 1 }, function() return not decnet.shared(uv.new_timer) end)
      assert.equal(0, t:status("w").handles)
    end)
  end)

  it("passes errors and leaves its bound", function()
    local uv = require "luv"
    run.worker(function(_, t)
      run.raises("inside", decnet.shared, error, "inside")
      uv.new_timer()
      assert.equal(1, t:status("w").handles)
    end)
  end)
end)

describe("decnet.now and decnet.current", function()
  it("say the time and whose task it is", function()
    assert.equal("number", type(decnet.now()))
    assert.is_nil(decnet.current())
    run.worker(function(self)
      assert.equal(0, decnet.now())
      assert(decnet.current() == self)
      coroutine.wrap(function() assert(decnet.current() == self) end)()
      decnet.sleep(1)
      assert(decnet.current() == self)
      assert.equal(1, decnet.now())
    end)
  end)
end)
