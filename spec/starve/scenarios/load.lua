-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A script declares: what it is refused is an error of the script.
local starve = require "starve"
local decnet = require "decnet"
starve.arm()
local scenario = require "spec.starve.common"
decnet.group("pair", { strategy = "one_for_all" })
decnet.worker { name = "first", group = "pair", run = function() decnet.park() end }
decnet.worker { name = "second", group = "pair", after = { "first" }, run = function()
  decnet.park()
end }
decnet.on("crash", function() end)
scenario.has_begun()
starve.disarm()
