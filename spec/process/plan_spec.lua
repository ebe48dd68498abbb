-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"

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

  it("has nothing to say about an empty script", function()
    assert.equal("w.lua: 0 workers\n", host({ "plan", "w.lua" }, ""):ends(0):stdout())
  end)

  it("refuses a faulty script, exit 2", function()
    local child = host({ "plan", "w.lua" }, FAULTY)
    assert.matches("^decnet%-host: w.lua:1: worker \"a\": run: ", child:ends(2):stderr())
    assert.equal("", child:stdout())
  end)
end)
