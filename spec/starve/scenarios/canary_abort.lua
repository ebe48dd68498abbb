-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What was refused is the reason for the end of the process.
local scenario = require "spec.starve.common"
local starve = require "starve"
local uv = require "luv"
scenario.begin(function()
  pcall(string.rep, "x", 5000) -- so that the stack has the room for that
  starve.arm()
  if not pcall(string.rep, "x", 5000) then
    uv.kill(uv.os_getpid(), "sigabrt")
  end
end)
