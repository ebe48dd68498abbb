-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"

-- A worker that logs what happens to it, and is in no hurry to go.
local PATIENT = [[
  local decnet = require "decnet"
  decnet.worker("patient", function(self)
    self:defer(function() self.log:info "deferred" end)
    local guard <close> = setmetatable({}, { __close = function()
      decnet.shield(10, function()
        decnet.sleep(0.01)
        self.log:info "closed"
      end)
    end })
    self.log:info "up"
    decnet.park()
  end)
]]

describe("a signal", function()
  lazy_teardown(process.cleanup)

  for _, signal in ipairs { "sigterm", "sigint" } do
    it("stops politely: every cleanup runs, and may wait: " .. signal, function()
      local child = process.run(PATIENT)
      child:says "worker=patient msg=up"
      child:stop(signal, 0)
      child:says "msg=\"stopping: .*msg=closed.*msg=deferred.*worker=patient msg=stopped"
    end)
  end

  it("that comes a second time stops at once (F21)", function()
    for _, second in ipairs { "sigterm", "sigint" } do
      local child = process.run [[
        local decnet = require "decnet"
        decnet.worker { name = "stubborn", stop_timeout = math.huge, run = function(self)
          local guard <close> = setmetatable({}, { __close = function()
            self.log:info "closed"
          end })
          self:defer(function() self.log:info "deferred" end)
          local function wait() -- on a busy machine it may be preempted anywhere in here
            self.log:info "up"
            while true do
              decnet.sleep(0.01)
            end
          end
          while true do
            if not pcall(wait) then
              self.log:info "refused"
            end
          end
        end }
      ]]
      child:says "worker=stubborn msg=up"
      child:kill "sigterm"
      child:says "msg=refused"
      assert.is_nil(child.code)
      child:stop(second, 0)
      child:says "msg=closed.*msg=deferred.*worker=stubborn msg=stopped"
    end
  end)

  it("is polite though a worker has stopped the host before; a second one is not", function()
    local function start()
      local child = process.run [[
        local decnet = require "decnet"
        local uv = require "luv"
        decnet.worker("tidy", function(self)
          self:defer(function()
            self.log:info "cleaning"
            repeat decnet.sleep(0.01) until uv.fs_stat "go"
            self.log:info "cleaned"
          end)
          decnet.stop "done"
          decnet.park()
        end)
      ]]
      child:says "msg=cleaning"
      child:kill "sigterm"
      child:says "msg=\"stopping: [^\n]*a second signal kills them\""
      return child
    end
    local child = start()
    process.write(child.dir .. "/go", "")
    child:ends(0)
    child:says "msg=cleaned"
    child = start():stop("sigint", 0)
    assert.equal(0, child:count "msg=cleaned")
  end)

  it("that comes while all is done already changes nothing", function()
    for _ = 1, 5 do
      local child = process.run(PATIENT)
      child:says "worker=patient msg=up"
      child:kill "sigterm"
      child:says "worker=patient msg=stopped"
      pcall(child.kill, child, "sigterm") -- it may be gone
      child:ends(0)
    end
  end)

  it("SIGUSR1 logs what every worker is doing, with tracebacks", function()
    local child = process.run [[
      local decnet = require "decnet"
      local function wait_for_work(ch)
        return ch:recv()
      end
      decnet.worker("reader", function(self)
        local ch = decnet.channel(1)
        decnet.spawn(function() decnet.sleep(3600) end)
        decnet.spawn(function() self.log:info "up" end)
        wait_for_work(ch)
      end)
      decnet.worker("flaky", function() error "boom" end)
      decnet.worker("over", function() end)
      decnet.worker { name = "late", after = { "never ready" }, run = function() end }
      decnet.worker { name = "never ready", notify = true, run = function() decnet.park() end }
    ]]
    child:says "worker=reader msg=up"
    child:says "worker=flaky msg=crashed"
    child:kill "sigusr1"
    child:says "worker=\"never ready\" msg=task"
    local log = child:stderr()
    assert.matches("worker=reader msg=status state=running run=1 restarts=0 for=%d", log)
    assert.is_nil(log:find "since=")
    local task = "worker=reader msg=task task=%d waits_in="
    assert.matches(task .. "recv traceback=\"[^\n]*wait_for_work", log)
    assert.matches(task .. "sleep traceback=\"[^\n]*workers.lua:7:", log)
    assert.matches("worker=flaky msg=status state=backoff run=1", log)
    assert.matches("worker=over msg=status state=done run=1", log)
    assert.matches("worker=late msg=status state=waiting [^\n]*waiting_for=\"[^\n]*never", log)
    child:stop "sigterm"
  end)

  it("SIGUSR1 may come a thousand times", function()
    local child = process.run(PATIENT)
    child:says "worker=patient msg=up"
    for _ = 1, 1000 do
      child:kill "sigusr1"
    end
    child:says "worker=patient msg=task"
    child:stop "sigterm"
  end)
end)

