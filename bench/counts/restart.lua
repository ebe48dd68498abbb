-- SPDX-License-Identifier: AGPL-3.0-or-later
-- 200 workers crash N times each, by the same error.   decnet-host bench/counts/restart.lua N

local decnet = require "decnet"

local N = tonumber(arg[1])

for i = 1, 200 do
  decnet.worker {
    name = "w" .. i, min_backoff = 0,
    run = function(self)
      if self.run <= N then
        error "boom"
      end
    end,
  }
end
