-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What the monitor costs a worker that overruns nothing: the same computing worker with the monitor
-- and without, in turn, in many short rounds, so that what else the machine does hits both.
--
--   build/release/decnet-host lua bench/monitor.lua [rounds] [million loops a round]
--   valgrind --tool=callgrind --separate-threads=yes build/release/decnet-host lua \
--     bench/monitor.lua with|without [million loops]
--
-- 'worker' is the CPU time of the loop's thread, which other processes hardly change: how much
-- longer the worker takes. 'process' is that of all threads: what the monitor itself uses is in it.
-- Of the ratios of the rounds the median is told, and between what the middle half of them is. The
-- second form is one round, for those who count instructions instead.

local core = require "decnet.core"
local decnet = require "decnet"
local uv = require "luv"

local ROUNDS = tonumber(arg[1]) or 301
local LOOPS = (tonumber(arg[2]) or 2) * 1000000

local function compute()
  local sum = 0
  for i = 1, LOOPS do
    sum = sum + i % 7
  end
  return sum
end

-- CPU seconds of this thread: those of the process without those of its other threads. What the
-- kernel tells of a thread that runs is up to a tick old, so the others are asked, which sleep.
local function thread_clock()
  local own = assert(uv.fs_readlink "/proc/thread-self", "this benchmark needs Linux"):match "%d+$"
  local others = 0
  for name in function(request) return uv.fs_scandir_next(request) end,
    assert(uv.fs_scandir "/proc/self/task") do
    if name ~= own then
      local file = assert(io.open("/proc/self/task/" .. name .. "/schedstat"))
      others = others + file:read "n" / 1e9
      file:close()
    end
  end
  return os.clock() - others
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

local function quantile(values, share)
  table.sort(values)
  return values[math.max(1, math.ceil(#values * share))]
end

if arg[1] == "with" or arg[1] == "without" then
  measure(arg[1] == "with")
  return
end

local results, ratios = {}, { worker = {}, process = {} }
for i = 1, ROUNDS do
  local round = {}
  -- each comes first in every other round
  for _, has_monitor in ipairs(i % 2 == 0 and { true, false } or { false, true }) do
    local name = has_monitor and "with " or "without "
    round[name .. "worker"], round[name .. "process"] = measure(has_monitor)
  end
  for name, seconds in pairs(round) do
    results[name] = results[name] or {}
    table.insert(results[name], seconds)
  end
  for name, list in pairs(ratios) do
    list[i] = round["with " .. name] / round["without " .. name]
  end
end

for _, name in ipairs { "worker", "process" } do
  print(("%-7s  with the monitor %.4f s, without %.4f s; ratio %.4f (%.4f to %.4f)"):format(name,
    quantile(results["with " .. name], 0.5), quantile(results["without " .. name], 0.5),
    quantile(ratios[name], 0.5), quantile(ratios[name], 0.25), quantile(ratios[name], 0.75)))
end
print(("medians of %d rounds; of the ratios the middle half"):format(ROUNDS))
