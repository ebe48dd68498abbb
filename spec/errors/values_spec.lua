-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

describe("C14 an error value", function()
  local values = {
    { "nil", nil, "nil" },
    { "false", false, "false" },
    { "a number", 42, "42" },
    { "a table", { code = 5, text = "x" }, 'code = 5' },
    { "a table of many fields", { a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8, i = 9,
      j = 10 }, "a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8}" },
    { "a table of long fields", (function()
      local fields = {}
      for i = 1, 20 do
        fields[("key%02d"):format(i) .. ("k"):rep(60)] = ("v"):rep(200)
      end
      return fields
    end)(), "key01kkkk" },
    { "an empty table", {}, "table" },
    { "a function", print, "function" },
    { "a coroutine", coroutine.create(print), "thread" },
    { "a failing __tostring", setmetatable({}, { __tostring = function() error "no" end }),
      "__tostring failed" },
    { "a __tostring that returns no string",
      setmetatable({}, { __tostring = function() return {} end }), "__tostring failed" },
    { "a __tostring that waits", setmetatable({}, { __tostring = function() decnet.sleep(1) end }),
      "__tostring failed" },
    { "a good __tostring", setmetatable({}, { __tostring = function() return "good" end }),
      "good" },
    { "a table that cannot be walked", setmetatable({}, { __pairs = error, __index = error }),
      "table" },
    { "1 MB", ("x"):rep(1 << 20), "xxxx" },
    { "binary", "a\0b\255c", "a" },
    { "empty", "", "" },
  }
  for _, case in ipairs(values) do
    it(("that is %s is reported, bounded, and the worker restarted"):format(case[1]), function()
      testing.run(function(t)
        decnet.worker("w", function() error(case[2], 0) end)
        decnet.worker("task", function()
          decnet.spawn(error, case[2], 0)
          run.forever()
        end)
        decnet.worker("nested", function() coroutine.wrap(error)(case[2], 0) end)
        t:advance(1.5)
        for _, name in ipairs { "w", "task", "nested" } do
          local crash = run.events(t, "crash", name)
          assert.equal(2, #crash)
          run.contains(crash[1].error, case[3])
          assert.is_true(#crash[1].error <= 1024)
          assert.equal(crash[1].error, t:status(name).last_error.message)
          assert.equal(2, t:status(name).run)
        end
      end)
    end)
  end

  it("that is a runtime error has a position and a traceback", function()
    local crash = run.crash(function()
      local t = nil
      return t.field
    end)
    run.contains(crash.error, "values_spec.lua:")
    run.contains(crash.error, "attempt to index a nil value")
    run.contains(crash.traceback, "values_spec.lua:")
  end)

  it("that is a stack overflow is reported, bounded", function()
    local function recurse()
      return 1 + recurse()
    end
    local crash = run.crash(recurse)
    run.contains(crash.error, "stack overflow")
    assert.is_true(#crash.traceback <= 4096)
    crash = run.crash(function()
      local function nest()
        coroutine.wrap(nest)()
      end
      nest()
    end)
    run.contains(crash.error, "values_spec.lua:") -- once for each coroutine, and then it is cut
    local deep = setmetatable({}, {})
    getmetatable(deep).__index = function(t, key) return t[key .. "x"] end
    run.contains(run.crash(function() return deep.x end).error, "overflow")
  end)

  it("in a message handler or a __close is one crash", function()
    local crash = run.crash(function()
      local _ <close> = setmetatable({}, { __close = function() error "in __close" end })
      error "in the body"
    end)
    run.contains(crash.error, "in __close")
  end)

  it("keeps the traceback of where it was raised, through timeouts and coroutines", function()
    local function deep()
      error "deep"
    end
    for _, around in ipairs {
      function() decnet.timeout(5, deep) end,
      function() decnet.shield(5, deep) end,
      function() decnet.atomic(deep) end,
      function() decnet.shared(deep) end,
      function() coroutine.wrap(deep)() end,
      function() coroutine.wrap(function() decnet.timeout(5, coroutine.wrap(deep)) end)() end,
      function() decnet.timeout(5, function()
        decnet.sleep(1)
        deep()
      end) end,
    } do
      local crash = run.crash(around)
      run.contains(crash.error, "deep")
      run.contains(crash.traceback, ("values_spec.lua:%d: in"):format(
        debug.getinfo(deep, "S").linedefined + 1))
    end
  end)

  it("is never that of an error that was caught before", function()
    local crash = run.crash(function()
      pcall(decnet.timeout, 1, error, "caught")
      pcall(coroutine.wrap(error), "caught too")
      error("real", 0)
    end)
    assert.equal("real", crash.error)
    crash = run.crash(function()
      for i = 1, 100 do
        pcall(decnet.timeout, 1, error, { code = i })
        collectgarbage()
      end
      error { code = 1000 }
    end)
    run.contains(crash.error, "code = 1000")
    testing.run(function(t)
      decnet.worker("w", function() pcall(decnet.timeout, 1, error, "caught") end)
      t:advance(1)
      assert.same({ "done" }, { t:status("w").state, t:status("w").last_error })
    end)
  end)
end)

describe("C19 an error", function()
  local uv = require "luv"
  local sources = {
    ["in a spawned task"] = function(fail)
      decnet.spawn(fail)
      run.forever()
    end,
    ["in a nested coroutine"] = function(fail) coroutine.wrap(coroutine.wrap(fail))() end,
    ["in a generator after an await"] = function(fail)
      coroutine.wrap(function()
        decnet.sleep(0.1)
        fail()
      end)()
    end,
    ["in an iterator"] = function(fail)
      for _ in fail do end -- luacheck: ignore 542
    end,
    ["in a callback of a request"] = function(fail)
      uv.fs_stat(".", fail)
      run.forever()
    end,
    ["in an async callback"] = function(fail)
      local async = uv.new_async(fail)
      async:send()
      run.forever()
    end,
    ["in a callback that awaits"] = function(fail)
      uv.fs_stat(".", function()
        decnet.sleep(0.1)
        fail()
      end)
      run.forever()
    end,
    ["in the function given to await"] = function(fail) decnet.await(fail) end,
    ["in <close>"] = function(fail)
      local _ <close> = setmetatable({}, { __close = fail })
    end,
  }
  for what, source in pairs(sources) do
    it(what .. " is a crash of that run, with its traceback", function()
      testing.run(function(t)
        local function fail_here()
          error "boom"
        end
        decnet.worker { name = "w", restart = "never", run = function() source(fail_here) end }
        decnet.worker("neighbour", run.forever)
        t:run_until(function() return t:status("w").state == "failed" end, 100)
        local crash = run.events(t, "crash")
        assert.equal(1, #crash)
        assert.equal("w", crash[1].worker)
        run.contains(crash[1].error, "boom")
        run.contains(crash[1].traceback, ("values_spec.lua:%d: in"):format(
          debug.getinfo(fail_here, "S").linedefined + 1))
        assert.same({ "running", 1 }, { t:status("neighbour").state, t:status("neighbour").run })
      end)
    end)
  end

  it("in a luv callback is the crash of the run that gave it, not of who runs then", function()
    testing.run(function(t)
      local async
      decnet.worker { name = "owner", restart = "never", run = function()
        async = uv.new_async(function() error "boom" end)
        run.forever()
      end }
      decnet.worker("sender", function()
        decnet.sleep(1)
        async:send()
        run.forever()
      end)
      t:run_until(function() return t:status("owner").state == "failed" end, 100)
      assert.equal("running", t:status("sender").state)
    end)
  end)

  it("that is caught is none", function()
    run.worker(function()
      assert.is_false((pcall(error)))
      assert.is_false((coroutine.resume(coroutine.create(error))))
      assert.is_false((decnet.timeout(1, pcall, error) and pcall(error)))
    end)
  end)
end)
