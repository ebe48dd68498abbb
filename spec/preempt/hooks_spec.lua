-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The user's own debug hooks, beside preemption, which is made of hooks too.

local corpus = require "spec.preempt.corpus"
local decnet = require "decnet"
local support = require "spec.support.run"
local testing = require "decnet.testing"

-- Globals are read through functions of the framework, the first time.
local sqrt, tostring, wrap, pcall = math.sqrt, tostring, coroutine.wrap, pcall
local sethook, gethook, getinfo = debug.sethook, debug.gethook, debug.getinfo

-- How often each line was run, as a tool for coverage counts it.
local function lines_of(fn)
  local counts, seen = {}, {}
  sethook(function(_, line)
    local source = getinfo(2, "S").short_src
    if not source:find "spec/preempt" then
      return -- of the framework: it reads globals through a function
    end
    local at = source:match "[^/]+$" .. ":" .. line
    if not counts[at] then
      counts[at] = 0
      seen[#seen + 1] = at
    end
    counts[at] = counts[at] + 1
  end, "l")
  fn()
  sethook()
  table.sort(seen)
  for i, at in ipairs(seen) do
    seen[i] = at .. " " .. counts[at]
  end
  return table.concat(seen, "\n")
end

-- How many events there are, of each kind.
local function events_of(fn, mask, count)
  local n = { count = 0, call = 0, ["return"] = 0, ["tail call"] = 0, line = 0 }
  sethook(function(event) n[event] = n[event] + 1 end, mask, count)
  fn()
  sethook()
  return n
end

local function work(rounds)
  local sum = 0
  for i = 1, rounds do
    sum = sum + (i % 7 == 0 and sqrt(i) or #tostring(i))
    for _ = 1, 3 do sum = sum - 1 end
  end
  return sum
end

-- What fn returns in a worker, and how often that was preempted.
local function in_worker(fn, options)
  local result, preemptions
  testing.run(function(t)
    decnet.worker("subject", function() result = fn() end)
    decnet.worker("other", function() while true do decnet.sleep(0.001) end end)
    t:run_until(function() return t:status("subject").state == "done" end, 100)
    assert.is_nil(t:status("subject").last_error)
    preemptions = t:status("subject").preemptions
  end, options)
  return result, preemptions
end

describe("a debug hook in a worker", function()
  -- Line 88 of the corpus returns out of the scope of variables to be closed: Lua repeats such a
  -- return when a __close has yielded, as one that waits does, too.
  it("counts the same lines however often the worker is preempted", function()
    local function subject() return lines_of(corpus) end
    local expected = subject()
    for _, k in ipairs { 0, 1, 2, 3, 5, 7, 10, 31, 97 } do
      local got, preemptions = in_worker(subject, { preempt_every = k })
      got = got:gsub("(corpus.lua:88) %d", "%1 2")
      assert.equal(expected, got, "k = " .. k)
      assert.is_true(k == 0 or preemptions > 500 / k, "k = " .. k)
    end
  end)

  -- Lua counts the instructions of the hook itself, too, but forgets those when it yields: so a
  -- count event may come a little later than otherwise.
  it("sees the same events of every kind", function()
    local cases = { { "", 1 }, { "", 3000 }, { "", 10000 }, { "", 25000 }, { "cr", 0 },
      { "crl", 0 }, { "c", 20001 } }
    for _, case in ipairs(cases) do
      local function subject()
        return events_of(function() work(20000) end, case[1], case[2])
      end
      local expected = subject()
      for _, k in ipairs { 0, 1, 3 } do
        local got = in_worker(subject, { preempt_every = k })
        for event, n in pairs(expected) do
          local text = ("%s %d, k = %d: %s"):format(case[1], case[2], k, event)
          if case[2] > 1 then
            support.near(n, got[event], math.max(1, n / 100))
          else
            assert.equal(n, got[event], text)
          end
        end
      end
    end
  end)

  it("loses no line to the signals of the monitor", function()
    local function subject() return lines_of(function() work(60000) end) end
    local expected = subject()
    local got, preemptions = in_worker(subject, { slice = 0.001 })
    assert.equal(expected, got)
    assert.is_true(preemptions > 3, preemptions)
  end)

  it("comes in time, however seldom, to a worker that is preempted more often", function()
    support.contains(support.crash(function()
      decnet.spawn(function() while true do decnet.yield() end end)
      sethook(function() error "too many instructions" end, "", 3000000)
      while true do end
    end, { slice = 0.001 }).error, "too many instructions")
  end)

  it("is told by debug.gethook as it was set, and nothing of preemption is", function()
    local function subject()
      local function hook() end
      local results = { table.pack(gethook()) }
      sethook(hook, "crl", 12345)
      for _ = 1, 1000 do end
      local fn, mask, count = gethook()
      results[2] = { n = 3, fn == hook, mask, count }
      sethook(hook, "")
      results[3] = table.pack(gethook())
      local co = coroutine.create(function() end)
      sethook(co, hook, "l")
      results[4] = { n = 2, gethook(co) == hook, gethook() }
      sethook(co)
      results[5] = table.pack(gethook(co))
      local texts = {}
      for i, result in ipairs(results) do
        for j = 1, result.n do result[j] = tostring(result[j]) end
        texts[i] = table.concat(result, " ")
      end
      return table.concat(texts, ", ")
    end
    for _, k in ipairs { 0, 1 } do
      assert.equal("nil, true crl 12345, nil, true nil, nil",
        (in_worker(subject, { preempt_every = k })))
    end
  end)

  it("stays in force after a cancellation, and is not inherited", function()
    local lines, inside, outside = 0, 0, 0
    testing.run(function(t)
      decnet.worker("w", function()
        sethook(function() lines = lines + 1 end, "l")
        local ok, err = pcall(function() while true do end end)
        assert(not ok)
        local before = lines
        wrap(function()
          for _ = 1, 10 do inside = inside + 1 end
        end)()
        outside = lines - before
        error(err, 0)
      end)
      t:advance(0.02)
      assert.equal(0, t:stop())
      assert.equal(10, inside)
      assert.is_true(outside > 0 and outside < 10, outside)
      assert.is_nil(t:status("w").last_error)
    end, { slice = 0.01 })
  end)

  it("raises in the worker that has it, and in no other", function()
    testing.run(function(t)
      decnet.worker { "w", restart = "never", run = function()
        sethook(function() error("limit", 0) end, "", 1000)
        while true do end
      end }
      decnet.worker("other", function() while true do decnet.sleep(0.001) end end)
      t:advance(1)
      assert.equal("limit", t:status("w").last_error.message)
      assert.equal("running", t:status("other").state)
    end)
  end)

  it("cannot be set in a callback of the host's", function()
    testing.run(function(t)
      local callback, err
      decnet.worker("villain", function()
        decnet.shared(function()
          local timer = require "luv".new_timer()
          timer:start(0, 0, function()
            timer:close()
            callback = coroutine.running()
            decnet.park()
          end)
        end)
        while not callback do
          decnet.yield()
        end
        err = support.raises("debug.sethook", sethook, callback, print, "l")
      end)
      t:advance(1)
      support.contains(err, "the coroutine belongs to the host: a hook can only be set by itself")
    end)
  end)

  it("is none of a coroutine that is made where there is one", function()
    support.worker(function()
      sethook(function() end, "l")
      local co = coroutine.create(function() end)
      assert.is_nil((debug.gethook(co)))
      sethook()
    end)
  end)

  it("cannot be set in a coroutine of another worker, nor in the host's", function()
    local main = coroutine.running()
    testing.run(function(t)
      local task, nested
      local errors = {}
      decnet.worker("victim", function()
        task = coroutine.running()
        coroutine.wrap(function()
          nested = coroutine.running()
          decnet.sleep(1000)
        end)()
      end)
      decnet.worker("villain", function()
        for i, co in ipairs { task, nested, main } do
          errors[i] = support.raises("debug.sethook", sethook, co, function()
            while true do end
          end, "l")
        end
        sethook(coroutine.running(), function() end, "l")
        sethook()
      end)
      t:advance(2000)
      for i = 1, 2 do
        support.contains(errors[i],
          "the coroutine belongs to worker victim: a hook can only be set by itself")
      end
      support.contains(errors[3], "the main coroutine belongs to the host")
      assert.equal("done", t:status("victim").state)
      assert.equal("done", t:status("villain").state)
    end)
  end)

  it("is refused as Lua refuses it", function()
    support.raises("bad argument #1 to", sethook, 5, "l")
    support.raises("bad argument #2 to", sethook, print)
    support.raises("bad argument #3 to", sethook, print, "l", "x")
  end)
end)
