-- SPDX-License-Identifier: AGPL-3.0-or-later
-- G: a polite stop of COUNT workers, each with something to clean up.
--   decnet-host bench/workers/shutdown.lua COUNT

local decnet = require "decnet"
local measure = require "measure"

local COUNT = tonumber(arg[1])

local entered, cleaned = 0, 0
local began, cpu

local cleanup = { __close = function()
  cleaned = cleaned + 1
  if cleaned == COUNT then
    measure.tell { cleaned_ms = (decnet.now() - began) * 1e3, cpu_s = measure.cpu() - cpu }
  end
end }

for i = 1, COUNT do
  decnet.worker("w" .. i, function()
    local _ <close> = setmetatable({}, cleanup)
    entered = entered + 1
    decnet.sleep(3600)
  end)
end

decnet.worker("measure", function()
  decnet.sleep(0.5)
  assert(entered == COUNT)
  began, cpu = decnet.now(), measure.cpu()
  decnet.stop()
end)
