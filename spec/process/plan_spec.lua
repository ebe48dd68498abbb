-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"
local terminal = require "spec.process.terminal"

local SCRIPT = [[
local decnet = require "decnet"
assert(#arg == 0 or arg[1] == "x")
local function never()
  print "the script's function was run"
end
decnet.on("start", never)
require "luv".new_timer():start(0, 0, never)
decnet.worker { "db", never, notify = true, max_restarts = 1 }
return { { "web", never, after = { "db" }, jitter = 0.5 } }
]]

-- Loaded without a scenario, too: what is wrong with the script comes first.
local FAULTY = 'require "decnet".worker("a")'

local function host(args, script)
  local dir = process.dir()
  process.write(dir .. "/w.lua", script or SCRIPT)
  return process.start(process.host, args, { cwd = dir })
end

describe("decnet-host plan", function()
  lazy_teardown(process.cleanup)

  it("prints the order and who is given up when, and runs nothing", function()
    local child = host({ "plan", "w.lua", "x" }):ends(0)
    local text = child:stdout()
    assert.equal("w.lua: 2 workers\n\nstart, step by step: each as soon as those that it is after "
      .. "are ready\n  1  db   ready when it calls self:ready()\n  2  web  after db\n",
      text:match "^(.-\n)\nstop")
    assert(text:find("at crash 2, 1 s after the first start: more than 1 restart within 60 s", 1,
      true), text)
    assert.equal("", child:stderr())
  end)

  it("takes the shutdown timeout into account", function()
    local text = host({ "plan", "w.lua" }):ends(0):stdout()
    assert(text:find("at most 20 s in all", 1, true), text)
    text = host({ "plan", "--shutdown-timeout=3", "w.lua" }):ends(0):stdout()
    assert(text:find("at most 3 s in all", 1, true), text)
  end)

  it("fits the terminal, or COLUMNS, and else no width", function()
    local dir = process.dir()
    process.write(dir .. "/w.lua", SCRIPT)
    local function widest(text)
      local width = 0
      for line in text:gmatch "[^\r\n]+" do
        width = math.max(width, utf8.len(line))
      end
      return width
    end
    local function piped(columns)
      local child = process.start(process.host, { "plan", dir .. "/w.lua" },
        { env = { COLUMNS = columns } })
      return child:ends(0):stdout()
    end
    assert.is_true(widest(piped "80") <= 80)
    assert.is_true(widest(piped "") > 80)
    assert.equal(piped "", piped "no number")
    if not terminal.is_there() then
      return pending "script(1) is not installed"
    end
    local t = terminal.start(process.host, { "plan", dir .. "/w.lua" }, { cols = 80,
      env = { COLUMNS = "200" } }) -- what the terminal says is newer
    t:ends(0)
    assert.is_true(widest(t.raw) <= 80, t.raw)
    terminal.cleanup()
  end)

  it("has nothing to say about an empty script", function()
    assert.equal("w.lua: 0 workers\n", host({ "plan", "w.lua" }, ""):ends(0):stdout())
  end)

  it("refuses a faulty script, exit 2", function()
    local child = host({ "plan", "w.lua" }, FAULTY)
    assert.matches("^decnet%-host: w.lua:1: worker \"a\": run: ", child:ends(2):stderr())
    assert.equal("", child:stdout())
  end)
end)

describe("decnet-host simulate", function()
  lazy_teardown(process.cleanup)

  it("prints the timeline, and runs nothing", function()
    local child = host({ "simulate", "w.lua", "db crash@0,2; web stop@1.5", "x" }):ends(0)
    assert.equal([[
     0.000  db      start, run 1
     0.000  db      ready
     0.000  web     start, run 1
     0.000  web     ready
     0.000  db      crash #1, restart in 1 s
     1.000  db      restart, run 2
     1.000  db      ready
     1.500  web     order: stop
     1.500  web     stopping
     1.500  web     stopped
     2.000  db      crash #2
     2.000  db      given up: more than 1 restart within 60 s
     2.000  (host)  ends, exit code 1

after 2 s
worker  state       run  restarts  streak
db      failed        2         1       2  more than 1 restart within 60 s
web     stopped       1         0       0
]], child:stdout())
    assert.equal("", child:stderr())
  end)

  it("takes the same delays each time, and others with another seed", function()
    local function text(...)
      return host({ "simulate", ..., "w.lua", "web crash@1; until 3" }):ends(0):stdout()
    end
    assert.equal(text "--keep-alive", text "--seed=1")
    assert.not_equal(text "--seed=1", text "--seed=2")
  end)

  it("refuses what it cannot read, with the place, exit 2", function()
    for _, case in ipairs {
      { { "w.lua" }, "simulate: a scenario expected after the script, as in "
        .. "'db crash@0,3,9; web stop@20', or 'until 60'" },
      { { "w.lua", " \n" }, "simulate: a scenario expected after the script, as in "
        .. "'db crash@0,3,9; web stop@20', or 'until 60'" },
      { { "w.lua", "db crsh@3" }, "simulate: column 4: no event is named 'crsh'; did you mean "
        .. "'crash'?" },
      { { "w.lua", "db crash@1;\nwbe stop@2" }, "simulate: line 2, column 1: no worker is named "
        .. "'wbe'; did you mean 'web'?" },
      { { "--seed", "0", "w.lua", "" }, "--seed: a whole number from 1 on expected, got '0'" },
    } do
      local child = host { "simulate", table.unpack(case[1]) }
      assert.equal("decnet-host: " .. case[2] .. "\n", child:ends(2):stderr())
      assert.equal("", child:stdout())
    end
    local child = host({ "simulate", "w.lua" }, FAULTY)
    assert.matches("^decnet%-host: w.lua:1: worker \"a\": run: ", child:ends(2):stderr())
  end)
end)
