-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What reload calls the same, and who belongs together.

require "decnet"
local core = require "decnet.core"

-- What is not the script's.
local function foreign()
  local set = {}
  for _, module in pairs(package.loaded) do
    set[module] = true
    for _, value in pairs(type(module) == "table" and module ~= _G and module or {}) do
      set[value] = true
    end
  end
  set[_G] = nil
  return set
end

local function session(globals, code)
  return core.fingerprints {
    foreign = foreign(), globals = globals or {}, environments = { [_G] = true }, code = code or {},
  }
end

local function load_value(text)
  return assert(load(text))()
end

local function hash(text, globals)
  return session(globals):hash(load_value(text))
end

-- The numbers of groups, renumbered in order of appearance: "1 1 2 0".
local function link(text, code)
  local values, seen, count, out = load_value(text), { [0] = 0 }, 0, {}
  for i, group in ipairs(session(nil, code and { [values.code] = true }):link(values)) do
    if not seen[group] then
      count = count + 1
      seen[group] = count
    end
    out[i] = seen[group]
  end
  return table.concat(out, " ")
end

describe("a fingerprint", function()
  it("is the closure's own, in whatever order many of the same code are read", function()
    local made = load_value [[
      local list = {}
      for i = 1, 3 do
        list[i] = function() return i end
        list[i + 3] = function() i = i + 1 return i end
      end
      return list
    ]]
    local one = session()
    for _, order in ipairs { { 1, 2, 3, 4, 5, 6 }, { 1, 4, 2, 5, 3, 6 }, { 6, 6, 1, 1, 5, 2 } } do
      for _, i in ipairs(order) do
        assert.equal(session():hash(made[i]), one:hash(made[i]))
        assert.equal(session():hash(made[i]), session():hash(made[i]))
        assert.not_equal(one:hash(made[i % 6 + 1]), one:hash(made[i]))
      end
    end
  end)

  it("is the closure's own where all share cells, and some are in a cycle with these", function()
    local made = load_value [[
      local list, one, nobody = {}, nil, nil
      for i = 1, 3 do
        list[i] = function() return one end
        list[i + 3] = function() return nobody end
      end
      one = list[2]
      return list
    ]]
    for _, order in ipairs { { 1, 2, 3 }, { 3, 2, 1 }, { 2, 1, 3 }, { 4, 1, 5, 3, 2, 6 } } do
      local session_of_all = session()
      for _, i in ipairs(order) do
        assert.equal(session():hash(made[i]), session_of_all:hash(made[i]))
      end
    end
    assert.not_equal(session():hash(made[1]), session():hash(made[2]))
    assert.equal(session():hash(made[1]), session():hash(made[3]))
    assert.not_equal(session():hash(made[1]), session():hash(made[4]))
  end)

  local SAME = {
    ["moved to another line, with comments and other names"] = {
      "local a = 1 return function(x) return function() return x + a end end",
      "-- why\n\nlocal b = 1\nreturn function(y)\n  -- this\n  return function()\n"
        .. " return y + b end\nend",
    },
    ["tables in any order"] = {
      "local t = {} t.a = 1 t.b = {2} t[3] = 'x' return function() return t end",
      "local t = {} t[3] = 'x' t.b = {2} t.a = 1 return function() return t end",
    },
    ["tables as keys, whatever their addresses"] = {
      "local t = {[{1}] = 1, [{}] = {}} return function() return t end",
      "local t = {[{}] = {}, [{1}] = 1} return function() return t end",
    },
    ["cycles, wherever they are entered"] = {
      "local t = {} t.next = {prev = t} t.next.next = t return function() return t end",
      "local u = {} local t = {next = u} u.prev = t u.next = t return function() return t end",
    },
    ["what is a library's"] = {
      "local s = string.format return function() return s('x'), print end",
      "local s = string.format return function() return s('x'), print end",
    },
    ["userdata and coroutines of one type"] = {
      "local c = require'decnet'.channel(1) local co = coroutine.create(print) "
        .. "return function() return c, co end",
      "local c = require'decnet'.channel(9) local co = coroutine.create(print) "
        .. "return function() return c, co end",
    },
    ["what stands below other variables"] = {
      "local t = {1} return function() return t end",
      "local a, b, c = 1, 2, 3 local t = {1} return function() return t end, a, b, c",
    },
  }
  for name, texts in pairs(SAME) do
    it("is the same for " .. name, function()
      assert.equal(hash(texts[1]), hash(texts[2]))
    end)
  end

  local BASE = [[
    local config = { port = 8080, hosts = { "a", "b" }, [true] = 1.5 }
    config.self = config
    setmetatable(config.hosts, { __index = function() return "?" end })
    local function helper(x) return x * 2 end
    return function() return helper(config.port), config.hosts[3], "text", 7 end
  ]]
  local CHANGES = {
    { "8080", "8081" }, { '"b"', '"c"' }, { '{ "a", "b" }', '{ "b", "a" }' }, { "1.5", "1.25" },
    { "%[true%]", "[false]" }, { "config.self = config", "config.self = {}" },
    { '"%?"', '"!"' }, { "x %* 2", "x + x" }, { "text", "test" }, { "7", "7.0" },
    { "hosts%[3%]", "hosts[4]" },
  }
  for _, change in ipairs(CHANGES) do
    it(("sees %s become %s"):format(change[1], change[2]), function()
      local other, count = BASE:gsub(change[1], (change[2]:gsub("%%", "%%%%")))
      assert.equal(1, count)
      assert.equal(hash(BASE), hash(BASE))
      assert.not_equal(hash(BASE), hash(other))
    end)
  end

  it("sees the script's globals that the code names, and no others", function()
    local text = "return function() return function() return helper() end end"
    local function with(helper, other)
      return hash(text, { helper = load_value(helper), other = other })
    end
    local one, two = "return function() return 1 end", "return function() return 2 end"
    assert.equal(with(one, 1), with(one, 2))
    assert.not_equal(with(one), with(two))
  end)

  it("sees all of the script's globals where _ENV itself is passed on", function()
    local text = "return function() return setmetatable({}, { __index = _ENV }) end"
    assert.not_equal(hash(text, { other = 1 }), hash(text, { other = 2 }))
  end)

  it("sees what a value in the middle of a large cycle becomes", function()
    local text = [[
      local first = {} local n = first
      for i = 1, 20000 do n.next = { value = i } n = n.next end
      n.next = first
      first.next.next.value = "%s"
      return function() return first end
    ]]
    assert.equal(hash(text:format "a"), hash(text:format "a"))
    assert.not_equal(hash(text:format "a"), hash(text:format "b"))
  end)
end)