describe("a SIGTERM in the last turn of a host", function()
  lazy_teardown(process.cleanup)

  local function program(text)
    local dir = process.dir()
    process.write(dir .. "/program.lua", [[
      local decnet = require "decnet"
      local uv = require "luv"
      local function signal() uv.kill(uv.os_getpid(), "sigterm") end
    ]] .. text .. "print 'goes on'")
    return process.start(process.host, { "lua", "program.lua" }, { cwd = dir })
  end

  it("is the program's that embeds it", function()
    local child = program [[
      decnet.supervise("job", function() decnet.on("done", signal) end, { log = false })
    ]]
    process.wait(function() return child.code end)
    assert.same({ 0, 15, "" }, { child.code, child.signal_number, child:stdout() })
  end)

  it("is nobody's where the host was stopped", function()
    program([[
      decnet.run_group({ { "job", function()
        decnet.on("stop", signal)
        decnet.stop()
      end } }, { log = false })
    ]]):ends(0):says "goes on"
  end)
end)

-- A process that signals itself gets each of them before kill returns; so nothing depends on speed.
local FLOOD = [[
  local uv = require "luv"
  local function flood(count)
    local pid = uv.os_getpid()
    for _ = 1, count do
      uv.kill(pid, "sighup")
    end
    uv.kill(pid, "sigterm")
  end
]]

describe("a flood of signals while the loop is busy", function()
  lazy_teardown(process.cleanup)

  for _, count in ipairs { 5000, 20000 } do
    it(("never loses the SIGTERM behind %d SIGHUP"):format(count), function()
      local child = process.run(FLOOD .. ([[
        local decnet = require "decnet"
        decnet.worker { name = "busy", preempt = false, run = function(self)
          self:defer(function() self.log:info "cleaned up" end)
          flood(%d)
          decnet.park()
        end }
      ]]):format(count))
      child:ends(0)
      child:says "worker=busy msg=\"cleaned up\""
    end)

    it(("never loses the SIGTERM behind %d SIGHUP from outside"):format(count), function()
      local child = process.run [[
        local decnet = require "decnet"
        decnet.worker { name = "busy", preempt = false, run = function(self)
          self.log:info "busy"
          repeat until io.open "go"
          self.log:info "free"
          decnet.park()
        end }
      ]]
      child:says "msg=busy"
      for _ = 1, count do
        child:kill "sighup"
      end
      child:kill "sigterm"
      process.write(child.dir .. "/go", "")
      child:ends(0)
      child:says "msg=free.*worker=busy msg=stopped"
    end)
  end

  it("would lose it with uv_signal (the canary of the above)", function()
    local dir = process.dir()
    process.write(dir .. "/canary.lua", FLOOD .. [[
      local seen = false
      local hup, term = uv.new_signal(), uv.new_signal()
      hup:start("sighup", function() end)
      term:start("sigterm", function() seen = true end)
      flood(5000)
      for _ = 1, 100 do
        uv.run "nowait"
      end
      print(seen and "seen" or "lost")
      hup:close()
      term:close()
      uv.run()
    ]])
    local child = process.start(process.host, { "lua", "canary.lua" }, { cwd = dir })
    child:ends(0)
    assert.equal("lost\n", child:stdout())
  end)
end)
