-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A worker that has crashed starts again, and does something of everything.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
decnet.worker { name = "victim", max_memory = "64M", run = function(self)
  if self.run <= 2 then
    decnet.sleep(0.003)
    error "boom"
  elseif self.run == 3 then
    local t = decnet.spawn(function() return decnet.sleep(0.0001) end)
    t:join()
    local channel = decnet.channel(1)
    channel:send(1)
    channel:recv()
    decnet.timeout(0.1, decnet.yield)
  end
  starve.disarm()
  decnet.park()
end }
decnet.on("crash", function(ev)
  if ev.worker == "victim" and ev.run == 1 then
    starve.arm()
  end
end)
scenario.verify(function() return scenario.are_running "victim" end)
scenario.begin(function() decnet.sleep(0.03) end)
