-- SPDX-License-Identifier: AGPL-3.0-or-later
-- F: a ticker, due every 10 ms by an absolute schedule, beside SECONDS of computing.
--   decnet-host bench/workers/starve.lua 1 SECONDS

local decnet = require "decnet"
local measure = require "measure"

local SECONDS = tonumber(arg[2])
local PERIOD = 0.01

local hog_began

decnet.worker("hog", function()
  decnet.sleep(0.2)
  hog_began = decnet.now()
  local until_s, x = hog_began + SECONDS, 0
  repeat
    for i = 1, 100000 do
      x = x + i
    end
  until decnet.now() > until_s
end)

decnet.worker("ticker", function()
  local due, late, during = decnet.now(), {}, 0
  for _ = 1, (SECONDS + 0.5) // PERIOD do
    due = due + PERIOD
    if due > decnet.now() then -- a sleep of none would give way to the hog
      decnet.sleep(due - decnet.now())
    end
    local now = decnet.now()
    if hog_began and due >= hog_began and due <= hog_began + SECONDS then
      late[#late + 1] = (now - due) * 1e3
      during = during + (now < hog_began + SECONDS - 0.05 and 1 or 0)
    end
  end
  table.sort(late)
  measure.tell { ticks_during_hog = during, p50_ms = measure.quantile(late, 0.5),
    p99_ms = measure.quantile(late, 0.99), max_ms = late[#late] }
end)
