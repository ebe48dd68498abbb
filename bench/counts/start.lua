-- SPDX-License-Identifier: AGPL-3.0-or-later
-- N workers that wait until all of them do.   decnet-host bench/counts/start.lua N

local decnet = require "decnet"

local N = tonumber(arg[1])

local waiting, over = 0, decnet.event()

for i = 1, N do
  decnet.worker("w" .. i, function()
    waiting = waiting + 1
    if waiting == N then
      over:set()
    end
    over:wait()
  end)
end
