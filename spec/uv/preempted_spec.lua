-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The code of decnet.uv is preempted as all is: what libuv or somebody else tells may come between
-- any two instructions of it.
local core = require "decnet.core"
local decnet = require "decnet"
local luv = require "luv"
local real = require "spec.support.real"
local testing = require "decnet.testing"

local uv = decnet.uv

local EACH = { preempt_every = 1 }
local POOL_THREADS = tonumber(os.getenv "UV_THREADPOOL_SIZE") or 4
local LIMIT_NS = 4e9

local function step(t)
  t.host:step(t.host:after(0.001))
end

-- As real.poll, but no time passes between two instructions.
local function go_on(t, pred)
  local limit = luv.hrtime() + LIMIT_NS
  while not pred() do
    assert(luv.hrtime() < limit, "nothing came of it")
    step(t)
  end
end

-- A worker calls `make(state)`, which returns a task; when that has had 0, 1, 2 ... instructions
-- `meet(task)` is called, and when the task is over the worker calls `look(state)`. Again and
-- again, until the task was met where it waits.
local function at_each_instruction(make, meet, look)
  local instructions, waits = 0, false
  repeat
    testing.run(function(t)
      local task, is_done
      decnet.worker { name = "w", restart = "never", run = function(self)
        local state = { self = self }
        local made = make(state)
        task = made
        made:join()
        look(state)
        is_done = true
      end }
      t.host:boot()
      go_on(t, function() return task end)
      for _ = 1, instructions do
        waits = t.host:idle_for() > 0
        if not waits then
          step(t)
        end
      end
      meet(task)
      go_on(t, function() return is_done or t:status("w").last_error end)
      local err = t:status("w").last_error
      assert(not err, err and err.message)
    end, EACH)
    instructions = instructions + 1
  until waits
end

describe("decnet.uv, preempted between any two instructions,", function()
  local dir, remove, fds

  before_each(function()
    collectgarbage()
    fds = real.count_fds()
    dir, remove = real.temp_dir()
  end)

  after_each(function()
    remove()
    collectgarbage()
    assert.equal(0, real.in_flight())
    assert.equal(fds, real.count_fds())
  end)

  local function cancel(task)
    task:cancel()
  end

  -- Its callback came before its request was noted, which was an error there: the run crashed.
  it("lists a directory", function()
    testing.run(function(t)
      local entries
      decnet.worker { name = "w", restart = "never", run = function()
        entries = uv.fs_scandir "/"
      end }
      t.host:boot()
      real.poll(t, function() return entries or t:status("w").last_error end)
      assert.is_nil(t:status("w").last_error)
      assert.is_string((uv.fs_scandir_next(entries)))
    end, EACH)
  end)

  -- The callback of one started the next, whose task then started it once more.
  it("has one request after the other work on a directory", function()
    local fifo, calls = dir .. "/fifo", 0
    assert(os.execute("mkfifo " .. fifo))
    local function release() -- those that open it by now
      local fd = luv.fs_open(fifo, luv.constants.O_WRONLY | luv.constants.O_NONBLOCK, 0)
      return fd and luv.fs_close(fd)
    end
    local called = require "decnet.stdlib"().require "luv" -- decnet's own copy
    local readdir = called.fs_readdir
    finally(function() called.fs_readdir = readdir end)
    called.fs_readdir = function(...)
      calls = calls + 1
      return readdir(...)
    end
    at_each_instruction(function(state)
      calls = 0
      local handle = assert(uv.fs_opendir(dir))
      for i = 1, POOL_THREADS do -- keep libuv's threads from the first
        state[i] = decnet.spawn(function()
          uv.fs_close(assert(uv.fs_open(fifo, "r")))
        end)
      end
      state[POOL_THREADS + 1] = decnet.spawn(uv.fs_readdir, handle)
      while core.in_flight(0) <= POOL_THREADS do
        decnet.yield()
      end
      return decnet.spawn(uv.fs_readdir, handle)
    end, function()
      while not release() do
        luv.sleep(1)
      end
      luv.sleep(2) -- the first is done by now
    end, function(state)
      while core.in_flight(0) > 0 do
        release()
        decnet.yield()
      end
      for _, task in ipairs(state) do
        task:join()
      end
      assert.equal(2, calls)
    end)
  end)

  -- One that was cancelled in the line, before it was started, stayed there.
  it("reads a directory that a cancelled one waited for", function()
    at_each_instruction(function(state)
      state.handle = assert(uv.fs_opendir(dir))
      return decnet.spawn(uv.fs_readdir, state.handle)
    end, cancel, function(state)
      uv.fs_readdir(state.handle)
    end)
  end)

  local function no_handles(self)
    while decnet.get(self.name):status().handles > 0 do
      decnet.yield()
    end
  end

  -- Until it had told the host how to end its child nobody did, and the child lived on.
  it("ends its child wherever it is cancelled", function()
    at_each_instruction(function()
      return decnet.spawn(uv.spawn, "sleep", { args = { "1000" } })
    end, cancel, function(state)
      no_handles(state.self)
    end)
  end)

  -- The exit came before the handle was noted: that was never closed.
  it("leaves no handle of a child that ends at once", function()
    testing.run(function(t)
      local is_done
      decnet.worker { name = "w", restart = "never", run = function(self)
        assert.equal(0, uv.spawn "true")
        no_handles(self)
        is_done = true
      end }
      t.host:boot()
      real.poll(t, function() return is_done or t:status("w").last_error end)
      assert.is_true(is_done)
    end, EACH)
  end)
end)
