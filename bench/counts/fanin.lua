-- SPDX-License-Identifier: AGPL-3.0-or-later
-- 100 workers send N messages each to one, through a channel that is mostly full.
--   decnet-host bench/counts/fanin.lua N

local decnet = require "decnet"

local N = tonumber(arg[1])

local channel = decnet.channel(64)

decnet.worker("consumer", function()
  for _ = 1, 100 * N do
    channel:recv()
  end
end)

for i = 1, 100 do
  decnet.worker("w" .. i, function()
    for _ = 1, N do
      channel:send(1)
    end
  end)
end
