-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local luv = require "luv"
local real = require "spec.support.real"
local run = require "spec.support.run"
local testing = require "decnet.testing"

local THREADS = 4 -- DH_OFFLOAD_THREADS

local function endless()
  while true do end
end

-- Functions that do what they can not to be ended.
local stubborn = {
  ["loops for ever"] = endless,
  ["catches what it can"] = function()
    while true do
      pcall(function() while true do end end)
    end
  end,
  ["catches in the handler"] = function()
    while true do
      xpcall(function() while true do end end, function() while true do end end)
    end
  end,
  ["runs in a coroutine"] = function()
    while true do
      local co = coroutine.create(function()
        while true do
          pcall(function() while true do end end)
        end
      end)
      repeat
        coroutine.resume(co)
      until coroutine.status(co) == "dead"
    end
  end,
  ["runs in wrapped coroutines"] = function()
    while true do
      pcall(coroutine.wrap(function()
        while true do
          pcall(coroutine.wrap(function() while true do end end))
        end
      end))
    end
  end,
  ["sorts"] = function()
    while true do
      pcall(table.sort, { 3, 2, 1 }, function() while true do end end)
    end
  end,
  ["closes for ever"] = function()
    local _ <close> = setmetatable({}, { __close = function() while true do end end })
    while true do end
  end,
  ["loops in metamethods"] = function()
    local t = setmetatable({}, { __index = function() while true do end end })
    while true do
      pcall(function() return t.x end)
    end
  end,
}

describe("decnet.offload", function()
  after_each(function()
    assert.equal(0, real.in_flight())
  end)

  local function drained()
    real.wait(function() return real.in_flight() == 0 end)
  end

  for what, fn in pairs(stubborn) do
    it("ends a cancelled function that " .. what, function()
      real.worker(function()
        local task = decnet.spawn(decnet.offload, fn)
        decnet.yield()
        luv.sleep(5)
        task:cancel()
        assert.same({ nil, "cancelled" }, { task:join() })
        local before = luv.hrtime()
        drained()
        assert.is_true(luv.hrtime() - before < 5e9)
      end)
    end)
  end

  it("ends a function when its run is killed", function()
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 0, run = function()
        decnet.offload(endless)
      end }
      t.host:boot()
      real.poll(t, function() return real.in_flight() == 1 end)
      decnet.get("w"):stop()
      real.poll(t, function() return t:status("w").state == "stopped" end)
      real.poll(t, function() return real.in_flight() == 0 end)
    end)
  end)

  it("ends a function when its run crashes", function()
    testing.run(function(t)
      decnet.worker { name = "w", restart = "never", run = function()
        decnet.spawn(decnet.offload, endless)
        decnet.yield()
        error "boom"
      end }
      t:advance(0)
      real.poll(t, function() return t:status("w").state == "failed" end)
      real.poll(t, function() return real.in_flight() == 0 end)
    end)
  end)

  it("ends a function when the host ends", function()
    testing.run(function(t)
      decnet.worker("w", function() decnet.offload(endless) end)
      for i = 1, 2 * THREADS do
        decnet.worker("waits" .. i, function() decnet.offload(endless) end)
      end
      t.host:boot()
      real.poll(t, function() return real.in_flight() == 1 + 2 * THREADS end)
    end)
    testing.run(function(t)
      real.poll(t, function() return real.in_flight() == 0 end)
    end)
  end)

  it("never begins a function that was cancelled in the queue", function()
    local dir, remove = real.temp_dir()
    real.worker(function()
      local busy = {}
      for i = 1, THREADS do
        busy[i] = decnet.spawn(decnet.offload, endless)
      end
      local waiting = decnet.spawn(decnet.offload, function(path)
        io.open(path, "w"):close()
      end, dir .. "/mark")
      decnet.yield()
      assert.equal(THREADS + 1, real.in_flight())
      waiting:cancel()
      waiting:join()
      assert.equal(THREADS, real.in_flight())
      for _, task in ipairs(busy) do
        task:cancel()
      end
      drained()
      assert.is_nil((luv.fs_stat(dir .. "/mark")))
    end)
    remove()
  end)

  it("serves 50 calls at once", function()
    run.worker(function()
      local tasks = {}
      for i = 1, 50 do
        tasks[i] = decnet.spawn(decnet.offload, function(n)
          local x = 0
          for j = 1, 20000 do
            x = x + j % n
          end
          return n, x
        end, i)
      end
      for i, task in ipairs(tasks) do
        local n, x = task:join()
        local expected = 0
        for j = 1, 20000 do
          expected = expected + j % i
        end
        assert.same({ i, expected }, { n, x })
      end
    end)
  end)

  it("serves first who came first", function()
    run.worker(function()
      local order = {}
      local busy = {}
      for i = 1, THREADS - 1 do
        busy[i] = decnet.spawn(decnet.offload, endless)
      end
      local tasks = {}
      for i = 1, 20 do
        tasks[i] = decnet.spawn(function()
          decnet.offload(function() for _ = 1, 1000 do end end)
          order[#order + 1] = i
        end)
      end
      for _, task in ipairs(tasks) do
        task:join()
      end
      for _, task in ipairs(busy) do
        task:cancel()
        task:join()
      end
      for i = 1, 20 do
        assert.equal(i, order[i])
      end
      drained()
    end)
  end)

  it("goes on beside functions that sit in C and cannot be ended", function()
    local dir, remove = real.temp_dir()
    local fifo = dir .. "/fifo"
    assert(os.execute("mkfifo " .. fifo))
    real.worker(function()
      local stuck = {}
      for i = 1, THREADS + 2 do
        stuck[i] = decnet.spawn(decnet.offload, function(path)
          io.open(path):close()
        end, fifo)
      end
      decnet.yield()
      luv.sleep(20)
      for _, task in ipairs(stuck) do
        task:cancel()
        task:join()
      end
      assert.equal(42, decnet.offload(function() return 42 end))
      assert.is_true(real.in_flight() >= THREADS)
      real.wait(function()
        local fd = luv.fs_open(fifo, luv.constants.O_WRONLY | luv.constants.O_NONBLOCK, 0)
        if fd then
          luv.fs_close(fd)
        end
        return real.in_flight() == 0
      end)
      assert.equal(43, decnet.offload(function() return 43 end))
    end)
    remove()
  end)

  it("survives calls and cancellations in any order", function()
    run.worker(function()
      local done = 0
      for round = 1, 200 do
        local tasks = {}
        for i = 1, 6 do
          tasks[i] = decnet.spawn(function()
            local n = decnet.offload(function(x)
              for _ = 1, x * 1000 do end
              return { x }
            end, round % 13 * i)
            assert.equal(round % 13 * i, n[1])
            done = done + 1
          end)
        end
        for _ = 1, round % 5 do
          decnet.yield()
        end
        for i = 1, 6, 1 + round % 3 do
          tasks[i]:cancel()
        end
        for _, task in ipairs(tasks) do
          task:join()
        end
      end
      assert.is_true(done > 200)
      drained()
    end)
  end)

  it("keeps nothing of the calls it has served", function()
    run.worker(function()
      local function calls(n)
        for i = 1, n do
          decnet.offload(function(x) return { x } end, { i })
        end
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      calls(100)
      local before = calls(100)
      assert.is_true(calls(1000) - before < 20)
    end)
  end)
end)
