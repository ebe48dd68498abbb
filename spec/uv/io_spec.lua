-- SPDX-License-Identifier: AGPL-3.0-or-later
-- io in a worker, where it is no matter of course.
local decnet = require "decnet"
local testing = require "decnet.testing"
local real = require "spec.support.real"
local run = require "spec.support.run"
local uv = require "luv"

describe("io in a worker", function()
  it("refuses the host's own streams, and lets each run have its own", function()
    run.worker(function()
      for what, call in pairs {
        ["io.read"] = function() io.read() end, ["io.lines"] = function() io.lines() end,
        ["io.stdin"] = function() io.stdin:read() end,
        ["io.close"] = function() io.close() end,
      } do
        local ok, err = pcall(call)
        assert.is_false(ok)
        run.contains(err, what)
      end
      local path = os.tmpname()
      io.output(path)
      assert.equal("file", io.type(io.output()))
      io.write("one\n", 2, "\n")
      io.close()
      io.input(path)
      assert.equal("one", io.read())
      for line in io.lines() do
        assert.equal("2", line)
      end
      local line = io.lines(path)
      assert.equal("one", line())
      io.input():close()
      assert.has_error(function() io.read() end)
      assert.has_error(function() io.lines("/nonexistent/file") end)
      assert.is_nil((io.open "/nonexistent/file"))
      assert.has_error(function() io.open(path, "wrong") end)
      assert.has_error(function() io.write({}) end)
      assert.has_error(function() io.stdout.write(5, "x") end)
      assert.has_error(function() io.stdin.read(5) end)
      local closed = assert(io.open(path))
      closed:close()
      assert.has_error(function() closed:read() end)
      assert.has_error(function() closed:write "x" end)
      os.remove(path)
    end)
  end)

  it("is as ever outside of one", function()
    testing.run(function()
      local path = os.tmpname()
      io.output(path)
      io.write "one\n"
      io.close()
      io.output(io.stdout)
      io.input(path)
      assert.equal("one", io.read())
      io.input():close()
      io.input(io.stdin)
      assert.is_function(io.stdin:lines())
      os.remove(path)
    end)
  end)

  it("keeps the host's streams the host's in what the host owns", function()
    run.worker(function()
      local failed
      local timer = decnet.shared(function()
        local timer = uv.new_timer()
        timer:start(0, 0, function()
          failed = not pcall(io.output, io.stdout) or pcall(io.close)
          decnet.stop()
        end)
        return timer
      end)
      while failed == nil do
        decnet.yield()
      end
      decnet.shared(timer.close, timer)
      assert.is_false(failed)
    end)
  end)

  it("closes no descriptor that is none, nor one of another run", function()
    testing.run(function(t)
      local fds, answers
      decnet.worker("owner", function()
        fds = uv.pipe()
        decnet.park()
      end)
      t:advance(0)
      decnet.worker("other", function()
        answers = {
          { uv.fs_close(fds.read) },
          { uv.fs_close(-1) },
          { uv.new_pipe(false):open(fds.read) },
          { uv.new_tty(fds.read, true) },
        }
      end)
      t:advance(0)
      local refused = { nil, "EBADF: bad file descriptor", "EBADF" }
      assert.same({ refused, refused, refused, refused }, answers)
      local pipe = uv.new_pipe(false) -- the host may
      assert(pipe:open(fds.read))
      pipe:close()
    end)
  end)

  it("pipes take a mode, and give a result once", function()
    real.worker(function()
      for _, mode in ipairs { "x", "rw", "", "r+", "wb" } do
        assert.has_error(function() io.popen("true", mode) end)
      end
      local pipe = assert(io.popen("cat >/dev/null; exit 3", "w"))
      pipe:write "text"
      assert.same({ nil, "exit", 3 }, { pipe:close() })
      assert.has_error(function() pipe:close() end)
      pipe = assert(io.popen "kill -9 $$")
      assert.same({ nil, "signal", 9 }, { pipe:close() })
    end)
  end)

  -- Who cannot wait for the child gets no result, but closes the pipe all the same.
  it("pipes are closed where nobody can wait", function()
    for what, close in pairs {
      ["a sort"] = function(pipe)
        table.sort({ 1, 2 }, function() return pipe:close() and false end)
      end,
      atomic = function(pipe) decnet.atomic(pipe.close, pipe) end,
      ["two who wait"] = function(pipe)
        local second = decnet.spawn(pipe.close, pipe)
        pcall(pipe.close, pipe)
        pcall(second.join, second)
      end,
      ["a gsub"] = function(pipe) string.gsub("x", ".", function() pipe:close() end) end,
    } do
      run.worker(function()
        local pipe = assert(io.popen "exec sleep 0.01")
        close(pipe)
        assert.equal("closed file", io.type(pipe), what)
      end)
    end
    testing.run(function(t)
      local pipe
      decnet.worker { name = "w", stop_timeout = 0, run = function()
        pipe = io.popen "exec sleep 60"
        local closing <close> = setmetatable({}, { __close = function() pipe:close() end })
        decnet.park()
        return closing
      end }
      t:advance(0.01)
      decnet.get("w"):stop()
      t:run_until(function() return t:status("w").state == "stopped" end, 10)
      assert.equal("closed file", io.type(pipe))
      decnet.worker { name = "deferred", stop_timeout = 0, run = function(self)
        pipe = io.popen "exec sleep 60"
        self:defer(function() pipe:close() end)
        decnet.park()
      end }
      t:advance(0.01)
      decnet.get("deferred"):stop()
      t:run_until(function() return t:status("deferred").state == "stopped" end, 10)
      assert.equal("closed file", io.type(pipe))
      pipe = assert(io.popen "true") -- of nobody
      pipe:close()
    end)
  end)
end)
