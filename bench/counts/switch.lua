-- SPDX-License-Identifier: AGPL-3.0-or-later
-- 200 workers give way N times each.   decnet-host bench/counts/switch.lua N

local decnet = require "decnet"

local N = tonumber(arg[1])

for i = 1, 200 do
  decnet.worker("w" .. i, function()
    local yield = decnet.yield
    for _ = 1, N do
      yield()
    end
  end)
end
