-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The first crash, with a traceback, a deferred function, a second task, an open socket and a file.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
local uv = require "luv"

local function deep(n, word)
  local text = word .. n
  if n == 0 then
    starve.arm()
    error "boom"
  end
  return deep(n - 1, text), text
end

local has_crashed = false
decnet.worker("victim", function(self)
  local server = assert(uv.new_tcp())
  server:bind("127.0.0.1", 0)
  server:listen(8, function() end)
  local timer = assert(uv.new_timer())
  timer:start(1000, 1000, function() end)
  local file = assert(io.open("/dev/null", "w"))
  decnet.spawn(function() decnet.park() end)
  self:defer(function() file:close() end)
  decnet.sleep(0.002)
  if not has_crashed then
    has_crashed = true
    decnet.on("restart", starve.disarm)
    deep(5, "word")
  end
  starve.disarm()
  decnet.park()
end)
scenario.verify(function() return scenario.are_running "victim" end)
scenario.begin(function() decnet.sleep(0.02) end)
