-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

describe("decnet.sleep", function()
  it("wakes at its time, to the nanosecond", function()
    run.worker(function()
      local from = decnet.now()
      decnet.sleep(1.25)
      assert.equal(from + 1.25, decnet.now())
    end)
  end)

  it("of 0 gives way for one turn", function()
    run.worker(function()
      local order = {}
      decnet.spawn(function() order[#order + 1] = "other" end)
      decnet.sleep(0)
      order[#order + 1] = "main"
      assert.same({ "other", "main" }, order)
    end)
  end)

  it("of math.huge, or of ages, never wakes by itself", function()
    for _, seconds in ipairs { math.huge, 1e300, 2 ^ 64 } do
      testing.run(function(t)
        decnet.worker("w", function() decnet.sleep(seconds) end)
        t:advance(1e9)
        assert.equal("running", t:status("w").state)
      end)
    end
  end)

  it("gives way for one turn when the time has passed already", function()
    run.worker(function()
      local began = decnet.now()
      decnet.sleep(-5)
      assert.is_true(decnet.now() - began < 0.001)
    end)
  end)

  it("refuses what is no time, at the caller's line, and names the argument", function()
    run.worker(function()
      for _, bad in ipairs { 0 / 0, "x", {}, false } do
        local ok, err = pcall(function()
          decnet.sleep(bad)
        end)
        assert.is_false(ok)
        run.contains(err, "await_spec.lua:")
        run.contains(err, "seconds")
      end
      run.raises("seconds", decnet.sleep)
    end)
  end)

  it("is refused outside of workers", function()
    run.raises("only a worker can wait", decnet.sleep, 1)
    testing.run(function()
      run.raises("only a worker can wait", decnet.sleep, 1)
    end)
  end)

  it("keeps the order of equal deadlines", function()
    run.worker(function()
      local order = {}
      for i = 1, 20 do
        decnet.spawn(function()
          decnet.sleep(1)
          order[#order + 1] = i
        end)
      end
      decnet.sleep(2)
      for i = 1, 20 do
        assert.equal(i, order[i])
      end
    end)
  end)
end)

describe("decnet.yield", function()
  it("lets every other ready task run once", function()
    run.worker(function()
      local log = {}
      for i = 1, 3 do
        decnet.spawn(function()
          for _ = 1, 3 do
            log[#log + 1] = i
            decnet.yield()
          end
        end)
      end
      decnet.sleep(1)
      assert.equal("123123123", table.concat(log))
    end)
  end)

  it("returns nothing", function()
    run.worker(function()
      assert.equal(0, select("#", decnet.yield()))
      assert.equal(0, select("#", decnet.yield(1, 2)))
      assert.equal(0, select("#", decnet.sleep(0)))
      assert.equal(0, select("#", decnet.sleep(1)))
    end)
  end)
end)

describe("decnet.park", function()
  it("waits until somebody resumes the coroutine, and returns what he passes", function()
    run.worker(function()
      local main = coroutine.running()
      decnet.spawn(function()
        decnet.sleep(2)
        assert.same({ true }, { coroutine.resume(main, 1, nil, 3, nil) })
      end)
      local got = table.pack(decnet.park())
      assert.same({ 1, nil, 3, nil, n = 4 }, got)
      run.near(2, decnet.now(), 1e-4)
    end)
  end)

  it("does not take a resume that came before", function()
    run.worker(function()
      local main = coroutine.running()
      decnet.spawn(function()
        local ok, message = coroutine.resume(main)
        assert.is_false(ok)
        run.contains(message, "waits in sleep")
        decnet.sleep(2)
        assert.is_true(coroutine.resume(main, "now"))
        assert.is_false((coroutine.resume(main, "twice")))
      end)
      decnet.sleep(1)
      assert.equal("now", decnet.park())
    end)
  end)

  it("is cancelled like any wait", function()
    run.worker(function()
      assert.same({ nil, "timeout" }, { decnet.timeout(1, decnet.park) })
      local task = decnet.spawn(decnet.park)
      decnet.yield()
      task:cancel()
      assert.same({ nil, "cancelled" }, { task:join() })
    end)
  end)
end)

describe("decnet.await", function()
  it("returns what is passed to resume after the wait began", function()
    run.worker(function()
      local got = table.pack(decnet.await(function(resume)
        decnet.spawn(function()
          decnet.sleep(1)
          resume(1, nil, "x", nil)
        end)
      end))
      assert.same({ 1, nil, "x", nil, n = 4 }, got)
    end)
  end)

  it("returns what was passed to resume before the wait began", function()
    run.worker(function()
      local got = table.pack(decnet.await(function(resume) resume(nil, 2, nil) end))
      assert.same({ nil, 2, nil, n = 3 }, got)
      assert.equal(0, select("#", decnet.await(function(resume) resume() end)))
      local many = table.pack(decnet.await(function(resume)
        resume(table.unpack({}, 1, 5000))
      end))
      assert.equal(5000, many.n)
    end)
  end)

  it("takes many results after the wait began", function()
    run.worker(function()
      local got = table.pack(decnet.await(function(resume)
        decnet.spawn(function() resume(table.unpack({}, 1, 20000)) end)
      end))
      assert.equal(20000, got.n)
    end)
  end)

  it("takes a callback of luv", function()
    run.worker(function()
      local uv = require "luv"
      local stat = select(2, decnet.await(function(resume)
        uv.fs_stat(".", function(...) resume(...) end)
      end))
      assert.equal("directory", stat.type)
      stat = select(2, decnet.await(function(resume) uv.fs_stat(".", resume) end))
      assert.equal("directory", stat.type)
    end)
  end)

  it("takes only the first resume; later ones are counted no-ops", function()
    run.worker(function()
      local again
      assert.equal(1, (decnet.await(function(resume)
        again = resume
        resume(1)
        resume(2)
      end)))
      again(3)
      assert.equal("next", (decnet.await(function(resume)
        decnet.spawn(function()
          again(4)
          resume "next"
          again(5)
          resume "late"
        end)
      end)))
      decnet.sleep(1)
    end)
  end)

  it("returns nil, timeout after its time, and a late resume does nothing", function()
    run.worker(function()
      local late
      local got = table.pack(decnet.await(function(resume) late = resume end, 2))
      assert.same({ nil, "timeout", n = 2 }, got)
      run.near(2, decnet.now(), 1e-4)
      late "x"
      decnet.sleep(1)
    end)
  end)

  it("with a time of 0 gives a resume before the wait its chance", function()
    run.worker(function()
      assert.equal("early", (decnet.await(function(resume) resume "early" end, 0)))
      assert.same({ nil, "timeout" }, { decnet.await(function() end, 0) })
    end)
  end)

  it("calls the cleanup function on timeout, cancel and kill, and not on success", function()
    local log = {}
    local function waiting(name, seconds)
      return decnet.await(function()
        return function() log[#log + 1] = name end
      end, seconds)
    end
    run.worker(function()
      waiting("own timeout", 1)
      decnet.timeout(1, waiting, "scope timeout")
      local task = decnet.spawn(waiting, "cancel")
      decnet.yield()
      task:cancel()
      task:join()
      assert.equal(1, (decnet.await(function(resume)
        resume(1)
        return function() log[#log + 1] = "early" end
      end)))
      assert.equal(1, (decnet.await(function(resume)
        decnet.spawn(resume, 1)
        return function() log[#log + 1] = "success" end
      end)))
    end)
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 0, run = function() waiting "kill" end }
      t:advance(1)
      t:stop()
    end)
    testing.run(function(t)
      decnet.worker("w", function()
        decnet.spawn(waiting, "end of main")
        decnet.sleep(1)
      end)
      t:advance(2)
    end)
    assert.same({ "own timeout", "scope timeout", "cancel", "kill", "end of main" }, log)
  end)

  it("survives a cleanup function that fails, waits, or resumes", function()
    run.worker(function()
      local resumed
      decnet.await(function() return function() error "in cleanup" end end, 1)
      decnet.await(function() return function() decnet.sleep(1) end end, 1)
      assert.same({ nil, "timeout" }, { decnet.await(function(resume)
        return function()
          resumed = true
          resume "too late"
        end
      end, 1) })
      assert.is_true(resumed)
      run.near(3, decnet.now(), 1e-4)
    end)
  end)

  it("lets the cleanup function of one wait end another", function()
    run.worker(function()
      local log = {}
      local function other()
        decnet.await(function(resume)
          log.resume = resume
          return function() log[#log + 1] = "cleanup" end
        end)
        log[#log + 1] = "resumed"
      end
      local second = decnet.spawn(other)
      local first = decnet.spawn(function()
        decnet.await(function()
          return function()
            log[#log + 1] = "first"
            second:cancel()
            log.resume "both"
          end
        end)
      end)
      decnet.yield()
      first:cancel()
      first:join()
      assert.same({ nil, "cancelled" }, { second:join() })
      assert.equal("first cleanup", table.concat(log, " "))
    end)
  end)

  it("raises what its function raises, and may wait in it", function()
    run.worker(function()
      run.raises("inside", decnet.await, function() error "inside" end)
      assert.equal("x", (decnet.await(function(resume)
        decnet.sleep(1)
        decnet.spawn(resume, "x")
        decnet.sleep(1)
      end)))
      assert.same({ nil, "timeout" }, { decnet.await(function() decnet.sleep(5) end, 1) })
    end)
  end)

  it("takes anything but a function for no cleanup", function()
    run.worker(function()
      for _, value in ipairs { 5, "x", {}, false } do
        assert.same({ nil, "timeout" }, { decnet.await(function() return value end, 0.1) })
      end
    end)
  end)

  it("calls the cleanup function of who was cancelled before the wait began", function()
    testing.run(function(t)
      local cleaned, message
      decnet.worker("w", function()
        decnet.await(function()
          message = select(2, pcall(decnet.park))
          return function() cleaned = true end
        end)
      end)
      t:advance(1)
      decnet.get "w":stop()
      t:advance(1)
      assert.equal(decnet.cancelled, message)
      assert.is_true(cleaned)
      assert.equal("stopped", t:status "w".state)
    end)
  end)

  it("nests", function()
    run.worker(function()
      local got = decnet.await(function(outer)
        local inner = decnet.await(function(resume) decnet.spawn(resume, "inner") end)
        outer(inner .. " outer")
      end)
      assert.equal("inner outer", got)
    end)
  end)

  it("refuses what is no function, at the caller's line, and names the argument", function()
    run.worker(function()
      for _, bad in ipairs { 5, "x", {} } do
        local ok, err = pcall(function()
          decnet.await(bad)
        end)
        assert.is_false(ok)
        run.contains(err, "await_spec.lua:")
        run.contains(err, "fn")
      end
      run.raises("seconds", decnet.await, print, -1)
      run.raises("seconds", decnet.await, print, "soon")
    end)
  end)

  it("L17 works in generators, iterators, metamethods, pcall and <close>", function()
    run.worker(function()
      local function wait(value)
        decnet.sleep(0.1)
        return value
      end
      local generator = coroutine.wrap(function()
        for i = 1, 3 do
          coroutine.yield(wait(i))
        end
      end)
      assert.same({ 1, 2, 3 }, { generator(), generator(), generator() })
      local list = {}
      for i in function(_, i) return wait(i < 3 and i + 1 or nil) end, nil, 0 do
        list[#list + 1] = i
      end
      assert.same({ 1, 2, 3 }, list)
      local object = setmetatable({}, {
        __index = function(_, key) return wait(key) end,
        __newindex = function(t, key, value) rawset(t, key, wait(value)) end,
        __add = function() return wait "add" end,
        __concat = function() return wait "concat" end,
        __eq = function() return wait(true) end,
        __lt = function() return wait(true) end,
        __le = function() return wait(false) end,
        __len = function() return wait(7) end,
        __call = function(_, x) return wait(x) end,
        __unm = function() return wait "unm" end,
      })
      object.x = 5
      assert.same({ "key", 5, "add", "concat", true, true, false, 7, "call", "unm" },
        { object.key, rawget(object, "x"), object + 1, object .. "", object == setmetatable({},
          getmetatable(object)), object < object, object <= object, #object, object "call",
          -object })
      assert.same({ true, 1 }, { pcall(wait, 1) })
      assert.same({ true, 1 }, { xpcall(wait, debug.traceback, 1) })
      local closed
      do
        local _ <close> = setmetatable({}, { __close = function() closed = wait "closed" end })
      end
      assert.equal("closed", closed)
      assert.equal("deep", (pcall(coroutine.wrap(function()
        return pcall(coroutine.wrap(function()
          assert.equal("deep", wait "deep")
        end))
      end)) and "deep"))
    end)
  end)
end)
