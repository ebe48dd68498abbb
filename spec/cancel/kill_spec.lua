-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function closing(fn)
  return setmetatable({}, { __close = fn })
end

-- Runs `fn(self, log)` as a worker that is killed after a second. Returns the log.
local function killed(fn)
  local log = {}
  testing.run(function(t)
    decnet.worker { name = "w", stop_timeout = 0, run = function(self) fn(self, log) end }
    t:advance(0.01)
    assert.equal("running", t:status("w").state)
    decnet.get("w"):stop()
    t:advance(1)
    local status = t:status("w")
    assert.same({ "stopped", 0, 0 }, { status.state, status.tasks, status.handles })
    log.status = status
  end)
  return log
end

describe("a kill", function()
  it("cannot be refused by pcall, xpcall or a shield", function()
    local log = killed(function(_, l)
      while true do
        pcall(xpcall, decnet.shield, debug.traceback, math.huge, run.forever)
        l[#l + 1] = "went on"
      end
    end)
    assert.same({}, { table.unpack(log) })
  end)

  it("closes nested coroutines from the inside out", function()
    local log = killed(function(_, l)
      local function nest(depth)
        local _ <close> = closing(function() l[#l + 1] = depth end)
        if depth == 5 then
          run.forever()
        end
        coroutine.wrap(nest)(depth + 1)
      end
      nest(1)
    end)
    assert.same({ 5, 4, 3, 2, 1 }, { table.unpack(log) })
  end)

  it("runs every <close> though some fail", function()
    local log = killed(function(_, l)
      local _ <close> = closing(function() l[#l + 1] = "first" end)
      local _ <close> = closing(function() error "in __close" end)
      local _ <close> = closing(function() l[#l + 1] = "second" end)
      coroutine.wrap(function()
        local _ <close> = closing(function() l[#l + 1] = "third" end)
        local _ <close> = closing(function() error { "no string" } end)
        run.forever()
      end)()
    end)
    assert.same({ "third", "second", "first" }, { table.unpack(log) })
  end)

  it("inside functions with message handlers leaves no handler in force", function()
    for name, around in pairs {
      timeout = function(fn) decnet.timeout(1e9, fn) end,
      shield = function(fn) decnet.shield(1e9, fn) end,
      xpcall = function(fn) xpcall(fn, debug.traceback) end,
      coroutine = function(fn) coroutine.wrap(function() decnet.timeout(1e9, fn) end)() end,
    } do
      local errors = {}
      local log = killed(function(_, l)
        local _ <close> = closing(function(_, err)
          l[#l + 1] = "first"
          errors[#errors + 1] = err
        end)
        local _ <close> = closing(function() error("in __close", 0) end)
        local a, b, c, d = 1, {}, "x", nil -- what stands where the handler stood
        around(function()
          around(function()
            run.forever(a, b, c, d)
          end)
        end)
      end)
      assert.same({ "first" }, { table.unpack(log) }, name)
      assert.same({ "in __close" }, errors, name)
    end
  end)

  it("passes no error to <close> of the innermost, as a closed coroutine does", function()
    local log = killed(function(_, l)
      local _ <close> = closing(function(_, err) l[#l + 1] = err == nil end)
      run.forever()
    end)
    assert.same({ true }, { table.unpack(log) })
  end)

  it("refuses waits in <close> and deferred functions, by name", function()
    local log = killed(function(self, l)
      self:defer(function() l[#l + 1] = select(2, pcall(decnet.yield)) end)
      local _ <close> = closing(function() l[#l + 1] = select(2, pcall(decnet.sleep, 1)) end)
      run.forever()
    end)
    run.contains(log[1], "sleep: this run is being killed and can wait no more")
    run.contains(log[2], "yield: this run is being killed and can wait no more")
  end)

  it("runs deferred functions, last first, though some fail", function()
    local log = killed(function(self, l)
      for i = 1, 5 do
        self:defer(function()
          l[#l + 1] = i
          if i % 2 == 0 then
            error "in a deferred function"
          end
        end)
      end
      run.forever()
    end)
    assert.same({ 5, 4, 3, 2, 1 }, { table.unpack(log) })
  end)

  it("lets cleanup use coroutines of its own", function()
    local log = killed(function(self, l)
      local function collect()
        for value in coroutine.wrap(function()
          for i = 1, 3 do
            coroutine.yield(i)
          end
        end) do
          l[#l + 1] = value
        end
      end
      self:defer(collect)
      local _ <close> = closing(collect)
      coroutine.wrap(function()
        local _ <close> = closing(collect)
        run.forever()
      end)()
    end)
    assert.same({ 1, 2, 3, 1, 2, 3, 1, 2, 3 }, { table.unpack(log) })
  end)

  it("lets cleanup spawn, order and send, which need no wait", function()
    local channel = decnet.channel(5)
    local log = killed(function(self, l)
      self:defer(function()
        assert(channel:try_send "deferred")
        assert(channel:send "sent")
        l[#l + 1] = pcall(decnet.worker, "w2", run.forever)
      end)
      local _ <close> = closing(function() assert(channel:send "closed") end)
      run.forever()
    end)
    assert.same({ true }, { table.unpack(log) })
    assert.same({ "closed", "deferred", "sent" },
      { channel:try_recv(), channel:try_recv(), (channel:try_recv()) })
  end)

  it("reaches tasks that wait in any way, also those not started", function()
    local channel = decnet.channel()
    local log = killed(function(_, l)
      for _, wait in ipairs { run.forever, decnet.park, function() channel:recv() end,
        function() channel:send(1) end, function() decnet.event():wait() end,
        function() decnet.await(function() end) end,
        function() decnet.timeout(1e9, decnet.shield, 1e9, run.forever) end,
        function() while true do decnet.yield() end end } do
        decnet.spawn(function()
          local _ <close> = closing(function() l[#l + 1] = "closed" end)
          wait()
        end)
      end
      while true do
        decnet.sleep(0)
        decnet.spawn(function() decnet.sleep(0) end)
      end
    end)
    assert.equal(8, #log)
    assert.is_nil((channel:try_recv()))
    assert.same({ nil, "full" }, { channel:try_send(1) })
  end)

  it("in the middle of a deferred function goes on with the ones before it", function()
    testing.run(function(t)
      local log = {}
      decnet.worker { name = "w", stop_timeout = 2, run = function(self)
        self:defer(function() log[#log + 1] = "first" end)
        self:defer(function()
          local _ <close> = closing(function() log[#log + 1] = "closed" end)
          run.forever()
        end)
        self:defer(function() log[#log + 1] = "last" end)
        run.forever()
      end }
      t:advance(1)
      t:stop()
      assert.same({ "last", "closed", "first" }, log)
      run.near(3, t:now(), 1e-3)
    end)
  end)

  it("does not count as a crash when it was ordered", function()
    local log = killed(run.stubborn)
    assert.is_nil(log.status.last_error)
  end)

  it("ends one that refuses, its neighbours untouched", function()
    testing.run(function(t)
      local ticks = 0
      decnet.worker("neighbour", function()
        while true do
          decnet.sleep(0.1)
          ticks = ticks + 1
        end
      end)
      decnet.worker { name = "w", stop_timeout = 1, run = run.stubborn }
      t:advance(1.05)
      decnet.get("w"):stop()
      t:advance(2)
      assert.equal("stopped", t:status("w").state)
      assert.equal(30, ticks)
    end)
  end)
end)

describe("what will not end", function()
  local function spin()
    while true do end
  end

  local function catch()
    while true do
      pcall(spin)
    end
  end

  local function sort(fn)
    table.sort({ 1, 2, 3 }, fn)
  end

  -- what the worker does, and whether it is killed at once
  local cases = {
    { "a __close that catches what should break it", true, function()
      local _ <close> = closing(catch)
      run.forever()
    end },
    { "a message handler in a __close", true, function()
      local _ <close> = closing(function() xpcall(spin, spin) end)
      run.forever()
    end },
    { "a message handler of what is cancelled while it computes", false, function()
      xpcall(spin, spin)
      run.forever()
    end },
    { "a message handler where nothing can be preempted", false, function()
      sort(function() xpcall(spin, spin) end)
      run.forever()
    end },
    { "code that catches everything where nothing can be preempted", false, function()
      sort(catch)
    end },
    { "code that catches everything in decnet.atomic", false, function()
      decnet.atomic(catch)
    end },
    { "a message handler that catches everything", false, function()
      xpcall(error, catch)
      run.forever()
    end },
    { "a __tostring that catches everything", false, function()
      error(setmetatable({}, { __tostring = catch }))
    end },
    { "a cleanup function of decnet.await", false, function()
      decnet.await(function() return catch end)
    end },
    { "a hundred __close of a hundred tasks", true, function()
      for _ = 1, 100 do
        decnet.spawn(function()
          local _ <close> = closing(spin)
          run.forever()
        end)
      end
      run.forever()
    end },
    { "a hundred __close of one task", true, function()
      local function nest(n)
        local _ <close> = closing(spin)
        return n == 0 and run.forever() or nest(n - 1), n
      end
      nest(100)
    end },
    { "a deferred function of a run that is killed", true, function(self)
      self:defer(spin)
      run.forever()
    end },
    { "a function that defers itself", false, function(self)
      local function defer()
        self:defer(defer)
      end
      defer()
      run.forever()
    end },
    { "a function that defers itself in a run that is killed", true, function(self)
      local function defer()
        self:defer(defer)
      end
      defer()
      run.forever()
    end },
    { "a task that spawns itself when it is cancelled", false, function()
      local function spawn()
        local _ <close> = closing(function() decnet.spawn(spawn) end)
        pcall(run.forever)
        decnet.shield(1, decnet.yield)
      end
      spawn()
    end },
    { "a task that a deferred function spawns in a run that is killed", true, function(self)
      self:defer(function() decnet.spawn(spin) end)
      run.forever()
    end },
    { "a shield around an endless loop", false, function()
      while true do
        pcall(decnet.shield, math.huge, spin)
      end
    end },
  }

  for _, case in ipairs(cases) do
    it(("does not hold the host: %s"):format(case[1]), function()
      testing.run(function(t)
        local victim = 0
        decnet.worker("victim", function()
          while true do
            decnet.sleep(0.1)
            victim = victim + 1
          end
        end)
        decnet.worker { name = "w", restart = "never", hang_timeout = 0.02,
          stop_timeout = case[2] and 0 or 0.1, run = case[3] }
        t:advance(0.25)
        decnet.get("w"):stop()
        assert.is_true(t:run_until(function()
          local state = t:status("w").state
          return state == "stopped" or state == "failed"
        end, 60))
        assert.same({ 0, 0 }, { t:status("w").tasks, t:status("w").handles })
        local before = victim
        t:advance(1)
        assert.is_true(victim - before >= 9)
      end, { slice = 0.01 })
    end)
  end
end)

describe("a run that is killed", function()
  it("can neither defer nor spawn any more, and is told so", function()
    local log = killed(function(self, l)
      local function try()
        l[#l + 1] = select(2, pcall(self.defer, self, print))
        l[#l + 1] = select(2, pcall(decnet.spawn, print))
      end
      self:defer(try)
      local _ <close> = closing(try)
      run.forever()
    end)
    assert.equal(4, #log)
    for i = 1, 4, 2 do
      run.contains(log[i], "defer: this run is being killed")
      run.contains(log[i + 1], "spawn: this run is being killed")
    end
  end)

  it("goes on with the __close behind one that was preempted in its middle", function()
    local log = {}
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 0.1, run = function()
        local _ <close> = closing(function() log[#log + 1] = "outer" end)
        coroutine.wrap(function()
          local _ <close> = closing(function() log[#log + 1] = "inner" end)
          pcall(function()
            local _ <close> = closing(function()
              log[#log + 1] = "endless"
              while true do end
            end)
            run.forever()
          end)
        end)()
      end }
      t:advance(1)
      t:stop()
      assert.equal("stopped", t:status("w").state)
    end, { slice = 0.01 })
    assert.same({ "endless", "inner", "outer" }, log)
  end)
end)

describe("self:defer", function()
  it("runs when the run ends, by any way, last first, and may wait while it is polite", function()
    for _, ending in ipairs {
      function() end,
      function() error "boom" end,
      run.forever,
      function() decnet.spawn(error, "in a task") run.forever() end,
    } do
      testing.run(function(t)
        local log = {}
        decnet.worker { name = "w", restart = "never", run = function(self)
          for i = 1, 3 do
            self:defer(function()
              decnet.sleep(0.5)
              log[#log + 1] = i
            end)
          end
          ending()
        end }
        t:advance(1)
        t:stop()
        assert.same({ 3, 2, 1 }, log)
      end)
    end
  end)

  it("may defer more", function()
    testing.run(function(t)
      local log = {}
      decnet.worker("w", function(self)
        self:defer(function()
          log[#log + 1] = "first"
          self:defer(function() log[#log + 1] = "more" end)
        end)
      end)
      t:advance(1)
      assert.same({ "first", "more" }, log)
    end)
  end)

  it("runs after the tasks of the run have ended", function()
    testing.run(function(t)
      local log = {}
      decnet.worker("w", function(self)
        self:defer(function() log[#log + 1] = "defer" end)
        decnet.spawn(function()
          pcall(run.forever)
          decnet.shield(5, decnet.sleep, 1)
          log[#log + 1] = "task"
        end)
        decnet.sleep(1)
      end)
      t:advance(5)
      assert.same({ "task", "defer" }, log)
    end)
  end)

  it("is bounded by stop_timeout, after a plain return too", function()
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 3, run = function(self)
        self:defer(run.forever)
      end }
      t:advance(2.9)
      assert.equal("closing", t:status("w").state)
      t:advance(0.2)
      assert.equal("done", t:status("w").state)
    end)
  end)

  it("has no bound where hang_timeout is none", function()
    testing.run(function(t)
      local cleaned
      decnet.worker { name = "w", stop_timeout = 0, hang_timeout = math.huge, run = function(self)
        self:defer(function() cleaned = true end)
        decnet.park()
      end }
      t:advance(1)
      decnet.get "w":stop()
      t:advance(1)
      assert.is_true(cleaned)
      assert.equal("stopped", t:status "w".state)
    end)
  end)

  it("can say nothing more about its run", function()
    testing.run(function(t)
      local kept
      decnet.worker { name = "w", notify = true, watchdog = 10, run = function(self)
        kept = self
        self:defer(function()
          self:ready()
          self:beat()
          self:healthy()
        end)
      end }
      t:advance(1)
      assert.equal("done", t:status "w".state)
      kept:ready()
      kept:beat()
      assert.has_error(function() kept:defer(print) end)
      local ready = 0
      for _, event in ipairs(t:events()) do
        ready = ready + (event.event == "ready" and 1 or 0)
      end
      assert.equal(0, ready)
    end)
  end)

  it("names a bad function at the caller's line", function()
    run.worker(function(self)
      local _, err = pcall(function()
        self:defer(5)
      end)
      run.contains(err, "kill_spec.lua:")
      run.contains(err, "fn: a function expected, got number")
    end)
  end)
end)
