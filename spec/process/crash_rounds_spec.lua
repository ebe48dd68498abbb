-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A worker that opens one of each and crashes, thousands of times: nothing may add up.
local process = require "spec.process.process"

-- Arguments: the directory of hostile/count.lua, and at which runs to stand still and be counted.
local SCRIPT = [[
  package.path = arg[1] .. "/?.lua;" .. package.path
  local decnet = require "decnet"
  local uv = require "luv"
  local count = require "hostile.count"
  local counted_at = { tonumber(arg[2]), tonumber(arg[3]) }
  local reached = decnet.channel(1)

  local function open_all()
    local server = uv.new_tcp()
    assert(server:bind("127.0.0.1", 0))
    assert(server:listen(8, print))
    uv.new_timer():start(0, 1, function() end)
    uv.new_timer():start(60000, 0, print)
    assert(uv.spawn("true", {}, function() end))
    assert(io.open "/dev/null")
    assert(uv.fs_open("/dev/null", "r", 0))
  end

  local crasher = decnet.worker { name = "crasher", min_backoff = 0, max_backoff = 0,
    run = function(self)
      if self.run == counted_at[1] or self.run == counted_at[2] then
        reached:send(self.run)
        decnet.park()
      end
      open_all()
      error "boom"
    end,
  }

  local function resident()
    for line in io.lines "/proc/self/status" do
      local kilobytes = line:match "^VmRSS:%s+(%d+)"
      if kilobytes then
        return kilobytes
      end
    end
  end

  decnet.worker("counter", function()
    count.all()
    for run in reached:iter() do
      local now = count.all()
      now.lua, now.resident = collectgarbage "count" // 1, resident()
      for name, value in pairs(now) do
        print(run, name, value)
      end
      if run == counted_at[2] then
        return decnet.stop()
      end
      crasher:restart()
    end
  end)
]]

describe("a worker that opens a listener, timers, a child and files, and crashes", function()
  local is_sanitized, first, last, child

  lazy_setup(function()
    is_sanitized = process.is_sanitized()
    last = tonumber(os.getenv "DECNET_CRASH_ROUNDS") or (is_sanitized and 500 or 2000)
    first = last // 10
    child = process.run(SCRIPT, { "--log-level", "error" },
      { process.tree "examples", tostring(first), tostring(last) })
    child:ends(0, 300)
  end)

  lazy_teardown(process.cleanup)

  local function counted(run, name)
    local pattern = ("\n%d\t%s\t(%%d+)"):format(run, name)
    return assert(tonumber(("\n" .. child:stdout()):match(pattern)), name)
  end

  it("leaves no handle, file, child, coroutine or reference", function()
    for _, name in ipairs { "handles", "files", "children", "coroutines", "references" } do
      assert.equal(counted(first, name), counted(last, name), name)
    end
  end)

  it("leaves no memory", function()
    local lua = counted(last, "lua") - counted(first, "lua")
    local resident = counted(last, "resident") - counted(first, "resident")
    print(("%d rounds after the first %d: Lua %+d KB, resident %+d KB"):format(last - first, first,
      lua, resident))
    if is_sanitized then
      return pending "sanitizers have memory of their own"
    end
    -- 32 bytes a round would be 56 KB
    assert(lua < 40, lua)
    assert(resident < 1024, resident)
  end)
end)
