-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a run opens, and what becomes of it. Sockets and children are real; time is not.
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"
local uv = require "luv"

-- Polls until `pred()`, for at most five real seconds: what the system does takes real time.
local function poll(t, pred)
  local until_ = uv.hrtime() + 5e9
  while not pred() do
    assert(uv.hrtime() < until_, "it did not come")
    t:advance(1e-6)
  end
end

describe("what a run opens", function()
  it("L13 a port that a crashed run listened on can be listened on by the next", function()
    testing.run(function(t)
      local port
      decnet.worker { name = "server", run = function(self)
        local server = uv.new_tcp()
        assert(server:bind("127.0.0.1", port or 0))
        assert(server:listen(16, print))
        port = port or server:getsockname().port
        if self.run < 5 then
          decnet.sleep(1)
          error "boom"
        end
        run.forever()
      end }
      t:advance(100)
      local status = t:status("server")
      assert.same({ "running", 5, 1 }, { status.state, status.run, status.handles })
      for _, crash in ipairs(run.events(t, "crash")) do
        run.contains(crash.error, "boom")
      end
    end)
  end)

  it("L13 also with connections open, and after a kill", function()
    testing.run(function(t)
      local port, accepted = nil, 0
      local server = decnet.worker { name = "server", stop_timeout = 0, run = function()
        local listener = uv.new_tcp()
        assert(listener:bind("127.0.0.1", port or 0))
        assert(listener:listen(16, function()
          local client = uv.new_tcp()
          assert(listener:accept(client))
          accepted = accepted + 1
          client:read_start(function() end)
        end))
        port = port or listener:getsockname().port
        run.stubborn()
      end }
      decnet.worker("client", function()
        for i = 1, 3 do
          local client = uv.new_tcp()
          client:connect("127.0.0.1", port, function(err) assert(not err, err) end)
          while accepted < i do
            decnet.yield()
          end
        end
        run.forever()
      end)
      poll(t, function() return accepted == 3 end)
      assert.equal(4, t:status("server").handles)
      for expected = 2, 4 do
        server:restart()
        poll(t, function()
          return t:status("server").run == expected and t:status("server").handles == 1
        end)
        assert.equal("running", t:status("server").state)
      end
      assert.equal(0, #run.events(t, "crash"))
    end)
  end)

  it("L14 children of a dead run are gone", function()
    testing.run(function(t)
      local pid
      decnet.worker { name = "w", restart = "never", run = function()
        local handle
        handle, pid = uv.spawn("sleep", { args = { "1000" } }, print)
        assert(handle, pid)
        decnet.sleep(1)
        error "boom"
      end }
      t:advance(0.5)
      assert.equal(0, uv.kill(pid, 0))
      t:advance(1)
      poll(t, function() return t:status("w").state == "failed" end)
      assert.is_nil((uv.kill(pid, 0)))
    end)
  end)

  it("L15 a late callback of a dead run does not run", function()
    testing.run(function(t)
      local called = {}
      decnet.worker { name = "w", restart = "never", run = function()
        uv.fs_stat(".", function() called[#called + 1] = "stat" end)
        local timer = uv.new_timer()
        timer:start(0, 0, function() called[#called + 1] = "timer" end)
        local async = uv.new_async(function() called[#called + 1] = "async" end)
        async:send()
        timer:close(function() called[#called + 1] = "close" end)
        error "boom"
      end }
      poll(t, function() return t:status("w").state == "failed" end)
      t:advance(1)
      for _ = 1, 100 do
        t:advance(1e-6)
      end
      assert.same({}, called)
    end)
  end)

  it("is counted in its status, and closed by the end", function()
    testing.run(function(t)
      local handles = {}
      decnet.worker("w", function()
        for _, open in ipairs { uv.new_timer, uv.new_tcp, uv.new_idle, uv.new_check, uv.new_prepare,
          uv.new_udp, function() return uv.new_pipe(false) end, uv.new_fs_event, uv.new_fs_poll,
          uv.new_signal, function() return uv.new_async(print) end } do
          handles[#handles + 1] = assert(open())
        end
        decnet.sleep(1)
        handles[1]:close()
        decnet.sleep(1)
      end)
      t:advance(0.5)
      assert.equal(11, t:status("w").handles)
      t:advance(1)
      assert.equal(10, t:status("w").handles)
      t:advance(1)
      poll(t, function() return t:status("w").state == "done" end)
      assert.equal(0, t:status("w").handles)
      for _, handle in ipairs(handles) do
        assert.is_true(handle:is_closing())
      end
    end)
  end)

  it("can be seen by uv.walk, that of others cannot", function()
    testing.run(function(t)
      local seen = {}
      decnet.worker("other", function()
        uv.new_timer()
        run.forever()
      end)
      decnet.worker("w", function()
        local timer = uv.new_timer()
        uv.walk(function(handle) seen[#seen + 1] = handle == timer end)
      end)
      t:advance(1)
      assert.same({ true }, seen)
    end)
  end)
end)

describe("require of luv", function()
  it("gives the same module again after package.loaded has forgotten it", function()
    run.worker(function(_, t)
      local before = uv.new_timer()
      package.loaded.luv = nil
      local again = require "luv"
      package.loaded.luv = uv
      assert.equal(uv, again)
      assert.equal(debug.getmetatable(before), debug.getmetatable(again.new_timer()))
      assert.equal(2, t:status("w").handles)
    end)
  end)
end)

describe("a callback of luv", function()
  it("is a task of its run: it may await, spawn and ask who it is", function()
    testing.run(function(t)
      local log = {}
      decnet.worker("w", function(self)
        uv.fs_stat(".", function(err)
          assert(not err and decnet.current() == self)
          decnet.sleep(1)
          log[#log + 1] = decnet.spawn(function() return decnet.now() end):join()
        end)
        decnet.sleep(5)
      end)
      t:advance(10)
      run.near(1, log[1], 1e-2)
      assert.equal("done", t:status("w").state)
    end)
  end)

  it("is cancelled with its run", function()
    testing.run(function(t)
      local err
      decnet.worker("w", function()
        uv.fs_stat(".", function()
          err = select(2, pcall(run.forever))
          error(err, 0)
        end)
        run.forever()
      end)
      t:advance(1)
      poll(t, function() return t:status("w").tasks == 2 end)
      assert.equal(0, t:stop())
      assert.is_true(decnet.is_cancelled(err))
      assert.equal(0, #run.events(t, "crash"))
    end)
  end)

  it("of a handle that its run closes is called while the run lives", function()
    testing.run(function(t)
      local closed
      decnet.worker("w", function()
        local timer = uv.new_timer()
        decnet.await(function(resume) timer:close(resume) end)
        closed = true
      end)
      poll(t, function() return t:status("w").state == "done" end)
      assert.is_true(closed)
    end)
  end)
end)
