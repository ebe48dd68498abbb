-- SPDX-License-Identifier: AGPL-3.0-or-later
local spec = require "decnet.spec"
local refused_with = require "spec.support.text".refused_with

local function body() end

describe("a returned list", function()
  it("gives its declarations in order", function()
    local entries = assert(spec.list { { "b", body }, { name = "a", run = body, jitter = 1 } })
    assert.equal(2, #entries)
    assert.same({ name = "b", run = body, policy = spec.builtin }, entries[1])
    assert.same({ "a", 1 }, { entries[2].name, entries[2].policy.jitter })
  end)

  it("may be empty or missing", function()
    assert.same({}, spec.list {})
    assert.same({}, spec.list(nil))
  end)

  it("uses the defaults it is given", function()
    local defaults = assert(spec.defaults(nil, { jitter = 0.5 }))
    assert.equal(defaults, spec.list({ { "a", body } }, defaults)[1].policy)
  end)

  it("A04 A08 A13 names the place and the worker of a mistake", function()
    local ok = { "ok", body }
    refused_with('return value[3].jitter: expected a number from 0 to 1, got 2; 0.1 means 10 % '
      .. 'either way (worker "x")', spec.list { ok, { "y", body }, { "x", body, jitter = 2 } })
    refused_with('return value[2].max_backof: unknown option; did you mean "max_backoff"? '
      .. '(worker "x")', spec.list { ok, { "x", body, max_backof = 2 } })
    refused_with('return value[1].after[2]: expected a name (a non-empty string), got 1 '
      .. '(worker "x")', spec.list { { "x", body, after = { "b", 1 } } })
    refused_with("return value[1].name: expected a name", spec.list { { run = body } })
    refused_with('return value[1][2]: run: expected a function', spec.list { { "x", 1 } })
    refused_with('return value[1].run: expected a function', spec.list { { "x" } })
    refused_with('return value[1][true]: unknown option', spec.list { { "x", body, [true] = 1 } })
    refused_with("specs[1].name: ", spec.list({ {} }, nil, "specs"))
  end)

  it("A07 refuses a duplicate name, with both places", function()
    refused_with('return value[3].name: already taken by return value[1]; choose another '
      .. '(worker "a")', spec.list { { "a", body }, { "b", body }, { "a", body } })
  end)

  it("that is no list is refused, with what to write", function()
    refused_with("return value: expected a list of declarations", spec.list(true))
    refused_with("return value: expected a list of declarations", spec.list(body))
    refused_with("return value[1]: this is one declaration, not a list", spec.list { "a", body })
    refused_with("return value.name: not part of a list of declarations; put the declaration into",
      spec.list { name = "a", run = body })
    refused_with('return value.ticker: not part of a list of declarations; write { "ticker", '
      .. "function }", spec.list { ticker = body })
    refused_with("not part of a list of declarations; number the declarations from 1",
      spec.list { [("l"):rep(5000)] = body })
    refused_with("return value.ticker: not part", spec.list { { "a", body }, ticker = body })
    refused_with("return value[2]: nothing here", spec.list { { "a", body }, nil, { "b", body } })
    refused_with("return value[1]: nothing here", spec.list { [1 << 40] = { "a", body } })
    refused_with("return value[0]: not part", spec.list { [0] = { "a", body } })
    refused_with('return value[1]: expected a declaration { "name", function, option = value, '
      .. '... }, got "a"', spec.list { "a", "b" })
  end)
end)

describe("the option table", function()
  it("is what editors complete", function()
    local file = assert(io.open(assert(package.searchpath("decnet.types", package.path))))
    local text = file:read "a"
    file:close()
    local class = assert(text:match "%-%-%-@class decnet%.WorkerOptions\n(.-)\n\n")
    local fields, keys = {}, {}
    for key in class:gmatch "@field ([%a_]+) " do
      fields[#fields + 1] = key
    end
    for _, option in ipairs(spec.options) do
      if not option.required then
        keys[#keys + 1] = option.key
      end
    end
    assert.same(keys, fields)
  end)

  it("has a sentence and a valid default for each option", function()
    for _, list in ipairs { spec.options, spec.group_options } do
      for _, option in ipairs(list) do
        assert(option.doc:find "^.+%.$", option.key)
        assert(option.required or option.check(option.default) ~= nil, option.key)
      end
    end
  end)

  it("reads sizes with binary units", function()
    local check
    for _, option in ipairs(spec.options) do
      check = option.key == "max_memory" and option.check or check
    end
    for given, bytes in next, { ["64M"] = 64 << 20, ["65.5k"] = 67072, ["2G"] = 2 << 30,
      [65536] = 65536, [131072.0] = 131072, [math.huge] = math.huge, [false] = math.huge } do
      assert.equal(bytes, check(given))
    end
    for _, bad in ipairs { "64", "64MB", "M", "-1M", "", 0, -1, 65536.5, 0 / 0, 1e300, true, "0K",
      "63K", 65535 } do
      assert.is_nil((check(bad)))
    end
  end)
end)
