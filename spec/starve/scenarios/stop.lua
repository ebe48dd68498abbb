-- SPDX-License-Identifier: AGPL-3.0-or-later
-- One worker is stopped, one restarted, one removed.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
for _, name in ipairs { "stopped", "again", "removed" } do
  decnet.worker(name, function(self)
    self:defer(function() decnet.sleep(0.001) end)
    decnet.spawn(function() decnet.park() end)
    decnet.sleep(math.huge)
  end)
end
scenario.verify(function()
  local state = decnet.get "stopped":status().state
  if state ~= "stopped" and state ~= "running" then
    return false, "it is " .. state
  end
  return scenario.are_running "again"
end)
scenario.begin(function()
  starve.arm()
  decnet.get "stopped":stop()
  decnet.get "again":restart()
  decnet.get "removed":remove()
end)
