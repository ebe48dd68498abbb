-- SPDX-License-Identifier: AGPL-3.0-or-later
local core = require "decnet.core"
local show = require "decnet.show"
local suggest = require "decnet.suggest"

describe("a suggestion", function()
  it("counts inserts, deletes, replacements and swaps", function()
    for _, case in ipairs { { "", "", 0 }, { "", "abc", 3 }, { "abc", "", 3 }, { "abc", "abc", 0 },
      { "abc", "acb", 1 }, { "abc", "abd", 1 }, { "abc", "ab", 1 }, { "kitten", "sitting", 3 },
      { "jitter", "jitetr", 1 }, { "ca", "abc", 3 } } do
      assert.equal(case[3], core.distance(case[1], case[2]))
    end
    assert.equal(200, core.distance("", ("x"):rep(200)))
    assert.equal(math.huge, core.distance("", ("x"):rep(201)))
  end)

  it("is made only when near", function()
    local words = { "on-failure", "always", "never" }
    assert.equal("on-failure", suggest.near("on_failure", words))
    assert.equal("on-failure", suggest.near("onFailure", words))
    assert.equal("on-failure", suggest.near("failure", words))
    assert.equal("always", suggest.near("alwyas", words))
    assert.is_nil(suggest.near("sometimes", words))
    assert.is_nil(suggest.near("", words))
    assert.is_nil(suggest.near("a", words))
    assert.is_nil(suggest.near(nil, words))
    assert.is_nil(suggest.near(("always"):rep(1000), words))
    assert.is_nil(suggest.near("xyz", {}))
  end)

  it("does not turn one short word into any other", function()
    assert.is_nil(suggest.near("ab", { "xb", "cd" }))
    assert.is_nil(suggest.near("db", { "tv" }))
  end)
end)

describe("a value in a message", function()
  it("is short and on one line", function()
    for _, case in ipairs { { "soon", '"soon"' }, { 5, "5" }, { 0.1, "0.1" }, { 0 / 0, "NaN" },
      { -(0 / 0), "NaN" }, { math.huge, "math.huge" }, { -math.huge, "-math.huge" },
      { true, "true" }, { {}, "a table" }, { print, "a function" }, { "a\nb\0", '"a\\nb\\x00"' },
      { 'say "x"', '"say \\"x\\""' }, { coroutine.create(print), "a coroutine" },
      { "größe", '"größe"' }, { "\xff", '"\\xFF"' }, { "\u{9b}31m", '"?31m"' } } do
      assert.equal(case[2], show(case[1]))
    end
    assert.equal("nothing", show(nil))
    assert(#show(("x"):rep(2 ^ 20)) < 60)
    assert(#show(("\xff"):rep(2 ^ 20)) < 200)
  end)

  it("is not cut inside a character", function()
    for i = 0, 3 do
      local shown = show(("x"):rep(i) .. ("日"):rep(40))
      assert(utf8.len(shown))
      assert.is_nil(shown:find("\\x", 1, true))
    end
    for i = 0, 4 do
      assert.is_nil(show(("x"):rep(i) .. ("😀"):rep(40)):find("\\x", 1, true))
    end
  end)

  it("may have a __tostring, even one that fails", function()
    local function with(fn)
      return setmetatable({}, { __tostring = fn })
    end
    assert.equal("a table (point)", show(with(function() return "point" end)))
    assert.equal("a table", show(with(function() error "no" end)))
    assert.equal("a table", show(with(function() return {} end)))
    assert.equal("a table", show(with("not a function")))
    assert(#show(with(function() return ("x"):rep(1000) end)) < 70)
  end)
end)
