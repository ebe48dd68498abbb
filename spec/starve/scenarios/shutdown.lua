-- SPDX-License-Identifier: AGPL-3.0-or-later
-- From the order to stop to the end of the process.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
local uv = require "luv"
for i = 1, 3 do
  decnet.worker("w" .. i, function(self)
    local timer = assert(uv.new_timer())
    timer:start(1000, 1000, function() end)
    self:defer(function() decnet.sleep(0.001) end)
    decnet.spawn(function() decnet.park() end)
    decnet.park()
  end)
end
scenario.has_begun()
-- Each cycle of the collector lets go of half of the frames that the main thread has in store: none
-- but the next is left.
scenario.last = function()
  for _ = 1, 8 do
    collectgarbage()
  end
  starve.arm()
end
