-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What the benchmarks share: reading the process's figures, telling them to the runner.

local decnet = require "decnet"

local M = {}

local PAGE = 4096

--- Bytes of memory the process has.
function M.resident()
  local file = assert(io.open "/proc/self/statm")
  local _, pages = file:read("n", "n")
  file:close()
  return pages * PAGE
end

--- CPU seconds of all threads.
M.cpu = os.clock

--- The value below which the fraction q of a sorted list lies.
function M.quantile(sorted, q)
  return sorted[math.min(#sorted, #sorted * q // 1 + 1)]
end

--- One line of JSON, which ends the measurement: the runner kills who has said it.
function M.tell(values)
  local fields = {}
  for key, value in pairs(values) do
    fields[#fields + 1] = ('"%s": %.6f'):format(key, value)
  end
  table.sort(fields)
  io.stdout:write("{", table.concat(fields, ", "), "}\n")
  io.stdout:flush()
end

--- Declare a worker that lets the others run for `warm` seconds, then measures for `seconds` how
--- often `count()` was passed; `tell(counted, seconds, cpu seconds)` says it.
function M.rate(count, warm, seconds, tell)
  decnet.worker("measure", function()
    decnet.sleep(warm)
    local counted, began, cpu = count(), decnet.now(), M.cpu()
    decnet.sleep(seconds)
    M.tell(tell(count() - counted, decnet.now() - began, M.cpu() - cpu))
  end)
end

return M
