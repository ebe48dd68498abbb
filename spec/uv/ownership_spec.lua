-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a run opens as files is closed when it ends, in whatever way, and nothing else is.
local decnet = require "decnet"
local real = require "spec.support.real"
local run = require "spec.support.run"
local testing = require "decnet.testing"
local uv = require "luv"

local POOL_THREADS = tonumber(os.getenv "UV_THREADPOOL_SIZE") or 4

describe("the files of a run", function()
  local dir, remove, fds

  setup(function() -- the pool's threads, and the descriptor that libuv keeps in reserve
    real.worker(function()
      uv.new_pipe(false)
      decnet.uv.fs_stat "/"
      decnet.uv.spawn("true", {})
    end)
  end)

  before_each(function()
    collectgarbage()
    dir, remove = real.temp_dir()
    fds = real.count_fds()
  end)

  after_each(function()
    remove()
    collectgarbage "stop" -- it is the end of the run that closes, not the collector
    local n = real.count_fds()
    collectgarbage "restart"
    assert.equal(fds, n)
    assert.equal(0, real.in_flight())
  end)

  local OPENERS = {
    ["uv.fs_open"] = function() return assert(uv.fs_open(dir .. "/a", "w", 384)) end,
    ["uv.fs_open with a callback"] = function()
      return decnet.await(function(resume)
        uv.fs_open(dir .. "/b", "w", 384, function(err, fd)
          resume(assert(fd, err))
        end)
      end)
    end,
    ["decnet.uv.fs_open"] = function() return assert(decnet.uv.fs_open(dir .. "/c", "w")) end,
    ["uv.fs_mkstemp"] = function() return assert(uv.fs_mkstemp(dir .. "/XXXXXX")) end,
    ["uv.fs_opendir"] = function() return assert(uv.fs_opendir(dir)) end,
    ["decnet.uv.fs_opendir"] = function() return assert(decnet.uv.fs_opendir(dir)) end,
    ["uv.pipe"] = function() return assert(uv.pipe()) end,
    ["uv.socketpair"] = function() return assert(uv.socketpair()) end,
    ["io.open"] = function() return assert(io.open(dir .. "/d", "w")) end,
    ["io.tmpfile"] = function() return assert(io.tmpfile()) end,
    ["io.lines"] = function()
      assert(io.open(dir .. "/lines", "w")):write("one\ntwo\n"):close()
      local iterator = io.lines(dir .. "/lines")
      assert.equal("one", iterator())
      return iterator
    end,
    ["io.output by name"] = function() return io.output(dir .. "/e") end,
    ["io.popen"] = function() return assert(io.popen("sleep 1000", "r")) end,
    ["io.popen for writing"] = function() return assert(io.popen("sleep 1000", "w")) end,
  }

  for name, open in pairs(OPENERS) do
    it("are closed: " .. name, function()
      local kept
      real.worker(function()
        kept = open()
        assert(real.count_fds() > fds)
      end)
      assert(kept)
    end)
  end

  it("are closed though they are garbage that is not finalized yet #measures", function()
    testing.run(function(t)
      local finalized = 0
      local counting = { __gc = function() finalized = finalized + 1 end }
      decnet.worker("w", function()
        for i = 1, 10 do
          io.open(dir .. "/" .. i, "w"):write "told"
        end
        -- what was made last is finalized first, and some at a time
        for _ = 1, 5000 do
          setmetatable({}, counting)
        end
        while finalized == 0 do
          local _ = {}
        end
      end)
      t:advance(0)
      assert.equal("done", t:status("w").state)
      assert.is_true(finalized < 5000)
      assert.equal(fds, real.count_fds())
      for i = 1, 10 do
        local file <close> = assert(io.open(dir .. "/" .. i))
        assert.equal("told", file:read "a")
      end
    end)
  end)

  it("are closed when it crashes, and when it is killed #measures", function()
    testing.run(function(t)
      decnet.worker { name = "crashes", restart = "never", run = function()
        uv.fs_open(dir .. "/a", "w", 384)
        io.open(dir .. "/b", "w")
        error "on purpose"
      end }
      decnet.worker { name = "killed", stop_timeout = 0, run = function()
        uv.fs_open(dir .. "/c", "w", 384)
        io.open(dir .. "/d", "w")
        while true do
          pcall(decnet.sleep, 1)
        end
      end }
      t:advance(0.5)
      assert.equal("failed", t:status("crashes").state)
      assert.equal(fds + 2, real.count_fds())
      decnet.get("killed"):stop()
      t:advance(1)
      assert.equal("stopped", t:status("killed").state)
      assert.equal(fds, real.count_fds())
    end)
  end)

  it("stay open when they are shared, until the host ends", function()
    testing.run(function(t)
      local fd
      decnet.worker("w", function()
        fd = decnet.shared(uv.fs_open, dir .. "/a", "w", 384)
      end)
      t:advance(1)
      assert.equal("done", t:status("w").state)
      assert(uv.fs_fstat(fd))
    end)
  end)

  it("are closed though they are opened when it has ended", function()
    testing.run(function(t)
      decnet.worker("w", function()
        uv.fs_open(dir .. "/a", "w", 384, function() error "too late" end)
      end)
      t:advance(0)
      real.poll(t, function() return real.in_flight() == 0 end)
      assert.equal(fds, real.count_fds())
      assert.equal("done", t:status("w").state)
    end)
  end)

  it("cannot be closed by another worker, nor can what is nobody's file", function()
    testing.run(function(t)
      local theirs, results
      decnet.worker("owner", function()
        theirs = uv.fs_open(dir .. "/a", "w", 384)
        decnet.park()
      end)
      decnet.worker("hostile", function()
        results = {}
        for fd = 0, 40 do
          results[fd] = uv.fs_close(fd) or false
        end
        assert.same({ nil, "EBADF: bad file descriptor", "EBADF" }, { uv.fs_close(theirs) })
        assert.same({ nil, "EBADF: bad file descriptor", "EBADF" },
          { decnet.uv.fs_close(theirs) })
        assert.same({ nil, "EBADF: bad file descriptor", "EBADF" },
          { uv.new_pipe(false):open(theirs) })
      end)
      t:advance(1)
      assert.equal("done", t:status("hostile").state)
      for fd = 0, 40 do
        assert.is_false(results[fd])
      end
      assert(uv.fs_fstat(theirs))
      decnet.get("owner"):stop()
      t:advance(1)
    end)
  end)

  it("become a handle's, and are not closed twice", function()
    real.worker(function()
      local ends = uv.pipe({ nonblock = true }, { nonblock = true })
      local pipe = uv.new_pipe(false)
      assert(pipe:open(ends.read))
      assert.same({ nil, "EBADF: bad file descriptor", "EBADF" }, { uv.fs_close(ends.read) })
      pipe:close()
      decnet.yield()
      decnet.yield()
      local again = uv.fs_open(dir .. "/a", "w", 384) -- gets the number
      assert(uv.fs_fstat(again))
      assert(uv.fs_close(again))
    end)
  end)

  -- The next one on a directory is started by the callback of the one before. It was the host's,
  -- and the directory was closed with the run, while a thread was reading it.
  it("are not closed before the requests that a callback has started for it are done", function()
    local fifo = dir .. "/fifo"
    assert(os.execute("mkfifo " .. fifo))
    local function block() -- a thread of libuv's, for others than this run
      assert(decnet.shared(uv.fs_open, fifo, "r", 0, function(_, fd) uv.fs_close(fd) end))
    end
    local function release()
      local fd = uv.fs_open(fifo, uv.constants.O_WRONLY | uv.constants.O_NONBLOCK, 0)
      return fd and uv.fs_close(fd)
    end
    local called = require "decnet.stdlib"().require "luv" -- decnet's own copy
    local readdir = called.fs_readdir
    finally(function() called.fs_readdir = readdir end)
    called.fs_readdir = function(...)
      local request = readdir(...)
      block() -- whoever has read
      return request
    end
    real.worker(function()
      local handle = assert(decnet.uv.fs_opendir(dir))
      for _ = 2, POOL_THREADS do
        block()
      end
      local reading = decnet.spawn(decnet.uv.fs_readdir, handle)
      local closing = decnet.spawn(decnet.uv.fs_closedir, handle)
      decnet.yield()
      closing:cancel() -- the run has no task but this one, and the request to close
      closing:join()
      reading:join()
      local was_alive = uv.loop_alive()
      real.wait(function()
        release()
        return real.in_flight() == 0
      end)
      assert.is_true(was_alive)
      assert.is_false(uv.loop_alive())
    end)
  end)

  it("that are directories can be closed twice", function()
    real.worker(function()
      local handle = assert(uv.fs_opendir(dir))
      assert(handle:closedir())
      assert.same({ nil, "EBADF: bad file descriptor", "EBADF" }, { handle:closedir() })
      assert.same({ nil, "EBADF: bad file descriptor", "EBADF" }, { uv.fs_readdir(handle) })
    end)
  end)
end)