describe("what belongs together", function()
  it("are functions that reach one table, directly or not", function()
    assert.equal("1 1 1 0", link [[
      local shared = {}
      local function get() return shared end
      return { function() return shared end, function() return get() end,
        function() return function() return get end end, function() return {} end }
    ]])
  end)

  it("are functions that share a variable which one of them assigns", function()
    assert.equal("1 1 0 0", link [[
      local count, limit = 0, 10
      local function increment() count = count + 1 end
      return { function() increment() end, function() return count end,
        function() return limit end, function() return limit + 1 end }
    ]])
  end)

  it("are not functions that share only code, constants or a handle", function()
    assert.equal("0 0", link [[
      local decnet = require "decnet"
      local function helper(x) return x end
      return { function() return helper(1), decnet end, function() return helper(2), decnet end }
    ]])
  end)

  it("is transitive", function()
    assert.equal("1 1 1 2", link [[
      local a, b, c = {}, {}, {}
      return { function() return a end, function() return a, b end, function() return b end,
        function() return c end }
    ]])
  end)

  it("is what a key reaches, too", function()
    assert.equal("1 2 1 3", link [[
      local a, b, c = {}, {}, {}
      local by_key, none = { [a] = 1 }, { [{ 1 }] = 2, [2] = { 3 } }
      return { function() return by_key end, function() return b end,
        function() a = {} return a end, function() return none, c end }
    ]])
  end)

  it("is a channel, and a coroutine", function()
    assert.equal("1 1 2 2", link [[
      local ch = require "decnet".channel(1)
      local co = coroutine.create(print)
      return { function() ch:send(1) end, function() return ch end,
        function() return co end, function() co = co end }
    ]])
  end)

  it("is not a table that is known to be code", function()
    local text = [[
      local M = {} function M.f() return M.g() end function M.g() end
      return { function() return M end, function() return M.f end, code = M }
    ]]
    assert.equal("1 1", link(text))
    assert.equal("0 0", link(text, true))
  end)
end)
