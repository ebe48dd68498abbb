-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Signals by the thousand, a host that stands still for seconds, a wall clock that is set.
local process = require "spec.process.process"

local BUILD = process.host:gsub("[^/]*$", "")

describe("a storm of signals", function()
  lazy_teardown(process.cleanup)

  -- What a worker sends to its own process has arrived when kill returns.
  it("of SIGHUP does not hide the second SIGTERM behind it", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker { name = "stubborn", stop_timeout = math.huge, preempt = false,
        run = function(self)
          self:defer(function() self.log:info "cleaned up" end)
          local pid = uv.os_getpid()
          for _ = 1, 20000 do
            uv.kill(pid, "sighup")
          end
          uv.kill(pid, "sigterm")
          uv.kill(pid, "sigterm")
          while true do
            pcall(decnet.sleep, 0.01)
          end
        end }
    ]]
    child:ends(0)
    child:says "worker=stubborn msg=\"cleaned up\".*worker=stubborn msg=stopped"
  end)

  it("of SIGCHLD neither hides the end of a child nor invents one", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      local ended = 0
      decnet.worker { name = "noise", preempt = false, run = function()
        local pid = uv.os_getpid()
        while ended < 100 do
          for _ = 1, 500 do
            uv.kill(pid, "sigchld")
          end
          decnet.yield()
        end
      end }
      decnet.worker("parent", function(self)
        local tasks = {}
        for i = 1, 100 do
          tasks[i] = decnet.spawn(function()
            local args = { "-c", "exit " .. i }
            local code, signal = decnet.uv.spawn("/bin/sh", { args = args })
            ended = ended + 1
            assert(code == i and signal == 0, ("%s %s instead of %d"):format(code, signal, i))
          end)
        end
        for _, task in ipairs(tasks) do
          task:join()
        end
        self.log:info "all came home"
        decnet.stop()
      end)
    ]]
    child:ends(0)
    child:says "all came home"
    assert.is_nil(child:stderr():find("crashed", 1, true))
  end)

  it("of SIGPIPE ends nobody, and who writes to nobody hears of it", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("writer", function(self)
        local pid = uv.os_getpid()
        for _ = 1, 10000 do
          uv.kill(pid, "sigpipe")
        end
        for _ = 1, 20 do
          local ends = uv.pipe()
          local pipe = uv.new_pipe(false)
          pipe:open(ends.write)
          uv.fs_close(ends.read)
          local ok, message, code = decnet.uv.write(pipe, "to nobody")
          assert(not ok and code == "EPIPE", message)
          pipe:close()
        end
        self.log:info "still here"
        decnet.stop()
      end)
    ]]
    child:ends(0)
    child:says "still here"
    assert.is_nil(child:stderr():find("crashed", 1, true))
  end)
end)

describe("a host that stood still (SIGSTOP, SIGCONT)", function()
  lazy_teardown(process.cleanup)

  local function state_of(child)
    return process.read(("/proc/%d/stat"):format(child.pid)):match "%) (%a)"
  end

  local function stand_still(child, seconds)
    local uv = require "luv"
    child:kill "sigstop"
    process.wait(function() return state_of(child) == "T" end)
    local over = uv.hrtime() + seconds * 1e9
    process.wait(function() return uv.hrtime() > over end)
    child:kill "sigcont"
  end

  -- The clock goes on: what was due meanwhile is due at once, once, and in its order.
  it("goes on with what was due, in order, and each of it once", function()
    local child = process.run [[
      local decnet = require "decnet"
      for i = 1, 5 do
        decnet.worker("sleeper " .. i, function(self)
          decnet.sleep(1 + (5 - i) / 10)
          self.log:info("woken", { order = i })
        end)
      end
      decnet.worker { name = "flaky", min_backoff = 0.5, max_backoff = 0.5, run = function(self)
        self.log:info("began", { run = self.run })
        if self.run == 1 then
          error "boom"
        end
        decnet.park()
      end }
      decnet.worker("ticker", function(self)
        decnet.timeout(1.2, function()
          while true do
            decnet.sleep(0.25)
          end
        end)
        self.log:info "timed out"
      end)
    ]]
    child:says "worker=flaky msg=crashed"
    stand_still(child, 2.5)
    child:says "msg=woken order=1"
    child:says "msg=\"timed out\""
    child:says "msg=began run=2"
    local order = {}
    for i in child:stderr():gmatch "msg=woken order=(%d)" do
      order[#order + 1] = i
    end
    assert.equal("54321", table.concat(order))
    assert.is_nil(child:stderr():find "began run=3")
    child:stop()
    assert.equal(1, child:count "msg=\"?crashed")
  end)

  -- Nobody could run: that is held against nobody, but time that the loop has counts as ever.
  it("holds it against no watch, start_timeout or stop_timeout (crashed for SIGSTOP)", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker { name = "beating", watchdog = 1, run = function(self)
        self.log:info "up"
        while true do
          decnet.sleep(0.2)
          self:beat()
        end
      end }
      decnet.worker { name = "starting", notify = true, start_timeout = 1.5, run = function(self)
        self.log:info "up"
        decnet.sleep(0.8)
        self:ready()
        self.log:info "came"
        decnet.park()
      end }
      decnet.worker { name = "leaving", stop_timeout = 1.5, run = function(self)
        self.log:info "up"
        local ok, err = pcall(decnet.park)
        decnet.shield(60, function()
          self.log:info "leaves"
          decnet.sleep(0.8)
          self.log:info "left"
        end)
        error(err)
      end }
      decnet.worker { name = "silent", watchdog = 1.5, max_restarts = 0, run = function(self)
        self.log:info "up"
        decnet.park()
      end }
      decnet.worker("order", function() decnet.get "leaving":stop() end)
    ]]
    child:says "worker=leaving msg=leaves"
    stand_still(child, 2.5)
    child:says "worker=starting msg=came"
    child:says "worker=leaving msg=left"
    child:says "worker=silent msg=\"crashed, not restarted\" error=\"no beat within 1.5 s\""
    child:stop()
    local log = child:stderr()
    for _, name in ipairs { "beating", "starting", "leaving" } do
      assert.is_nil(log:find("worker=" .. name .. " msg=\"?crashed"), log)
      assert.is_nil(log:find("worker=" .. name .. " msg=\"?killed"), log)
    end
  end)

  it("holds it against no slice that it came in (crashed by hang_timeout for SIGSTOP)", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker { name = "busy", preempt = false, hang_timeout = 2, watchdog = 2,
        run = function(self)
          local last, over = decnet.now(), math.huge
          self.log:info "up"
          repeat
            local now = decnet.now()
            if now - last > 1 then
              over = now + 0.3
            end
            last = now
          until now > over
          decnet.sleep(0.5)
          self:beat()
          self.log:info "through"
          decnet.park()
        end }
    ]]
    child:says "msg=up"
    stand_still(child, 3)
    child:says "msg=through"
    child:stop()
    assert.is_nil(child:stderr():find("msg=\"?crashed"), child:stderr())
  end)

  it("takes the signals that came meanwhile", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker("patient", function(self)
        self.log:info "up"
        decnet.park()
      end)
    ]]
    child:says "msg=up"
    child:kill "sigstop"
    process.wait(function() return state_of(child) == "T" end)
    for _ = 1, 1000 do
      child:kill "sighup"
    end
    child:kill "sigterm"
    child:kill "sigcont"
    child:ends(0)
    child:says "worker=patient msg=stopped"
  end)
