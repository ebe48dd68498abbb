-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a host tells the service manager, which here is a socket that prints what it is told.
local process = require "spec.process.process"
local uv = require "luv"

-- A manager; the address is a path in a directory of its own, unless one is given.
local function manager(address)
  local dir = process.dir()
  address = address or dir .. "/notify"
  local child = process.start(process.host:gsub("[^/]*$", "spec/datagrams"), { address },
    { cwd = dir })
  child:says "listening"
  child.address = address
  return child
end

local function service(script, to, env, before)
  env = env or {}
  env.NOTIFY_SOCKET = to.address
  return process.run(script, before, nil, { env = env })
end

-- How often it was told this.
local function told(to, pattern)
  return select(2, to:stdout():gsub("\n" .. pattern, ""))
end

local PARK = [[
  local decnet = require "decnet"
  decnet.worker("calm", function() decnet.park() end)
]]

describe("the service manager is told", function()
  lazy_teardown(process.cleanup)

  it("READY when every worker has come up, and what they do", function()
    local to = manager()
    local child = service([[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("calm", function() decnet.park() end)
      decnet.worker("short", function() end)
      decnet.worker { name = "late", notify = true, run = function(self)
        repeat decnet.sleep(0.01) until uv.fs_stat "go"
        self:ready()
        decnet.park()
      end }
      decnet.worker { name = "after", after = { "late" }, notify = true, run = function(self)
        repeat decnet.sleep(0.01) until uv.fs_stat "go on"
        self:ready()
        decnet.park()
      end }
      print "loaded"
    ]], to)
    to:says "\nSTATUS=2/4 running, 1 waiting, 1 done\n"
    assert.equal(0, told(to, "READY"))
    process.write(child.dir .. "/go", "")
    to:says "\nSTATUS=3/4 running, 1 done\n"
    assert.equal(0, told(to, "READY"))
    process.write(child.dir .. "/go on", "")
    to:says "\nREADY=1|STATUS=3/4 running, 1 done\n"
    child:stop()
    to:says "\nSTOPPING=1|STATUS=stopping: [^\n]*1 done\nEXTEND_TIMEOUT_USEC=10000000\n"
    to:says "\nSTATUS=stopping: 0/4 running, 1 done, 3 stopped\n"
    assert.equal(1, told(to, "READY"))
    assert.equal(1, told(to, "STOPPING"))
  end)

  it("READY not while somebody waits for one that has done its job and cleans up", function()
    local to = manager()
    local child = service([[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker { name = "migrate", notify = true, run = function(self)
        self:defer(function() repeat decnet.sleep(0.01) until uv.fs_stat "go" end)
      end }
      decnet.worker { name = "web", after = { "migrate" }, notify = true, run = function(self)
        repeat decnet.sleep(0.01) until uv.fs_stat "go on"
        self:ready()
        decnet.park()
      end }
    ]], to)
    to:says "STATUS=0/2 running, 1 waiting, 1 ending\n"
    process.write(child.dir .. "/go", "")
    to:says "STATUS=1/2 running, 1 done\n"
    assert.equal(0, told(to, "READY"))
    process.write(child.dir .. "/go on", "")
    to:says "\nREADY=1|STATUS=1/2 running, 1 done\n"
    child:stop()
  end)

  it("READY though a worker crashes, and when that will be tried again", function()
    local to = manager("@decnet-spec-" .. uv.os_getpid()) -- an abstract one
    local child = service(PARK .. [[
      decnet.worker { name = "ingest", min_backoff = 12, run = function() error "boom" end }
      decnet.worker { name = "behind", after = { "ingest" }, run = function() end }
      decnet.worker { name = "over", restart = "never", run = function() error "boom" end }
    ]], to)
    to:says "\nREADY=1|STATUS=1/4 running, 1 failed, ingest retries in 12 s, 1 waiting\n"
    child:stop()
  end)

  it("who retries, and how many others, whoever is removed meanwhile", function()
    local to = manager()
    local child = service(PARK .. [[
      for _, name in ipairs { "one", "two", "three" } do
        decnet.worker { name = name, min_backoff = 12, run = function() error "boom" end }
      end
      decnet.worker { name = "never", notify = true, run = function() decnet.park() end }
      decnet.worker("remover", function()
        decnet.sleep(0.1)
        decnet.get "never":remove()
        decnet.sleep(0.1)
        decnet.get "three":remove()
        decnet.get "two":remove()
        decnet.park()
      end)
    ]], to)
    -- of 5, or of 6 with one that is ending
    to:says "\nREADY=1|STATUS=2/%d running, three retries in 12 s and 2 more"
    to:says "STATUS=2/3 running, 1 in backoff\n"
    child:stop()
  end)

  it("the end of a host that ends by itself, too", function()
    local to = manager()
    service("require 'decnet'.worker('short', function() end)", to):ends(0)
    to:says "\nREADY=1.*\nSTOPPING=1|STATUS=stopping: 0/1 running, 1 done\n"
  end)

  it("of a crash loop no more often than once a second", function()
    local to = manager()
    local child = service(PARK .. [[
      decnet.worker { name = "flaky", max_backoff = 0.01, run = function(self)
        if self.run == 100 then
          print "enough"
        end
        error "boom"
      end }
    ]], to)
    local began = uv.hrtime()
    child:says "enough"
    child:stop()
    local lasted = (uv.hrtime() - began) / 1e9
    assert.is_true(told(to, "STATUS") <= lasted + 2, to:stdout())
  end)

  it("of reloads: RELOADING with the time, then READY, also of one that is refused", function()
    local to = manager()
    local child = service(PARK, to)
    to:says "\nREADY=1"
    local before = uv.hrtime() // 1000
    child:kill "sighup"
    local at = to:says "\nRELOADING=1|MONOTONIC_USEC=(%d+)\nREADY=1|STATUS=1/1 running\n"
    assert.is_true(tonumber(at) >= before and tonumber(at) <= uv.hrtime() // 1000)
    process.write(child.dir .. "/workers.lua", "error 'no'")
    child:kill "sighup"
    to:says "\nRELOADING.*\nRELOADING=1|MONOTONIC_USEC=%d+\nREADY=1|STATUS=1/1 running\n"
    child:says "not reloaded"
    child:stop()
  end)

  it("to wait while workers clean up", function()
    local to = manager()
    local child = service([[
      local decnet = require "decnet"
      decnet.worker { name = "thorough", stop_timeout = math.huge, run = function(self)
        self:defer(function() decnet.sleep(5.5) end)
        decnet.park()
      end }
    ]], to)
    to:says "\nREADY=1"
    child:stop()
    assert.is_true(told(to, "EXTEND_TIMEOUT_USEC=10000000") >= 2, to:stdout())
    assert.equal(1, told(to, "STOPPING"))
  end)

  it("nothing when it is gone, and the host does not mind", function()
    local to = manager()
    local child = service(PARK, to, { WATCHDOG_USEC = "20000" })
    to:says "\nWATCHDOG=1\n"
    to:kill(process.KILL)
    process.wait(function() return to.code end)
    child:kill "sighup"
    child:says "reloaded"
    os.remove(to.address)
    child:kill "sighup"
    child:says "reloaded.*reloaded"
    child:stop()
  end)

  it("later what it does not take now", function()
    local to = manager()
    local child = service(PARK .. [[
      decnet.worker("counter", function()
        for i = 1, 10 do
          decnet.sleep(0.1)
        end
        print "still here"
        decnet.park()
      end)
    ]], to, { WATCHDOG_USEC = "2000" })
    to:says "\nREADY=1"
    to:kill "sigstop" -- its queue is soon full
    child:says "still here"
    child:kill "sighup"
    child:says "reloaded"
    to:kill "sigcont"
    to:says "\nRELOADING=1[^\n]*\n.*READY=1[^\n]*\n"
    child:stop()
    to:says "\nSTOPPING=1"
  end)

  it("later, and the host does not spin meanwhile", function()
    local to = manager()
    local child = service(PARK .. [[
      decnet.worker("meter", function()
        decnet.sleep(1.5)
        local before = os.clock()
        decnet.sleep(1)
        print(("of a second: %.2f"):format(os.clock() - before))
        decnet.park()
      end)
      decnet.worker("short", function() decnet.sleep(1.2) end) -- there is a STATUS to tell
    ]], to, { WATCHDOG_USEC = "2000" })
    to:says "\nREADY=1"
    to:kill "sigstop" -- its queue is soon full
    local used = tonumber((child:says "of a second: ([%d.]+)"))
    to:kill "sigcont"
    child:stop()
    assert.is_true(used < 0.4, used)
  end)

  it("only if there is one, at an address that can be", function()
    local script = PARK .. "decnet.worker('loud', function() print 'running' end)"
    local child = process.run(script, nil, nil, { env = { NOTIFY_SOCKET = "vsock:2:1234" } })
    child:says "service manager is told nothing: NOTIFY_SOCKET: 'vsock:2:1234' is neither"
    child:says "running"
    child:stop()
    child = process.run(script, nil, nil, { env = { NOTIFY_SOCKET = "/" .. ("x"):rep(200) } })
    child:says "service manager is told nothing: NOTIFY_SOCKET: '/x+%.%.%.' is longer"
    child:says "running"
    child:stop()
  end)
end)

describe("the service manager's watchdog", function()
  lazy_teardown(process.cleanup)

  -- With WATCHDOG_PID as the shell says.
  local function watched(script, to, pid)
    local dir = process.dir()
    process.write(dir .. "/workers.lua", script)
    local command = ("WATCHDOG_PID=%s exec %q workers.lua"):format(pid, process.host)
    return process.start("/bin/sh", { "-c", command },
      { cwd = dir, env = { NOTIFY_SOCKET = to.address, WATCHDOG_USEC = "100000" } })
  end

  it("is fed as long as the loop turns, whoever is busy", function()
    local to = manager()
    local script = PARK .. "decnet.worker('busy', function() while true do end end)"
    local child = watched(script, to, "$$")
    process.wait(function() return told(to, "WATCHDOG=1") >= 10 end)
    child:stop()
    assert.is_true(told(to, "WATCHDOG=1") >= 10)
  end)

  it("is not fed by a loop that is stuck", function()
    local to = manager()
    local child = watched([[
      local decnet = require "decnet"
      decnet.worker("stuck", function()
        decnet.sleep(0.3)
        print "stuck"
        os.execute "mkfifo fifo; read line < fifo" -- one call of C
        print "free"
        decnet.park()
      end)
    ]], to, "$$")
    child:says "stuck"
    process.wait(function() return uv.fs_stat(child.dir .. "/fifo") end)
    local before = told(to, "WATCHDOG=1")
    assert.is_true(before >= 3, to:stdout())
    process.wait(function() return false end, 0.5) -- ten meals
    assert.is_true(told(to, "WATCHDOG=1") <= before + 1, to:stdout())
    process.write(child.dir .. "/fifo", "\n")
    child:says "free"
    process.wait(function() return told(to, "WATCHDOG=1") > before + 3 end)
    assert.is_true(told(to, "WATCHDOG=1") > before + 3, to:stdout())
    child:stop()
  end)

  it("is fed a thousand times a second at most, and warned of", function()
    local to = manager()
    local began = uv.hrtime()
    local later = "decnet.worker('a', function() decnet.sleep(1) print 'later' end)"
    local child = service(PARK .. later, to, { WATCHDOG_USEC = "1" })
    child:says "WATCHDOG_USEC: the service manager's watchdog is fed every 1000 us"
    child:says "^later"
    child:stop()
    local lasted = (uv.hrtime() - began) / 1e9
    assert.is_true(told(to, "WATCHDOG=1") >= 10)
    assert.is_true(told(to, "WATCHDOG=1") <= 1000 * lasted + 10, told(to, "WATCHDOG=1"))
  end)

  it("is not fed, but warned of, where its variables make no sense", function()
    local to = manager()
    local children = {}
    for _, value in ipairs { "10x", "1e9", "-5", "+5", " 5", "", "0", "0x10", "1.5",
      "18446744073709551616", "18446744073709551615" } do
      children[#children + 1] = { value, "WATCHDOG_USEC", service(PARK, to,
        { WATCHDOG_USEC = value }) }
    end
    for _, value in ipairs { "10x", "-1", "", "0", "self" } do
      children[#children + 1] = { value, "WATCHDOG_PID", watched(PARK, to, ("%q"):format(value)) }
    end
    for _, child in ipairs(children) do
      child[3]:says("the service manager's watchdog is not fed: " .. child[2] .. ": [^\n]*, got '"
        .. child[1]:gsub("%p", "%%%0") .. "'")
    end
    process.wait(function() return told(to, "READY=1") == #children end)
    for _, child in ipairs(children) do
      child[3]:stop()
      assert.equal(1, child[3]:count "watchdog is not fed")
    end
    assert.equal(0, told(to, "WATCHDOG"))
  end)

  it("is not fed by another process than the one that it watches", function()
    local to = manager()
    local script = PARK .. "decnet.worker('a', function() decnet.sleep(1) print 'slept' end)"
    local child = watched(script, to, "1")
    child:says "slept"
    child:stop()
    assert.equal(0, told(to, "WATCHDOG"))
  end)

  it("and the notify socket are not known to child processes", function()
    local to = manager()
    local child = watched([[
      local decnet = require "decnet"
      local uv = require "luv"
      os.execute "env"
      decnet.worker("env", function()
        decnet.uv.spawn("env", { stdio = { nil, 1 } })
        print("mine: " .. tostring(os.getenv "NOTIFY_SOCKET"))
      end)
    ]], to, "$$")
    child:ends(0)
    local text = child:stdout()
    assert.matches("PATH=.*PATH=.*mine: nil\n", text)
    assert.is_nil(text:find "NOTIFY_SOCKET")
    assert.is_nil(text:find "WATCHDOG_")
    to:says "\nREADY=1"
  end)
end)
