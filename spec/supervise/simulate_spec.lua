-- SPDX-License-Identifier: AGPL-3.0-or-later
local core = require "decnet.core"
local decnet = require "decnet"
local declared = require "spec.support.declared"
local run = require "spec.support.run"
local scenario = require "decnet.scenario"
local simulate = require "decnet.simulate"
local testing = require "decnet.testing"

local function never()
  error "a simulation must not run the script's functions"
end

local function names_of(what)
  local names = {}
  for i, worker in ipairs(what.workers) do
    names[i] = worker.name
  end
  return names
end

-- Plays `text` with what `fn` declares; nil declares "w".
local function play(text, fn, options)
  local what = declared(fn or function() decnet.worker("w", never) end)
  return simulate.run(what, assert(scenario.parse(text, names_of(what))), options)
end

-- The lines of one worker, or of all, as "time what".
local function lines(timeline, who)
  local list = {}
  for _, line in ipairs(timeline.lines) do
    if not who or line.who == who then
      local text = ("%.6g %s"):format(math.floor(line.at * 1000 + 0.5) / 1000, line.what)
      list[#list + 1] = who and text or line.who .. " " .. text
    end
  end
  return list
end

local function worker(options)
  return function()
    options.name, options.run = "w", never
    decnet.worker(options)
  end
end

describe("a simulation", function()
  it("goes through crashes, delays and recovery", function()
    local timeline = play "w crash@0,3,9"
    assert.same({
      "0 start, run 1", "0 ready", "0 crash #1, restart in 1 s",
      "1 restart, run 2", "1 ready", "3 crash #2, restart in 2 s",
      "5 restart, run 3", "5 ready", "9 crash #3, restart in 4 s",
      "13 restart, run 4", "13 ready", "73 recovered, after an outage of 13 s",
    }, lines(timeline, "w"))
    run.near(73, timeline.ended_at, 0.001)
    local final = timeline.final[1]
    assert.same({ "running", 4, 3, 0 }, { final.state, final.run, final.restarts, final.streak })
  end)

  it("lets what is due come before what happens at the same time", function()
    assert.same({
      "0 start, run 1", "0 ready", "0 crash #1, restart in 1 s",
      "1 restart, run 2", "1 ready", "1 crash #2, restart in 2 s",
      "3 restart, run 3", "3 ready", "3 crash #3, restart in 4 s",
      "7 restart, run 4", "7 ready",
    }, lines(play "w crash@0,1,3; until 8", "w"))
  end)

  it("has every way in which a run can end", function()
    assert.same({
      "0 start, run 1", "0 ready", "1 crash #1, restart in 5 s",
      "6 restart, run 2", "6 ready", "7 crash #2", "7 given up: the error is fatal",
    }, lines(play "w retry_after(5)@1 fatal@7", "w"))
    assert.same({ "0 start, run 1", "0 ready", "2.5 done" }, lines(play "w finish@2.5", "w"))
    assert.same({
      "0 start, run 1", "0 ready", "2 returned, restart in 1 s", "3 restart, run 2", "3 ready",
    }, lines(play("w finish@2", worker { restart = "always" }), "w"))
    assert.same({
      "0 start, run 1", "0 ready", "1 hangs", "2 order: stop", "2 stopping", "6 killed",
      "6 stopped",
    }, lines(play("w hang@1 stop@2", worker { stop_timeout = 4 }), "w"))
  end)

  it("ends when the host would", function()
    local timeline = play "w finish@2; w start@3"
    assert.same({ "2 ends, exit code 0" }, lines(timeline, "(host)"))
    assert.equal("2 start@3: no effect, the host has ended", lines(timeline, "w")[4])
    timeline = play("w finish@2; w start@3", nil, { keep_alive = true })
    assert.same({}, lines(timeline, "(host)"))
    assert.equal(2, timeline.final[1].run)
  end)

  it("stops the host when an essential worker fails, and when it is told to", function()
    local function two()
      decnet.worker { "db", never, essential = true, max_restarts = 0 }
      decnet.worker { "web", never, after = { "db" } }
    end
    local timeline = play("db crash@1", two)
    assert.same({ "1 stops: db is essential and has failed", "1 ends, exit code 1" },
      lines(timeline, "(host)"))
    assert.same({ "0 start, run 1", "0 ready", "1 stopping", "1 stopped" },
      lines(timeline, "web"))
    timeline = play("shutdown@5; web start@6", two)
    assert.same({ "5 order: shutdown", "5 ends, exit code 0" }, lines(timeline, "(host)"))
    assert.same({ "stopped", "stopped" }, { timeline.final[1].state, timeline.final[2].state })
  end)

  it("kills after shutdown_timeout, whoever has stopped the host", function()
    local function two()
      decnet.worker { "db", never, essential = true, max_restarts = 0 }
      decnet.worker { "web", never, stop_timeout = math.huge }
    end
    for _, text in ipairs { "web hang@0.5; db crash@1", "web hang@0.5; shutdown@1" } do
      local timeline = play(text, two, { shutdown_timeout = 2 })
      assert.same({ "0 start, run 1", "0 ready", "0.5 hangs", "1 stopping", "3 killed",
        "3 stopped" }, lines(timeline, "web"))
    end
  end)

  it("gives orders, and tells those apart that change nothing", function()
    assert.same({
      "0 start, run 1", "0 ready", "1 order: start, no effect: it is running",
      "2 order: restart", "2 stopping", "2 start, run 2", "2 ready",
      "3 order: stop", "3 stopping", "3 stopped", "4 order: stop, no effect: it is stopped",
      "5 order: retry, refused: nothing to do: the worker is done, stopped, or being removed; "
        .. "start it",
      "6 order: start", "6 start, run 3", "6 ready", "7 crash #1, restart in 1 s",
      "7.5 order: retry", "7.5 restart, run 4", "7.5 ready", "8 order: reset",
      "9 crash #1, restart in 1 s", "9.5 order: stop", "9.5 stopped",
    }, lines(play("w start@1 restart@2 stop@3,4 retry@5 start@6 crash@7 retry@7.5 reset@8 "
      .. "crash@9 stop@9.5", nil, { keep_alive = true }), "w"))
  end)

  it("says what cannot happen", function()
    assert.same({
      "0 start, run 1", "0 ready", "1 ready: no effect, it has no notify",
      "2 crash #1, restart in 1 s", "2.5 crash: no effect, it is in backoff for another 0.5 s",
      "3 restart, run 2", "3 ready", "4 hangs", "5 finish: no effect, it hangs",
      "6 order: stop", "6 stopping", "7 retry_after(3): no effect, it is stopping", "16 killed",
      "16 stopped",
    }, lines(play "w ready@1 crash@2,2.5 hang@4 finish@5 stop@6 retry_after(3)@7", "w"))
  end)

  it("takes two events of one worker at one time one after the other", function()
    assert.same({
      "0 start, run 1", "0 ready", "1 crash #1, restart in 1 s",
      "1 crash: no effect, it is in backoff for another 1 s", "1 order: retry",
      "1 restart, run 2", "1 ready",
    }, lines(play "w crash@1,1 retry@1; until 2", "w"))
  end)

  it("crashes in each run that begins inside a range", function()
    assert.same({
      "0 start, run 1", "0 ready", "2 crashes in each run from now on, until 6",
      "2 crash #1, restart in 1 s", "3 restart, run 2", "3 crash #2, restart in 2 s",
      "5 restart, run 3", "5 crash #3, restart in 4 s", "6 crashes no longer",
      "9 restart, run 4", "9 ready", "69 recovered, after an outage of 7 s",
    }, lines(play "w crash@2..6", "w"))
    local timeline = play("w crash@0..", worker { max_restarts = 2 })
    assert.equal("3 given up: more than 2 restarts within 60 s", lines(timeline, "w")[9])
    assert.same({ "3 ends, exit code 1" }, lines(timeline, "(host)"))
    assert.equal("more than 2 restarts within 60 s", timeline.final[1].reason)
    assert.is_nil(table.concat(lines(play("w crash@2..6; until 4")), "\n"):find "no longer")
  end)

  it("knows readiness, its time limit and the watchdog", function()
    local options = { notify = true, start_timeout = 3, stop_timeout = 2, watchdog = 4 }
    assert.same({ "0 start, run 1", "0 ready" }, lines(play("until 100", worker(options)), "w"))
    assert.same({
      "0 start, run 1", "3 stopping", "3 crash #1: not ready within 3 s, restart in 1 s",
      "4 restart, run 2", "5 ready", "10 hangs", "14 stopping", "16 killed",
      "16 crash #2: no beat within 4 s, restart in 2 s", "18 restart, run 3", "20 ready",
    }, lines(play("w ready@5,20 hang@10; until 30", worker(options)), "w"))
  end)

  it("ends by itself although somebody beats for ever", function()
    local timeline = play("w hang@10", worker { watchdog = 4 })
    assert.equal("86 recovered, after an outage of 1 s",
      (lines(timeline, "w")[9]:gsub("^%d+", "86")))
    assert.is_true(timeline.ended_at < 300)
  end)

  it("restarts groups, once for those who fail together", function()
    local function group()
      decnet.group("g", { strategy = "rest_for_one", max_restarts = 2 })
      for name in ("abc"):gmatch "." do
        decnet.worker { name, never, group = "g" }
      end
    end
    local timeline = play("b crash@1; c crash@1; until 4", group)
    assert.same({ "running", 1, "running", 2, "running", 2 }, {
      timeline.final[1].state, timeline.final[1].run, timeline.final[2].state,
      timeline.final[2].run, timeline.final[3].state, timeline.final[3].run })
    assert.same({ "0 start, run 1", "0 ready", "1 crash #1, restart in 1 s",
      "1 group g restarts with it in 1 s", "2 restart, run 2", "2 ready" }, lines(timeline, "b"))
    timeline = play("a crash@1; until 1.5", group)
    assert.equal("1 waiting for group g", lines(timeline, "c")[4])
    assert.equal("group g", timeline.final[2].waiting_for)
    timeline = play("a crash@1..", group)
    local list = lines(timeline, "a")
    assert.equal("4 group g has failed", list[#list])
    assert.same({ "failed", "stopped", "stopped" },
      { timeline.final[1].state, timeline.final[2].state, timeline.final[3].state })
  end)

  it("is the host's own machine: the same events as a real run on the virtual clock", function()
    local options = { jitter = 0.3, max_restarts = 6, within = 40, min_backoff = 0.5 }
    local expected, got = {}, {}
    testing.run(function(t)
      options.name, options.run = "w", function() error "boom" end
      decnet.worker(options)
      t:advance(200)
      for i, at in ipairs(run.times(t, "crash")) do
        expected[i] = ("%.3f"):format(at)
      end
    end, { seed = 5 })
    options.name, options.run = nil, nil
    for _, line in ipairs(play("w crash@0..", worker(options), { seed = 5 }).lines) do
      if line.what:find "^crash #" then
        got[#got + 1] = ("%.3f"):format(line.at)
      end
    end
    assert.equal(7, #got)
    assert.same(expected, got)
    got = lines(play("w crash@0..", worker(options), { seed = 6 }))
    assert.same(got, lines(play("w crash@0..", worker(options), { seed = 6 })))
    assert.not_same(got, lines(play("w crash@0..", worker(options), { seed = 7 })))
  end)

  it("does not hold our bodies to what the script's functions may use", function()
    local what = declared(worker { hang_timeout = 0.001, preempt = false, stop_timeout = 3 })
    local host = require "decnet.declared".host(what, function() return function() end end,
      function() end)
    local options = host:get "w":options()
    host:close()
    assert.same({ math.huge, true, 3 },
      { options.hang_timeout, options.preempt, options.stop_timeout })
  end)

  it("has an end, and says that it is not the worker's", function()
    local timeline = play "w crash@0.."
    local last = timeline.lines[#timeline.lines]
    assert.equal("(host)", last.who)
    run.contains(last.what, "the simulation ends here, after 102")
    run.contains(last.what, "earlier 'until S'")
  end)

  it("runs no hook and no callback of the script, and leaves nothing behind", function()
    local uv = require "luv"
    play("w crash@1", function()
      decnet.worker("w", never)
      decnet.on("crash", never)
      uv.new_timer():start(0, 0, never)
    end)
    assert.is_nil(core.current_host())
    assert.equal(0, core.count_handles())
  end)

  it("reads well", function()
    local timeline = play("w crash@1; größe stop@2; until 12", function()
      decnet.worker { "w", never, max_restarts = 0 }
      decnet.worker { "größe", never }
      decnet.worker { "late", never, after = { "w" } }
      decnet.worker { "slow", never, notify = true, start_timeout = 10 }
    end)
    assert.equal([[
     0.000  w       start, run 1
     0.000  größe   start, run 1
     0.000  slow    start, run 1
     0.000  w       ready
     0.000  größe   ready
     0.000  slow    ready
     0.000  late    start, run 1
     0.000  late    ready
     1.000  w       crash #1
     1.000  w       given up: more than 0 restarts within 60 s
     2.000  größe   order: stop
     2.000  größe   stopping
     2.000  größe   stopped

after 12 s
worker  state       run  restarts  streak
w       failed        1         0       1  more than 0 restarts within 60 s
größe   stopped       1         0       0
late    running       1         0       0
slow    running       1         0       0
]], simulate.text(timeline))
  end)
end)

describe("a scenario", function()
  local NAMES = { "db", "web", "odd name", "until" }

  it("is a list of events in order of time", function()
    local function read(text)
      local list = {}
      for i, action in ipairs(assert(scenario.parse(text, NAMES)).actions) do
        list[i] = ("%g %s %s%s"):format(action.at, action.name or "-", action.verb,
          action.seconds and " " .. action.seconds or "")
      end
      return table.concat(list, "; ")
    end
    assert.equal("0 db crash; 3 db crash; 20 web stop", read "web stop@20; db crash@3,0")
    assert.equal("1 db crash; 2.5 db crash; 2.5 web stop; 4 db retry_after 0.5",
      read "\n;db crash@1, 2.5 retry_after( 0.5 )@4\n\n  web stop@2.5;;")
    assert.equal("1 until stop; 2 odd name stop; 3 - shutdown",
      read [["until" stop@1; "odd name" stop@2; shutdown@3; until 5]])
    assert.equal("", read "")
    assert.equal(7.5, scenario.parse("until 7.5", NAMES).till)
    local range = scenario.parse("db crash@1..2.5,3..", NAMES).actions
    assert.same({ 2.5, nil, math.huge }, { range[1].till, range[2].till, range[3].till })
  end)

  it("is read or refused with a place, whatever it is", function()
    local parts = { "db", "web", '"odd name"', "until", "shutdown", "crash", "stop", "hang",
      "retry_after", "(5)", "(", ")", "@", "3", "2.5", "..", ",", ";", "\n", " ", " ", '"', "-",
      "\xff", "é", "" }
    local random, read = 1, 0
    for _ = 1, 5000 do
      local text = {}
      repeat
        random = (random * 1103515245 + 12345) % 2 ^ 31 // 1 | 0
        text[#text + 1] = parts[(random >> 8) % #parts + 1]
      until (random >> 16) % 8 == 0
      local ok, message = scenario.parse(table.concat(text), NAMES)
      read = read + (ok and 1 or 0)
      assert(ok or message:find "^column %d+: " or message:find "^line %d+, column %d+: ", message)
    end
    assert.is_true(read > 50 and read < 4000)
  end)

  it("may be any: runs are numbered, delays are kept, and it is the same twice", function()
    local verbs = { "crash", "fatal", "finish", "hang", "retry_after(3)", "start", "stop",
      "restart", "retry", "reset" }
    local function declare()
      decnet.group("g", { strategy = "one_for_all", max_restarts = 4, within = 20 })
      decnet.worker { "a", never, jitter = 0.5, stop_timeout = 3 }
      decnet.worker { "b", never, after = { "a" }, restart = "always", group = "g" }
      decnet.worker { "c", never, group = "g", watchdog = 2, max_restarts = 3 }
      decnet.worker { "d", never, notify = true, start_timeout = 5, group = "g" }
    end
    local random = 7
    local function pick(n)
      random = (random * 1103515245 + 12345) % 2 ^ 31 // 1 | 0
      return (random >> 10) % n
    end
    for _ = 1, 40 do
      local items = {}
      for i = 1, 12 do
        items[i] = ("%s %s@%g"):format(("abcd"):sub(pick(4) + 1):sub(1, 1), verbs[pick(10) + 1],
          pick(80) / 2)
      end
      local text = table.concat(items, ";") .. "; until 60"
      local timeline = play(text, declare, { keep_alive = true })
      local run_of, not_before = {}, { b = -math.huge } -- b is woken when a becomes ready
      for _, line in ipairs(timeline.lines) do
        local number = tonumber(line.what:match "^r?e?start, run (%d+)$")
        local delay = line.what:match "restart in ([%d.]+) s$"
        if number then
          assert(number == (run_of[line.who] or 0) + 1, text)
          assert(line.at >= (not_before[line.who] or 0) - 0.001, text)
          run_of[line.who] = number
        elseif line.who ~= "b" and delay and not line.what:find "^group" then
          not_before[line.who] = line.at + delay
        elseif line.who ~= "b" and line.what:find "^order" then
          not_before[line.who] = 0
        end
      end
      assert.same(lines(timeline), lines(play(text, declare, { keep_alive = true })))
      for _, status in ipairs(timeline.final) do
        assert.equal(run_of[status.name] or 0, status.run)
      end
    end
  end)

  for text, message in pairs {
    ["db"] = "column 3: expected an event, as in crash@3, got the end",
    ["db crash"] = "column 9: expected '@' and a time after 'crash', got the end",
    ["db crash@"] = "column 10: expected a time in seconds, as in 2.5, got the end",
    ["db crash@-1"] = "column 10: expected a time in seconds, as in 2.5, got '-1'",
    ["db crash@3s"] = "column 11: expected ',' and a time, another event, or ';', got 's'",
    ["db crash@1,"] = "column 12: expected a time in seconds, as in 2.5, got the end",
    ["db crsh@3"] = "column 4: no event is named 'crsh'; did you mean 'crash'?",
    ["db crash@3 web stop@4"] = "column 12: 'web' is no event of a worker; write ';' before it",
    ["db crash@3, web stop@4"] = "column 13: expected a time in seconds, as in 2.5, got 'web'; "
      .. "write ';' before it",
    ["db crash@3 shutdown@9"] = "column 12: 'shutdown' is no event of a worker; write ';' before "
      .. "it",
    ["db crash@3 until 9"] = "column 12: 'until' is no event of a worker; write ';' before it",
    ["unitl crash@3"] = "column 1: no worker is named 'unitl'; did you mean 'until'?",
    ["x crash@3"] = "column 1: no worker is named 'x'; decnet-host check prints the names",
    ["crash@3"] = "column 1: expected the name of a worker before 'crash@'",
    ["db crash@5..3"] = "column 11: the range ends before it begins",
    ["db stop@5..6"] = "column 10: a range goes with crash only: each run that begins inside "
      .. "crashes",
    ["db retry_after@3"] = "column 15: expected the delay, as in retry_after(5)@3, got '@'",
    ["db retry_after(4@3"] = "column 17: expected ')', got '@'",
    ["until x"] = "column 7: expected a time in seconds, as in 2.5, got 'x'",
    ["web stop@1; until 5; web crash@9"] = "column 13: until 5 comes before crash@9; it would not "
      .. "happen",
    ["db crash@1\n\n web stop@2 crsh@3"] = "line 3, column 13: no event is named 'crsh'; did you "
      .. "mean 'crash'?",
    ['"größe" stop@1'] = "column 1: no worker is named 'größe'; decnet-host check prints the names",
    ['db stop@1; "x'] = [[column 12: expected the name of a worker, got '"']],
    ["db crash@9999999999"] = "column 10: expected at most 1e9 seconds, got 9999999999",
    ["shutdown@3 db"] = "column 12: expected ';', got 'db'",
    ["until 3 4"] = "column 9: expected ';', got '4'",
    [", db"] = "column 1: expected the name of a worker, got ','",
    ["db crash@1 \"ö\" @"] = "column 12: expected an event, as in crash@3, got '\"'",
    ["db \0@1"] = "column 4: no event is named '\0'; there are ",
  } do
    it(("is refused: %q"):format(text), function()
      local read, got = scenario.parse(text, NAMES)
      assert.is_nil(read)
      assert.equal(message, got:sub(1, #message))
    end)
  end
end)
