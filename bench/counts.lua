-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What one wake-up, restart, message and request cost, in instructions and system calls: figures
-- that a busy machine does not change. Each program of bench/counts runs for two sizes; what one
-- costs is the difference, so that starting and ending the host cancel out.
--
-- Instructions: of all threads, as cachegrind counts them. System calls: of the loop's thread, as
-- strace counts them.

local child = require "child"
local tables = require "tables"

local M = {}

local BASELINE = "bench/counts.txt"
local TOLERANCE = 1.05
local CALLS_SLACK = 0.05 -- how many timers fall due in one turn is a matter of time
local TRIES = 3
local RENEW = "./dev bench --counts --renew"

-- name, sizes, and how many there are for each of a size
local COUNTED = {
  { name = "start", small = 1000, large = 6000, each = 1, what = "a worker's start" },
  { name = "switch", small = 20, large = 220, each = 200, what = "giving way" },
  { name = "wakeup", small = 20, large = 120, each = 200, what = "a wake-up" },
  { name = "restart", small = 20, large = 70, each = 200, what = "a restart" },
  { name = "message", small = 20, large = 120, each = 200, what = "a message" },
  { name = "fanin", small = 20, large = 220, each = 100, what = "a message of many to one" },
  { name = "request", small = 100, large = 600, each = 1, what = "a request, both ends" },
}

-- It ends with us: 'timeout' has a process group of its own, which Ctrl-C does not reach.
local function output_of(seconds, command)
  local pipe = io.popen(("exec setpriv --pdeathsig TERM timeout -k 10 %d %s"):format(seconds,
    command))
  local text = pipe:read "a"
  local is_ok = pipe:close()
  return is_ok and text, text
end

local function command_of(host, name, arguments)
  return ("%s run --no-control --log-level error bench/counts/%s.lua %s"):format(
    child.quote(host), name, arguments)
end

local READ = {
  instructions = function(host, name, arguments)
    local text, all = output_of(1200, "valgrind --tool=cachegrind --cache-sim=no "
      .. "--cachegrind-out-file=/dev/null " .. command_of(host, name, arguments)
      .. " 2>&1 >/dev/null")
    local count = text and text:match "I +refs: +([%d,]+)"
    return count and tonumber((count:gsub(",", ""))), all
  end,
  calls = function(host, name, arguments)
    local text, all = output_of(300, "strace -c -U calls,name -o /dev/stdout "
      .. command_of(host, name, arguments) .. " 2>/dev/null")
    return tonumber(text and text:match "(%d+)%s+total"), all
  end,
}

local function difference(host, kind, name, small, large)
  local less, said = READ[kind](host, name, small)
  local more = less and READ[kind](host, name, large)
  if not more then
    error(("%s of %s were not counted; are valgrind and strace installed (./dev bench --counts "
      .. "does it)? They said: %s"):format(kind, name, said:sub(-500)), 0)
  end
  return more - less
end

local function count(host, counted, kind)
  return difference(host, kind, counted.name, counted.small, counted.large)
    / ((counted.large - counted.small) * counted.each)
end

--- Instructions of the start of a worker, where there are so many.
function M.of_start(host, workers)
  local few = workers // 2
  return difference(host, "instructions", "start", few, workers) / (workers - few)
end

--- Instructions of a wake-up, where there are so many workers.
function M.of_wakeup(host, workers)
  return difference(host, "instructions", "wakeup", "2 " .. workers, "4 " .. workers)
    / (2 * workers)
end

-- What a busy machine adds is not there each time: what is over the limit is counted again.
local function least(host, counted, kind, limit)
  local value = count(host, counted, kind)
  for _ = 2, value > limit and TRIES or 1 do
    value = math.min(value, count(host, counted, kind))
  end
  return value
end

local function read_baseline()
  local baseline = {}
  local file = io.open(BASELINE)
  for line in file and file:lines() or function() end do
    local name, kind, value = line:match "^(%w+) (%w+) (%S+)$"
    if name then
      baseline[name .. kind] = tonumber(value)
    end
  end
  return baseline
end

local function write_baseline(found)
  local file = assert(io.open(BASELINE, "w"))
  file:write("# What one of each costs (bench/counts.lua); written by ", RENEW, "\n")
  for _, counted in ipairs(COUNTED) do
    for _, kind in ipairs { "instructions", "calls" } do
      file:write(("%s %s %.3f\n"):format(counted.name, kind, found[counted.name .. kind]))
    end
  end
  file:close()
end

--- Count, and compare with the baseline or write it. Returns the table, and a line for each figure
--- that has grown.
function M.measure(host, renews)
  local baseline, found, grown, rows = read_baseline(), {}, {}, {}
  for i, counted in ipairs(COUNTED) do
    local row = { counted.what }
    for _, kind in ipairs { "instructions", "calls" } do
      local before = baseline[counted.name .. kind]
      local limit = before and before * TOLERANCE + (kind == "calls" and CALLS_SLACK or 0) or 0
      local value = least(host, counted, kind, limit)
      found[counted.name .. kind] = value
      row[#row + 1] = kind == "calls" and ("%.2f"):format(value) or tables.number(value)
      row[#row + 1] = before and ("%+.1f %%"):format((value / before - 1) * 100) or "new"
      if value > limit then
        grown[#grown + 1] = ("bench: %s takes %.2f %s, over 5 %% more than %s in %s\n"):format(
          counted.what, value, kind, before or "nothing", BASELINE)
      end
    end
    rows[i] = row
  end
  if renews then
    write_baseline(found)
    grown = {}
  elseif #grown > 0 then
    grown[#grown + 1] = ("bench: if it is worth that: %s\n"):format(RENEW)
  end
  return tables.grid({ "", "instructions", "change", "system calls", "change" }, rows),
    table.concat(grown)
end

return M
