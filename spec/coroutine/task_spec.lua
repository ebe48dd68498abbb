-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The coroutine library and tasks: what a bare yield does, who may resume a task.
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"
local uv = require "luv"

describe("a bare coroutine.yield in a task", function()
  it("gives way for one turn and returns nothing", function()
    run.worker(function()
      local log = {}
      decnet.spawn(function() log[#log + 1] = "other" end)
      assert.equal(0, select("#", coroutine.yield(1, 2, 3)))
      log[#log + 1] = "main"
      assert.same({ "other", "main" }, log)
    end)
  end)

  it("parks the task that handed itself out, until it is resumed", function()
    run.worker(function()
      local co = coroutine.running()
      decnet.spawn(function()
        decnet.sleep(2)
        assert.same({ true }, { coroutine.resume(co, "a", nil, "c") })
      end)
      assert.same({ "a", nil, "c", n = 3 }, table.pack(coroutine.yield "ignored"))
      run.near(2, decnet.now(), 1e-4)
      -- handed out once, parked once: the next one only gives way
      coroutine.yield()
      run.near(2, decnet.now(), 1e-4)
    end)
  end)

  it("only gives way when the handing out was before an earlier wait", function()
    run.worker(function()
      coroutine.running()
      decnet.sleep(1)
      coroutine.yield()
      run.near(1, decnet.now(), 1e-4)
    end)
  end)

  it("takes as many values as a stack holds", function()
    run.worker(function()
      for _, park in ipairs { decnet.park, coroutine.yield } do
        local co = coroutine.running()
        decnet.spawn(function() assert(coroutine.resume(co, table.unpack({}, 1, 70000))) end)
        assert.equal(70000, select("#", park()))
        assert.equal(70000, select("#", decnet.await(function(resume)
          decnet.spawn(function() resume(table.unpack({}, 1, 70000)) end)
        end)))
      end
    end)
  end)

  it("as in luvit's libraries is resumed from a callback of luv", function()
    run.worker(function()
      local thread = coroutine.running()
      uv.fs_stat(".", function(err, stat) coroutine.resume(thread, err, stat) end)
      local err, stat = coroutine.yield()
      assert.is_nil(err)
      assert.equal("directory", stat.type)
    end)
  end)

  it("as in luvit's libraries works when the resume comes first", function()
    run.worker(function()
      -- coro-wrapper style: a flag tells that the answer came before the yield
      local thread, done = coroutine.running(), nil
      local function answer(value)
        if done == nil then
          done = value
        else
          assert(coroutine.resume(thread, value))
        end
      end
      answer "early"
      assert.equal("early", done or coroutine.yield())
    end)
  end)

  it("in a parked task is woken by a cancellation", function()
    testing.run(function(t)
      local err
      decnet.worker("w", function()
        coroutine.running()
        err = select(2, pcall(coroutine.yield))
        error(err, 0)
      end)
      t:advance(1)
      t:stop()
      assert.is_true(decnet.is_cancelled(err))
    end)
  end)

  it("is refused by stock's message on the main thread", function()
    run.raises("attempt to yield from outside a coroutine", coroutine.yield)
  end)
end)

describe("a task's coroutine", function()
  it("that waits is not resumed: false, and where it waits", function()
    run.worker(function()
      local channel, event = decnet.channel(), decnet.event()
      local never = decnet.event()
      for name, wait in pairs {
        sleep = function() decnet.sleep(1000) end,
        await = function() decnet.await(function() end) end,
        recv = function() channel:recv() end,
        wait = function() event:wait() end,
        join = function() decnet.spawn(never.wait, never):join() end,
      } do
        local co
        local task = decnet.spawn(function()
          co = coroutine.running()
          wait()
        end)
        decnet.yield()
        assert.same({ false, "cannot resume a task that waits in " .. name },
          { coroutine.resume(co, "x") })
        run.raises("cannot close a task that waits in " .. name, coroutine.close, co)
        assert.equal("suspended", coroutine.status(co))
        task:cancel()
        task:join()
        assert.equal("dead", coroutine.status(co))
        assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
        assert.is_true(coroutine.close(co))
      end
    end)
  end)

  it("that is ready to run is not resumed either", function()
    run.worker(function()
      local co
      decnet.spawn(function()
        co = coroutine.running()
        decnet.yield()
        decnet.yield()
      end)
      decnet.yield()
      assert.same({ false, "cannot resume a task that is ready to run" }, { coroutine.resume(co) })
    end)
  end)

  it("is not resumed by itself, or by what it resumed", function()
    run.worker(function()
      local me = coroutine.running()
      assert.equal("running", coroutine.status(me))
      assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(me) })
      coroutine.wrap(function()
        assert.equal("normal", coroutine.status(me))
        assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(me) })
        run.raises("cannot close a normal coroutine", coroutine.close, me)
      end)()
      run.raises("cannot close a running coroutine", coroutine.close, me)
    end)
  end)

  it("parked inside a nested coroutine can be resumed through either", function()
    run.worker(function()
      local inner
      local main = coroutine.running()
      decnet.spawn(function()
        decnet.sleep(1)
        assert.equal("normal", coroutine.status(inner))
        assert.is_true((coroutine.resume(inner, 1)))
        decnet.sleep(1)
        assert.is_true((coroutine.resume(main, 2)))
      end)
      local sum = coroutine.wrap(function()
        inner = coroutine.running()
        return decnet.park() + decnet.park()
      end)()
      assert.equal(3, sum)
    end)
  end)

  it("parked inside a generator can be resumed by calling that", function()
    testing.run(function(t)
      local generator, got, refused
      decnet.worker("parked", function()
        generator = coroutine.wrap(function()
          got = decnet.park()
          decnet.sleep(10)
        end)
        generator()
      end)
      decnet.worker("resumer", function()
        decnet.yield()
        assert(select("#", generator "value") == 0)
        refused = select(2, pcall(generator))
      end)
      t:advance(1)
      assert.equal("value", got)
      assert.matches("cannot resume a task that ", refused)
      assert.equal("done", t:status("resumer").state)
    end)
  end)

  it("is yieldable, as is any but the main coroutine", function()
    run.worker(function()
      assert.is_true(coroutine.isyieldable())
      assert.is_true(coroutine.isyieldable(coroutine.running()))
      assert.is_true(coroutine.isyieldable(coroutine.create(print)))
    end)
  end)

  it("cannot have a nested coroutine taken away while that waits", function()
    run.worker(function()
      local inner
      decnet.spawn(function()
        coroutine.wrap(function()
          inner = coroutine.running()
          decnet.sleep(5)
        end)()
      end)
      decnet.yield()
      assert.same({ false, "cannot resume a task that waits in sleep" },
        { coroutine.resume(inner) })
      run.raises("cannot close a normal coroutine", coroutine.close, inner)
      decnet.sleep(10)
      assert.equal("dead", coroutine.status(inner))
    end)
  end)

  it("L06 that waits for ever in nested coroutines is never reported as a finish", function()
    testing.run(function(t)
      local function nest(depth)
        if depth == 0 then
          while true do
            decnet.sleep(1)
          end
        end
        coroutine.wrap(nest)(depth - 1)
      end
      for _, depth in ipairs { 1, 5, 50 } do
        decnet.worker("w" .. depth, function() nest(depth) end)
      end
      t:advance(1000)
      for _, status in ipairs(decnet.status()) do
        assert.same({ "running", 1 }, { status.state, status.run })
      end
      assert.equal(0, t:stop())
    end)
  end)

  it("may pass its suspended coroutines to another task, or another worker", function()
    testing.run(function(t)
      local generator = coroutine.wrap(function()
        for i = 1, math.huge do
          decnet.sleep(1)
          coroutine.yield(i)
        end
      end)
      local got = {}
      for name, count in pairs { a = 2, b = 3 } do
        decnet.worker(name, function()
          for _ = 1, count do
            got[#got + 1] = generator()
            if #got == 1 then
              decnet.sleep(0.1)
            end
          end
        end)
      end
      decnet.worker("outside", function() decnet.sleep(0) end)
      t:advance(20)
      -- whoever finds it waiting is refused; the others go on
      assert.is_true(#got >= 2)
    end)
  end)
end)

describe("coroutine functions on the main thread", function()
  it("behave as in stock after workers have run", function()
    testing.run(function(t)
      decnet.worker("w", run.forever)
      t:advance(1)
      local got = {}
      for value in coroutine.wrap(function()
        for i = 1, 3 do
          coroutine.yield(i)
        end
      end) do
        got[#got + 1] = value
      end
      assert.same({ 1, 2, 3 }, got)
    end)
  end)

  it("refuse to resume the one that runs, with false first", function()
    local co = coroutine.running()
    assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(co) })
    coroutine.wrap(function()
      local me = coroutine.running()
      assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(me) })
    end)()
  end)

  it("refuse what is no coroutine or function, as stock does", function()
    run.raises("coroutine expected", coroutine.resume, 5)
    run.raises("coroutine expected", coroutine.status, nil)
    run.raises("coroutine expected", coroutine.close, {})
    run.raises("function expected", coroutine.wrap, 5)
    run.raises("function expected", coroutine.create, {})
  end)
