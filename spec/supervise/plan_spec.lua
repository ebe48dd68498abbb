-- SPDX-License-Identifier: AGPL-3.0-or-later
local core = require "decnet.core"
local decnet = require "decnet"
local declared = require "spec.support.declared"
local plan = require "decnet.plan"
local run = require "spec.support.run"
local testing = require "decnet.testing"

local function never()
  error "a plan must not run the script's functions"
end

-- The plan of one worker with these options.
local function plan_of(options, before)
  return plan.make(declared(function()
    if before then
      before()
    end
    local given = { name = "w", run = never }
    for key, value in pairs(options) do
      given[key] = value
    end
    decnet.worker(given)
  end)).workers[1]
end

-- What the host itself does with a worker that crashes at once each time.
local function observed(options, seconds)
  local delays, gave_up
  testing.run(function(t)
    local given = { name = "w", run = function() error "boom" end }
    for key, value in pairs(options) do
      given[key] = value
    end
    decnet.worker(given)
    t:advance(seconds)
    delays = {}
    for i, crash in ipairs(run.events(t, "crash")) do
      delays[i] = crash.delay
    end
    gave_up = run.times(t, "give_up")[1]
  end)
  return delays, gave_up
end

local function near(expected, got)
  run.near(expected, got, 1e-3)
end

