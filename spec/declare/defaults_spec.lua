-- SPDX-License-Identifier: AGPL-3.0-or-later
local spec = require "decnet.spec"
local refused_with = require "spec.support.text".refused_with

local NAN = 0 / 0
local function body() end

describe("decnet.defaults", function()
  it("applies to what follows, plain workers too, and adds up", function()
    local first = assert(spec.defaults(nil, { max_backoff = 5 }))
    local second = assert(spec.defaults(first, { jitter = 0.5 }))
    assert.same({ 30, 0 }, { spec.builtin.max_backoff, spec.builtin.jitter })
    local _, _, policy = spec.pair("a", body, second)
    assert.equal(second, policy)
    assert.same({ 5, 0.5, 1 }, { policy.max_backoff, policy.jitter, policy.min_backoff })
    _, _, policy = spec.normalise({ "a", body, jitter = 0 }, second)
    assert.same({ 5, 0 }, { policy.max_backoff, policy.jitter })
  end)

  it("changes nothing when it says nothing", function()
    assert.equal(spec.builtin, spec.defaults(nil, {}))
  end)

  it("turns an option off again", function()
    local on = assert(spec.defaults(nil, { watchdog = 3, max_restarts = 1 }))
    local off = assert(spec.defaults(on, { watchdog = false, max_restarts = math.huge }))
    assert.same(spec.builtin, off)
  end)

  it("refuses what belongs to one worker, unknown keys and bad values", function()
    refused_with("decnet.defaults.name: belongs to one worker", spec.defaults(nil, { name = "x" }))
    refused_with("decnet.defaults.run: belongs to one worker", spec.defaults(nil, { run = body }))
    refused_with("decnet.defaults.jitter: expected a number from 0 to 1, got NaN",
      spec.defaults(nil, { jitter = NAN }))
    refused_with('decnet.defaults.max_backof: unknown option; did you mean "max_backoff"?',
      spec.defaults(nil, { max_backof = 1 }))
    refused_with("decnet.defaults[1]: unexpected item", spec.defaults(nil, { "x" }))
    refused_with("decnet.defaults: expected a table of options, got 5", spec.defaults(nil, 5))
    refused_with("decnet.defaults.min_backoff: expected at most max_backoff (1), got 2",
      spec.defaults(nil, { min_backoff = 2, max_backoff = 1 }))
    refused_with("decnet.defaults.max_memory: expected", spec.defaults(nil, { max_memory = "1" }))
  end)

  it("A13 may give what has no effect on some workers", function()
    local defaults = assert(spec.defaults(nil, { within = 10, min_backoff = 9, jitter = 0.5 }))
    assert(spec.normalise({ "a", body, restart = "never" }, defaults))
    assert(spec.normalise({ "a", body, max_backoff = 1 }, defaults))
    assert(spec.normalise({ "a", body, max_restarts = 1 }, defaults))
    defaults = assert(spec.defaults(defaults, { max_restarts = 3 }))
    assert(spec.normalise({ "a", body, within = 1 }, defaults))
  end)

  it("A13 may make a worker's own option one without effect, which is refused", function()
    local never = assert(spec.defaults(nil, { restart = "never", max_restarts = 1, jitter = 1 }))
    refused_with('worker "a": max_backoff: has no effect with restart = "never", which '
      .. "decnet.defaults set", spec.normalise({ "a", body, max_backoff = 5 }, never))
    assert(spec.normalise({ "a", body, max_backoff = 5, restart = "always" }, never))
  end)

  it("A14 may not make a worker wait for itself", function()
    local defaults = assert(spec.defaults(nil, { after = { "log", "db" } }))
    assert.same({ "log", "db" }, (select(3, spec.pair("web", body, defaults))).after)
    refused_with('worker "db": after[2]: a worker cannot wait for itself; decnet.defaults',
      spec.pair("db", body, defaults))
    refused_with('worker "db": after[2]: a worker cannot wait',
      spec.normalise({ "db", body, jitter = 1 }, defaults))
    assert.same({}, (select(3, spec.normalise({ "db", body, after = {} }, defaults))).after)
  end)
end)

describe("decnet.group", function()
  it("has a default for each option", function()
    local expected = { strategy = "one_for_one", max_restarts = math.huge, within = 60 }
    assert.same({ "g", expected }, { spec.group("g") })
    assert.same({ "g", expected }, { spec.group("g", {}) })
  end)

  it("A12 takes every strategy and limit", function()
    for _, strategy in ipairs { "one_for_one", "one_for_all", "rest_for_one" } do
      for _, limit in ipairs { 0, 3, math.huge } do
        local given = { strategy = strategy, max_restarts = limit, within = 5 }
        assert.same({ "g", given }, { spec.group("g", given) })
      end
    end
  end)

  it("A09 refuses a strategy that is none", function()
    refused_with('group "g": strategy: expected "one_for_one", "one_for_all" or "rest_for_one", '
      .. 'got "one_for_al"; did you mean "one_for_all"?',
      spec.group("g", { strategy = "one_for_al" }))
    refused_with('group "g": strategy: expected', spec.group("g", { strategy = 1 }))
  end)

  it("A10 refuses limits that are negative, NaN or of no effect", function()
    for _, limit in ipairs { -1, NAN, 1.5, "3", 2 ^ 40 } do
      refused_with('group "g": max_restarts: expected', spec.group("g", { max_restarts = limit }))
    end
    for _, within in ipairs { 0, -1, NAN, "3" } do
      refused_with('group "g": within: expected',
        spec.group("g", { max_restarts = 1, within = within }))
    end
    refused_with('group "g": within: has no effect', spec.group("g", { within = 5 }))
  end)

  it("refuses a bad name, unknown keys and what is no table", function()
    refused_with("group: name: expected a name", spec.group("", {}))
    refused_with("group: name: expected a name", spec.group(nil, {}))
    refused_with('group "g": strategie: unknown option; did you mean "strategy"?',
      spec.group("g", { strategie = "one_for_all" }))
    refused_with('group "g": [1]: unexpected item', spec.group("g", { "one_for_all" }))
    refused_with('group "g": expected a table of options, got "x"', spec.group("g", "x"))
  end)
end)
