-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What was refused is the reason for a host that does not end.
local scenario = require "spec.starve.common"
local starve = require "starve"
local is_refused = false
scenario.begin(function()
  pcall(string.rep, "x", 5000) -- so that the stack has the room for that
  starve.arm()
  is_refused = not pcall(string.rep, "x", 5000)
end)
function scenario.last()
  while is_refused do end -- luacheck: ignore 542
end
