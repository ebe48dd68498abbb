-- SPDX-License-Identifier: AGPL-3.0-or-later
-- luv called in ways that it refuses, outside of workers, and with handles that go in the middle.
local decnet = require "decnet"
local testing = require "decnet.testing"
local real = require "spec.support.real"
local uv = require "luv"

describe("luv in a worker", function()
  it("takes a table that can be called for a callback, and no other one", function()
    real.worker(function()
      local timer, calls = uv.new_timer(), 0
      assert(timer:start(0, 0, setmetatable({}, { __call = function() calls = calls + 1 end })))
      real.wait(function() return calls == 1 end)
      assert.has_error(function() timer:start(0, 0, {}) end)
      assert.has_error(function() uv.fs_stat(".", {}) end)
      assert.has_error(function() uv.fs_stat(".", 5) end)
      timer:close()
    end)
  end)

  it("refuses what is no handle as luv does, and handles that are closed by a code", function()
    real.worker(function()
      for _, call in ipairs { uv.close, uv.timer_start, uv.read_start, uv.tcp_bind } do
        for _, wrong in ipairs { 5, "x", {}, io.stdout } do
          assert.has_error(function() call(wrong, 0, 0, function() end) end)
        end
        assert.has_error(function() call() end)
      end
      local timer = uv.new_timer()
      timer:close()
      assert.same({ nil, "EINVAL: the handle is closed", "EINVAL" },
        { timer:start(1, 0, function() end) })
      assert.has_error(function() timer:close() end)
      assert.has_error(function() uv.new_signal():start("sigwhat", function() end) end)
      assert.has_error(function() uv.new_signal():start(function() end) end)
    end)
  end)

  it("takes signals by name and by number", function()
    real.worker(function()
      local seen = {}
      for _, name in ipairs { "sigusr2", 12 } do
        local signal = uv.new_signal()
        assert(signal:start(name, function(which) seen[#seen + 1] = which end))
        uv.kill(uv.os_getpid(), "sigusr2")
        local before = #seen
        real.wait(function() return #seen > before end)
        signal:close()
      end
      assert.same({ "sigusr2", "sigusr2" }, seen)
    end)
  end)

  it("opens sockets of a family, in words or in a table", function()
    real.worker(function()
      for _, udp in ipairs { uv.new_udp(), uv.new_udp "inet", uv.new_udp { family = "inet" } } do
        assert(udp:bind("127.0.0.1", 0))
        udp:close()
      end
      local tcp = uv.new_tcp "inet"
      assert(tcp:fileno() > 2)
      tcp:close()
    end)
  end)

  it("calls nobody back whose handle was closed by a callback", function()
    real.worker(function()
      local calls = { stream = 0, udp = 0, poll = 0 }
      local fds = assert(uv.socketpair())
      local a, b = uv.new_tcp(), uv.new_tcp()
      a:open(fds[1])
      b:open(fds[2])
      b:read_start(function()
        calls.stream = calls.stream + 1
        b:close()
        decnet.yield()
      end)
      a:write { "one", "two" }
      local from, to = uv.new_udp(), uv.new_udp()
      to:bind("127.0.0.1", 0)
      to:recv_start(function()
        calls.udp = calls.udp + 1
        if not to:is_closing() then to:close() end
        decnet.yield()
      end)
      from:send("x", "127.0.0.1", to:getsockname().port, function() end)
      local pair = assert(uv.socketpair())
      local poll, other = uv.new_poll(pair[1]), uv.new_tcp()
      other:open(pair[2])
      poll:start("r", function()
        calls.poll = calls.poll + 1
        poll:stop()
        poll:close()
        decnet.yield()
      end)
      other:write "x"
      real.wait(function() return calls.stream + calls.udp + calls.poll >= 3 end)
      decnet.sleep(0.01)
      assert.same({ stream = 1, udp = 1, poll = 1 }, calls)
      uv.fs_close(pair[1])
    end)
  end)

  it("stops to read in a callback, and goes on with another one", function()
    real.worker(function()
      local fds = assert(uv.socketpair())
      local a, b = uv.new_tcp(), uv.new_tcp()
      a:open(fds[1])
      b:open(fds[2])
      local got = {}
      b:read_start(function(_, data)
        got[#got + 1] = data
        b:read_stop()
        decnet.yield()
        got[#got + 1] = "rested"
        b:read_start(function(_, more) got[#got + 1] = more end)
      end)
      a:write "one"
      real.wait(function() return #got == 2 end)
      a:write "two"
      real.wait(function() return #got == 3 end)
      assert.same({ "one", "rested", "two" }, got)
    end)
  end)

  it("closes no loop that has something to do", function()
    real.worker(function()
      assert.equal(0, uv.loop_close())
      local timer = uv.new_timer()
      assert.same({ nil, "EBUSY: resource busy or locked", "EBUSY" }, { uv.loop_close() })
      timer:close()
      decnet.sleep(0.001)
      local came
      assert(uv.fs_stat(".", function() came = true end))
      assert.equal("EBUSY", select(3, uv.loop_close()))
      real.wait(function() return came end)
    end)
  end)

  it("walks over no child whose handle was closed while it lives", function()
    real.worker(function()
      local child = assert(uv.spawn("/bin/sleep", { args = { "60" } }, function() end))
      local function handles()
        local n = 0
        uv.walk(function() n = n + 1 end)
        return n
      end
      assert.equal(1, handles())
      local closed
      child:close(function() closed = true end)
      assert.equal(0, handles())
      real.wait(function() return closed end)
      assert.has_error(function() child:close() end)
    end)
  end)

  it("takes no callback that cannot be called for a request", function()
    real.worker(function()
      local a, b = real.pair()
      assert.has_error(function() uv.write(a, "x", 5) end)
      assert.has_error(function() uv.shutdown(a, "x") end)
      b:close()
    end)
  end)

  it("queues no work that is none", function()
    real.worker(function()
      assert.has_error(function() uv.queue_work(5) end)
    end)
  end)

  it("closes no connection by a reset that is being shut down", function()
    real.worker(function()
      local server, client = uv.new_tcp(), uv.new_tcp()
      server:bind("127.0.0.1", 0)
      server:listen(1, function() end)
      decnet.uv.tcp_connect(client, "127.0.0.1", server:getsockname().port)
      local is_shut
      client:shutdown(function() is_shut = true end)
      assert.is_nil((client:close_reset()))
      assert.is_false(client:is_closing())
      real.wait(function() return is_shut end)
      client:close()
      assert.is_true(client:is_closing())
    end)
  end)

  it("makes no stream of a descriptor that is none, or of two", function()
    real.worker(function()
      local fds, more = uv.pipe(), uv.pipe()
      assert.is_nil((uv.new_tcp():open(1000)))
      local pipe = uv.new_pipe(false)
      assert(pipe:open(fds.read))
      assert.is_nil((pipe:open(more.read)))
      assert.has_error(function() uv.pipe_open(5, more.read) end)
      for _, fd in ipairs { fds.write, more.read, more.write } do
        assert.is_true(uv.fs_close(fd)) -- they are still the run's own
      end
    end)
  end)

  it("writes nothing for who cannot wait, and says so", function()
    real.worker(function(_, t)
      local a, b = real.pair()
      local write = decnet.uv.write
      local function refused(fn)
        local ok, err = pcall(fn)
        assert.is_false(ok)
        return err
      end
      assert.matches("atomic", refused(function() decnet.atomic(write, a, "x") end))
      local in_sort = function() return write(a, "x") and false end
      assert.matches("sort", refused(function() table.sort({ 1, 2 }, in_sort) end))
      assert.matches("sort", refused(function()
        table.sort({ 1, 2 }, coroutine.wrap(in_sort))
      end))
      assert.has_error(function() write(5, "x") end)
      assert.has_error(function() write(uv.new_timer(), "x") end)
      assert.is_true(write(a, ""))
      assert.is_true(write(a, { "one ", "two" }))
      assert.equal("one two", decnet.uv.read(b))
      local closed = uv.new_pipe(false)
      closed:close()
      assert.is_nil((write(closed, "x")))
      local task = decnet.spawn(function()
        pcall(decnet.park)
        write(a, "cancelled")
      end)
      decnet.yield()
      task:cancel()
      assert.same({ nil, "cancelled" }, { task:join() })
      assert.same({ nil, "timeout" }, { decnet.uv.read(b, 0) })
      decnet.worker { name = "killed", stop_timeout = 0, run = function(self)
        self:defer(function() write(a, "deferred") end)
        decnet.park()
      end }
      decnet.yield()
      decnet.get("killed"):stop()
      assert.same({ nil, "timeout" }, { decnet.uv.read(b, 0) })
      assert.is_not_nil(t)
    end)
    assert.has_error(function() decnet.uv.write(uv.new_pipe(false), "x") end)
  end)

  it("is luv as ever where there is no host", function()
    local n, got = 0, nil
    uv.walk(function() n = n + 1 end)
    local fds = assert(uv.pipe())
    assert(uv.fs_close(fds.read))
    assert(uv.fs_close(fds.write))
    local work = uv.new_work(function(x) return x + 1 end, function(x) got = x end)
    assert(work:queue(1))
    uv.run()
    assert.equal(2, got)
    uv.stop()
    uv.run "nowait"
    assert.is_number(n)
  end)

  it("is asked without a worker, too", function()
    testing.run(function()
      assert.is_boolean(uv.loop_alive())
      assert.is_nil(uv.loop_mode())
      local n = 0
      uv.walk(function() n = n + 1 end)
      assert.equal(0, n)
    end)
  end)
end)
