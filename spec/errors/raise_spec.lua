-- SPDX-License-Identifier: AGPL-3.0-or-later
-- error, which decnet replaces, says what Lua's says.

local decnet = require "decnet"
local testing = require "decnet.testing"

-- What fn raises, as it is.
local function raised_by(fn, ...)
  return select(2, pcall(fn, ...))
end

-- A function whose second line raises error's arguments.
local function raiser(name, code)
  return assert(load("local message, level = ...\n" .. code, name))
end

describe("error", function()
  local plain = raiser("=here", "error(message, level)")

  it("puts the position in front of a message", function()
    assert.equal("here:2: boom", raised_by(plain, "boom"))
    assert.equal("here:2: ", raised_by(plain, ""))
    assert.equal("here:2: a\0b", raised_by(plain, "a\0b"))
    assert.equal("here:1234567: x",
      raised_by(assert(load(("\n"):rep(1234566) .. "error 'x'", "=here"))))
    assert.equal(('[string "local message, level = ......"]:2: x'),
      raised_by(raiser(nil, "error(message)"), "x"))
    assert.equal(("here:2: x"), raised_by(raiser("=here", "return error(message)"), "x"))
  end)

  it("does so to messages of any length", function()
    local name = "=" .. ("n"):rep(80)
    for _, len in ipairs { 1, 20, 39, 40, 255, 256, 257, 1000, 100000 } do
      local message = ("m"):rep(len)
      assert.equal("here:2: " .. message, raised_by(plain, message))
      assert.equal(name:sub(2, 60) .. ":2: " .. message,
        raised_by(raiser(name, "error(message)"), message))
    end
  end)

  it("knows the level", function()
    local outer = assert(load("local inner = ...\ninner('boom', 2)\n", "=outer"))
    assert.equal("outer:2: boom", raised_by(outer, plain))
    assert.equal("boom", raised_by(plain, "boom", 0))
    assert.equal("boom", raised_by(plain, "boom", -1))
    assert.equal("boom", raised_by(plain, "boom", 1000))
    assert.equal("boom", raised_by(error, "boom"))
    assert.equal("bad argument #2 to 'error' (number expected, got table)",
      raised_by(error, "boom", {}))
    assert.equal("boom", raised_by(load(string.dump(plain, true)), "boom")) -- it has no lines
  end)

  it("raises other values as they are", function()
    local t = {}
    assert.equal(t, raised_by(plain, t))
    assert.equal(5, raised_by(plain, 5))
    assert.is_nil(raised_by(plain))
    assert.is_nil(raised_by(error))
  end)

  it("is called error in tracebacks", function()
    testing.run(function(t)
      decnet.worker("w", function() error "boom" end)
      t:advance(0)
      local last = t:status "w".last_error
      assert.truthy(last.message:find "raise_spec.lua:%d+: boom$")
      assert.truthy(last.traceback:find "^\t%[C%]: in global 'error'")
    end)
    assert.truthy(select(2, xpcall(plain, debug.traceback, "boom")):find "in function 'error'")
  end)
end)
