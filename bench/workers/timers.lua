-- SPDX-License-Identifier: AGPL-3.0-or-later
-- C: COUNT workers that sleep 1 to 1000 ms (or TIMES that) again and again; how late they wake.
--   decnet-host bench/workers/timers.lua COUNT SECONDS [TIMES]

local decnet = require "decnet"
local measure = require "measure"

local COUNT, SECONDS, TIMES = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3] or 1)
local BUCKETS_PER_MS = 100

local is_measuring, wakes, worst = false, 0, 0
local late = {} -- bucket -> wakes

local function churn()
  local sleep, now, random = decnet.sleep, decnet.now, math.random
  while true do
    local delay = random(1, 1000) / 1000 * TIMES
    local began = now()
    sleep(delay)
    if is_measuring then
      local ms = (now() - began - delay) * 1e3
      local bucket = ms * BUCKETS_PER_MS // 1 | 0
      late[bucket] = (late[bucket] or 0) + 1
      wakes = wakes + 1
      if ms > worst then
        worst = ms
      end
    end
  end
end

for i = 1, COUNT do
  decnet.worker("w" .. i, churn)
end

local function quantile(buckets, q)
  local sum = 0
  for _, bucket in ipairs(buckets) do
    sum = sum + late[bucket]
    if sum >= q * wakes then
      return (bucket + 1) / BUCKETS_PER_MS
    end
  end
end

decnet.worker("measure", function()
  decnet.sleep(2 * math.min(1, SECONDS / 10))
  is_measuring = true
  local began, cpu = decnet.now(), measure.cpu()
  decnet.sleep(SECONDS)
  is_measuring = false
  local seconds, cpu_s = decnet.now() - began, measure.cpu() - cpu
  local buckets = {}
  for bucket in pairs(late) do
    buckets[#buckets + 1] = bucket
  end
  table.sort(buckets)
  measure.tell { wakeups_s = wakes / seconds, cpu_s_per_M = cpu_s / wakes * 1e6,
    p50_ms = quantile(buckets, 0.5), p99_ms = quantile(buckets, 0.99),
    p999_ms = quantile(buckets, 0.999), max_ms = worst }
end)
