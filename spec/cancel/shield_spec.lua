-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Shields inside of each other, and of everything else that ends a wait.

local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function closing(fn)
  return setmetatable({}, { __close = fn })
end

-- Runs `fn(self, note)` as a worker that is stopped after `at` seconds; returns what it noted, as
-- "what@seconds", where seconds count from then, and its status at the end.
local function stopped(at, fn, options)
  local log, status, crashes = {}, nil, nil
  testing.run(function(t)
    local spec = { name = "w", stop_timeout = 100, run = function(self)
      fn(self, function(what)
        log[#log + 1] = ("%s@%.3g"):format(tostring(what), decnet.now() - at)
      end)
    end }
    for key, value in pairs(options or {}) do
      spec[key] = value
    end
    decnet.worker(spec)
    t:advance(at)
    decnet.get("w"):stop()
    t:advance(1000)
    status, crashes = t:status "w", run.events(t, "crash")
  end)
  return table.concat(log, " "), status, crashes
end

local function cancelled_by(fn, ...)
  local ok, err = pcall(fn, ...)
  return not ok and decnet.is_cancelled(err)
end

describe("a shield", function()
  it("that is entered before the cancellation holds it off until it is used up", function()
    local log, status = stopped(1, function(_, note)
      assert(cancelled_by(decnet.shield, 3, function()
        assert(cancelled_by(decnet.sleep, 10))
        note "used up" -- in the same sleep, 3 s after it was entered, not after the stop
        decnet.sleep(1)
      end))
      note "left"
    end)
    assert.equal("used up@2 left@2", log)
    assert.equal("stopped", status.state)
  end)

  it("gives back what its function returns, and what it raises, through others", function()
    local log = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      local results = table.pack(decnet.shield(1, decnet.shield, 1, function(...)
        decnet.sleep(0.1)
        return ..., nil
      end, 1, nil, "three"))
      note(results.n)
      local object = {}
      local ok, err = pcall(decnet.shield, 1, decnet.shield, 1, function()
        decnet.sleep(0.1)
        error(object)
      end)
      assert(not ok and err == object)
      note(cancelled_by(decnet.sleep, 1)) -- none is left behind
    end)
    assert.equal("2@0.1 true@0.2", log)
  end)

  it("of no time holds nothing off, one without limit all but the kill", function()
    local log, status = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      note(cancelled_by(decnet.shield, 0, decnet.sleep, 1))
      local _ <close> = closing(function() note "closed" end)
      decnet.shield(math.huge, decnet.sleep, 1e6)
    end, { stop_timeout = 7 })
    assert.equal("true@1e-06 closed@7", log:gsub("@%d+e%-0%d", "@1e-06", 1))
    assert.equal("stopped", status.state)
    assert.equal("killed", status.endings[1].ended)
  end)
end)

