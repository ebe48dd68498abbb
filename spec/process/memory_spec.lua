-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"
local uv = require "luv"

-- Makes garbage, then sleeps: it must be gone although nobody allocates.
local GARBAGE = [[
  local decnet = require "decnet"
  decnet.worker("garbage", function(self)
    local weak = setmetatable({ {} }, { __mode = "v" })
    local keep = {}
    for i = 1, 200000 do
      keep[i] = { i }
    end
    for i = 1, 300000 do
      local _ = { i }
    end
    local before = collectgarbage "count"
    while weak[1] do
      decnet.sleep(0.05)
    end
    print("collected", before, collectgarbage "count", #keep)
    decnet.sleep(3600)
  end)
]]

-- How often the threads of a process have waited for something.
local function activity(pid)
  local switches = 0
  local tasks = assert(uv.fs_scandir("/proc/" .. pid .. "/task"))
  for thread in function() return uv.fs_scandir_next(tasks) end do
    local status = process.read(("/proc/%d/task/%s/status"):format(pid, thread))
    switches = switches + tonumber(status:match "\nvoluntary_ctxt_switches:%s*(%d+)")
  end
  return switches
end

describe("the host's memory", function()
  teardown(process.cleanup)

  it("is collected in idle time, and then an idle host does nothing", function()
    local child = process.run(GARBAGE, { "--log-level", "warn" })
    child:says "collected"
    -- the monitor parks a few looks later
    assert(process.wait(function()
      local before = activity(child.pid)
      return not process.wait(function() return activity(child.pid) ~= before end, 1)
    end, 20))
    child:stop("sigterm", 0)
  end)

  it("has a ceiling: the run that holds most is crashed, the others go on", function()
    local child = process.run([[
      local decnet = require "decnet"
      decnet.worker("modest", function()
        while true do
          decnet.sleep(0.01)
        end
      end)
      decnet.worker { name = "hog", restart = "never", run = function()
        local list = {}
        for i = 1, math.huge do
          list[i] = { i }
        end
      end }
      decnet.worker("watch", function()
        while decnet.get "hog":status().state ~= "failed" do
          decnet.sleep(0.01)
        end
        print("modest", decnet.get "modest":status().state, decnet.get "modest":status().restarts)
        decnet.stop()
      end)
    ]], { "--max-memory", "32M", "--log-level", "error" })
    child:ends(0)
    assert(child:stderr():find("--max-memory is 33554432", 1, true), child:stderr())
    assert(child:stdout():find "modest\trunning\t0")
  end)
end)
