-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What is too long or too much to be shown: it is cut, and what is shown is still right.
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

describe("of much", function()
  it("the first keys of an error that is a table are shown, in order", function()
    local crash = run.crash(function()
      local value = { sub = {}, fn = print, [1] = "one", [true] = 2 }
      for _, key in ipairs { "m", "c", "k", "a", "z", "b", "y", "d", "x", "e", "w", "f" } do
        value[key] = key == "m" and true or key == "c" and 3 or key
      end
      error(value)
    end)
    run.contains(crash.error, 'a = "a", b = "b", c = 3, d = "d", e = "e", f = "f"')
    assert.is_nil(crash.error:find("sub", 1, true))
  end)

  it("a message of 100,000 bytes is one of some, and so is that of a cancelled await", function()
    local crash = run.crash(function() error(("é"):rep(50000), 0) end)
    assert.is_true(#crash.error < 5000)
    assert.is_truthy(utf8.len(crash.error))
  end)

  it("variables are shown as far as there is room", function()
    local crash = run.crash(function()
      local password, token = nil, "hush" -- luacheck: ignore 211
      local none = setmetatable({}, { __index = {} }) -- luacheck: ignore 211
      local many = {} -- luacheck: ignore 211
      for i = 1, 40 do
        many["key" .. i] = ("x"):rep(200)
      end
      local nested = { [{}] = {}, [print] = print, a = {}, b = {}, c = {}, d = {}, e = {}, f = {} }
      local function deep(n, a, b, c)
        local x, y, z = a .. n, b .. n, c .. n -- luacheck: ignore 211
        if n == 0 then
          error "boom"
        end
        deep(n - 1, x, y, z)
        return x, y, z, many, nested
      end
      deep(40, ("a"):rep(100), ("b"):rep(100), ("c"):rep(100))
      return password, token, none
    end)
    run.contains(crash.error, "boom")
  end)

  it("warnings are shown as far as they are wanted, and counted beyond a few", function()
    testing.run(function(t)
      decnet.worker("w", function()
        warn "@what"
        warn "@off"
        warn "not shown"
        warn "@on"
        for i = 1, 100 do
          warn("warning ", tostring(i))
        end
        decnet.sleep(100)
        warn "later"
        warn "@off"
      end)
      t:advance(1000)
      assert.equal("done", t:status("w").state)
    end)
    warn "@off"
    warn "of no host"
    warn "@what"
  end)

  it("fields of a line are left out, and those that have no name", function()
    testing.run(function(t)
      decnet.worker("w", function(self)
        local fields = { "unnamed", [true] = 1, nested = { 1 } }
        for i = 1, 100 do
          fields["field" .. i] = i
        end
        self.log:debug("not shown", fields)
        self.log:info("shown", fields)
      end)
      t:advance(0.01)
      assert.equal("done", t:status("w").state)
    end)
  end)

  it("results and arguments of a coroutine are refused where its stack cannot hold them", function()
    run.worker(function()
      local function deep(...)
        coroutine.yield()
        return ...
      end
      local many = table.pack(table.unpack({}, 1, 400000))
      local co = coroutine.create(function(...)
        deep(...)
        coroutine.yield(...)
      end)
      coroutine.resume(co, table.unpack(many, 1, 400000))
      local ok, err = coroutine.resume(co, table.unpack(many, 1, 400000))
      assert.is_false(ok)
      run.contains(err, "too many arguments to resume")
      local wrapped = coroutine.wrap(function(...) deep(...) end)
      wrapped(table.unpack(many, 1, 400000))
      ok, err = pcall(wrapped, table.unpack(many, 1, 400000))
      assert.is_false(ok)
      run.contains(err, "too many arguments to resume")

      local function gives()
        return table.unpack(many, 1, 400000)
      end
      local function in_the_deep(fn, ...)
        return fn(), ...
      end
      local function held(fn, ...)
        local result = table.pack(in_the_deep(fn, ...))
        return result[1]
      end
      local text = held(function()
        local giver = coroutine.create(gives)
        local success, message = coroutine.resume(giver)
        return success or message
      end, table.unpack(many, 1, 300000))
      run.contains(tostring(text), "too many results to resume")
      text = held(function()
        local _, message = pcall(coroutine.wrap(gives))
        return message
      end, table.unpack(many, 1, 300000))
      run.contains(tostring(text), "too many results to resume")
    end)
  end)
end)
