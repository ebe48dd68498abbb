-- SPDX-License-Identifier: AGPL-3.0-or-later
-- SIGHUP: one worker has changed, one is new, one is as it was.
local decnet = require "decnet"
local starve = require "starve"
local uv = require "luv"
local scenario = require "spec.starve.common"
local loads = tonumber(os.getenv "DECNET_LOADS" or "0") + 1
uv.os_setenv("DECNET_LOADS", tostring(loads))
decnet.worker("same", function() decnet.park() end)
decnet.worker("changed", function() return decnet.sleep(100 + loads) end)
if loads > 1 then
  decnet.worker("new", function() decnet.park() end)
end
scenario.verify(function() return scenario.are_running("same", "changed") end)
scenario.begin(function()
  starve.arm()
  uv.kill(uv.os_getpid(), "sighup")
  decnet.sleep(0.05)
end)