describe("io in a worker", function()
  it("refuses to read the host's stdin", function()
    run.worker(function()
      local message = "reading the host's stdin would hold up every worker"
      run.raises("io.read: " .. message, io.read)
      run.raises("io.lines: " .. message, io.lines)
      run.raises("io.stdin: " .. message, io.stdin.read, io.stdin)
      run.raises("io.stdin: " .. message, function() return io.input():lines() end)
    end)
  end)

  it("has default files of its own", function()
    local dir, remove = real.temp_dir()
    testing.run(function(t)
      local host_in, host_out = io.input(), io.output()
      local seen
      local function write(text)
        assert(io.open(dir .. "/" .. text, "w")):write(text):close()
      end
      write "one"
      write "two"
      for _, name in ipairs { "one", "two" } do
        decnet.worker(name, function()
          io.input(dir .. "/" .. name)
          io.output(dir .. "/" .. name .. ".out")
          decnet.sleep(1)
          io.write(io.read "a", "!")
          decnet.sleep(1)
          io.close()
        end)
      end
      decnet.worker("three", function()
        decnet.sleep(1.5)
        seen = { io.input(), io.output() }
        run.raises("io.close: the default output is the host's", io.close)
      end)
      t:advance(5)
      assert.same({ host_in, host_out }, seen)
      assert.same({ host_in, host_out }, { io.input(), io.output() })
      for _, name in ipairs { "one", "two" } do
        assert.equal("done", t:status(name).state)
        local file <close> = assert(io.open(dir .. "/" .. name .. ".out"))
        assert.equal(name .. "!", file:read "a")
      end
    end)
    remove()
  end)

  it("keeps the standard files open", function()
    run.worker(function()
      assert.is_nil((io.stdout:close()))
      assert.is_nil((io.stderr:close()))
      assert.equal("file", io.type(io.stdout))
    end)
  end)
end)

