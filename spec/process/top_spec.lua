-- SPDX-License-Identifier: AGPL-3.0-or-later
-- `decnet-host top` under a terminal: what is on the screen, what the keys do.
local plane = require "spec.process.plane"
local process = require "spec.process.process"
local terminal = require "spec.process.terminal"
local uv = require "luv"

local WORKERS = [[
  local decnet = require "decnet"
  decnet.worker("idle", function() decnet.park() end)
  decnet.worker("busy", function()
    while true do
      local till = os.clock() + 0.02
      while os.clock() < till do end
      decnet.sleep(0.05)
    end
  end)
  decnet.worker("big", function()
    local held = ("x"):rep(3000000)
    decnet.park()
    return held
  end)
  decnet.worker { name = "flaky 日本", min_backoff = 0.2, max_backoff = 0.2, max_restarts = 3,
    within = 1e6, run = function()
      local secret, note = "hush", "a \27[31mnote"
      error("boom " .. note .. #secret)
    end }
]]

local function top(path, options)
  return terminal.start(process.host, { "top", "--socket", path }, options)
end

-- The names in the list, from the top.
local function names(t)
  local list = {}
  for y, line in ipairs(t.screen:lines()) do
    if y > 3 and y < t.screen.rows and line ~= "" then
      list[#list + 1] = line:match "^(.-)  "
    end
  end
  return table.concat(list, ",")
end

local function lists(t, expected)
  process.wait(function() return names(t) == expected end)
  assert.equal(expected, names(t), t:text())
end

-- Wait until this worker is the first of several.
local function leads(t, name)
  process.wait(function() return names(t):find("^" .. name .. ",") end)
  assert.matches("^" .. name .. ",", names(t), t:text())
end

describe("the screen", function()
  it("scrolls a part of it, as ncurses does where lines change places", function()
    for _, size in ipairs { 1, 2, 100 } do
      local screen = terminal.new_screen(5, 8)
      local text = "a\r\nb\r\nc\r\nd\r\ne\27[2;4r\27[2;1H\27MB\27[1;5r\27[1;1HA"
      for at = 1, #text, size do
        screen:feed(text:sub(at, at + size - 1))
      end
      assert.same({ "A", "B", "b", "c", "e" }, screen:lines())
      screen:feed "\27[2;4r\27[4;1H\nC\27[r"
      assert.same({ "A", "b", "c", "C", "e" }, screen:lines())
    end
  end)
end)

describe("top", function()
  if not terminal.is_there() then
    return it("needs a terminal", function() pending "script(1) is not installed" end)
  end

  teardown(function()
    terminal.cleanup()
    process.cleanup()
  end)

  it("shows a line a worker, sorted by CPU, memory, restarts or name", function()
    local child, path = plane.start(WORKERS)
    plane.in_state(path, "flaky 日本", "failed")
    local t = top(path)
    t:shows("^workers.lua%[" .. child.pid .. "%] up [%d.sm]+, 4 workers: 3 running, 1 failed\n")
    t:shows "\nNAME +STATE "
    t:shows "\nbusy +running .* [1-9]%d*%.%d +%d[^\n]*\n" -- it is the first, and uses CPU
    leads(t, "busy")
    t:type "M"
    t:shows "by memory"
    leads(t, "big")
    t:type "R"
    t:shows "by restarts"
    leads(t, "flaky 日本")
    t:type "N"
    lists(t, "big,busy,flaky 日本,idle")
    t:shows "flaky 日本 +failed [^\n]*workers.lua:%d+: boom"
    t:type "C"
    t:shows "by CPU"
    t:type "q"
    t:ends(0)
    assert.is_nil(t.raw:find("\27[31mnote", 1, true))
  end)

  it("stops, restarts, starts and retries, after a question where that may hurt", function()
    local _, path = plane.start(WORKERS)
    plane.in_state(path, "flaky 日本", "failed")
    local t = top(path)
    t:shows "\nidle"
    t:type "N"
    lists(t, "big,busy,flaky 日本,idle")
    t:type "Gx" -- the last one
    t:shows "stop idle%? %(y or n%)"
    t:type "n"
    t:shows "by name"
    assert.equal("running", plane.in_state(path, "idle", "running").state)
    t:type "xy"
    t:shows "\nstop idle: told"
    plane.in_state(path, "idle", "stopped")
    t:shows "\nidle +stopped"
    t:type "t"
    t:shows "\nretry idle: nothing to do"
    t:type "s"
    t:shows "\nstart idle: told"
    plane.in_state(path, "idle", "running")
    t:type "kt" -- one up
    t:shows "\nretry flaky 日本: told"
    t:type "jry"
    t:shows "\nrestart idle: told"
    process.wait(function() return plane.in_state(path, "idle", "running").run == 3 end)
    t:type "q"
    t:ends(0)
  end)

  it("shows the dossier, the keys, and what passes a filter", function()
    local _, path = plane.start(WORKERS)
    plane.in_state(path, "flaky 日本", "failed")
    local t = top(path)
    t:shows "\nidle"
    t:type "/FLA"
    t:shows "show names and states with: FLA_"
    t:type "\r"
    lists(t, "flaky 日本")
    t:type "d"
    t:shows "^flaky 日本: failed for "
    t:shows "restarts 3, streak %d"
    t:type "G"
    t:shows "local secret = %*%*%*"
    assert.is_nil(t:text():find("hush", 1, true))
    t:type "q"
    t:shows "\nNAME"
    t:type "/\27"
    t:shows "\nidle"
    t:type "/run\127\127\127fail\r"
    lists(t, "flaky 日本")
    t:type "/\127\127\127\127nothing\r"
    t:shows "0 with 'nothing'"
    t:type "xdsrt?" -- nobody to tell anything
    t:shows "retry: start now"
    t:type "qq"
    t:ends(0)
  end)

  it("scrolls what it shows, and takes a filter of any characters", function()
    local _, path = plane.start(WORKERS)
    plane.in_state(path, "flaky 日本", "failed")
    local t = top(path)
    t:shows "\nidle"
    t:type "N"
    t:type "/日本\127"
    t:shows "with: 日_"
    t:type "\127\127\127\1" -- more than there is, and what is no character
    t:shows "with: _"
    t:type(("x"):rep(300))
    t:shows "with: xxx[^\n]*…"
    t:type "\27"
    t:shows "by name"
    lists(t, "big,busy,flaky 日本,idle")
    for _, leave in ipairs { "q", "\r", "d", "\27" } do
      t:type "?"
      t:shows "retry: start now"
      t:type "jkGgz"
      t:type(leave)
      t:shows "\nNAME"
    end
    t:type "Gkk\r" -- a dossier
    t:shows "^busy: running for "
    t:type "q"
    t:shows "\nNAME"
    t:type "gh"
    t:shows "retry: start now"
    t:type "qxY"
    process.wait(function() return t:text():find "told" end)
    t:type "q"
    t:ends(0)
  end)

  it("goes with the size of its terminal", function()
    local _, path = plane.start(WORKERS)
    local t = top(path)
    t:shows "\nidle"
    t:resize(50, 200)
    t:shows "NAME +STATE +SINCE +RUN +RESTARTS +STREAK +RETRY +CPU%% +MEMORY"
    t:resize(8, 30)
    t:shows "^workers.lua%[[^\n]*…\n"
    t:shows "NAME +STATE"
    for _, size in ipairs { { 3, 10 }, { 1, 1 }, { 2, 80 }, { 24, 80 } } do
      t:resize(size[1], size[2])
      process.wait(function() return t.code end, 0.3)
      assert.is_nil(t.code)
    end
    t:shows "\nidle"
    t:type "q"
    t:ends(0)
  end)

  it("cuts a long line of a page, and does not run into the next one", function()
    local _, path = plane.start(WORKERS)
    local t = top(path)
    t:shows "\nidle"
    t:resize(24, 40)
    t:type "?"
    t:shows "\n  up down j k[^\n]*…\n  C M R N  [^\n]*…\n"
    t:type "qq"
    t:ends(0)
  end)

  it("cuts nothing of its own words on 80 by 24", function()
    local _, path = plane.start(WORKERS)
    plane.in_state(path, "flaky 日本", "failed")
    local t = top(path)
    t:shows "\nidle"
    for key, order in pairs { C = "CPU", M = "memory", R = "restarts", N = "name" } do
      t:type(key)
      t:shows("\nby " .. order .. "; %? keys, q quit, d dossier, x stop, r restart, / filter")
    end
    t:shows "  WAITS FOR, LAST ERROR\n"
    t:type "/idle\r"
    t:shows "1 with 'idle'; %? keys, q quit"
    assert.is_nil(t:text():find("…", 1, true), t:text()) -- nobody has a note: no head that is cut
    t:type "?"
    t:shows "escape drops it\n.* variables\n.* whole run%.\n"
    t:type "qq"
    t:ends(0)
  end)

  it("shows the script's name, if not its directories, where there is no room", function()
    local dir = process.dir()
    local name = dir .. "/" .. ("d"):rep(60) .. "/w.lua"
    uv.fs_mkdir(dir .. "/" .. ("d"):rep(60), tonumber("700", 8))
    process.write(name, "require 'decnet'.worker('w', function() require 'decnet'.park() end)")
    process.start(process.host, { "--socket", dir .. "/s", name })
    process.wait(function() return pcall(plane.get, dir .. "/s", "/livez") end)
    local t = top(dir .. "/s", { cols = 80 })
    t:shows "^w%.lua%[%d+%] up [%d.]+s, 1 worker: 1 running\n"
    t:resize(24, 200)
    t:shows(("^%s%%["):format(name:gsub("%p", "%%%0")))
    t:type "q"
    t:ends(0)
  end)

  it("says who holds the CPU", function()
    local child, path = plane.start [[
      local decnet = require "decnet"
      decnet.worker("victim", function() while true do decnet.sleep(0.05) end end)
      decnet.worker("stuck", function()
        decnet.sleep(0.2)
        print "in"
        return (("a"):rep(200)):find(("a*"):rep(20) .. "b")
      end)
    ]]
    child:says "in"
    local t = top(path)
    t:shows "\nHELD: stuck has kept the CPU for [%d.ms]+, at workers.lua:6: nobody else runs"
    t:type "q"
    t:ends(0)
  end)

  it("says when the host has gone, and goes on with the next one", function()
    local child, path = plane.start(WORKERS)
    local t = top(path)
    t:shows "\nidle"
    child:stop()
    t:shows "\nGONE: no host answers at "
    t:type "N" -- it still listens
    t:shows "by name"
    t:type "xy"
    t:shows "GONE"
    process.run([[
      local decnet = require "decnet"
      decnet.worker("reborn", function() decnet.park() end)
    ]], { "--socket", path })
    t:shows "\nreborn +running"
    assert.is_nil(t:text():find("GONE", 1, true))
    t:type "q"
    t:ends(0)
  end)

  it("hangs with no host that hangs", function()
    local child, path = plane.start(WORKERS)
    local t = top(path)
    t:shows "\nidle"
    child:kill "sigstop"
    t:shows "\nHANGS: the host at .* has not an"
    child:kill "sigcont"
    process.wait(function() return not t:text():find "HANGS" end)
    assert.is_nil(t:text():find("HANGS", 1, true))
    t:type "q"
    t:ends(0)
  end)

  it("takes ten thousand workers on 80 by 24, and draws what is visible", function()
    local _, path = plane.start [[
      local decnet = require "decnet"
      for i = 1, 10000 do
        decnet.worker(("worker%05d"):format(i), function() decnet.park() end)
      end
    ]]
    plane.in_state(path, "worker10000", "running")
    local t = top(path)
    t:shows "10000 workers: 10000 running"
    t:type "N"
    t:shows "\nworker00020 .*by name"
    t:type "G"
    t:shows "\nworker10000 "
    t:type "g"
    t:shows "\nworker00001 "
    local before = #t.raw
    t:type "j"
    process.wait(function() return #t.raw > before end)
    assert.is_true(#t.raw - before < 4000, #t.raw - before)
    t:type "/09999\r"
    lists(t, "worker09999")
    -- selected and all: the worker that is meant is the one that is told
    t:type "xy"
    t:shows "stop worker09999: told"
    plane.in_state(path, "worker09999", "stopped")
    t:type "q"
    t:ends(0)
  end)

  it("needs a terminal that it knows, and a host", function()
    local _, path = plane.start(WORKERS)
    local t = top(path, { env = { TERM = "no-such-terminal" } })
    t:shows "decnet%-host: top: the terminal type 'no%-such%-terminal' is not known: set TERM"
    t:ends(2)
    t = top(process.dir() .. "/c.sock")
    t:shows "decnet%-host: no host answers at "
    t:ends(3)
  end)

  it("is in colours unless NO_COLOR is set", function()
    local _, path = plane.start(WORKERS)
    for _, no in ipairs { "", "1" } do
      local t = top(path, { env = { TERM = "xterm-256color", NO_COLOR = no } })
      process.wait(function() return t.raw:find "running" end)
      t:type "q"
      t:ends(0)
      assert.equal(no == "", t.raw:find "\27%[[%d;]*32m" ~= nil)
    end
  end)

  it("ends with its terminal", function()
    local _, path = plane.start(WORKERS)
    local t = top(path)
    t:shows "\nidle"
    uv.kill(t.pid, "sigkill")
    local function is_there()
      local status, reply = plane.get(path, "/v1/workers")
      assert.equal(200, status)
      assert.equal(4, #reply.workers)
      return os.execute(("pgrep -f 'decnet-host to[p] --socket %s' >/dev/null"):format(path))
    end
    process.wait(function() return not is_there() end)
    assert.is_falsy(is_there())
  end)
end)