end)

describe("a wall clock that is set back and forth by hours", function()
  lazy_teardown(process.cleanup)

  local HOUR = 3600

  -- A host whose wall clock is set by `set(seconds)`.
  local function run(script)
    local dir = process.dir()
    local path = dir .. "/offset"
    local function set(seconds)
      local file = assert(io.open(path, "r+b") or io.open(path, "w+b"))
      file:write(("<i8"):pack(seconds))
      file:close()
    end
    set(0)
    local child = process.run(script, { "--log-level", "debug" }, nil, { cwd = dir, env = {
      LD_PRELOAD = BUILD .. "spec/wallclock.so", WALLCLOCK = path,
      -- a sanitizer wants to be the first of all
      ASAN_OPTIONS = "detect_leaks=0:verify_asan_link_order=0:exitcode=99",
    } })
    return child, set
  end

  local STEPS = { 5 * HOUR, -7 * HOUR, 30 * HOUR, -1, 0, -100 * HOUR }

  it("changes nothing but what is printed", function()
    local child, set = run [[
      local decnet = require "decnet"
      decnet.worker("sleeper", function(self)
        local began = decnet.now()
        for _ = 1, 30 do
          decnet.sleep(0.05)
        end
        local slept = decnet.now() - began
        assert(slept >= 1.5 and slept < 20, slept)
        local ok, why = decnet.timeout(0.2, decnet.sleep, 60)
        assert(ok == nil and why == "timeout")
        self.log:info "slept well"
      end)
      decnet.worker { name = "flaky", min_backoff = 0.1, max_backoff = 0.1, max_restarts = 20,
        run = function(self)
          self.log:info("began", { run = self.run })
          if self.run < 12 then
            error "boom"
          end
          decnet.park()
        end }
      decnet.worker { name = "watched", watchdog = 30, start_timeout = 30, notify = true,
        run = function(self)
          self:ready()
          while true do
            decnet.sleep(0.02)
            self:beat()
          end
        end }
      decnet.worker("server", function(self)
        local decided = 0
        while true do
          decnet.offload(function() return 1 end)
          decnet.sleep(0.02)
        end
      end)
    ]]
    child:says "msg=began run=2"
    local i = 0
    process.wait(function()
      i = i % #STEPS + 1
      set(STEPS[i])
      local log = child:stderr()
      return child.code or log:find "slept well" and log:find "began run=12"
    end)
    set(-100 * HOUR)
    child:stop()
    local log = child:stderr()
    assert.matches("worker=sleeper msg=\"slept well\"", log)
    assert.matches("worker=flaky msg=began run=12", log)
    assert.is_nil(log:find "began run=13")
    assert.is_nil(log:find "worker=watched msg=crashed")
    -- and it was set indeed
    local days = {}
    for day in log:gmatch "ts=%d+%-%d+%-(%d+)T" do
      days[day] = true
    end
    assert.is_true(next(days, (next(days))) ~= nil)
  end)

  -- The end of offload's threads was awaited by the wall clock: set back, it did not come.
  it("does not hold up the end of a host with a thread that hangs (join until an hour)", function()
    local child, set = run [[
      local decnet = require "decnet"
      decnet.worker { name = "w", stop_timeout = 0.1, run = function(self)
        self.log:info "up"
        decnet.offload(function() os.execute "sleep 20" end)
      end }
    ]]
    child:says "msg=up"
    set(HOUR)
    child:stop("sigterm", 0, 15)
  end)
end)