describe("a shield in a shield", function()
  it("that is used up first leaves the outer one in force", function()
    local log = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      decnet.shield(5, function()
        decnet.shield(1, decnet.sleep, 3) -- longer than the inner one: the outer holds still
        note "inner"
        decnet.sleep(1)
        note "outer"
        assert(cancelled_by(decnet.sleep, 3))
        note "end"
      end)
    end)
    assert.equal("inner@3 outer@4 end@5", log)
  end)

  it("that outlasts the outer one is as long as it says, and no more waits follow", function()
    local log = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      decnet.shield(2, function()
        decnet.sleep(1)
        decnet.shield(10, function()
          decnet.sleep(4)
          note "inner"
        end)
        note(cancelled_by(decnet.sleep, 1)) -- the outer one was used up meanwhile
      end)
    end)
    assert.equal("inner@5 true@5", log:gsub("5%.%d+", "5"))
  end)

  it("ends with the kill, whatever both have left, and closes from the inside out", function()
    local log, status = stopped(1, function(self, note)
      self:defer(function() note "deferred" end)
      local _ <close> = closing(function() note "body" end)
      pcall(decnet.sleep, 5)
      decnet.shield(50, function()
        local _ <close> = closing(function() note "outer" end)
        decnet.shield(50, function()
          local _ <close> = closing(function()
            note "inner"
            note(pcall(decnet.shield, 1, decnet.sleep, 1)) -- what is killed cannot wait
          end)
          decnet.sleep(40)
        end)
      end)
    end, { stop_timeout = 3 })
    assert.equal("inner@3 false@3 outer@3 body@3 deferred@3", log)
    assert.equal("killed", status.endings[1].ended)
  end)

  it("lets an error through both, which is recorded and not counted", function()
    local log, status, crashes = stopped(1, function(_, note)
      local _ <close> = closing(function()
        note "closing"
        note(cancelled_by(decnet.sleep, 1)) -- both shields are left
      end)
      pcall(decnet.sleep, 5)
      decnet.shield(5, function()
        decnet.shield(5, function()
          decnet.sleep(1)
          error "boom"
        end)
      end)
    end)
    assert.equal("closing@1 true@1", log)
    assert.same({ "stopped", 0, 0 }, { status.state, status.streak, status.restarts })
    run.contains(status.last_error.message, "boom")
    assert.same({ 1, true }, { #crashes, crashes[1].stopping })
  end)

  it("whose error is caught leaves the outer one in force", function()
    local log = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      decnet.shield(5, function()
        note(pcall(decnet.shield, 1, function()
          decnet.sleep(0.5)
          error "inner"
        end))
        decnet.sleep(3)
        note "outer"
      end)
    end)
    assert.equal("false@0.5 outer@3.5", log)
  end)

  it("in a coroutine counts while that runs, not while it is suspended", function()
    local log = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      local step = coroutine.wrap(function()
        decnet.shield(50, function()
          for i = 1, 2 do
            decnet.sleep(1)
            coroutine.yield(i)
          end
        end)
      end)
      note(step())
      note(cancelled_by(decnet.sleep, 1))
      note(step())
      note(cancelled_by(decnet.sleep, 1))
    end)
    assert.equal("1@1 true@1 2@2 true@2", log:gsub("%.00%d+", ""))
  end)
end)

describe("a shield in a deferred function", function()
  it("does no harm and is not needed: that may wait, wherever it was deferred", function()
    local log, status = stopped(1, function(self, note)
      pcall(decnet.sleep, 5)
      decnet.shield(1, function()
        self:defer(function()
          decnet.shield(3, function()
            self:defer(function()
              note(decnet.timeout(0.5, decnet.sleep, 1))
              decnet.sleep(1)
              note "second"
            end)
            decnet.shield(3, decnet.sleep, 2)
            note "first"
          end)
        end)
        decnet.sleep(0.5)
        note "body"
      end)
      decnet.sleep(1)
    end)
    assert.equal("body@0.5 first@2.5 nil@3 second@4", log:gsub("%.50%d+", ".5"))
    assert.equal("stopped", status.state)
  end)

  it("ends with the kill, and those behind it run without a wait", function()
    local log, status = stopped(1, function(self, note)
      self:defer(function()
        note(pcall(decnet.sleep, 1))
      end)
      self:defer(function()
        local _ <close> = closing(function() note "closed" end)
        decnet.shield(50, decnet.shield, 50, decnet.sleep, 40)
      end)
      decnet.sleep(5)
    end, { stop_timeout = 3 })
    assert.equal("closed@3 false@3", log)
    assert.equal("cancelled", status.endings[1].ended) -- its body: the log tells of the rest
  end)
end)

