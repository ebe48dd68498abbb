-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local luv = require "luv"
local real = require "spec.support.real"
local run = require "spec.support.run"

local uv = decnet.uv

-- A task of this run that counts its turns until it is told that they are over.
local function others_turns()
  local others = { turns = 0, are_over = false }
  decnet.spawn(function()
    while not others.are_over do
      others.turns = others.turns + 1
      decnet.yield()
    end
  end)
  return others
end

describe("decnet.uv on sockets", function()
  local fds

  setup(function()
    real.worker(function() -- libuv keeps a descriptor in reserve from the first listen on
      local server = luv.new_tcp()
      assert(server:bind("127.0.0.1", 0))
      assert(server:listen(1, function() end))
    end)
  end)

  before_each(function()
    collectgarbage()
    fds = real.count_fds()
  end)

  after_each(function()
    assert.equal(fds, real.count_fds())
    assert.equal(0, real.in_flight())
  end)

  -- Reads a stream to its end.
  local function drain(stream)
    local parts = {}
    return decnet.await(function(resume)
      stream:read_start(function(err, data)
        if data then
          parts[#parts + 1] = data
        else
          resume(err == nil and table.concat(parts) or nil, err)
        end
      end)
    end)
  end

  local function accepted(server, new)
    return decnet.await(function(resume)
      assert(server:listen(8, function(err)
        local client = new()
        assert(not err and server:accept(client))
        resume(client)
      end))
    end)
  end

  it("connects, writes and shuts down over TCP", function()
    real.worker(function()
      local server = luv.new_tcp()
      assert(server:bind("127.0.0.1", 0))
      local serving = decnet.spawn(function()
        return drain(accepted(server, luv.new_tcp))
      end)
      decnet.yield()
      local client = luv.new_tcp()
      assert.is_true(uv.tcp_connect(client, "127.0.0.1", server:getsockname().port))
      assert.is_true(uv.write(client, "hello"))
      assert.is_true(uv.write(client, { ", ", "world", 1 }))
      assert.is_true(uv.write(client, {}))
      assert.is_true(uv.shutdown(client))
      assert.equal("hello, world1", serving:join())
      assert.equal("ENOTCONN", select(3, uv.shutdown(client)))
      assert.equal("EPIPE", select(3, uv.write(client, "more")))
    end)
  end)

  it("says why a connection failed", function()
    real.worker(function()
      local server = luv.new_tcp()
      assert(server:bind("127.0.0.1", 0))
      local port = server:getsockname().port
      local client = luv.new_tcp()
      assert.same({ nil, "ECONNREFUSED: connection refused", "ECONNREFUSED" },
        { uv.tcp_connect(client, "127.0.0.1", port) })
      run.raises("uv.tcp_connect: Invalid IP address or port [localhost:80]",
        uv.tcp_connect, luv.new_tcp(), "localhost", 80)
      local pipe = luv.new_pipe(false)
      assert.equal("ENOENT", select(3, uv.pipe_connect(pipe, "/nowhere/sock")))
      assert.same({ nil, "ENAMETOOLONG: name too long", "ENAMETOOLONG" },
        { uv.pipe_connect(luv.new_pipe(false), "/" .. ("x"):rep(107)) })
    end)
  end)

  it("refuses a handle that is closed", function()
    real.worker(function()
      local tcp, pipe, udp = luv.new_tcp(), luv.new_pipe(false), luv.new_udp()
      tcp:close()
      pipe:close()
      udp:close()
      assert.equal("EBADF", select(3, uv.tcp_connect(tcp, "127.0.0.1", 1)))
      assert.equal("EBADF", select(3, uv.pipe_connect(pipe, "/a")))
      assert.equal("EBADF", select(3, uv.write(tcp, "x")))
      assert.equal("EBADF", select(3, uv.shutdown(tcp)))
      assert.equal("EBADF", select(3, uv.udp_send(udp, "x", "127.0.0.1", 1)))
    end)
  end)

  it("connects a pipe, and sends a handle over it", function()
    local dir, remove = real.temp_dir()
    real.worker(function()
      local server = luv.new_pipe(false)
      assert(server:bind(dir .. "/sock"))
      local got = decnet.spawn(function()
        local client = accepted(server, function() return luv.new_pipe(true) end)
        return decnet.await(function(resume)
          client:read_start(function(err, data)
            assert(not err)
            if data and client:pending_count() > 0 then
              local handle = luv.new_tcp()
              assert(client:accept(handle))
              resume(data, handle:getsockname().port)
            end
          end)
        end)
      end)
      decnet.yield()
      local client = luv.new_pipe(true)
      assert.is_true(uv.pipe_connect(client, dir .. "/sock"))
      local tcp = luv.new_tcp()
      assert(tcp:bind("127.0.0.1", 0))
      assert.is_true(uv.write2(client, "take", tcp))
      local data, port = got:join()
      assert.equal("take", data)
      assert.equal(tcp:getsockname().port, port)
    end)
    remove()
  end)

  it("sends a datagram", function()
    real.worker(function()
      local receiver, sender = luv.new_udp(), luv.new_udp()
      assert(receiver:bind("127.0.0.1", 0))
      local port = receiver:getsockname().port
      local got = decnet.spawn(decnet.await, function(resume)
        receiver:recv_start(function(err, data)
          if data then
            resume(err, data)
          end
        end)
      end)
      decnet.yield()
      assert.is_true(uv.udp_send(sender, { "data", "gram" }, "127.0.0.1", port))
      assert.equal("datagram", select(2, got:join()))
      run.raises("bad argument #2 to 'uv.udp_send' (string or table of strings expected, got nil)",
        uv.udp_send, sender, nil, "127.0.0.1", port)
    end)
  end)

  -- A pair of connected sockets.
  local function pair()
    local fd = assert(luv.socketpair("stream", nil, { nonblock = true }, { nonblock = true }))
    local a, b = luv.new_pipe(), luv.new_pipe()
    assert(a:open(fd[1]))
    assert(b:open(fd[2]))
    return a, b
  end

  it("writes in order, whether the socket takes all, some or nothing at once", function()
    real.worker(function()
      local a, b = pair()
      local sent = {}
      local writer = decnet.spawn(function()
        for i = 1, 200 do
          sent[i] = ("%d,"):format(i):rep(i * 50)
          assert.is_true(uv.write(a, sent[i]))
        end
        uv.shutdown(a)
      end)
      local received = drain(b)
      writer:join()
      assert.equal(table.concat(sent), received)
    end)
  end)

  it("gives way now and then to who writes without end", function()
    real.worker(function()
      local a, b = pair()
      local got, is_over = 0, false
      b:read_start(function(_, data)
        got = got + #data
      end)
      decnet.spawn(function()
        for _ = 1, 10 do
          decnet.yield()
        end
        is_over = true
      end)
      while not is_over do
        assert.is_true(uv.write(a, "x"))
      end
      assert.is_true(got > 0)
    end)
  end)

  -- One write in 32 was a request, whatever the task did in between: as dear as twenty others.
  it("does not give way in a write whose task has just waited for something", function()
    real.worker(function()
      local a = pair()
      local others = others_turns()
      for _ = 1, 100 do
        decnet.yield()
        local before = others.turns
        assert.is_true(uv.write(a, "x"))
        assert.equal(before, others.turns)
      end
      others.are_over = true
    end)
  end)

  it("gives way in writes that a socket refuses, too", function()
    real.worker(function()
      local a = pair()
      assert.is_true(uv.shutdown(a))
      local others = others_turns()
      decnet.yield()
      local before, refused = others.turns, 0
      for _ = 1, 100 do
        local ok, message, code = uv.write(a, "x")
        if not ok then
          assert.same({ "EPIPE: broken pipe", "EPIPE" }, { message, code })
          refused = refused + 1
        end
      end
      others.are_over = true
      assert.is_true(refused > 90)
      assert.is_true(others.turns - before >= 2)
    end)
  end)

  it("writes nothing for who is no worker, and to nothing that is no stream", function()
    local a, b = pair()
    run.raises("only a worker can wait", uv.write, a, "x")
    a:close()
    b:close()
    real.worker(function()
      run.raises("bad argument #1 to 'uv.write'", uv.write, luv.new_timer(), "x")
      run.raises("bad argument #1 to 'uv.write'", uv.write, io.stdout, "x")
    end)
  end)

  it("says whose line a write is that it refuses", function()
    real.worker(function()
      local a = pair()
      local misuses = {
        { "uv.write waits and returns the results: give it no callback", "x", function() end },
        { "uv.write waits and returns the results: give it no callback", "x", nil, function() end },
        { "bad argument #2 to 'uv.write' (string or table of strings expected, got nil)" },
        { "bad argument #2 to 'uv.write' (table of strings expected, got boolean at [1])",
          { true } },
      }
      for _, misuse in ipairs(misuses) do
        local here = debug.getinfo(1, "Sl")
        local _, message = pcall(function() uv.write(a, table.unpack(misuse, 2, 4)) end)
        assert.equal(("%s:%d: %s"):format(here.short_src, here.currentline + 1, misuse[1]), message)
      end
    end)
  end)

  it("waits in no write where it must not, nor when it is cancelled", function()
    real.worker(function()
      local a, b = pair()
      run.raises("uv.write: cannot wait inside decnet.atomic", decnet.atomic, uv.write, a, "x")
      local results
      local task = decnet.spawn(function()
        pcall(decnet.park)
        results = table.pack(pcall(uv.write, a, "x"))
      end)
      decnet.yield()
      task:cancel()
      pcall(task.join, task)
      assert.is_false(results[1])
      assert.is_true(decnet.is_cancelled(results[2]))
      assert.equal("EAGAIN", select(3, luv.fs_read(assert(b:fileno()), 1)))
    end)
  end)

  -- An attempt without a request took the reason, and the request that followed found EPIPE.
  it("tells that the other end has reset the connection", function()
    real.worker(function()
      local server, reset = luv.new_tcp(), decnet.event()
      assert(server:bind("127.0.0.1", 0))
      assert(server:listen(8, function()
        local peer = luv.new_tcp()
        assert(server:accept(peer))
        peer:close_reset(function() reset:set() end)
      end))
      local client = luv.new_tcp()
      assert.is_true(uv.tcp_connect(client, "127.0.0.1", server:getsockname().port))
      reset:wait()
      assert.same({ nil, "ECONNRESET: connection reset by peer", "ECONNRESET" },
        { uv.write(client, "x") })
    end)
  end)

  it("can be cancelled while it writes to somebody who does not read", function()
    real.worker(function()
      local server = luv.new_tcp()
      assert(server:bind("127.0.0.1", 0))
      assert(server:listen(8, function() end))
      local client = luv.new_tcp()
      assert.is_true(uv.tcp_connect(client, "127.0.0.1", server:getsockname().port))
      local task = decnet.spawn(uv.write, client, ("x"):rep(64 << 20))
      decnet.yield()
      task:cancel()
      assert.same({ nil, "cancelled" }, { task:join() })
    end)
  end)

  it("wakes a task whose handle another one closes", function()
    real.worker(function()
      local server = luv.new_tcp()
      assert(server:bind("127.0.0.1", 0))
      assert(server:listen(8, function() end))
      local client = luv.new_tcp()
      assert.is_true(uv.tcp_connect(client, "127.0.0.1", server:getsockname().port))
      local task = decnet.spawn(uv.write, client, ("x"):rep(64 << 20))
      decnet.yield()
      client:close()
      assert.equal("ECANCELED", select(3, task:join()))
    end)
  end)
end)
