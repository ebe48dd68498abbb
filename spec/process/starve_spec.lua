-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What ./dev starve found, each by the points that found it. All points: ./dev starve.
local process = require "spec.process.process"
local drive = require "spec.starve.drive"
local uv = require "luv"

local program = process.host:gsub("[^/]+$", "decnet-starved")

-- Every `stride`-th point of a mode, in hosts that are one process each. Returns how many.
local function play(name, mode, stride, is_wanted)
  if not uv.fs_stat(program) then
    pending "decnet-starved is not part of a sanitised build"
  end
  for _, scenario in ipairs(drive.scenarios) do
    if scenario.name == name then
      local count, findings = drive.explore({
        program = program, root = process.dir(), jobs = 2, stride = stride or 1, first = 1,
        is_wanted = is_wanted,
      }, scenario, mode)
      for _, finding in ipairs(findings) do
        error(("%s: %s: %s"):format(name, finding.plans[1], finding.what))
      end
      return count
    end
  end
end

local function explore(...)
  assert.is_true(play(...) > 0)
end

describe("starvation", function()
  lazy_teardown(process.cleanup)

  for _, canary in ipairs(drive.canaries) do
    it(("finds %s"):format(canary.name), function()
      if not uv.fs_stat(program) then
        pending "decnet-starved is not part of a sanitised build"
      end
      local _, findings = drive.explore({
        program = program, root = process.dir(), jobs = 1, stride = 1000, first = 1,
      }, canary, "memory on")
      assert.equal(1, #findings)
      assert.matches(canary.finds, findings[1].what)
      if findings[1].what == "hangs" then
        assert.matches(" %(%u", findings[1].plans[1]) -- where its threads stand
      end
    end)
  end
end)

describe("a host without memory", function()
  lazy_teardown(process.cleanup)

  it("does not abort when a run ends", function()
    explore("stop", "memory once")
  end)

  it("closes what a run has open, later if need be, and starts it again", function()
    explore("crash", "memory on")
  end)

  it("ends although a hook could not be called", function()
    explore("crash", "memory twice")
  end)

  it("shuts down", function()
    explore("shutdown", "memory on")
  end)

  it("restarts", function()
    explore("restart", "memory ceiling")
  end)

  it("can be reloaded later", function()
    explore("reload", "memory on", 61)
  end)

  it("refuses to start, by a message and an exit code", function()
    explore("boot", "memory on", 97)
    explore("start", "memory on", 7)
  end)

  it("starts with its control plane, or refuses to", function()
    explore("plane", "memory on", 61)
    explore("plane", "files once")
  end)

  it("tells a worker that uses luv that there is none", function()
    explore("uv", "memory once", 29)
  end)

  -- luv was opened on the main thread, unprotected: a memory error there ended the host.
  it("goes on whatever a worker was doing, io.popen before anything else of luv, too", function()
    explore("tasks", "memory on", 17)
    explore("tasks", "memory twice", 19)
  end)

  it("crashes the run whose callback could not be called", function()
    explore("luv", "memory once", 11)
  end)

  -- What luv made for uv.fs_scandir was finalized before it had been written.
  it("survives that there is none for a request of luv's", function()
    explore("luv", "memory on", 31)
    explore("luv", "memory twice", 61)
  end)

  it("does not take a worker for another one when it is reloaded", function()
    explore("reload", "memory once", 23)
  end)

  it("answers by the control plane, or does not, but lives", function()
    explore("control", "memory on", 23)
  end)
end)

describe("a host that has memory but at one place", function()
  lazy_teardown(process.cleanup)
  local played = {}

  local function is_ours(place)
    played[place.at] = true
    return place.text:find "^src/script/" or place.text:find "^src/host/"
  end

  -- A place that another scenario had is not played again.
  local function is_new(place)
    return not played[place.at] and is_ours(place)
  end

  it("goes on with all the rest", function()
    local count = 0
    for _, name in ipairs { "tasks", "uv", "luv", "restart" } do
      count = count + play(name, "memory at", 1, is_ours)
    end
    for _, name in ipairs { "stop", "crash", "start", "reload", "shutdown" } do
      count = count + play(name, "memory at", 1, is_new)
    end
    assert.is_true(count > 100)
  end)

  it("starts, or says why it cannot", function()
    local count = 0
    for _, name in ipairs { "load", "plane", "boot" } do
      count = count + play(name, "memory at", 1, is_new)
    end
    assert.is_true(count > 50)
  end)
end)

describe("a host without descriptors", function()
  lazy_teardown(process.cleanup)

  it("is refused by a message, not by an abort", function()
    explore("boot", "files once")
    explore("boot", "files on")
  end)

  it("listens again when a connection could not be accepted", function()
    explore("control", "files once")
    explore("control", "files on")
  end)

  it("runs with 32 of them, and the worker that takes all is alone with that", function()
    local dir = process.dir()
    process.write(dir .. "/workers.lua", [[
      local decnet = require "decnet"
      local uv = require "luv"
      local ticks = 0
      decnet.worker("calm", function() while true do ticks = ticks + 1 decnet.sleep(0.001) end end)
      decnet.worker { name = "greedy", restart = "never", run = function()
        local sockets = {}
        for i = 1, 100 do
          sockets[i] = assert(uv.new_tcp("inet"))
        end
      end }
      decnet.worker("judge", function()
        while decnet.get "greedy":status().state ~= "failed" do decnet.sleep(0.001) end
        local before = ticks
        while ticks < before + 5 do decnet.sleep(0.001) end
        print(decnet.get "greedy":status().last_error.message)
        assert(io.open("/dev/null")):close()
        decnet.stop()
        decnet.park()
      end)
    ]])
    local child = process.start("/bin/sh",
      { "-c", ("ulimit -n 32; exec %q --socket c.sock workers.lua"):format(process.host) },
      { cwd = dir })
    child:ends(0)
    assert.matches("EMFILE", child:stdout())
  end)

  for what, redirect in pairs { stdin = "<&-", stdout = ">&-", stderr = "2>&-",
    all = "<&- >&- 2>&-" } do
    it(("runs with %s closed, and gives its number to no socket"):format(what), function()
      local dir = process.dir()
      process.write(dir .. "/workers.lua", [[
        local decnet = require "decnet"
        local uv = require "luv"
        decnet.worker("worker", function(self)
          local socket = assert(uv.new_tcp("inet"))
          self.log:info "a line"
          print "printed"
          local ok <close> = io.open(socket:fileno() > 2 and "ok" or "wrong", "w")
          decnet.stop()
          decnet.park()
        end)
      ]])
      local child = process.start("/bin/sh",
        { "-c", ("exec %q --socket c.sock workers.lua %s"):format(process.host, redirect) },
        { cwd = dir })
      child:ends(0)
      assert.is_truthy(uv.fs_stat(dir .. "/ok"))
    end)
  end
end)

describe("reads and writes", function()
  lazy_teardown(process.cleanup)

  for _, mode in ipairs { "eintr", "eagain", "short" } do
    it(("that fail by %s change nothing"):format(mode), function()
      local count = 0
      for _, name in ipairs { "start", "crash", "uv", "control", "shutdown" } do
        count = count + play(name, "calls " .. mode)
      end
      assert.is_true(count > 10)
    end)
  end
end)
