-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A: what COUNT workers cost that do nothing.   decnet-host bench/workers/idle.lua COUNT

local decnet = require "decnet"
local measure = require "measure"

local COUNT = tonumber(arg[1])

local entered = 0
local resident, cpu, began = measure.resident(), measure.cpu(), decnet.now()

for i = 1, COUNT do
  decnet.worker("w" .. i, function()
    entered = entered + 1
    decnet.sleep(3600)
  end)
end

decnet.worker("measure", function()
  local start_s, start_cpu_s = decnet.now() - began, measure.cpu() - cpu
  assert(entered == COUNT)
  decnet.sleep(0.3)
  local now = measure.resident()
  measure.tell { bytes_per_worker = (now - resident) / COUNT, start_ms = start_s * 1e3,
    start_cpu_ms = start_cpu_s * 1e3, rss_mb = now / 1e6 }
end)