describe("a plan", function()
  it("has the delays of a crash loop, and where they stay the same", function()
    local worker = plan_of {}
    assert.same({ 1, 2, 4, 8, 16, 30, 30 }, worker.low.delays)
    assert.same({ delay = 30, from = 6 }, worker.low.steady)
    assert.is_nil(worker.low.at)
    assert.equal(worker.low, worker.high)
    worker = plan_of { backoff_factor = 1, min_backoff = 5 }
    assert.same({ delay = 5, from = 1 }, worker.low.steady)
    worker = plan_of { backoff_factor = 1.1 }
    assert.same({ delay = 30, from = 37 }, worker.low.steady)
    assert.same({ 1, 1 }, plan_of({ reset_after = 0 }).low.delays)
    assert.is_nil(plan_of({ max_backoff = math.huge }).low.steady)
  end)

  it("gives up when the host does", function()
    for _, options in ipairs {
      { max_restarts = 3 }, { max_restarts = 0 }, { max_restarts = 1, within = 1 },
      { max_restarts = 5, within = 31 }, { max_restarts = 5, within = 30 },
      { max_restarts = 10, within = 300, max_backoff = 25 }, { restart = "never" },
      { max_restarts = 10, within = 250, max_backoff = 25 },
      { max_restarts = 4, within = math.huge, max_backoff = math.huge },
      { restart = "always", max_restarts = 2, min_backoff = 0.25 },
      { max_restarts = 3, notify = true, essential = true },
    } do
      local worker = plan_of(options)
      local delays, gave_up = observed(options, 2000)
      assert.equal(gave_up == nil, worker.low.at == nil)
      assert.same(table.move(delays, 1, #worker.low.delays, 1, {}), worker.low.delays)
      if gave_up then
        near(gave_up, worker.low.at)
        assert.equal(#delays + 1, worker.low.crashes)
      end
    end
  end)

  it("counts for the group, too", function()
    local worker = plan_of({ group = "g", min_backoff = 0.5 }, function()
      decnet.group("g", { strategy = "one_for_all", max_restarts = 2 })
    end)
    assert.equal(3, worker.low.crashes)
    near(1.5, worker.low.at)
    assert.equal("group g: more than 2 restarts within 60 s", worker.low.reason)
  end)

  it("has the edges of jitter, and no seed gets past them", function()
    local options = { jitter = 0.25, max_restarts = 4, within = 100 }
    local worker = plan_of(options)
    assert.same({ 0.75, 1.5, 3, 6 }, worker.low.delays)
    assert.same({ 1.25, 2.5, 5, 10 }, worker.high.delays)
    assert.same({ 22.5, 27.5, 30 }, { plan_of({ jitter = 0.25 }).low.delays[6],
      plan_of({ jitter = 0.1, max_backoff = 25 }).low.delays[6] + 5,
      plan_of({ jitter = 0.25 }).high.delays[6] })
    for seed = 1, 50 do
      testing.run(function(t)
        options.name, options.run = "w", function() error "boom" end
        decnet.worker(options)
        t:advance(100)
        for i, crash in ipairs(run.events(t, "crash")) do
          local low, high = worker.low.delays[i], worker.high.delays[i]
          assert.is_true(not crash.delay or low <= crash.delay and crash.delay <= high)
        end
        local gave_up = run.times(t, "give_up")[1]
        assert.is_true(worker.low.at <= gave_up and gave_up <= worker.high.at + 0.001)
      end, { seed = seed })
    end
  end)

  it("knows that with jitter it may depend on chance whether one is given up", function()
    local worker = plan_of { jitter = 0.5, max_restarts = 3, within = 7 }
    assert.equal(4, worker.low.crashes)
    near(3.5, worker.low.at)
    assert.is_nil(worker.high.at)
  end)

  it("says when a worker that returns comes back", function()
    local function is_back(low, high, options)
      options.restart = "always"
      local returns = plan_of(options).returns
      near(low, returns.low)
      near(high, returns.high)
    end
    is_back(3, 3, { min_backoff = 3 })
    is_back(2, 6, { min_backoff = 4, jitter = 0.5 })
    is_back(2, 5, { min_backoff = 4, jitter = 0.5, max_backoff = 5 })
    is_back(0, 2, { jitter = 1, max_restarts = 3 })
    assert.is_nil(plan_of({}).returns)
  end)

  it("has the order of starts and stops, in steps", function()
    local made = plan.make(declared(function()
      decnet.worker { "web", never, after = { "db", "cache" } }
      decnet.worker { "db", never, notify = true, start_timeout = 0.5, watchdog = 0.1 }
      decnet.worker { "cache", never, after = { "disk" } }
      decnet.worker { "disk", never, stop_timeout = 0 }
      decnet.worker { "lone", never }
    end))
    assert.same({ { "db", "disk", "lone" }, { "cache" }, { "web" } }, made.starts)
    assert.same({ { "lone", "web" }, { "cache", "db" }, { "disk" } }, made.stops)
    near(20, made.longest_stop)
  end)

  it("says how long a stop takes if everybody hangs", function()
    local what = declared(function()
      decnet.worker { "a", never, stop_timeout = 3 }
      decnet.worker { "b", never, stop_timeout = 4, after = { "a" } }
      decnet.worker { "c", never, stop_timeout = 5 }
    end)
    near(7, plan.make(what).longest_stop)
    near(6, plan.make(what, { shutdown_timeout = 6 }).longest_stop)
    what.workers[2].options.stop_timeout = math.huge
    assert.equal(math.huge, plan.make(what).longest_stop)
  end)

  it("follows a crash loop for 10000 crashes, and says so when that is not enough", function()
    local worker = plan_of { min_backoff = 0.001, max_backoff = 0.001, max_restarts = 5000 }
    assert.equal(5001, worker.low.crashes)
    worker = plan_of { min_backoff = 0.001, max_backoff = 0.001, max_restarts = 20000 }
    assert.same({ 10000, nil }, { worker.low.crashes, worker.low.at })
  end)

  it("leaves nothing behind", function()
    plan_of { notify = true, watchdog = 1 }
    assert.is_nil(core.current_host())
    assert.equal(0, core.count_handles())
  end)

  it("reads well", function()
    local made = plan.make(declared(function()
      decnet.group("front", { strategy = "rest_for_one", max_restarts = 5 })
      decnet.group("spare")
      decnet.worker { "db", never, notify = true, start_timeout = 10, backoff_factor = 1.1 }
      decnet.worker { "pay", never, essential = true, max_restarts = 3, jitter = 0.1 }
      decnet.worker { "web", never, after = { "db", "pay" }, group = "front" }
      decnet.worker { "batch", never, restart = "never" }
      decnet.worker { "tick", never, restart = "always", max_backoff = 5 }
      decnet.worker { "luck", never, jitter = 0.5, max_restarts = 3, within = 7 }
      decnet.worker { "grow", never, max_backoff = math.huge }
      decnet.worker { "busy", never, max_backoff = 0.001, max_restarts = 20000 }
    end))
    assert.equal([[
w.lua: 8 workers

start, step by step: each as soon as those that it is after are ready
  1  db     ready when it calls self:ready(), within 10 s
  1  pay
  1  batch
  1  tick
  1  luck
  1  grow
  1  busy
  2  web    after db, pay

stop, step by step: each as soon as those after it have ended; at most 20 s in all
  1  busy
  1  grow
  1  luck
  1  tick
  1  batch
  1  web
  2  pay
  2  db

groups
  front  rest_for_one  fails after more than 5 restarts within 60 s  web
  spare  one_for_one   no limit                                      no members

]], (plan.text(made, "w.lua"):gsub("if it crashes.*", "")))
    local lines = {}
    for line in plan.text(made, "w.lua"):match "if it crashes[^\n]*\n(.*)":gmatch "[^\n]+" do
      lines[#lines + 1] = line:gsub("   *", "  ")
    end
    local first = " s after the first start: "
    assert.same({
      "  worker  delays (s)  given up",
      "  db  1 1.1 1.21 1.331 1.4641 1.61051 1.771561 1.9487171 … 30 from restart 37 on  never",
      "  pay  0.9–1.1 1.8–2.2 3.6–4.4  at crash 4, 6.3–7.7" .. first
        .. "more than 3 restarts within 60 s; essential: the host stops",
      "  web  1 2 4 8 16  at crash 6, 31" .. first
        .. "group front: more than 5 restarts within 60 s",
      '  batch  none  at crash 1, 0' .. first .. 'restart = "never"',
      "  tick  1 2 4 5 5 …  never",
      "  luck  0.5–1.5 1–3 2–6 4–12 8–24 15–30 15–30 …  at crash 4 at the earliest, 3.5" .. first
        .. "more than 3 restarts within 7 s",
      "  grow  1 2 4 8 16 32 64 128 … longer each time  never",
      "  busy  0.001 0.001 …  not within 10000 crashes",
      "after a clean return it is started again",
      "  tick  1 s later, each time",
    }, lines)
    local text = plan.text(plan.make(declared(function()
      decnet.worker { "dice", never, restart = "always", min_backoff = 4, jitter = 0.5 }
    end)), "w.lua")
    assert.matches("\n  dice +2–6 s later, each time\n$", text)
  end)

  it("fits a width, with every name and word in it", function()
    local what = plan.make(declared(function()
      decnet.group("pipeline", { strategy = "one_for_all", max_restarts = 5, within = 600 })
      decnet.worker { "db", never, notify = true, start_timeout = 10 }
      decnet.worker { "a name of several words", never, group = "pipeline", after = { "db" } }
      decnet.worker { "日本語 é", never, group = "pipeline", notify = true,
        after = { "db", "a name of several words" } }
      decnet.worker { "limited", never, max_restarts = 3, jitter = 0.5, essential = true }
    end))
    local function words(text)
      local list = {}
      for word in text:gmatch "%S+" do
        list[#list + 1] = word
      end
      table.sort(list)
      return list
    end
    local whole = plan.text(what, "w.lua")
    for _, width in ipairs { 80, 72, 66 } do
      local text = plan.text(what, "w.lua", width)
      for line in text:gmatch "[^\n]+" do
        assert.is_true(utf8.len(line) <= width, line)
      end
      assert.matches("\n  a name of several words  1 2 4 8 16 ", text)
      assert.same(words(whole), words(text))
    end
    -- where nothing can be broken any further, lines are too long
    assert.same(words(whole), words(plan.text(what, "w.lua", 10)))
    assert.matches("\n  2  a name of several words  after db\n", plan.text(what, "w.lua", 10))
    assert.equal(whole, plan.text(what, "w.lua", 1000))
  end)
end)