end)

describe("a wait across a C function that cannot be suspended", function()
  local function cases(wait)
    return {
      ["'sort'"] = { table.sort, { 2, 1 }, wait },
      ["'gsub'"] = { string.gsub, "x", "x", wait },
      ["'load'"] = { load, wait },
      ["'tostring'"] = { tostring, setmetatable({}, { __tostring = wait }) },
    }
  end

  it("raises an error that names it, called directly or through pcall", function()
    run.worker(function()
      local function wait() decnet.sleep(1) end
      run.contains(select(2, pcall(function() table.sort({ 2, 1 }, wait) end)), "inside 'sort'")
      run.contains(select(2, pcall(function() string.gsub("x", "x", wait) end)), "inside 'gsub'")
      run.contains(select(2, pcall(table.sort, { 2, 1 }, wait)), "'sort'")
      run.contains(select(2, pcall(string.gsub, "x", "x", wait)), "'gsub'")
      run.contains(select(2, xpcall(table.sort, debug.traceback, { 2, 1 }, wait)), "'sort'")
      run.contains(select(2, pcall(function()
        return tostring(setmetatable({}, { __tostring = wait }))
      end)), "'tostring'")
      run.contains(select(2, load(wait)), "cannot wait inside")
      for name, call in pairs(cases(wait)) do
        local results = table.pack(pcall(table.unpack(call)))
        run.contains(tostring(results[2] or results[3]), name)
      end
      decnet.sleep(1)
    end)
  end)

  it("raises it for every kind of wait, at the waiter's line", function()
    run.worker(function()
      local channel, event = decnet.channel(), decnet.event()
      for name, wait in pairs {
        sleep = function() decnet.sleep(1) end,
        yield = function() decnet.yield() end,
        ["coroutine.yield"] = function() coroutine.yield() end,
        park = function() decnet.park() end,
        await = function() decnet.await(function() end) end,
        recv = function() channel:recv() end,
        wait = function() event:wait() end,
        timeout = function() decnet.timeout(1, decnet.sleep, 1) end,
      } do
        local _, err = pcall(function() table.sort({ 2, 1 }, wait) end)
        run.contains(err, name .. ": cannot wait inside 'sort'")
        run.contains(err, "task_spec.lua:")
      end
    end)
  end)

  it("does not name pcall and xpcall, which can be suspended", function()
    run.worker(function()
      local function handled(fn, ...)
        return xpcall(fn, tostring, ...)
      end
      for _, protected in ipairs { pcall, handled } do
        local err
        table.sort({ 2, 1 }, function() err = select(2, protected(decnet.sleep, 1)) end)
        run.contains(err, "sleep: cannot wait inside 'sort'")
      end
    end)
  end)

  it("raises it inside a generator that the C function calls", function()
    run.worker(function()
      local _, err = pcall(function()
        table.sort({ 2, 1 }, coroutine.wrap(function()
          decnet.sleep(1)
        end))
      end)
      run.contains(err, "cannot wait inside 'sort'")
      _, err = pcall(function()
        string.gsub("x", "x", function()
          return coroutine.wrap(function()
            coroutine.wrap(function() decnet.sleep(1) end)()
          end)()
        end)
      end)
      run.contains(err, "cannot wait inside 'gsub'")
      local named = coroutine.wrap(function() decnet.sleep(1) end)
      _, err = pcall(function() table.sort({ 2, 1 }, function() return named() end) end)
      run.contains(err, "cannot wait inside 'sort'")
      local co = coroutine.create(function()
        local _ <close> = setmetatable({}, { __close = function() decnet.sleep(1) end })
        coroutine.yield()
      end)
      coroutine.resume(co)
      run.contains(select(2, coroutine.close(co)), "cannot wait inside 'close'")
      decnet.sleep(1)
    end)
  end)

  it("raises it at the top level of require", function()
    run.worker(function()
      package.preload["spec.waits"] = function() decnet.sleep(1) end
      local _, err = pcall(function() require "spec.waits" end)
      package.preload["spec.waits"] = nil
      run.contains(err, "cannot wait inside 'require'")
    end)
  end)
end)
