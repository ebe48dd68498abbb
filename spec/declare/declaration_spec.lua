-- SPDX-License-Identifier: AGPL-3.0-or-later
local spec = require "decnet.spec"
local contains = require "spec.support.text".contains

local NAN = 0 / 0
local function body() end

-- The policy a declaration gives, options alone.
local function policy_of(given, defaults)
  given.name = given.name or "flaky"
  given.run = given.run or body
  local name, _, policy = assert(spec.normalise(given, defaults))
  return policy, name
end

-- The message of a refused declaration; it must not be accepted.
local function refusal(given, defaults)
  given.name = given.name or "flaky"
  given.run = given.run or body
  local name, message = spec.normalise(given, defaults)
  assert.is_nil(name, "it was accepted")
  return message
end

describe("a declaration", function()
  it("A01 of a name and a function has every default, readable back", function()
    local name, run, policy = spec.normalise { name = "ticker", run = body }
    assert.equal("ticker", name)
    assert.equal(body, run)
    assert.same({
      restart = "on-failure", min_backoff = 1, backoff_factor = 2, max_backoff = 30, jitter = 0,
      reset_after = 60, max_restarts = math.huge, within = 60, essential = false,
      stop_timeout = 10, after = {}, notify = false, start_timeout = math.huge,
      watchdog = math.huge, hang_timeout = 5, max_memory = math.huge, preempt = true,
      group = false,
    }, policy)
  end)

  it("A01 reads the same in each of its forms", function()
    local forms = {
      table.pack(spec.pair("ticker", body)),
      table.pack(spec.worker(nil, "ticker", body)),
      table.pack(spec.worker(nil, { name = "ticker", run = body })),
      table.pack(spec.worker(nil, { "ticker", body })),
      table.pack(spec.normalise { "ticker", body }),
      table.pack(spec.normalise { "ticker", run = body }),
    }
    for _, form in ipairs(forms) do
      assert.same({ "ticker", body, spec.builtin, n = 3 }, form)
    end
  end)

  it("A01 takes options beside a name and a function by position", function()
    local name, run, policy = spec.normalise { "flaky", body, max_backoff = 5 }
    assert.same({ "flaky", body, 5 }, { name, run, policy.max_backoff })
  end)

  it("A02 without a name is refused, and the key named", function()
    assert.same({ nil, "worker: name: expected a name (a non-empty string), got nothing" },
      { spec.normalise { run = body } })
    contains(select(2, spec.normalise {}), "worker: name: ")
    contains(select(2, spec.pair(nil, body)), "worker: name: ")
    contains(select(2, spec.normalise { nil, body }), "worker: name: ")
  end)

  it("A02 with a name that is none is refused", function()
    for _, name in ipairs { "", 42, true, {}, body, ("x"):rep(201), "a\nb", "a\0b", "\27[31m",
      "\xff", "a\xC0\xAFb", "\u{85}", "tab\t", "del\127" } do
      local accepted, message = spec.pair(name, body)
      assert.is_nil(accepted)
      contains(message, "worker: name: expected a name")
      assert.is_nil(message:find "[\0-\31\127]", "one line, no control characters")
      assert(utf8.len(message), "valid UTF-8")
      assert.is_nil((spec.normalise { name = name, run = body }))
    end
  end)

  it("takes any other name", function()
    for _, name in ipairs { "a", "two words", "größe", "日本", "a/b:c.d-e_f", ("x"):rep(200) } do
      assert.equal(name, (assert(spec.pair(name, body))))
    end
  end)

  it("A03 without a function is refused", function()
    contains(select(2, spec.pair "flaky"),
      'worker "flaky": run: expected a function, or a coroutine that has not started, got nothing')
    contains(select(2, spec.normalise { "flaky" }), 'worker "flaky": run: expected a function')
    for _, run in ipairs { 1, "print", true, {}, setmetatable({}, {}), io.stdout } do
      contains(refusal { run = run }, 'worker "flaky": run: expected a function')
    end
    contains(select(2, spec.normalise { "flaky", 3 }), 'worker "flaky": [2]: run: expected')
  end)

  it("takes an object with __call, and a coroutine that has not started", function()
    local object = setmetatable({}, { __call = body, __metatable = "locked" })
    local thread = coroutine.create(body)
    assert.equal(object, (select(2, assert(spec.pair("flaky", object)))))
    assert.equal(thread, (select(2, assert(spec.pair("flaky", thread)))))
  end)

  it("B11 refuses a coroutine that has started, is running or is dead", function()
    local thread = coroutine.create(function() coroutine.yield() end)
    coroutine.resume(thread)
    contains(refusal { run = thread }, "got a coroutine that is started; give its function")
    coroutine.resume(thread)
    contains(refusal { run = thread }, "got a coroutine that is dead")
    contains(refusal { run = (coroutine.running()) }, "got a coroutine that is running")
  end)

  it("A04 with a bad restart is refused, with value and key path", function()
    assert.equal('worker "flaky": restart: expected "on-failure", "always" or "never", got '
      .. '"on_failure"; did you mean "on-failure"?', refusal { restart = "on_failure" })
    contains(refusal { restart = "Always" }, 'did you mean "always"?')
    for _, restart in ipairs { "", "sometimes", true, 1, {} } do
      contains(refusal { restart = restart }, 'worker "flaky": restart: expected "on-failure"')
    end
  end)

  it("A05 with a stop_timeout that is no time is refused", function()
    for _, case in ipairs { { -1, "-1" }, { NAN, "NaN" }, { "5", '"5"' }, { true, "true" },
      { -math.huge, "-math.huge" }, { {}, "a table" }, { -1e-300, "-1e-300" } } do
      contains(refusal { stop_timeout = case[1] },
        'worker "flaky": stop_timeout: expected a number of seconds ≥ 0, got ' .. case[2])
    end
    contains(refusal { stop_timeout = "5" }, "write it without quotes")
    contains(refusal { stop_timeout = 1e300 }, "write math.huge for no limit")
    assert.equal(0, policy_of { stop_timeout = 0 }.stop_timeout)
    assert.equal(math.huge, policy_of { stop_timeout = math.huge }.stop_timeout)
  end)

  it("A08 with an unknown key is refused, and the nearest one suggested", function()
    assert.equal('worker "flaky": max_backof: unknown option; did you mean "max_backoff"?',
      refusal { max_backof = 5 })
    for typed, meant in next, { maxBackoff = "max_backoff", backoff_max = "max_backoff",
      restarts = "restart", ["stop-timeout"] = "stop_timeout", jiter = "jitter", funcion = false,
      runn = "run", Name = "name", factor = "backoff_factor", x = false, timeout = false } do
      local message = refusal { [typed] = 1 }
      contains(message, meant and ('did you mean "%s"?'):format(meant) or "option; there are")
    end
    contains(refusal { [3] = body }, 'worker "flaky": [3]: unexpected item')
    contains(refusal { [0] = body }, 'worker "flaky": [0]: unexpected item')
    contains(refusal { [1.5] = body }, 'worker "flaky": [1.5]: unexpected item')
    contains(refusal { [true] = 1 }, 'worker "flaky": [true]: unknown option')
    contains(refusal { ["two words"] = 1 }, 'worker "flaky": ["two words"]: unknown option')
  end)

  it("names the same one of several mistakes each time", function()
    local given = { jitter = 7 }
    for i = 99, 10, -1 do
      given["zz" .. i] = true
    end
    contains(refusal(given), ": zz10: unknown option")
  end)

  it("A13 with a number out of range is refused", function()
    for key, values in next, {
      min_backoff = { -1, NAN, math.huge, 2e9 }, backoff_factor = { 0.5, 0, -2, NAN, math.huge },
      max_backoff = { -1, NAN, -math.huge, 2e9 }, jitter = { 1.01, -0.1, NAN, math.huge },
      reset_after = { -1, NAN }, within = { 0, -1, NAN }, stop_timeout = { -1 },
      start_timeout = { 0, -1, NAN }, watchdog = { 0, -1, NAN, true },
      max_restarts = { -1, 2.5, NAN, 2 ^ 32, 2 ^ 53, -math.huge },
    } do
      for _, value in ipairs(values) do
        contains(refusal { [key] = value }, ('worker "flaky": %s: expected '):format(key))
      end
    end
  end)

  it("A13 with an option of the wrong type is refused", function()
    for _, option in ipairs(spec.options) do
      if not option.required then
        for _, value in ipairs { option.key == "group" and 7 or "nonsense", body } do
          contains(refusal { [option.key] = value }, ('worker "flaky": %s: '):format(option.key))
        end
      end
    end
  end)

  it("A13 with options that have no effect is refused", function()
    contains(refusal { min_backoff = 5, max_backoff = 1 },
      'worker "flaky": min_backoff: expected at most max_backoff (1), got 5')
    contains(refusal { within = 10 }, 'worker "flaky": within: has no effect without max_restarts')
    for _, key in ipairs { "min_backoff", "backoff_factor", "max_backoff", "jitter", "reset_after",
      "max_restarts", "within" } do
      contains(refusal { restart = "never", [key] = 1 },
        ('worker "flaky": %s: has no effect with restart = "never"'):format(key))
    end
  end)

  it("A13 with max_backoff below the default min_backoff is fine: it is a cap", function()
    local policy = policy_of { max_backoff = 0.01 }
    assert.same({ 1, 0.01 }, { policy.min_backoff, policy.max_backoff })
    assert.equal(90, policy_of { min_backoff = 90 }.min_backoff)
    assert.equal(0, policy_of { max_backoff = 0 }.max_backoff)
  end)

  it("A12 is accepted in every valid combination", function()
    local choices = {
      { restart = "on-failure" }, { restart = "always" }, {},
      { min_backoff = 0 }, { min_backoff = 0.5, max_backoff = 0.5 }, { max_backoff = math.huge },
      { backoff_factor = 1 }, { backoff_factor = 1.5 }, { jitter = 0 }, { jitter = 1 },
      { reset_after = 0 }, { reset_after = math.huge }, { max_restarts = 0 },
      { max_restarts = 5, within = 0.5 }, { max_restarts = math.huge, within = math.huge },
      { max_restarts = 4294967294 }, { essential = true }, { essential = false },
      { stop_timeout = 0 }, { stop_timeout = math.huge }, { after = {} }, { after = { "a", "b" } },
      { notify = true, start_timeout = 5 }, { start_timeout = math.huge }, { watchdog = 0.1 },
      { watchdog = false }, { watchdog = math.huge },
    }
    for _, first in ipairs(choices) do
      for _, second in ipairs(choices) do
        local given = {}
        for _, choice in ipairs { first, second } do
          for key, value in next, choice do
            given[key] = value
          end
        end
        if not (given.min_backoff == 0.5 and given.max_backoff == math.huge) then
          local policy = policy_of(given)
          for key, value in next, given do
            if key ~= "name" and key ~= "run" then
              assert.same(key == "watchdog" and value == false and math.huge or value, policy[key])
            end
          end
        end
      end
    end
    for _, alone in ipairs { { essential = true }, { stop_timeout = 1 }, { watchdog = 1 } } do
      alone.restart = "never"
      assert.equal("never", policy_of(alone).restart)
    end
  end)

  it("given twice, by position and by key, is refused", function()
    contains(select(2, spec.normalise { "a", body, name = "b" }), "[1]: the name is given twice")
    contains(select(2, spec.normalise { "a", body, run = body }), "[2]: the run is given twice")
  end)

  it("takes whole floats as counts", function()
    assert.equal("integer", math.type(policy_of { max_restarts = 3.0 }.max_restarts))
  end)

  it("sees options that it inherits through __index", function()
    local base = setmetatable({ run = body, max_backoff = 5 }, { __index = { jitter = 0.5 } })
    local _, run, policy = assert(spec.normalise(setmetatable({ name = "a" }, { __index = base })))
    assert.same({ body, 5, 0.5 }, { run, policy.max_backoff, policy.jitter })
  end)

  it("that is no table is refused", function()
    for _, given in ipairs { 1, "x", true, body } do
      contains(select(2, spec.normalise(given)), "worker: expected a declaration {")
    end
    contains(select(2, spec.worker(nil, { "a", body }, body)), "decnet.worker: expected one table")
    contains(select(2, spec.worker(nil, "a", body, {})), "to give options write decnet.worker{")
    contains(select(2, spec.worker(nil)), "worker: name: expected")
  end)

  it("is not written to", function()
    local after = { "a", "a", "b" }
    local given = { name = "c", run = body, after = after, max_restarts = 3.0 }
    local policy = policy_of(given)
    assert.same({ name = "c", run = body, after = after, max_restarts = 3.0 }, given)
    assert.same({ "a", "a", "b" }, after)
    assert.same({ "a", "b" }, policy.after)
    after[1] = "changed"
    assert.same({ "a", "b" }, policy.after)
  end)

  it("with an after that is no list of names is refused, with the path inside it", function()
    contains(refusal { after = "db" }, 'after: expected a list of names, got "db"; write { "db" }')
    contains(refusal { after = { "db", 3 } }, 'worker "flaky": after[2]: expected a name')
    contains(refusal { after = { "db", nil, "x" } }, "after[2]: expected a name")
    contains(refusal { after = { "" } }, "after[1]: expected a name")
    contains(refusal { after = { db = true } }, "after.db: expected a list of names")
    contains(refusal { after = { [true] = 1 } }, "after[true]: expected a list of names")
    local many = {}
    for i = 1, 5000 do
      many[i] = "w" .. i
    end
    contains(refusal { after = many }, "expected at most 4096 names, got 5000")
  end)

  it("A14 that waits for itself is refused", function()
    contains(refusal { after = { "db", "flaky" } },
      'worker "flaky": after[2]: a worker cannot wait for itself; remove its name')
  end)

  it("A14 whose max_memory is no size, or less than any run needs, is refused", function()
    for given, shown in next, { ["64Q"] = '"64Q"', [0] = "0", [-1] = "-1", [true] = "true",
      ["63K"] = '"63K"', [65535] = "65535" } do
      local message = refusal { max_memory = given }
      contains(message, 'worker "flaky": max_memory: expected ')
      contains(message, "got " .. shown)
      contains(message, "at least 64K")
    end
    contains(refusal { max_memory = 0 / 0 }, "got NaN")
    for given, meant in next, { ["64MB"] = "64M", ["64mb"] = "64M", ["1.5GiB"] = "1.5G",
      ["128 K"] = "128K", ["64"] = "64M" } do
      contains(refusal { max_memory = given }, ('got "%s"; write "%s"'):format(given, meant))
    end
    contains(refusal { max_memory = 64 }, 'got 64; write "64M"')
    contains(refusal { max_memory = "1048576" }, 'got "1048576"; write it without quotes')
    for _, bad in ipairs { 0, "0", 5000, "63K" } do
      assert.is_nil(refusal({ max_memory = bad }):find('write "', 1, true))
    end
    local called = function() error {} end
    contains(refusal { max_memory = setmetatable({}, { __tostring = called }) }, "got a table")
  end)

  -- Found by spec/fuzz/declare.lua.
  it("is refused in one line, whatever its keys are", function()
    local long = ("l"):rep(5000)
    contains(refusal { [long] = 1 }, '["' .. ("l"):rep(48) .. '"...]: unknown option')
    contains(refusal { after = { [long] = 1 } }, 'after["' .. ("l"):rep(48) .. '"...]: expected')
    contains(refusal { after = { ["a\nb"] = 1 } }, 'after["a\\nb"]: expected a list of names')
    contains(refusal { after = { first = 1 } }, "after.first: expected a list of names")
  end)

  it("is refused when its metatable raises", function()
    local function raise()
      error "boom"
    end
    for _, index in ipairs { raise, coroutine.create(raise) } do
      local given = setmetatable({}, { __index = index, __metatable = false })
      local _, message = spec.normalise(given)
      contains(message, "worker: cannot be read by its metatable: ")
      _, message = spec.list({ given })
      contains(message, "return value[1]: cannot be read by its metatable: ")
      _, message = spec.defaults(nil, given)
      contains(message, "decnet.defaults: cannot be read by its metatable: ")
      _, message = spec.group("g", given)
      contains(message, 'group "g": cannot be read by its metatable: ')
    end
  end)

  it("sees options that it inherits under a locked metatable", function()
    local base = { __index = { run = body, jitter = 0.5 }, __metatable = false }
    local _, _, policy = assert(spec.normalise(setmetatable({ name = "a" }, base)))
    assert.equal(0.5, policy.jitter)
  end)

  it("shares its policy with all that say the same", function()
    local function five(extra)
      return policy_of { max_backoff = 5, jitter = extra }
    end
    assert.equal(spec.builtin, policy_of {})
    assert.equal(five(), five())
    assert.equal(five(0.1), five(0.1))
    assert.not_equal(five(0.1), five(0.1 + 1e-16))
    assert.not_equal(five(), policy_of { min_backoff = 5 })
    assert.equal(policy_of { max_restarts = 5 }, policy_of { max_restarts = 5.0 })
  end)

  it("leaves nothing behind when it is forgotten", function()
    local function declare(from, to)
      for i = from, to do
        policy_of { max_backoff = i / 7, jitter = 0.5, name = "w" .. i }
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    local before = declare(1, 20000)
    assert(declare(20001, 40000) < before + 256) -- KB; 20,000 policies are more than 6 MB
  end)
end)
