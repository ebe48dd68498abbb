-- SPDX-License-Identifier: AGPL-3.0-or-later
local core = require "decnet.core"
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function boom()
  error "boom"
end

local logged = run.logged

describe("an event", function()
  it("K01 of a crash has name, run, reason, traceback, delay, and whether it restarts", function()
    testing.run(function(t)
      local function fails_here()
        boom()
      end
      decnet.worker("w", function()
        decnet.sleep(1)
        fails_here()
      end)
      t:advance(1.5)
      local crash = run.events(t, "crash")[1]
      assert.same({ "crash", "w", 1, 1, 1, true },
        { crash.event, crash.worker, crash.run, crash.streak, crash.delay, crash.will_restart })
      run.near(1, crash.at, 1e-4)
      run.contains(crash.error, "observe_spec.lua:")
      run.contains(crash.error, "boom")
      run.contains(crash.traceback, "in upvalue 'boom'")
      run.contains(crash.traceback, "observe_spec.lua:")
    end)
  end)

  it("K01 of each kind comes in order, with what belongs to it", function()
    testing.run(function(t)
      decnet.worker { name = "w", reset_after = 5, run = function(self)
        if self.run == 1 then
          boom()
        end
        decnet.sleep(10)
      end }
      t:advance(20)
      local kinds = {}
      for i, event in ipairs(t:events()) do
        kinds[i] = event.event
        assert.equal("w", event.worker)
        assert.equal("number", type(event.at))
        assert.equal("number", type(event.run))
      end
      assert.same({ "start", "crash", "restart", "start", "ready", "recovered", "done" }, kinds)
    end)
  end)

  it("K02 has a reason that is bounded and on one line", function()
    local crash = run.crash(function() error(("line one\nline two\0\27[31m"):rep(100000), 0) end)
    assert.is_true(#crash.error <= 1024)
    assert.is_nil(crash.error:find "[%c]")
    assert.is_true(#crash.traceback <= 4096)
  end)

  it("K03 recovered fires once, after reset_after, with the length of the outage", function()
    testing.run(function(t)
      decnet.worker { name = "w", reset_after = 10, run = function(self)
        decnet.sleep(1)
        if self.run <= 3 then
          boom()
        end
        run.forever()
      end }
      t:advance(1000)
      local recovered = run.events(t, "recovered")
      assert.equal(1, #recovered)
      local starts = run.times(t, "start")
      run.near(starts[4] + 10, recovered[1].at, 1e-6)
      run.near(starts[4] - run.times(t, "crash")[1], recovered[1].outage, 1e-6)
      run.near(1 + 1 + 2 + 1 + 4, recovered[1].outage, 1e-3)
      assert.equal(0, t:status("w").streak)
    end)
  end)

  it("K03 recovered does not fire for a run that crashes before", function()
    testing.run(function(t)
      decnet.worker { name = "w", reset_after = 10, max_backoff = 1, run = function()
        decnet.sleep(9.9)
        boom()
      end }
      t:advance(1000)
      assert.equal(0, #run.events(t, "recovered"))
    end)
  end)
end)

describe("decnet.on", function()
  it("calls its function with a table of its own, in a task of its own", function()
    testing.run(function(t)
      local seen = {}
      decnet.on("crash", function(event)
        event.worker = "changed"
        decnet.sleep(1)
        seen[#seen + 1] = { "first", decnet.now(), decnet.current() }
      end)
      decnet.on("crash", function(event)
        seen[#seen + 1] = { "second", decnet.now(), event.worker }
      end)
      decnet.worker { name = "w", restart = "never", run = boom }
      t:advance(5)
      assert.equal("second", seen[1][1])
      assert.equal("w", seen[1][3])
      assert.equal("first", seen[2][1])
      run.near(1, seen[2][2], 1e-3)
      assert.is_nil(seen[2][3])
    end)
  end)

  it("reaches all of the first hooks, wherever who adds them is preempted", function()
    for every = 1, 7 do
      local told = {}
      local host = core.host { virtual = true, keep_alive = true, log = false, slice = 0.1,
        preempt_every = every }
      for i = 1, 4 do
        decnet.worker("w" .. i, function()
          decnet.on("crash", function() told[i] = true end)
        end)
      end
      decnet.worker { name = "bad", restart = "never", run = function()
        decnet.sleep(1)
        error "boom"
      end }
      assert(host:boot())
      local limit = host:after(5)
      while host:step(limit) do end
      host:close()
      assert.same({ true, true, true, true }, told)
    end
  end)

  it("K04 a failing hook is logged and changes nothing", function()
    local text = logged(function(t)
      local calls = 0
      decnet.on("crash", function()
        calls = calls + 1
        error "the hook fails"
      end)
      decnet.on("start", function()
        decnet.sleep(1)
        error { code = 7 }
      end)
      decnet.on("crash", function() calls = calls + 1 end)
      decnet.worker("w", boom)
      decnet.worker("other", run.forever)
      t:advance(10)
      assert.equal(8, calls)
      assert.same({ 4, "running", 1 },
        { t:status("w").run, t:status("other").state, t:status("other").run })
    end)
    run.contains(text, "the hook fails")
    run.contains(text, "code = 7")
  end)

  it("of an event that is none is refused, in a line", function()
    testing.run(function()
      local function refusal(event)
        return select(2, pcall(decnet.on, event, print))
      end
      run.contains(refusal "crsh", 'no event is named "crsh"; did you mean "crash"?')
      run.contains(refusal(("x\n"):rep(500)), '"...; there are start, ')
      local raises = setmetatable({}, { __tostring = function() error {} end })
      run.contains(refusal(raises), "no event is named a table; there are start, ")
    end)
  end)

  it("K04 a hook that swallows everything, or never ends, holds nobody", function()
    testing.run(function(t)
      decnet.on("start", run.stubborn)
      decnet.on("start", function()
        while true do
          decnet.sleep(1e6)
        end
      end)
      decnet.worker("w", run.forever)
      t:advance(10)
      assert.equal(0, t:stop())
    end)
  end)

  it("a hook has ten seconds", function()
    local text = logged(function(t)
      local ended
      decnet.on("start", function()
        local _ <close> = setmetatable({}, { __close = function() ended = decnet.now() end })
        decnet.sleep(1e6)
      end)
      decnet.worker("w", run.forever)
      t:advance(20)
      run.near(10, ended, 1e-3)
    end)
    run.contains(text, "a hook of start took longer than 10 s: it was cancelled")
  end)

  it("the host ends when its hooks have, at most ten seconds later", function()
    for _, case in ipairs { { 3, 3 }, { 1e6, 10 } } do
      testing.run(function(t)
        local ended
        decnet.on("stop", function()
          local _ <close> = setmetatable({}, { __close = function() ended = decnet.now() end })
          decnet.sleep(case[1])
        end)
        decnet.worker("w", run.forever)
        t:advance(1)
        assert.equal(0, t:stop())
        run.near(1 + case[2], ended or t:now(), 0.01)
      end)
    end
  end)

  it("the host waits for its hooks each time that it would end, however long it has run", function()
    local host = core.host { virtual = true, log = false }
    local _ <close> = setmetatable({}, { __close = function() host:close() end })
    decnet.worker("job", function() decnet.sleep(20) end)
    decnet.on("done", function()
      decnet.sleep(1)
      decnet.get("job"):start()
    end)
    host:boot()
    while host:now() < 100 and not host:is_over() do
      local limit = host:after(0.1)
      while host:step(limit) do end
    end
    run.near(100, host:now(), 0.2)
  end)

  it("a crash loop reaches a hook once a second, with the number of crashes", function()
    testing.run(function(t)
      local seen = {}
      decnet.on("crash", function(event) seen[#seen + 1] = event end)
      decnet.worker { name = "w", min_backoff = 0.1, max_backoff = 0.1, max_restarts = 95,
        run = boom }
      decnet.worker { name = "calm", restart = "never", run = boom }
      t:advance(60)
      local total, calm = 0, 0
      for _, event in ipairs(seen) do
        if event.worker == "calm" then
          calm = calm + event.count
        else
          total = total + event.count
        end
      end
      assert.equal(1, calm)
      assert.equal(96, total)
      assert.equal(96, seen[#seen].run)
      assert.is_false(seen[#seen].will_restart)
      assert.is_true(#seen <= 13)
      assert.equal(96, #run.events(t, "crash", "w"))
    end)
  end)

  it("a crash that no other follows is told all the same", function()
    testing.run(function(t)
      local seen = {}
      decnet.on("crash", function(event)
        seen[#seen + 1] = ("%d:%d"):format(event.run, event.count)
      end)
      decnet.worker { name = "w", min_backoff = 0.1, run = function(self)
        if self.run <= 3 then
          error "boom"
        end
        run.forever()
      end }
      t:advance(10)
      assert.same({ "1:1", "3:2" }, seen)
    end)
  end)

  it("K04 a hook may order: the host hears it", function()
    testing.run(function(t)
      decnet.on("crash", function(event) decnet.get(event.worker):stop() end)
      decnet.worker("w", boom)
      t:advance(10)
      assert.same({ "stopped", 1 }, { t:status("w").state, t:status("w").run })
    end)
  end)

  it("refuses events that do not exist, and what is no function", function()
    testing.run(function()
      run.raises('did you mean "crash"', decnet.on, "crsh", error)
      run.raises("event", decnet.on, nil, error)
      run.raises("fn: expected a function, got nil", decnet.on, "crash")
      run.contains(select(2, pcall(function()
        decnet.on("crash", 5)
      end)), "observe_spec.lua:")
    end)
  end)

  it("speaks of one host only", function()
    local calls = 0
    testing.run(function(t)
      decnet.on("start", function() calls = calls + 1 end)
      decnet.worker("w", run.forever)
      t:advance(1)
    end)
    testing.run(function(t)
      decnet.worker("w", run.forever)
      t:advance(1)
    end)
    assert.equal(1, calls)
  end)
end)

describe("the log", function()
  it("has the error, worker, run, delay and traceback of a crash", function()
    local text = logged(function(t)
      decnet.worker("flaky", boom)
      t:advance(0.5)
    end)
    for _, part in ipairs { "level=error", "flaky", "boom", "run=1", "observe_spec.lua:",
      "traceback" } do
      run.contains(text, part)
    end
  end)

  it("K06 of a crash loop is bounded", function()
    local text = logged(function(t)
      decnet.worker { name = "w", max_backoff = 0.01, run = boom }
      t:advance(600)
      assert.is_true(t:status("w").run > 50000)
    end)
    local _, lines = text:gsub("\n", "\n")
    assert.is_true(lines < 200, lines .. " lines")
    run.contains(text, "boom")
  end)

  it("takes fields, and speaks with the worker's name", function()
    local text = logged(function(t)
      decnet.worker("w", function(self)
        self.log:info("tick", { run = self.run, text = "two words", flag = true })
        self.log:warn "careful"
        self.log:error "oh"
        self.log:debug "unseen"
        self.log:info(42)
        self.log:info("odd", {
          object = setmetatable({}, { __tostring = function() return "O!" end }),
        })
      end)
      t:advance(1)
    end)
    for _, part in ipairs { "tick", "run=1", 'text="two words"', "flag=true", "careful",
      "level=warn", "42", "O!" } do
      run.contains(text, part)
    end
    assert.is_nil(text:find "unseen")
  end)

  it("shows errors in deferred functions and late tasks, which change nothing", function()
    local text = logged(function(t)
      decnet.worker("w", function(self)
        self:defer(function() error "first" end)
        self:defer(function() error "second" end)
      end)
      t:advance(1)
      assert.equal("done", t:status("w").state)
      assert.equal(0, #run.events(t, "crash"))
    end)
    assert.is_true(text:find("second", 1, true) < text:find("first", 1, true))
  end)
end)
