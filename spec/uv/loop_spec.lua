-- SPDX-License-Identifier: AGPL-3.0-or-later
-- uv.run and what else speaks of a loop, in a worker: of what its run opened, and of nothing else.
local decnet = require "decnet"
local real = require "spec.support.real"
local run = require "spec.support.run"
local testing = require "decnet.testing"
local uv = require "luv"

describe("uv.run in a worker", function()
  it("returns at once where there is nothing to wait for", function()
    real.worker(function()
      assert.is_false(uv.run())
      assert.is_false(uv.run "once")
      assert.is_false(uv.run "nowait")
      run.raises("bad argument #1", uv.run, "never")
    end)
  end)

  it("waits until the last handle is stopped", function()
    real.worker(function()
      local timer, said = uv.new_timer(), {}
      timer:start(1, 1, function()
        said[#said + 1] = #said + 1
        if #said == 3 then
          timer:stop()
        end
      end)
      assert.is_false(uv.run())
      assert.same({ 1, 2, 3 }, said)
      assert.is_false(uv.loop_alive())
    end)
  end)

  it("waits for a close callback, and not for a handle without a reference", function()
    real.worker(function()
      local timer, closed = uv.new_timer(), false
      timer:start(1e6, 0, function() end)
      timer:unref()
      assert.is_false(uv.run())
      timer:ref()
      assert.is_true(uv.loop_alive())
      timer:close(function()
        closed = true
      end)
      assert.is_false(uv.run())
      assert.is_true(closed)
    end)
  end)

  it("waits for a callback that waits", function()
    real.worker(function()
      local timer, is_done = uv.new_timer(), false
      timer:start(1, 0, function()
        timer:close()
        decnet.sleep(0.01)
        is_done = true
      end)
      uv.run()
      assert.is_true(is_done)
    end)
  end)

  it("waits for another task of the run", function()
    real.worker(function()
      local is_done = false
      decnet.spawn(function()
        decnet.sleep(1)
        is_done = true
      end)
      uv.run()
      assert.is_true(is_done)
    end)
  end)

  it("waits for requests, with and without a callback", function()
    local dir, remove = real.temp_dir()
    real.worker(function()
      local seen
      uv.fs_stat(dir, function(err, stat)
        seen = err or stat.type
      end)
      uv.run()
      assert.equal("directory", seen)

      local server, got = uv.new_tcp(), ""
      server:bind("127.0.0.1", 0)
      server:listen(1, function()
        local peer = uv.new_tcp()
        server:accept(peer)
        server:close()
        peer:read_start(function(_, data)
          got = got .. (data or "")
          if not data then
            peer:close()
          end
        end)
      end)
      local client = uv.new_tcp()
      client:connect("127.0.0.1", server:getsockname().port, function(err)
        assert(not err, err)
        client:write "hello"
        client:write " there"
        client:shutdown()
      end)
      uv.run()
      assert.equal("hello there", got)
      client:close()
      uv.run()
    end)
    remove()
  end)

  it("waits for a child", function()
    real.worker(function()
      local code, child
      child = uv.spawn("sh", { args = { "-c", "exit 7" } }, function(status)
        code = status
        child:close()
      end)
      assert(child)
      uv.run()
      assert.equal(7, code)
    end)
  end)

  it("waits for queued work", function()
    real.worker(function()
      local results = {}
      local work = uv.new_work(function(n)
        return n * n
      end, function(n)
        results[#results + 1] = math.tointeger(n)
      end)
      work:queue(3)
      uv.queue_work(work, 4)
      uv.run()
      table.sort(results)
      assert.same({ 9, 16 }, results)
    end)
  end)

  -- luv read what it had freed, where it dumped a function of more than a kilobyte itself: what the
  -- thread got was no function any more, or the process ended.
  it("waits for work and threads whose functions are long", function()
    real.worker(function(self)
      local lines = {}
      for i = 1, 200 do lines[i] = ("n = n + #%q"):format(("x"):rep(40) .. i) end
      local code = "local n, path = ... " .. table.concat(lines, " ")
      local length = 200 * 40 + 9 + 90 * 2 + 101 * 3
      for _ = 1, 10 do
        local result
        uv.new_work(assert(load(code .. " return n")), function(n) result = n end):queue(0)
        uv.run()
        assert.equal(length, result)
      end
      local path = os.tmpname()
      self:defer(function() os.remove(path) end)
      local thread = assert(load(code .. " local f = io.open(path, 'w') f:write(n) f:close()"))
      uv.new_thread({ stack_size = 0 }, thread, 0, path):join()
      uv.new_thread(thread, 0, path):join()
      local file <close> = io.open(path)
      assert.equal(tostring(length), file:read "a")
    end)
  end)

  it("once: ends with the next callback", function()
    real.worker(function()
      local timer, n = uv.new_timer(), 0
      timer:start(1, 1, function()
        n = n + 1
      end)
      assert.is_true(uv.run "once")
      assert.equal(1, n)
      assert.is_true(uv.run "once")
      assert.equal(2, n)
      timer:close()
      assert.is_false(uv.run "once")
      assert.is_false(uv.run "once")
    end)
  end)

  it("nowait: calls what is ready, and waits for nothing", function()
    real.worker(function()
      local timer, n = uv.new_timer(), 0
      timer:start(0, 0, function()
        n = n + 1
      end)
      local closed = false
      assert.is_false(uv.run "nowait")
      assert.equal(1, n)
      timer:start(1e6, 0, function() end)
      assert.is_true(uv.run "nowait")
      timer:close(function()
        closed = true
      end)
      assert.is_false(uv.run "nowait")
      assert.is_true(closed)
    end)
  end)

  it("can be turned by hand beside others", function()
    testing.run(function(t)
      local turns, ticks = 0, 0
      decnet.worker("spinner", function()
        while true do
          uv.run "nowait"
          turns = turns + 1
        end
      end)
      decnet.worker("ticker", function()
        while true do
          decnet.sleep(1e-5)
          ticks = ticks + 1
        end
      end)
      t:advance(0.001)
      assert(turns > 50, turns)
      assert(ticks > 50, ticks)
    end)
  end)

  it("is ended by uv.stop, also when that comes first", function()
    real.worker(function()
      local timer = uv.new_timer()
      timer:start(1, 0, uv.stop)
      local forever = uv.new_timer()
      forever:start(1e6, 0, function() end)
      assert.is_true(uv.run())
      uv.stop()
      assert.is_true(uv.run())
      timer:start(1, 0, uv.stop)
      assert.is_true(uv.run())
    end)
  end)

  it("once: is ended by uv.stop, too", function()
    real.worker(function()
      uv.new_timer():start(100000, 0, function() end)
      local task = decnet.spawn(uv.run, "once")
      decnet.yield()
      assert.is_not_equal("ended", task:join(0))
      uv.stop()
      assert.is_boolean((task:join()))
    end)
  end)

  it("says its mode", function()
    real.worker(function()
      local timer, modes = uv.new_timer(), {}
      assert.is_nil(uv.loop_mode())
      for _, mode in ipairs { "default", "once" } do
        timer:start(0, 0, function()
          modes[#modes + 1] = uv.loop_mode()
        end)
        uv.run(mode)
      end
      assert.same({ "default", "once" }, modes)
    end)
  end)

  it("speaks of its own run only", function()
    testing.run(function(t)
      local seen, alive, closed
      decnet.worker("neighbour", function()
        uv.new_timer():start(1e6, 0, function() end)
        decnet.sleep(math.huge)
      end)
      decnet.worker("w", function()
        decnet.yield()
        alive, closed = uv.loop_alive(), uv.loop_close()
        local timer = uv.new_timer()
        seen = 0
        uv.walk(function(handle)
          assert.equal(timer, handle)
          seen = seen + 1
        end)
        assert.same({ nil, "EBUSY: resource busy or locked", "EBUSY" }, { uv.loop_close() })
        uv.walk(uv.close)
        uv.run()
        assert.equal(0, uv.loop_close())
      end)
      t:advance(0)
      real.poll(t, function() return t:status("w").state == "done" end)
      assert.equal(1, seen)
      assert.is_false(alive)
      assert.equal(0, closed)
      assert.equal("running", t:status("neighbour").state)
    end)
  end)

  it("can be cancelled, and names itself", function()
    testing.run(function(t)
      local err
      decnet.worker("w", function()
        uv.new_timer():start(1e6, 0, function() end)
        local ok
        ok, err = pcall(uv.run)
        assert(not ok)
        error(err, 0)
      end)
      t:advance(1)
      decnet.get("w"):stop()
      t:advance(1)
      assert.equal("stopped", t:status("w").state)
      assert(decnet.is_cancelled(err))
    end)
  end)

  it("is left by the error of a callback", function()
    local crash = run.crash(function()
      local timer = uv.new_timer()
      timer:start(0, 0, function()
        error "from the callback"
      end)
      uv.run()
    end)
    assert.matches("from the callback", crash.error)
  end)

  it("is refused while the script loads", function()
    testing.run(function()
      run.raises("the workers start when the script has returned", uv.run)
      run.raises("uv.stop: the workers start", uv.stop)
    end)
  end)
end)
