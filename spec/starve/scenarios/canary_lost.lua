-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What was refused is the reason for a worker that does not run any more.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
decnet.worker { name = "lost", restart = "never", run = function()
  starve.arm()
  string.rep("x", 5000)
  decnet.park()
end }
scenario.verify(function() return scenario.are_running "lost" end)
scenario.begin(function() decnet.sleep(0.01) end)