describe("a shield and a timeout", function()
  it("around it: its function is not interrupted, and cancelled as soon as it is left", function()
    local log = stopped(100, function(_, note)
      local ok, message = decnet.timeout(1, function()
        decnet.shield(5, decnet.sleep, 3)
        note "shielded"
        decnet.sleep(1)
        note "never"
      end)
      note(message)
      note(decnet.timeout(1, decnet.shield, 5, function() -- no wait follows: it was in time
        decnet.sleep(3)
        return "late"
      end))
      note(ok)
    end)
    assert.equal("shielded@-97 timeout@-97 true@-94 nil@-94", log)
  end)

  it("inside of it is in force, and the shield goes on", function()
    local log = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      decnet.shield(5, function()
        note(select(2, decnet.timeout(1, decnet.sleep, 10)))
        decnet.sleep(2)
        note "after"
      end)
    end)
    assert.equal("timeout@1 after@3", log)
  end)

  it("between two: the inner shield is heard first, then the timeout, then the outer", function()
    local log = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      decnet.shield(10, function()
        local _, message = decnet.timeout(1, function()
          decnet.shield(3, decnet.sleep, 2)
          note "inner"
          decnet.sleep(1)
        end)
        note(message)
        decnet.sleep(5)
        note "outer"
      end)
    end)
    assert.equal("inner@2 timeout@2 outer@7", log:gsub("%.00%d+", ""))
  end)

  it("that ends at the same time as the shield around it ends in a cancellation", function()
    local log = stopped(1, function(_, note)
      pcall(decnet.sleep, 5)
      note(cancelled_by(decnet.shield, 1, decnet.timeout, 1, decnet.sleep, 10))
    end)
    assert.equal("true@1", log)
  end)
end)

describe("a task spawned inside a shield", function()
  it("is not shielded: it has shields of its own", function()
    local log, status = stopped(1, function(_, note)
      decnet.shield(10, function()
        local bare = decnet.spawn(function()
          note(cancelled_by(decnet.sleep, 50))
        end)
        local shielded = decnet.spawn(decnet.shield, 5, function()
          decnet.sleep(3)
          note "shielded"
          return "result"
        end)
        bare:join()
        note "joined"
        note(shielded:join())
      end)
    end)
    assert.equal("true@0 joined@0 shielded@2 result@2", log:gsub("%de%-%d+", "0"))
    assert.equal("stopped", status.state)
  end)

  it("can be cancelled by hand, and its shield holds that off, too", function()
    local log = stopped(100, function(_, note)
      local task = decnet.spawn(decnet.shield, 5, function()
        note(cancelled_by(decnet.sleep, 3))
        note(cancelled_by(decnet.shield, 1, decnet.sleep, 0.5))
        note(cancelled_by(decnet.sleep, 30))
      end)
      decnet.sleep(1)
      task:cancel()
      task:cancel()
      task:join()
      note "joined"
    end)
    assert.equal("false@-97 false@-96.5 true@-95 joined@-95", log)
  end)
end)

describe("a cancellation that comes twice", function()
  it("neither shortens nor renews a shield", function()
    local log = {}
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 100, run = function()
        decnet.shield(6, function()
          log[#log + 1] = cancelled_by(decnet.sleep, 50)
          log[#log + 1] = decnet.now()
        end)
      end }
      local handle = decnet.get "w"
      for _, verb in ipairs { "restart", "stop", "stop", "start" } do
        t:advance(1)
        handle[verb](handle)
      end
      t:advance(20)
      assert.equal(2, t:status("w").run) -- the last word was start
    end)
    assert.same({ true, 6 }, { log[1], log[2] })
  end)

  it("from a timeout and from the host is one error to the one and one to the other", function()
    local log = stopped(1, function(_, note)
      note(cancelled_by(decnet.timeout, 3, function()
        decnet.shield(5, function()
          decnet.sleep(4) -- stopped at 1, the timeout's time is over at 3
          note "both have come"
        end)
        note(cancelled_by(decnet.sleep, 1))
        decnet.sleep(1)
      end))
    end)
    assert.equal("both have come@3 true@3 true@3", log:gsub("%.00%d+", ""))
  end)
end)
