-- SPDX-License-Identifier: AGPL-3.0-or-later
-- From the end of the script until the workers run.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
for i = 1, 3 do
  decnet.worker { name = "w" .. i, after = i > 1 and { "w" .. i - 1 } or nil, run = function()
    decnet.sleep(0.001)
    if i == 3 then
      starve.disarm()
    end
    decnet.park()
  end }
end
for i = 1, 70 do
  decnet.worker("crowd" .. i, decnet.park)
end
scenario.verify(function() return scenario.are_running("w3", "crowd70") end)
scenario.has_begun()
starve.arm()
