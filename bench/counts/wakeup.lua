-- SPDX-License-Identifier: AGPL-3.0-or-later
-- 200 workers sleep N times each.   decnet-host bench/counts/wakeup.lua N

local decnet = require "decnet"

local N = tonumber(arg[1])

for i = 1, 200 do
  decnet.worker("w" .. i, function()
    for _ = 1, N do
      decnet.sleep(0.001)
    end
  end)
end
