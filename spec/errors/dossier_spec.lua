-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local forever = run.forever

local function value_of(variables, name)
  for _, variable in ipairs(variables) do
    if variable.name == name then
      return variable.value
    end
  end
end

-- The dossier of a worker that runs fn and is never restarted.
local function dossier(fn)
  local endings
  testing.run(function(t)
    decnet.worker { name = "w", restart = "never", run = fn }
    t:advance(100)
    endings = t:status("w").endings
  end)
  return endings
end

describe("the crash dossier", function()
  it("has each ending with what was decided, the last one first", function()
    testing.run(function(t)
      decnet.worker { name = "w", max_restarts = 2, within = 600, run = function(self)
        decnet.sleep(self.run)
        error("boom " .. self.run)
      end }
      assert.is_nil(t:status("w").endings)
      t:advance(100)
      local endings = t:status("w").endings
      assert.equal(3, #endings)
      local last, first = endings[1], endings[3]
      assert.same({ 3, "crashed", "failed" }, { last.run, last.ended, last.decision })
      assert.equal("more than 2 restarts within 600 s", last.reason)
      assert.is_nil(last.delay)
      run.contains(last.error, "dossier_spec.lua:32: boom 3")
      run.contains(last.traceback, "dossier_spec.lua:32: in")
      assert.same({ 1, "crashed", "restart", 1 },
        { first.run, first.ended, first.decision, first.delay })
      run.near(1, first.at, 1e-3)
      assert.equal(2, endings[2].delay)
    end)
  end)

  it("keeps the last 32", function()
    testing.run(function(t)
      decnet.worker { name = "w", min_backoff = 0, max_backoff = 0, run = function(self)
        decnet.sleep(1)
        error("boom " .. self.run)
      end }
      t:advance(100.5)
      local endings = t:status("w").endings
      assert.equal(32, #endings)
      for i, ending in ipairs(endings) do
        assert.equal(101 - i, ending.run)
        run.contains(ending.error, "boom " .. 101 - i)
      end
    end)
  end)

  it("writes the same error from the same lines down once in a streak, others anew", function()
    testing.run(function(t)
      local function fail()
        error("same", 0)
      end
      decnet.worker { name = "w", reset_after = 5, run = function(self)
        local number = self.run
        decnet.sleep(number == 4 and 6 or 0.5)
        if number == 3 then
          error("same", 0) -- elsewhere
        end
        fail(number)
      end }
      t:advance(60)
      local endings, numbers = t:status("w").endings, {}
      for _, ending in ipairs(endings) do
        assert.equal("same", ending.error)
        local frame = ending.variables[#ending.variables]
        numbers[ending.run] = value_of(frame.locals, "number")
      end
      -- 2 as 1; 3 fails elsewhere; 4 ended the streak; 5 is in a new one
      assert.same({ "1", "1", "3", "4", "4" }, { table.unpack(numbers, 1, 5) })
      local first, second, third = endings[#endings], endings[#endings - 1], endings[#endings - 2]
      assert.equal(first.traceback, second.traceback)
      assert.not_equal(first.traceback, third.traceback)
      run.contains(first.traceback, "in upvalue 'fail'")
      local last = t:status("w").last_error
      assert.equal(endings[1].run, last.run)
      assert.equal(endings[1].at, last.at)
    end)
  end)

  it("knows returns, stops and kills", function()
    testing.run(function(t)
      decnet.worker { name = "w", restart = "always", run = function(self)
        if self.run == 1 then
          return
        end
        forever()
      end }
      decnet.worker { name = "k", stop_timeout = 1, run = run.stubborn }
      t:advance(2)
      local handle = decnet.get "w"
      handle:restart()
      t:advance(1)
      handle:stop()
      decnet.get("k"):stop()
      t:advance(2)
      local got = {}
      for i, ending in ipairs(t:status("w").endings) do
        got[i] = ("%s %s %s"):format(ending.ended, ending.decision, ending.delay)
      end
      assert.same({ "cancelled stopped nil", "cancelled restart nil", "returned restart 1.0" }, got)
      assert.equal("killed", t:status("k").endings[1].ended)
    end)
  end)

  it("has the locals and upvalues of the failing functions, by name", function()
    local limit = 7
    local function inner(count, ...)
      local list, text, nothing = { 1, 2, name = "x" }, ("long "):rep(100), nil
      if count < limit then
        error("boom" .. #list .. #text .. tostring(nothing) .. select("#", ...))
      end
    end
    local ending = dossier(function()
      local before = 1.5
      inner(3, "vararg")
      print(before)
    end)[1]
    local frame = ending.variables[1]
    run.contains(frame.name, "inner")
    run.contains(frame.at, "dossier_spec.lua:")
    assert.equal("3", value_of(frame.locals, "count"))
    local list = value_of(frame.locals, "list")
    run.contains(list, "[1] = 1")
    run.contains(list, 'name = "x"')
    assert.is_true(#value_of(frame.locals, "text") < 80)
    assert.equal("nil", value_of(frame.locals, "nothing"))
    assert.equal("7", value_of(frame.upvalues, "limit"))
    assert.is_nil(value_of(frame.upvalues, "_ENV"))
    assert.equal("1.5", value_of(ending.variables[2].locals, "before"))
    run.contains(value_of(ending.variables[2].upvalues, "inner"), "function <")
  end)

  -- status() took the rest of the name for another variable, and did not come back.
  it("names a function whose chunk has line ends and tabs in its name", function()
    local ending = dossier(load("error 'boom'", "=a\n\tb"))[1]
    assert.same({ { at = "a\\n\\tb:1", name = "main chunk <a\\n\\tb:0>", locals = {},
      upvalues = {} } }, ending.variables)
  end)

  it("names a function whose field has line ends and tabs in its name", function()
    local odd = { ["f\n\t"] = function() error "boom" end }
    local ending = dossier(function()
      odd["f\n\t"]()
      print()
    end)[1]
    run.contains(ending.variables[1].name, "'f\\n\\t'")
    assert.equal(2, #ending.variables)
  end)

  it("masks what is called password, token, secret or key", function()
    local ending = dossier(function()
      local db_password, Token, secrets, api_key = "hunter2", "hunter2", { "hunter2" }, 12345
      local config = { user = "me", PassWord = "hunter2", keyring = "hunter2" }
      local no_password = nil
      error("no connection" .. #db_password .. #Token .. #secrets .. api_key .. config.user
        .. tostring(no_password))
    end)[1]
    local locals = ending.variables[1].locals
    for _, name in ipairs { "db_password", "Token", "secrets", "api_key" } do
      assert.equal("***", value_of(locals, name))
    end
    assert.equal("nil", value_of(locals, "no_password"))
    local config = value_of(locals, "config")
    run.contains(config, 'user = "me"')
    run.contains(config, "PassWord = ***")
    run.contains(config, "keyring = ***")
    for _, variable in ipairs(locals) do
      assert.is_nil(variable.value:find "hunter2")
    end
  end)

  it("calls nothing of the worker's", function()
    local trap = setmetatable({}, {
      __index = error, __tostring = error, __len = error, __pairs = error, __name = "trap" })
    local ending = dossier(function()
      local mine = trap
      error("boom" .. type(mine))
    end)[1]
    assert.equal("{}", value_of(ending.variables[1].locals, "mine"))
  end)

  it("is bounded: a deep stack, huge tables, many variables", function()
    local huge = {}
    for i = 1, 1e5 do
      huge["key" .. i] = i
      huge[i] = ("x"):rep(100)
    end
    local function deep(n, table)
      if n == 0 then
        error "boom"
      end
      deep(n - 1, table)
      return n
    end
    local code = {}
    for i = 1, 150 do
      code[i] = ("local v%d = %d"):format(i, i)
    end
    code[#code + 1] = 'error "many"'
    local function size_of(ending)
      local bytes = 0
      for _, frame in ipairs(ending.variables) do
        for _, list in ipairs { frame.locals, frame.upvalues } do
          for _, variable in ipairs(list) do
            bytes = bytes + #variable.name + #variable.value
          end
        end
      end
      return bytes
    end
    local ending = dossier(function() deep(100, huge) end)[1]
    assert.equal(8, #ending.variables)
    assert.is_true(size_of(ending) < 4096)
    local function long(n)
      local a, b, c, d = ("a"):rep(100), ("b"):rep(100), ("c"):rep(100), ("d"):rep(100)
      local e, f, g, h = { a, b, c, d }, { a, b, c, d }, { a, b, c, d }, { a, b, c, d }
      if n == 0 then
        error "boom"
      end
      return long(n - 1), a, b, c, d, e, f, g, h
    end
    ending = dossier(function() long(100) end)[1]
    assert.is_true(#ending.variables < 9)
    assert.is_true(size_of(ending) < 4096)
    local many = dossier(load(table.concat(code, "\n")))[1]
    assert.equal(16, #many.variables[1].locals)
    assert.equal("150", value_of(many.variables[1].locals, "v150")) -- the innermost say most
    local uses = {}
    for i = 1, 40 do
      uses[i] = "v" .. i
    end
    code[#code] = ('return (function() error("many" .. %s) end)()'):format(table.concat(uses, ".."))
    many = dossier(load(table.concat(code, "\n")))[1]
    assert.equal(15, #many.variables[1].upvalues) -- and _ENV
    code[#code] = 'for turn = 1, 3 do if turn == 2 then error "many" end end'
    many = dossier(load(table.concat(code, "\n")))[1]
    assert.equal("2", value_of(many.variables[1].locals, "turn"))
  end)

  it("survives a stack overflow", function()
    local function overflow(n) return 1 + overflow(n + 1) end
    local ending = dossier(function() overflow(1) end)[1]
    run.contains(ending.error, "stack overflow")
    assert.equal("crashed", ending.ended)
  end)

  it("reads the functions of a generator that failed", function()
    local ending = dossier(function()
      for _ in coroutine.wrap(function()
        local inside = "here"
        coroutine.yield(1)
        error("boom " .. inside)
      end) do end
    end)[1]
    assert.equal('"here"', value_of(ending.variables[1].locals, "inside"))
  end)
end)

describe("a worker ended for its own fault", function()
  it("shows where it was waiting when it missed a beat", function()
    testing.run(function(t)
      decnet.worker { name = "w", watchdog = 5, run = function(self)
        self:beat()
        local stage = "connecting"
        decnet.sleep(100)
        print(stage)
      end }
      t:advance(5.5)
      local crash = run.events(t, "crash")[1]
      assert.equal("no beat within 5 s", crash.error)
      run.contains(crash.traceback, "sleep")
      run.contains(crash.traceback, "dossier_spec.lua:")
      local ending = t:status("w").endings[1]
      assert.equal("no beat within 5 s", ending.error)
      assert.equal('"connecting"', value_of(ending.variables[1].locals, "stage"))
      assert.equal("no beat within 5 s", t:status("w").last_error.message)
    end)
  end)

  it("shows where it was when it was not ready in time", function()
    testing.run(function(t)
      decnet.worker { name = "w", notify = true, start_timeout = 2, run = forever }
      t:advance(2.5)
      local crash = run.events(t, "crash")[1]
      assert.equal("not ready within 2 s", crash.error)
      run.contains(crash.traceback, "sleep")
    end)
  end)
end)
