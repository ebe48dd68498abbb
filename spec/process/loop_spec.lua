-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The real loop, where the virtual clock does not reach.
local process = require "spec.process.process"

describe("the loop", function()
  lazy_teardown(process.cleanup)

  -- libuv 1.44 calls timers before it waits for events, and then waits as if nothing had happened.
  it("does not sleep through a deadline that is due as it begins to wait", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker { name = "hasty", max_backoff = 0, run = function(self)
        assert(self.run == 1000, "again")
      end }
    ]]
    child:ends(0)
    child:says "worker=hasty msg=done run=1000"
  end)

  -- libuv's own clock stands still meanwhile: a delay counted on it would be over at once.
  it("counts a delay from the end of the run, after a 5 s slice that cannot yield, too (H13)",
    function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      local ended
      decnet.worker { name = "w", min_backoff = 0.5, hang_timeout = 60, run = function(self)
        if self.run == 2 then
          print(decnet.now() - ended)
          return
        end
        uv.sleep(5000)
        ended = decnet.now()
        error "over"
      end }
    ]]
    local delay = tonumber(child:ends(0):stdout())
    assert.is_true(delay >= 0.5, delay)
  end)

  it("does not sleep while a callback of a luv timer is ready to run", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("waits", function()
        for i = 1, 1000 do
          local timer = uv.new_timer()
          decnet.await(function(resume)
            timer:start(i % 2, 0, function() resume() end)
          end)
          timer:close()
        end
      end)
    ]]
    child:ends(0)
    child:says "worker=waits msg=done"
  end)

  -- libuv reads many pieces in a row; the tasks that they become begin later.
  it("loses nothing of a stream that is read piece by piece, or by callbacks that wait", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      local TEXT = ("0123456789abcdef"):rep(1 << 16)
      local server = uv.new_tcp()
      server:bind("127.0.0.1", 0)

      local function connect()
        local socket = uv.new_tcp()
        assert(decnet.uv.tcp_connect(socket, "127.0.0.1", server:getsockname().port))
        return socket
      end

      decnet.worker { name = "server", run = function()
        server:listen(8, function()
          local client = uv.new_tcp()
          server:accept(client)
          decnet.spawn(function()
            decnet.uv.write(client, TEXT)
            client:close()
          end)
        end)
        decnet.park()
      end }

      -- how a reader gets one piece
      local ways = {}
      function ways.stop(socket, resume)
        socket:read_start(function(_, data)
          socket:read_stop()
          resume(data)
        end)
      end
      function ways.resume(socket, resume)
        socket:read_start(function(_, data)
          resume(data)
          socket:read_stop()
        end)
      end
      decnet.worker { name = "reader", after = { "server" }, run = function()
        for _, name in ipairs { "stop", "resume" } do
          local socket, parts = connect(), {}
          for piece in function()
            return decnet.await(function(resume) ways[name](socket, resume) end)
          end do
            parts[#parts + 1] = piece
            decnet.sleep(0.001)
          end
          socket:close()
          print(name, table.concat(parts) == TEXT)
        end

        local socket, parts, is_over, inside = connect(), {}, decnet.event(), 0
        socket:read_start(function(_, data)
          inside = inside + 1
          assert(inside == 1, "two callbacks of one stream at a time")
          decnet.sleep(0.001)
          parts[#parts + 1] = data
          inside = inside - 1
          if not data then
            is_over:set()
          end
        end)
        is_over:wait()
        print("waits", table.concat(parts) == TEXT)
        decnet.stop()
      end }
    ]]
    child:ends(0)
    assert.equal("stop\ttrue\nresume\ttrue\nwaits\ttrue\n", child:stdout())
  end)

  it("calls back no more after read_stop", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      local fds = uv.socketpair("stream", nil, { nonblock = true }, { nonblock = true })
      decnet.worker("reader", function()
        local a, b = uv.new_tcp(), uv.new_tcp()
        a:open(fds[1])
        b:open(fds[2])
        local calls = 0
        a:read_start(function()
          calls = calls + 1
          a:read_stop()
        end)
        decnet.uv.write(b, ("x"):rep(1 << 17))
        while calls == 0 do
          decnet.yield()
        end
        decnet.sleep(0.02) -- there is more to read all the time
        print(calls)
      end)
    ]]
    assert.equal("1\n", child:ends(0):stdout())
  end)

  it("uses no CPU while all sleep", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker("first", function(self)
        local before = os.clock()
        decnet.sleep(0.5)
        print(os.clock() - before)
      end)
      decnet.worker("second", function() decnet.sleep(3600) end)
      decnet.worker("third", function() decnet.sleep(0.6) decnet.stop() end)
    ]]
    assert(tonumber(child:ends(0):stdout()) < 0.1, child:stdout())
  end)
end)
