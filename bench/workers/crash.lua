-- SPDX-License-Identifier: AGPL-3.0-or-later
-- B: COUNT workers that raise as soon as they start, restarted without a delay.
--   decnet-host bench/workers/crash.lua COUNT SECONDS

local decnet = require "decnet"
local measure = require "measure"

local COUNT, SECONDS = tonumber(arg[1]), tonumber(arg[2])

local starts = 0
for i = 1, COUNT do
  decnet.worker {
    name = "w" .. i, min_backoff = 0,
    run = function()
      starts = starts + 1
      error "boom"
    end,
  }
end

measure.rate(function() return starts end, 0.5, SECONDS, function(count, seconds, cpu)
  return { restarts_s = count / seconds, cpu_us_per_restart = cpu / count * 1e6 }
end)
