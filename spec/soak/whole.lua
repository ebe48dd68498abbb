-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What can be judged when all of a soak's log is read: lateness, memory, what is left open; and the
-- figures.

local M = {}

-- Seconds. How late a restart may be without a stall of the whole host (the ticker's lateness), or
-- a child that ignores SIGTERM: DH_CHILD_GRACE_NS, and what the host and the machine take.
local LATE = 0.5
local CHILD_GRACE = 5.5

-- What may be lost in memory, measured while nothing runs: a fixed part, for what fragments, and a
-- part for each run. A coroutine that was forgotten costs 1,400 bytes, so 200 a run are no leak of
-- anything that each run has.
local MEMORY_SLACK = 4 * 1024 * 1024
local MEMORY_A_RUN = 200

-- The longest stall of the host between two moments: the ticker tells of the second before.
local function stall(self, from, to)
  local longest = 0
  for _, tick in ipairs(self.ticks) do
    if tick.at >= from - 0.1 and tick.at <= to + 3 then
      longest = math.max(longest, tick.max)
    end
  end
  return longest
end

local function check_lateness(self)
  for _, r in ipairs(self.late) do
    local late = r.at - r.due
    local allowed = LATE + (r.had_child and CHILD_GRACE or 0)
    if late > allowed then
      allowed = allowed + 3 * stall(self, r.due, r.at)
      if late > allowed then
        self.at = r.line
        self:complain(r, "restarted %.3f s late, %.3f s can be explained", late, allowed)
      end
    end
  end
end

-- The slope of y over x by least squares, the first `skip` left out.
local function slope(list, skip, x, y)
  local n, sx, sy, sxx, sxy = 0, 0, 0, 0, 0
  for i = skip + 1, #list do
    local a, b = x(list[i]), y(list[i])
    n, sx, sy, sxx, sxy = n + 1, sx + a, sy + b, sxx + a * a, sxy + a * b
  end
  local spread = n * sxx - sx * sx
  return n > 1 and spread > 0 and (n * sxy - sx * sy) / spread or 0
end

-- In the calms nobody runs: what is held then belongs to the host. The first ones are its way to
-- the size it needs.
local function check_calms(self)
  local calms = self.calms
  local skip = #calms // 3
  if #calms - skip < 2 then
    self:complain({}, "%d calms are too few to judge", #calms)
    return
  end
  local first, last = calms[skip + 1], calms[#calms]
  local runs = last.runs - first.runs
  self.slope = slope(calms, skip, function(c) return c.at - first.at end,
    function(c) return c.resident end)
  self.grown = self.slope * (last.at - first.at)
  self.bound = MEMORY_SLACK + MEMORY_A_RUN * runs
  if self.grown > self.bound then
    self:complain({}, "memory grows by %.0f bytes a second: %.0f in %d runs, %.0f are explained",
      self.slope, self.grown, runs, self.bound)
  end
  for i, calm in ipairs(calms) do
    if calm.files ~= calms[1].files then
      self:complain({}, "%d descriptors in calm %d, %d in the first: %s", calm.files, i,
        calms[1].files, calm.held)
    end
    if calm.children > 0 then
      self:complain({}, "%d children in calm %d", calm.children, i)
    end
  end
end

local function quantile(list, q)
  table.sort(list)
  return list[math.max(1, math.ceil(#list * q))] or 0
end

local function pick(list, key)
  local values = {}
  for i, item in ipairs(list) do
    values[i] = item[key]
  end
  return values
end

--- Half a second of median lateness is no machine that is busy.
local function check_ticker(self)
  local ticker = self.workers.ticker
  if not ticker or ticker.run ~= 1 then
    self:complain({ worker = "ticker" }, "it was disturbed: %d runs", ticker and ticker.run or 0)
  end
  local median = quantile(pick(self.ticks, "median"), 0.5)
  if #self.ticks == 0 or median > 0.5 then
    self:complain({ worker = "ticker" }, "late by %g s in the median", median)
  end
end

--- At the end of the log.
function M.check(self)
  check_lateness(self)
  check_calms(self)
  check_ticker(self)
end

--- The figures, a line each. Restarts behind a child that ignores SIGTERM are not among the late.
function M.figures(self)
  local late = {}
  for _, r in ipairs(self.late) do
    if not r.had_child then
      late[#late + 1] = math.max(0, r.at - r.due)
    end
  end
  local last = self.calms[#self.calms] or { resident = 0, files = 0 }
  local works = {}
  for kind, n in pairs(self.works) do
    works[#works + 1] = ("%s %d"):format(kind, n)
  end
  table.sort(works)
  local text = ([[
%d workers, %d lines: %d runs, %d crashes told and %d counted, %d given up
%d automatic restarts checked, %d orders, %d stops answered by an end, %d cleanups broken off
work: %s
restarts late by %.1f ms (median), %.1f ms (p99), %.1f ms (worst)
the ticker late by %.2f ms (median), %.2f ms (p99 of a second, median of them), %.1f ms (worst)
%d calms: %.1f MB resident, %+.0f bytes a second (%+.0f of %.0f allowed), %d descriptors]]):format(
    self.count, self.at, self.runs, self.crashes, self.untold, self.given_up, self.restarts,
    self.orders, self.stops, self.dropped, table.concat(works, ", "),
    1e3 * quantile(late, 0.5), 1e3 * quantile(late, 0.99), 1e3 * quantile(late, 1),
    1e3 * quantile(pick(self.ticks, "median"), 0.5), 1e3 * quantile(pick(self.ticks, "p99"), 0.5),
    1e3 * quantile(pick(self.ticks, "max"), 1),
    #self.calms, last.resident / 1e6, self.slope or 0, self.grown or 0, self.bound or 0, last.files)
  return text
end

return M
