-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The callbacks of one handle run in order, though they may wait.
local decnet = require "decnet"
local real = require "spec.support.real"
local uv = require "luv"

describe("the callbacks of a handle", function()
  it("come one after the other, though one waits", function()
    real.worker(function()
      local a, b = real.pair()
      local log = {}
      a:read_start(function(_, data)
        log[#log + 1] = "begin " .. (data or "end")
        decnet.sleep(0.001)
        log[#log + 1] = data or "end"
      end)
      for _, word in ipairs { "one", "two", "three" } do
        decnet.uv.write(b, word)
        decnet.sleep(0.0005)
      end
      b:close()
      real.wait(function() return log[#log] == "end" end)
      local text = table.concat(log, " ")
      assert.equal(text, text:gsub("begin (%a+) (%a+)", function(first, second)
        assert.equal(first, second)
      end))
      assert.equal("onetwothreeend", (text:gsub("begin %a+ ?", ""):gsub(" ", "")))
    end)
  end)

  it("of others go on meanwhile", function()
    real.worker(function()
      local slow, quick, ticks = uv.new_timer(), uv.new_timer(), 0
      slow:start(0, 0, function()
        decnet.sleep(math.huge)
      end)
      quick:start(1, 1, function()
        ticks = ticks + 1
      end)
      real.wait(function() return ticks >= 3 end)
    end)
  end)

  it("of a timer never run beside each other, and do not pile up", function()
    real.worker(function()
      local timer, inside, worst, n = uv.new_timer(), 0, 0, 0
      timer:start(1, 1, function()
        inside = inside + 1
        worst = math.max(worst, inside)
        local until_ns = uv.hrtime() + 10e6
        real.wait(function() return uv.hrtime() > until_ns end)
        inside = inside - 1
        n = n + 1
      end)
      real.wait(function() return n == 3 end)
      timer:stop()
      real.wait(function() return inside == 0 end)
      for _ = 1, 10 do
        decnet.yield()
      end
      assert.equal(1, worst)
      assert.is_true(n <= 4)
    end)
  end)

  it("of a server's connections run beside each other", function()
    real.worker(function()
      local server, inside, worst = uv.new_tcp(), 0, 0
      server:bind("127.0.0.1", 0)
      server:listen(8, function()
        server:accept(uv.new_tcp())
        inside = inside + 1
        worst = math.max(worst, inside)
        decnet.sleep(math.huge)
      end)
      for _ = 1, 3 do
        assert(decnet.uv.tcp_connect(uv.new_tcp(), "127.0.0.1", server:getsockname().port))
      end
      real.wait(function() return worst == 3 end)
    end)
  end)

  it("do not come after stop, though they were due", function()
    real.worker(function()
      local first, second, called = uv.new_timer(), uv.new_timer(), {}
      local function stop_both(name)
        return function()
          called[#called + 1] = name
          first:stop()
          second:stop()
        end
      end
      first:start(1, 0, stop_both "first")
      second:start(1, 0, stop_both "second")
      uv.sleep(5)
      real.wait(function() return called[1] end)
      for _ = 1, 10 do
        decnet.yield()
      end
      assert.equal(1, #called)
    end)
  end)

  it("do not come after close, but the close callback does", function()
    real.worker(function()
      local timer, log = uv.new_timer(), {}
      timer:start(1, 0, function()
        log[#log + 1] = "timer"
      end)
      decnet.spawn(function()
        real.wait(function() return timer:get_due_in() == 0 end)
        timer:close(function()
          log[#log + 1] = "closed"
        end)
      end)
      real.wait(function() return log[#log] == "closed" end)
      assert(#log <= 2)
    end)
  end)

  it("give what was read before read_stop to the next read_start", function()
    real.worker(function()
      local a, b = real.pair()
      decnet.uv.write(b, "kept")
      a:read_start(function()
        error "it was stopped"
      end)
      decnet.await(function(resume) -- libuv calls timers first, so this goes on before the piece
        uv.new_timer():start(0, 0, resume)
      end)
      a:read_stop()
      for _ = 1, 10 do
        decnet.yield()
      end
      decnet.uv.write(b, " and more")
      local got = ""
      a:read_start(function(_, data)
        got = got .. data
      end)
      real.wait(function() return #got >= 13 end)
      assert.equal("kept and more", got)
    end)
  end)

  -- The series of a handle that is started again goes on where nothing of it is under way.
  it("are the last ones given, whose ever they are and however often", function()
    real.worker(function()
      local timer, log = decnet.shared(uv.new_timer), {}
      local function start(word)
        timer:start(0, 0, function()
          log[#log + 1] = word
          decnet.sleep(0)
          log[#log + 1] = word .. "'s end"
        end)
      end
      start "never"
      start "one"
      real.wait(function() return #log == 1 end)
      start "two" -- the callback of the first has not ended
      real.wait(function() return #log == 4 end)
      decnet.shared(start, "three")
      start "four"
      real.wait(function() return #log == 6 end)
      timer:stop()
      start "five"
      real.wait(function() return #log == 8 end)
      timer:close()
      table.sort(log)
      assert.equal("five, five's end, four, four's end, one, one's end, two, two's end",
        table.concat(log, ", "))
    end)
  end)

  it("can start another series and wait for it", function()
    real.worker(function()
      local a, b = real.pair()
      local has_begun, second
      local function read_one()
        return decnet.await(function(resume)
          a:read_start(function(_, data)
            a:read_stop()
            resume(data)
          end)
        end)
      end
      a:read_start(function(_, data)
        assert.equal("one", data)
        has_begun = true
        second = read_one()
      end)
      decnet.uv.write(b, "one")
      real.wait(function() return has_begun end)
      decnet.uv.write(b, "two")
      real.wait(function() return second end)
      assert.equal("two", second)
    end)
  end)

  it("of a stream get all of it, however long they take, and the sender waits meanwhile", function()
    real.worker(function()
      local a, b = real.pair()
      local got, sent, is_over = 0, false, false
      a:read_start(function(_, data)
        if data then
          got = got + #data
          for _ = 1, got % 7 do
            decnet.yield()
          end
        else
          is_over = true
        end
      end)
      decnet.spawn(function()
        decnet.uv.write(b, string.rep("x", 1000003))
        sent = true
        b:close()
      end)
      real.wait(function() return is_over end)
      assert.is_true(sent)
      assert.equal(1000003, got)
    end)
  end)

  it("of a stream that rests do not come, and libuv looks at it no more", function()
    real.worker(function()
      local a, b = real.pair()
      local calls, goes_on = 0, decnet.event()
      a:read_start(function()
        calls = calls + 1
        goes_on:wait()
      end)
      decnet.uv.write(b, "one")
      real.wait(function() return calls == 1 end)
      decnet.uv.write(b, "two")
      b:close()
      for _ = 1, 20 do
        decnet.yield()
      end
      assert.equal(1, calls)
      assert.is_false(a:is_active())
      goes_on:set()
      real.wait(function() return calls == 3 end)
    end)
  end)

  it("of a datagram socket keep the order", function()
    real.worker(function()
      local receiver, sender, log, inside = uv.new_udp(), uv.new_udp(), {}, 0
      receiver:bind("127.0.0.1", 0)
      local port = receiver:getsockname().port
      receiver:recv_start(function(_, data)
        if data then
          inside = inside + 1
          assert.equal(1, inside)
          decnet.sleep(0.0001)
          log[#log + 1] = data
          inside = inside - 1
        end
      end)
      for i = 1, 20 do
        assert(decnet.uv.udp_send(sender, tostring(i), "127.0.0.1", port))
      end
      real.wait(function() return #log == 20 end)
      for i = 1, 20 do
        assert.equal(tostring(i), log[i])
      end
    end)
  end)

  it("of a poll handle do not pile up while one waits", function()
    real.worker(function()
      local fds = assert(uv.socketpair("stream", nil, { nonblock = true }, { nonblock = true }))
      local writer = uv.new_pipe(false)
      writer:open(fds[2])
      decnet.uv.write(writer, "x")
      local poll, n, may_go = uv.new_poll(fds[1]), 0, false
      poll:start("r", function()
        n = n + 1
        real.wait(function() return may_go end)
        uv.fs_read(fds[1], 1, -1)
      end)
      real.wait(function() return n == 1 end)
      for _ = 1, 100 do
        decnet.yield()
      end
      assert.equal(1, n)
      may_go = true
      for _ = 1, 100 do
        decnet.yield()
      end
      assert.equal(1, n)
      decnet.uv.write(writer, "y")
      real.wait(function() return n == 2 end)
      poll:close()
      uv.fs_close(fds[1])
    end)
  end)

  it("of a shared handle go on after a run that was killed in one of them", function()
    local testing = require "decnet.testing"
    testing.run(function(t)
      local timer, runs = uv.new_timer(), 0
      decnet.worker { name = "w", stop_timeout = 0, restart = "always", min_backoff = 0,
        run = function()
          timer:start(0, 1, function()
            runs = runs + 1
            decnet.sleep(math.huge)
          end)
          decnet.sleep(math.huge)
        end }
      t:advance(0)
      real.poll(t, function() return runs == 1 end)
      decnet.get("w"):restart()
      real.poll(t, function() return runs == 2 end)
      timer:close()
    end)
  end)
end)
