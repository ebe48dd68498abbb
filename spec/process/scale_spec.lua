-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"

-- N workers that sleep an hour each. Tells when the last of them has started, and at the very end,
-- how much CPU time went by, how much memory they took, and what of that are their bare coroutines.
local MANY = [[
  local decnet = require "decnet"
  local count = tonumber(arg[1])
  local function resident()
    for line in io.lines "/proc/self/status" do
      local kilobytes = line:match "^VmRSS:%s+(%d+)"
      if kilobytes then
        return kilobytes * 1024
      end
    end
  end
  collectgarbage()
  local held = collectgarbage "count"
  local coroutine = coroutine.create(print)
  print("coroutine", (collectgarbage "count" - held) * 1024 // 1)
  local before, asleep = resident(), 0
  for i = 1, count do
    decnet.worker("sleeper " .. i, function()
      asleep = asleep + 1
      decnet.sleep(3600)
    end)
  end
  decnet.worker("last", function()
    assert(asleep == count)
    print("started", os.clock())
    print("bytes", (resident() - before) // count)
    decnet.stop()
  end)
  at_the_end = setmetatable({}, { __gc = function()
    print("ended", os.clock())
  end })
]]

local function measure(child)
  local text = child:ends(0):stdout()
  return tonumber(text:match "started\t(%S+)"), tonumber(text:match "ended\t(%S+)"),
    tonumber(text:match "bytes\t(%S+)"), tonumber(text:match "coroutine\t(%S+)")
end

describe("many workers", function()
  local is_sanitized, small, large, watched, counts

  lazy_setup(function()
    is_sanitized = process.is_sanitized()
    counts = is_sanitized and { 1000, 20000 } or { 1000, 100000 }
    local before = { "--log-level", "warn", "--no-control" }
    small = process.run(MANY, before, { tostring(counts[1]) })
    small:ends(0)
    large = process.run(MANY, before, { tostring(counts[2]) })
    large:ends(0)
    local socket = process.dir() .. "/c.sock"
    watched = process.run(MANY, { "--log-level", "warn", "--socket", socket },
      { tostring(counts[2]) })
  end)

  lazy_teardown(process.cleanup)

  -- CPU time, not the wall clock's: a busy machine changes it little.
  it("start and stop in a time that grows no faster than ten times their number (L01)", function()
    local few_started, few_ended = measure(small)
    local many_started, many_ended, bytes = measure(large)
    local factor = counts[2] / counts[1]
    print(("%d workers: started in %.2f s, ended at %.2f s of CPU time, %d bytes each"):format(
      counts[2], many_started, many_ended, bytes))
    assert(many_started < 10 * factor * few_started)
    assert(many_ended < 10 * factor * few_ended)
  end)

  -- a coroutine: 928 bytes in Debian's Lua, 720 in that of src/patches
  it("cost at most 830 bytes beside a coroutine, and 150 for the control plane", function()
    if is_sanitized then
      return pending "sanitizers have memory of their own"
    end
    local _, _, bytes, coroutine = measure(large)
    assert(bytes <= coroutine + 830, bytes)
    local _, _, with_control = measure(watched)
    assert(with_control <= bytes + 150, with_control)
  end)
end)
