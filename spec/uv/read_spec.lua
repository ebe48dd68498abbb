-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet.uv.read: the next piece of a stream.
local decnet = require "decnet"
local luv = require "luv"
local real = require "spec.support.real"
local run = require "spec.support.run"

local uv = decnet.uv

describe("decnet.uv.read", function()
  -- What fn(...) returns, in a task of its own: a table that fills when it has ended.
  local function later(fn, ...)
    local results = {}
    decnet.spawn(function(...)
      local all = table.pack(fn(...))
      for i = 1, all.n do
        results[i] = all[i]
      end
      results.n = all.n
    end, ...)
    decnet.yield()
    return results
  end

  it("returns the pieces in order, and nil at the end, each time", function()
    real.worker(function()
      local a, b = real.pair()
      uv.write(b, "one")
      assert.equal("one", uv.read(a))
      local waiting = later(uv.read, a)
      uv.write(b, "two")
      real.wait(function() return waiting.n end)
      assert.same({ "two", n = 1 }, waiting)
      uv.write(b, "three")
      b:close()
      local got = {}
      for data in uv.read, a do
        got[#got + 1] = data
      end
      assert.same({ "three" }, got)
      assert.same({ n = 1 }, table.pack(uv.read(a)))
      assert.same({ n = 1 }, table.pack(uv.read(a)))
    end)
  end)

  it("takes the piece before, which 'for' gives it, for no time limit", function()
    real.worker(function()
      local a, b = real.pair()
      uv.write(b, "0")
      local got = {}
      for data in uv.read, a do
        got[#got + 1] = data
        if #got == 3 then
          break
        end
        uv.write(b, tostring(#got))
      end
      assert.same({ "0", "1", "2" }, got)
    end)
  end)

  it("reads all of what is more than a socket holds, though the reader is slow", function()
    real.worker(function()
      local a, b = real.pair()
      local text = string.rep("0123456789", 100000)
      local sent = later(function()
        assert(uv.write(b, text))
        b:close()
        return true
      end)
      local parts = {}
      for data in uv.read, a do
        parts[#parts + 1] = data
        for _ = 1, #parts % 4 do
          decnet.yield()
        end
      end
      assert.is_true(sent[1])
      assert.is_true(text == table.concat(parts))
    end)
  end)

  it("leaves what nobody waits for to the kernel, so that the sender waits", function()
    real.worker(function()
      local a, b = real.pair()
      uv.write(b, "x")
      assert.equal("x", uv.read(a))
      local sent = later(function()
        return uv.write(b, string.rep("x", 4000000))
      end)
      for _ = 1, 200 do
        decnet.yield()
      end
      assert.is_nil(sent.n)
      assert.is_false(a:is_active()) -- it is not looked at any more, either
      local n = 0
      while n < 4000000 do
        n = n + #uv.read(a)
      end
      real.wait(function() return sent.n end)
    end)
  end)

  it("waits no longer than it is told, and loses nothing", function()
    real.worker(function()
      local a, b = real.pair()
      assert.same({ nil, "timeout", n = 2 }, table.pack(uv.read(a, 0.01)))
      assert.same({ nil, "timeout", n = 2 }, table.pack(decnet.timeout(0.01, uv.read, a)))
      uv.write(b, "late")
      assert.equal("late", uv.read(a, 60))
    end)
  end)

  it("gives each piece to one of those who wait, and tells all of the end", function()
    real.worker(function()
      local a, b = real.pair()
      local first, second, third = later(uv.read, a), later(uv.read, a), later(uv.read, a)
      uv.write(b, "one")
      real.wait(function() return first.n end)
      assert.equal("one", first[1])
      assert.is_nil(second.n)
      b:close()
      real.wait(function() return second.n and third.n end)
      assert.same({ n = 1 }, second)
      assert.same({ n = 1 }, third)
    end)
  end)

  it("tells why there is nothing to read", function()
    real.worker(function()
      local fresh = luv.new_tcp()
      assert.same({ nil, "ENOTCONN: socket is not connected", "ENOTCONN", n = 3 },
        table.pack(uv.read(fresh)))
      fresh:close()
      assert.same({ nil, "EBADF: bad file descriptor", "EBADF", n = 3 }, table.pack(uv.read(fresh)))
    end)
  end)

  it("tells of a connection that was reset", function()
    real.worker(function()
      local server, client, waiting = luv.new_tcp(), luv.new_tcp(), nil
      assert(server:bind("127.0.0.1", 0))
      assert(server:listen(1, function()
        local peer = luv.new_tcp()
        server:accept(peer)
        real.wait(function() return waiting end)
        peer:close_reset()
      end))
      assert(uv.tcp_connect(client, "127.0.0.1", server:getsockname().port))
      waiting = later(uv.read, client)
      real.wait(function() return waiting.n end)
      assert.same({ nil, "ECONNRESET: connection reset by peer", "ECONNRESET", n = 3 }, waiting)
    end)
  end)

  it("ends when the stream is stopped or closed by another task", function()
    real.worker(function()
      local a = real.pair()
      for _, verb in ipairs { "read_stop", "close" } do
        local waiting, other = later(uv.read, a), later(uv.read, a)
        a[verb](a)
        real.wait(function() return waiting.n and other.n end)
        assert.same({ nil, "ECANCELED: operation canceled", "ECANCELED", n = 3 }, waiting)
        assert.same(waiting, other)
      end
    end)
  end)

  it("ends when the run that the stream belongs to does", function()
    local stream, waiting
    real.worker(function(_, t)
      decnet.worker("owner", function()
        stream = real.pair()
        decnet.park()
      end)
      real.wait(function() return stream end)
      waiting = later(uv.read, stream)
      decnet.get("owner"):stop()
      real.wait(function() return waiting.n end)
      assert.equal("ECANCELED", waiting[3])
      assert.equal("stopped", t:status("owner").state)
    end)
  end)

  it("and read_start exclude each other", function()
    real.worker(function()
      local a, b = real.pair()
      local waiting = later(uv.read, a)
      assert.same({ nil, "EBUSY: a task waits in decnet.uv.read for what comes on this stream",
        "EBUSY", n = 3 }, table.pack(a:read_start(error)))
      uv.write(b, "one")
      real.wait(function() return waiting.n end)
      assert.equal("one", waiting[1])
      local inside
      assert.equal(0, a:read_start(function(_, data)
        inside = { data, select(3, uv.read(a)) }
      end))
      local busy = "EBUSY: the callback of a read_start reads this stream: read_stop it first"
      assert.same({ nil, busy, "EBUSY", n = 3 }, table.pack(uv.read(a)))
      uv.write(b, "two")
      real.wait(function() return inside end)
      assert.same({ "two", "EBUSY" }, inside)
      a:read_stop()
      uv.write(b, "three")
      assert.equal("three", uv.read(a))
    end)
  end)

  it("can be called in a callback of read_start, after read_stop", function()
    real.worker(function()
      local a, b = real.pair()
      local has_begun, second
      a:read_start(function(_, data)
        assert.equal("one", data)
        has_begun = true
        a:read_stop()
        second = uv.read(a)
      end)
      uv.write(b, "one")
      real.wait(function() return has_begun end)
      uv.write(b, "two")
      real.wait(function() return second end)
      assert.equal("two", second)
    end)
  end)

  -- A stream whose callback is stopped between the piece and its turn.
  local function stopped_too_late(a)
    a:read_start(function()
      error "it was stopped"
    end)
    decnet.await(function(resume) -- libuv calls timers first, so this goes on before the piece
      luv.new_timer():start(0, 0, resume)
    end)
    a:read_stop()
  end

  it("returns what was read for a callback that was stopped", function()
    real.worker(function()
      local a, b = real.pair()
      uv.write(b, "kept")
      stopped_too_late(a)
      for _ = 1, 10 do
        decnet.yield()
      end
      uv.write(b, " and more")
      assert.equal("kept", uv.read(a))
      assert.equal(" and more", uv.read(a))
      uv.write(b, "kept again")
      stopped_too_late(a)
      assert.equal("kept again", uv.read(a, 10))
      b:close()
      stopped_too_late(a)
      assert.same({ n = 1 }, table.pack(uv.read(a, 10)))
    end)
  end)

  it("keeps no uv.run waiting once nobody waits", function()
    real.worker(function()
      local a, b = real.pair()
      uv.write(b, "x")
      assert.equal("x", uv.read(a))
      assert.is_false(luv.run())
      assert.is_false(luv.loop_alive())
    end)
  end)

  it("bills what comes to the run that gets it #host #measures", function()
    real.worker(function(self, t)
      local a, b = real.pair()
      uv.write(b, string.rep("x", 50000))
      local before = t:status(self.name).memory_bytes
      local data = uv.read(a)
      assert.is_true(t:status(self.name).memory_bytes >= before + #data)
    end)
  end)

  it("refuses what is no stream, and what is no time", function()
    real.worker(function()
      local a = real.pair()
      for _, wrong in ipairs { false, 1, "x", {}, luv.new_timer(), io.stdout } do
        run.raises("bad argument #1", uv.read, wrong)
        run.raises("stream of luv's expected", uv.read, wrong)
      end
      run.raises("seconds: seconds >= 0 expected, got -1", uv.read, a, -1)
      run.raises("seconds: seconds >= 0 expected, got table", uv.read, a, {})
      run.raises("uv.read: cannot wait inside decnet.atomic", decnet.atomic, uv.read, a)
    end)
  end)
end)
