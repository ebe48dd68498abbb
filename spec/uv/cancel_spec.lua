-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A request that nobody waits for any more. A file that is opened for reading while nobody writes
-- (a FIFO) keeps a thread of libuv's busy for as long as a spec wants.
local core = require "decnet.core"
local decnet = require "decnet"
local luv = require "luv"
local real = require "spec.support.real"
local run = require "spec.support.run"
local testing = require "decnet.testing"

local uv = decnet.uv

local POOL_THREADS = tonumber(os.getenv "UV_THREADPOOL_SIZE") or 4

describe("a cancelled request", function()
  local dir, remove, fds, fifo

  before_each(function()
    collectgarbage()
    fds = real.count_fds()
    dir, remove = real.temp_dir()
    fifo = dir .. "/fifo"
    assert(os.execute("mkfifo " .. fifo))
  end)

  after_each(function()
    remove()
    assert.equal(0, real.in_flight())
    collectgarbage()
    assert.equal(fds, real.count_fds())
  end)

  -- Let those go on who open the FIFO for reading; false where there is none yet.
  local function release()
    local fd = luv.fs_open(fifo, luv.constants.O_WRONLY | luv.constants.O_NONBLOCK, 0)
    return fd and luv.fs_close(fd)
  end

  local function drained()
    real.wait(function() return real.in_flight() == 0 end)
  end

  -- The tasks that keep the pool's threads busy; they end when the FIFO is released.
  local function block_pool()
    local tasks = {}
    for i = 1, POOL_THREADS do
      tasks[i] = decnet.spawn(function()
        local fd = uv.fs_open(fifo, "r")
        if fd then
          uv.fs_close(fd)
        end
      end)
    end
    decnet.yield()
    assert.equal(POOL_THREADS, real.in_flight())
    luv.sleep(20)
    return tasks
  end

  -- Until nothing is in flight, whoever comes to the FIFO.
  local function release_all()
    real.wait(function()
      release()
      return real.in_flight() == 0
    end)
  end

  it("closes the file that it opens too late", function()
    real.worker(function()
      local task = decnet.spawn(uv.fs_open, fifo, "r")
      decnet.yield()
      assert.equal(1, real.in_flight())
      luv.sleep(20) -- a thread has it by now
      task:cancel()
      assert.same({ nil, "cancelled" }, { task:join() })
      assert.equal(1, real.in_flight())
      release_all()
    end)
  end)

  it("closes the file of a run that is gone", function()
    testing.run(function(t)
      decnet.worker("w", function()
        uv.fs_open(fifo, "r")
      end)
      t.host:boot()
      real.poll(t, function() return real.in_flight() == 1 end)
      luv.sleep(20)
      decnet.get("w"):stop()
      real.poll(t, function() return t:status("w").state == "stopped" end)
      assert.equal(1, real.in_flight())
      real.poll(t, function()
        release()
        return real.in_flight() == 0
      end)
    end)
  end)

  it("closes the file of a host that is gone", function()
    testing.run(function(t)
      decnet.worker("w", function()
        uv.fs_open(fifo, "r")
      end)
      t.host:boot()
      real.poll(t, function() return real.in_flight() == 1 end)
      luv.sleep(20)
    end)
    assert.equal(1, real.in_flight())
    testing.run(function(t)
      real.poll(t, function()
        release()
        return real.in_flight() == 0
      end)
    end)
  end)

  it("never begins where no thread has it yet", function()
    real.worker(function()
      local blocked = block_pool()
      local opening = decnet.spawn(uv.fs_open, dir .. "/new", "w")
      local making = decnet.spawn(uv.fs_mkdir, dir .. "/sub")
      decnet.yield()
      opening:cancel()
      making:cancel()
      opening:join()
      making:join()
      release_all()
      for _, task in ipairs(blocked) do
        task:join()
      end
      drained()
      assert.is_nil((luv.fs_stat(dir .. "/new")))
      assert.is_nil((luv.fs_stat(dir .. "/sub")))
    end)
  end)

  it("leaves neither file nor directory that only it knew", function()
    real.worker(function()
      for _, name in ipairs { "fs_mkstemp", "fs_mkdtemp", "fs_opendir" } do
        local task = decnet.spawn(uv[name], name == "fs_opendir" and dir or dir .. "/t-XXXXXX")
        decnet.yield()
        luv.sleep(20) -- done, but its callback has not come
        task:cancel()
        task:join()
        drained()
      end
      local entries = assert(luv.fs_scandir(dir))
      assert.equal("fifo", (luv.fs_scandir_next(entries)))
      assert.is_nil((luv.fs_scandir_next(entries)))
    end)
  end)

  it("is counted until its callback has come", function()
    real.worker(function()
      local tasks = block_pool()
      for _, task in ipairs(tasks) do
        task:cancel()
      end
      for _, task in ipairs(tasks) do
        task:join()
      end
      assert.is_true(real.in_flight() > 0)
      release_all()
    end)
  end)

  it("ends by decnet.timeout", function()
    real.worker(function()
      local opener = decnet.spawn(function()
        return decnet.timeout(0, uv.fs_open, fifo, "r")
      end)
      assert.same({ nil, "timeout" }, { opener:join() })
      release_all()
    end)
  end)

  it("closes what had come when its run was killed", function()
    testing.run(function(t)
      local is_opened
      decnet.worker { name = "w", run = function()
        decnet.spawn(function()
          uv.fs_open(dir .. "/file", "w")
          is_opened = true
        end)
        decnet.yield()
        -- comes in the same poll, so that the task has its result and has not run
        luv.fs_stat("/", core.request(function()
          t.host:kill()
        end))
        luv.sleep(20)
        decnet.park()
      end }
      t:advance(1)
      assert.equal("stopped", t:status("w").state)
      assert.is_nil(is_opened)
    end)
  end)

  it("is still done when it closes a file", function()
    real.worker(function()
      local fd = assert(uv.fs_open("/dev/null", "r"))
      local task = decnet.spawn(uv.fs_close, fd)
      decnet.yield()
      task:cancel()
      task:join()
      drained()
      assert.equal("EBADF", select(3, luv.fs_fstat(fd)))
    end)
  end)

  it("is still done when it closes a file in a task that is cancelled", function()
    real.worker(function()
      local fd, dir_handle
      local task = decnet.spawn(function()
        fd = assert(uv.fs_open("/dev/null", "r"))
        dir_handle = assert(uv.fs_opendir(dir))
        pcall(decnet.sleep, 1000)
        pcall(uv.fs_closedir, dir_handle)
        uv.fs_close(fd)
      end)
      real.wait(function() return dir_handle end)
      task:cancel()
      assert.same({ nil, "cancelled" }, { task:join() })
      drained()
      assert.equal("EBADF", select(3, luv.fs_fstat(fd)))
    end)
  end)

  it("is still done when it closes a file in a run that is killed", function()
    local fd
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 0, run = function()
        fd = assert(uv.fs_open("/dev/null", "r"))
        local _ <close> = setmetatable({}, { __close = function()
          run.raises("uv.fs_close: this run is being killed", uv.fs_close, fd)
        end })
        decnet.park()
      end }
      t:advance(1)
      decnet.get("w"):stop()
      t:advance(1)
      real.poll(t, function() return real.in_flight() == 0 end)
      assert.equal("EBADF", select(3, luv.fs_fstat(fd)))
    end)
  end)

  it("on a directory does not disturb those behind it", function()
    real.worker(function()
      for i = 1, 3 do
        luv.fs_close(assert(luv.fs_open(dir .. "/f" .. i, "w", 384)))
      end
      local handle = assert(uv.fs_opendir(dir))
      local first = decnet.spawn(uv.fs_readdir, handle)
      local second = decnet.spawn(uv.fs_readdir, handle)
      local third = decnet.spawn(uv.fs_readdir, handle)
      local closing = decnet.spawn(uv.fs_closedir, handle)
      decnet.yield()
      first:cancel()
      second:cancel()
      closing:cancel()
      assert.is_table(third:join())
      drained()
      assert.equal("EBADF", select(3, uv.fs_readdir(handle)))
    end)
  end)

  it("leaves no descriptor in a thousand of them", function()
    real.worker(function()
      for round = 1, 100 do
        local tasks = {}
        for i = 1, 10 do
          tasks[i] = decnet.spawn(function()
            local fd = uv.fs_open(dir .. "/file", "w")
            uv.fs_close(fd)
          end)
        end
        for _ = 1, round % 7 do
          decnet.yield()
        end
        for _, task in ipairs(tasks) do
          task:cancel()
        end
        for _, task in ipairs(tasks) do
          task:join()
        end
      end
      drained()
      assert.is_true(real.count_fds() <= fds + 2)
    end)
  end)
end)
