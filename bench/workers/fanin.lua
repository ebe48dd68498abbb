-- SPDX-License-Identifier: AGPL-3.0-or-later
-- E: COUNT workers that send to one.   decnet-host bench/workers/fanin.lua COUNT SECONDS

local decnet = require "decnet"
local measure = require "measure"

local COUNT, SECONDS = tonumber(arg[1]), tonumber(arg[2])

local channel = decnet.channel(1024)
local messages = 0

decnet.worker("consumer", function()
  while true do
    channel:recv()
    messages = messages + 1
  end
end)

for i = 1, COUNT do
  decnet.worker("w" .. i, function()
    while true do
      channel:send(1)
    end
  end)
end

measure.rate(function() return messages end, 0.5, SECONDS, function(count, seconds)
  return { msgs_s = count / seconds }
end)
