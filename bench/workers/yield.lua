-- SPDX-License-Identifier: AGPL-3.0-or-later
-- D: two workers that do nothing but give way.   decnet-host bench/workers/yield.lua 2 SECONDS

local decnet = require "decnet"
local measure = require "measure"

local COUNT, SECONDS = tonumber(arg[1]), tonumber(arg[2])

local switches = 0
for i = 1, COUNT do
  decnet.worker("w" .. i, function()
    local yield = decnet.yield
    while true do
      switches = switches + 1
      yield()
    end
  end)
end

measure.rate(function() return switches end, 0.3, SECONDS, function(count, seconds)
  return { switches_s = count / seconds }
end)
