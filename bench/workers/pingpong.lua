-- SPDX-License-Identifier: AGPL-3.0-or-later
-- E: one message at a time, there and back, between two workers.
--   decnet-host bench/workers/pingpong.lua 2 SECONDS

local decnet = require "decnet"
local measure = require "measure"

local SECONDS = tonumber(arg[2])

local there, back = decnet.channel(1), decnet.channel(1)
local messages = 0

decnet.worker("pong", function()
  while true do
    back:send(there:recv())
  end
end)

decnet.worker("ping", function()
  while true do
    there:send(1)
    back:recv()
    messages = messages + 2
  end
end)

measure.rate(function() return messages end, 0.3, SECONDS, function(count, seconds)
  return { msgs_s = count / seconds }
end)
