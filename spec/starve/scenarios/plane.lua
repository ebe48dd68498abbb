-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The control plane, which is asked for, is loaded and started.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
decnet.worker("ready", function()
  decnet.sleep(0.005)
  starve.disarm()
  decnet.park()
end)
scenario.has_begun()
starve.arm()
