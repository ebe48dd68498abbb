-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a wrapped call of luv costs a worker beside the same call of luv's own function, which the
-- wrapper keeps as an upvalue: many short rounds, each both ways.
--
--   build/release/decnet-host bench/wrapper.lua [rounds] [thousand calls a round]

local decnet = require "decnet"
local uv = require "luv"

local ROUNDS = tonumber(arg[1]) or 101
local CALLS = (tonumber(arg[2]) or 10) * 1000

local function nothing() end

local timer

-- Loops of their own, so that what is measured is called as a worker would call it.
local calls = {
  { "timer_start, the same callback", "timer_start", function(start)
    for _ = 1, CALLS do
      start(timer, 1000, 0, nothing)
    end
  end },
  { "timer_start, a new callback each time", "timer_start", function(start)
    for i = 1, CALLS do
      start(timer, 1000, 0, function() return i end)
    end
  end },
  { "timer_set_repeat, no callback", "timer_set_repeat", function(set_repeat)
    for _ = 1, CALLS do
      set_repeat(timer, 5)
    end
  end },
}

local function measure(loop, fn)
  local began = os.clock()
  loop(fn)
  return (os.clock() - began) / CALLS * 1e9
end

local function quantile(values, share)
  table.sort(values)
  return values[math.max(1, math.ceil(#values * share))]
end

decnet.worker("calls", function()
  timer = uv.new_timer()
  for _, call in ipairs(calls) do
    local title, name, loop = table.unpack(call)
    local _, own = debug.getupvalue(uv[name], 1)
    local plain, wrapped, more = {}, {}, {}
    for i = 1, ROUNDS do
      plain[i], wrapped[i] = measure(loop, own), measure(loop, uv[name])
      more[i] = wrapped[i] - plain[i]
      decnet.sleep(0)
    end
    print(("%-40s luv %4.0f ns, wrapped %4.0f; more by %4.0f (half of the rounds: %.0f to %.0f)")
      :format(title, quantile(plain, 0.5), quantile(wrapped, 0.5), quantile(more, 0.5),
        quantile(more, 0.25), quantile(more, 0.75)))
  end
  decnet.stop()
end)
