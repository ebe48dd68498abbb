-- SPDX-License-Identifier: AGPL-3.0-or-later
-- 100 pairs of workers, N messages to and fro each: 2 N from each pair.
--   decnet-host bench/counts/message.lua N

local decnet = require "decnet"

local N = tonumber(arg[1])

for i = 1, 100 do
  local there, back = decnet.channel(1), decnet.channel(1)
  decnet.worker("ping" .. i, function()
    for _ = 1, N do
      there:send(1)
      back:recv()
    end
  end)
  decnet.worker("pong" .. i, function()
    for _ = 1, N do
      back:send(there:recv())
    end
  end)
end