describe("io.popen in a worker", function()
  it("reads and writes, and its close waits for the child", function()
    local dir, remove = real.temp_dir()
    real.worker(function()
      local reader = assert(io.popen "echo hello")
      assert.equal("hello\n", reader:read "a")
      assert.same({ true, "exit", 0 }, { reader:close() })
      local writer = assert(io.popen("cat >'" .. dir .. "/out'", "w"))
      writer:write "text"
      assert.same({ true, "exit", 0 }, { writer:close() })
      local file <close> = assert(io.open(dir .. "/out"))
      assert.equal("text", file:read "a")
      assert.same({ nil, "exit", 7 }, { io.popen("exit 7"):close() })
      assert.same({ nil, "signal", 15 }, { io.popen("kill -15 $$"):close() })
      run.raises("invalid mode", io.popen, "true", "rw")
    end)
    remove()
  end)

  it("lets others go on while its close waits", function()
    local dir, remove = real.temp_dir()
    real.worker(function()
      local file = assert(io.popen(("until [ -e %s/go ]; do sleep 0.01; done"):format(dir)))
      local is_closed = false
      decnet.spawn(function()
        file:close()
        is_closed = true
      end)
      for _ = 1, 10 do
        decnet.yield()
      end
      assert.is_false(is_closed)
      assert(io.open(dir .. "/go", "w")):close()
      while not is_closed do
        decnet.yield()
      end
    end)
    remove()
  end)

  -- Its exit was told to nobody, as callbacks of a run that is over are.
  it("answers who waits in its close when the run that opened it ends", function()
    testing.run(function(t)
      local file, result
      decnet.worker("opens", function()
        file = assert(io.popen "exec sleep 1000")
        decnet.sleep(2)
      end)
      decnet.worker("closes", function()
        decnet.sleep(1)
        result = { file:close() }
      end)
      t:advance(2)
      real.poll(t, function() return result end)
      assert.same({ nil, "signal", 15 }, result)
      assert.equal("done", t:status("opens").state)
    end)
  end)

  it("does not hold up uv.run, and ends with the run", function()
    testing.run(function(t)
      local pid
      decnet.worker("w", function()
        local file = assert(io.popen "echo $$; exec sleep 1000")
        pid = tonumber(file:read "l")
        uv.run()
      end)
      t:advance(0)
      real.poll(t, function() return t:status("w").state == "done" end)
      assert.is_false(real.is_alive(pid))
    end)
  end)
end)
