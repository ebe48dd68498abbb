-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What the monitor costs a worker that overruns nothing: the same computing worker with the monitor
-- and without, in turn.
--
--   build/release/decnet-host lua bench/monitor.lua [rounds] [million loops a round]
--
-- 'worker' is the CPU time of the loop's thread, which other processes hardly change: how much
-- longer the worker takes. 'process' is that of all threads: what the monitor itself uses is in it.

local core = require "decnet.core"
local decnet = require "decnet"

local ROUNDS = tonumber(arg[1]) or 41
local LOOPS = (tonumber(arg[2]) or 10) * 1000000

local function compute()
  local sum = 0
  for i = 1, LOOPS do
    sum = sum + i % 7
  end
  return sum
end

-- CPU seconds of this thread.
local function thread_clock()
  local file = assert(io.open "/proc/thread-self/schedstat", "this benchmark needs Linux")
  local ns = file:read "n"
  file:close()
  return ns / 1e9
end

-- One round: CPU seconds of the worker, and of the process.
local function measure(has_monitor)
  local host = core.host { log = false, monitor = has_monitor }
  local worker, process
  decnet.worker("computes", function()
    local thread_began, process_began = thread_clock(), os.clock()
    compute()
    worker, process = thread_clock() - thread_began, os.clock() - process_began
  end)
  assert(host:run() == 0)
  host:close()
  return worker, process
end

local function median(values)
  table.sort(values)
  return values[(#values + 1) // 2]
end

local results = {}
for _, name in ipairs { "with worker", "with process", "without worker", "without process" } do
  results[name] = {}
end
local ratios = { worker = {}, process = {} }
for i = 1, ROUNDS do
  local round = {}
  -- each comes first in every other round
  for _, has_monitor in ipairs(i % 2 == 0 and { true, false } or { false, true }) do
    local name = has_monitor and "with " or "without "
    round[name .. "worker"], round[name .. "process"] = measure(has_monitor)
  end
  for name, seconds in pairs(round) do
    table.insert(results[name], seconds)
  end
  for name, list in pairs(ratios) do
    list[i] = round["with " .. name] / round["without " .. name]
  end
end

for _, name in ipairs { "worker", "process" } do
  print(("%-7s  with the monitor %.4f s, without %.4f s; ratio %.4f"):format(name,
    median(results["with " .. name]), median(results["without " .. name]), median(ratios[name])))
end
print(("medians of %d rounds"):format(ROUNDS))
