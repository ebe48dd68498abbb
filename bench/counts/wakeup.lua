-- SPDX-License-Identifier: AGPL-3.0-or-later
-- WORKERS (200) sleep N times each.   decnet-host bench/counts/wakeup.lua N [WORKERS]

local decnet = require "decnet"

local N, WORKERS = tonumber(arg[1]), tonumber(arg[2] or 200)

for i = 1, WORKERS do
  decnet.worker("w" .. i, function()
    for _ = 1, N do
      decnet.sleep(0.001)
    end
  end)
end
