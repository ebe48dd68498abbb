-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet-host plan: in which order the workers of a script start and stop, how long they wait
-- before restarts, and when they are given up. Every figure is observed: the core is run on the
-- virtual clock, with bodies that take one second to become ready, or crash at once, or hang.

local _ENV = require "decnet.stdlib"()
local columns = require "decnet.columns"
local core = require "decnet.core"
local decnet = require "decnet"
local declared_of = require "decnet.declared"

local M = {}

-- Delays that are printed; what comes after them is summed up.
local SHOWN = 8

-- Crashes after which a loop is left alone, and the end of its clock in seconds.
local MOST_CRASHES = 10000
local MOST_SECONDS = 1e9

-- What must not interfere where only the order matters.
local CALM = { notify = true, start_timeout = math.huge, watchdog = math.huge }

-- ---- order -------------------------------------------------------------------------------------

-- Becomes ready in one second, and takes one second to stop: who starts or stops at the same
-- second does so together.
local function slow_body(on_cancel)
  return function(worker)
    return function(self)
      decnet.sleep(1)
      self:ready()
      local _, err = pcall(decnet.park)
      on_cancel(worker)
      decnet.shield(math.huge, decnet.sleep, 1)
      error(err, 0)
    end
  end
end

local function run_until(host, is_over)
  while not is_over() and host:idle_for() < math.huge do
    host:step(host:after(MOST_SECONDS))
  end
end

local function changed(declared, changes)
  local workers = {}
  for i, worker in ipairs(declared.workers) do
    workers[i] = { name = worker.name, options = declared_of.with(worker.options, changes) }
  end
  return { workers = workers, groups = declared.groups }
end

-- Steps of a list of { name, at }: those of one second together.
local function steps_of(moments, from)
  local steps = {}
  for _, moment in ipairs(moments) do
    local step = math.floor(moment.at - from + 0.5) + 1
    steps[step] = steps[step] or {}
    table.insert(steps[step], moment.name)
  end
  return steps
end

-- In which steps the workers start, and stop when the host does.
local function order(declared)
  local calm = declared_of.with(CALM, { stop_timeout = math.huge })
  local starts, stops = {}, {}
  local host
  host = declared_of.host(changed(declared, calm), slow_body(function(worker)
    stops[#stops + 1] = { name = worker.name, at = host:now() }
  end), function(event)
    if event.event == "start" then
      starts[#starts + 1] = { name = event.worker, at = event.at }
    end
  end)
  run_until(host, function() return false end)
  local stop_at = host:now()
  host:stop()
  run_until(host, function() return host:is_over() end)
  host:close()
  return steps_of(starts, 0), steps_of(stops, stop_at)
end

-- How long a stop takes if nobody does as asked: math.huge if somebody may take for ever.
local function longest_stop(declared, shutdown_timeout)
  local host = declared_of.host(changed(declared, CALM), function()
    return function(self)
      self:ready()
      decnet.shield(math.huge, decnet.park)
    end
  end, function() end, { shutdown_timeout = shutdown_timeout })
  run_until(host, function() return false end)
  local began = host:now()
  host:stop()
  run_until(host, function() return host:is_over() end)
  local seconds = host:is_over() and host:now() - began or math.huge
  host:close()
  return seconds
end

-- ---- crash loops -------------------------------------------------------------------------------

---@class decnet.CrashLoop
---@field delays number[] the first of them
---@field steady { delay: number, from: integer }? the delay stays the same from this restart on
---@field crashes integer seen
---@field is_limited boolean is there a limit, of its own or of its group?
---@field last number the last delay
---@field at number? given up so many seconds after the first start
---@field reason string? why

-- Delays never become shorter, so nothing new happens once the loop is older than every window and
-- its delay stays the same.
local function is_settled(loop, age, window)
  return loop.steady and age > window or loop.crashes >= MOST_CRASHES or age > MOST_SECONDS
end

local function note_crash(loop, event)
  loop.crashes = event.run
  local delay = event.delay
  if not delay then
    return
  elseif #loop.delays < SHOWN then
    loop.delays[event.run] = delay
  end
  if delay ~= loop.last then
    loop.steady = nil
  elseif not loop.steady then
    loop.steady = { delay = delay, from = event.run - 1 }
  end
  loop.last = delay
end

-- The worker, alone with its group, crashes at once each time it is started.
local function crash_loop(worker, group, changes)
  local options = declared_of.with(worker.options, changes)
  local window = math.max(options.max_restarts < math.huge and options.within or 0,
    group and group.max_restarts < math.huge and group.within or 0)
  local loop = { delays = {}, crashes = 0, is_limited = window > 0 }
  local host = declared_of.host({
    workers = { { name = worker.name, options = options } }, groups = { group },
  }, function()
    return function() error("crash", 0) end
  end, function(event)
    if event.event == "crash" then
      note_crash(loop, event)
    elseif event.event == "give_up" then
      loop.at, loop.reason = event.at, event.reason
    end
  end)
  run_until(host, function() return loop.at or is_settled(loop, host:now(), window) end)
  host:close()
  return loop
end

-- Jitter j spreads a delay over d(1-j) .. d(1+j), at most max_backoff: the edges are the delays of
-- a policy whose times are that much shorter or longer.
local function edges(options)
  local j = options.jitter
  local low = { min_backoff = options.min_backoff * (1 - j),
    max_backoff = j < 1 and options.max_backoff * (1 - j) or 0 }
  local high = { min_backoff = options.min_backoff * (1 + j) }
  return low, high
end

-- How long after a clean return it is started again.
local function return_delay(worker, changes)
  local delay
  local options = declared_of.with(worker.options, { after = {}, group = false, jitter = 0 })
  local host = declared_of.host({ groups = {}, workers = { {
    name = worker.name, options = declared_of.with(options, changes),
  } } }, function()
    return function() end
  end, function(event)
    delay = delay or event.event == "restart" and event.at or nil
  end)
  run_until(host, function() return delay end)
  host:close()
  return delay
end

-- Nothing if it is not.
local function returns_of(worker)
  if worker.options.restart ~= "always" then
    return nil
  end
  local short, long = edges(worker.options)
  return { low = return_delay(worker, short), high = return_delay(worker, long) }
end

local function loops_of(worker, group)
  local plain = { after = {}, jitter = 0, notify = false, essential = false }
  if worker.options.jitter == 0 then
    local loop = crash_loop(worker, group, plain)
    return loop, loop
  end
  local short, long = edges(worker.options)
  short = declared_of.with(plain, short)
  local low = crash_loop(worker, group, short)
  local high = crash_loop(worker, group, declared_of.with(plain, long))
  -- the short delays may be given up before the long ones, which have lower edges all the same
  local free = declared_of.with(short, { max_restarts = math.huge, group = false })
  local unlimited = crash_loop(worker, nil, free)
  low.delays = table.move(unlimited.delays, 1, #high.delays, 1, {})
  low.last, low.steady = unlimited.last, unlimited.steady
  return low, high
end

-- ---- the plan ----------------------------------------------------------------------------------

---@class decnet.PlannedWorker
---@field name string
---@field options table
---@field low decnet.CrashLoop with the shortest delays that jitter allows
---@field high decnet.CrashLoop with the longest; the same table without jitter
---@field returns { low: number, high: number }? delay after a clean return

---@class decnet.Plan
---@field workers decnet.PlannedWorker[]
---@field groups decnet.DeclaredGroup[]
---@field starts string[][] names by step
---@field stops string[][]
---@field longest_stop number

local LOOP_KEYS = { "restart", "min_backoff", "backoff_factor", "max_backoff", "jitter",
  "reset_after", "max_restarts", "within", "group" }

-- Those who say the same get the same: a thousand workers are mostly one.
local function signature(options)
  local parts = {}
  for i, key in ipairs(LOOP_KEYS) do
    parts[i] = string.format("%q", options[key])
  end
  return table.concat(parts, "\n")
end

--- Observe what was declared. There must be no other host.
---@param declared decnet.Declared
---@param options? { shutdown_timeout: number? }
---@return decnet.Plan
function M.make(declared, options)
  assert(not core.current_host(), "plan: a host is running already")
  local groups, known, workers = {}, {}, {}
  for _, group in ipairs(declared.groups) do
    groups[group.name] = group
  end
  for i, worker in ipairs(declared.workers) do
    local key = signature(worker.options)
    local loops = known[key]
    if not loops then
      loops = table.pack(loops_of(worker, groups[worker.options.group]))
      loops[3] = returns_of(worker)
      known[key] = loops
    end
    workers[i] = { name = worker.name, options = worker.options,
      low = loops[1], high = loops[2], returns = loops[3] }
  end
  local starts, stops = order(declared)
  return { workers = workers, groups = declared.groups, starts = starts, stops = stops,
    longest_stop = longest_stop(declared, options and options.shutdown_timeout) }
end

-- ---- as text -----------------------------------------------------------------------------------

local function number(seconds)
  return string.format("%.9g", seconds)
end

-- Without the microseconds that a virtual clock moves by between turns.
local function moment(seconds)
  return number(math.floor(seconds * 1000 + 0.5) / 1000)
end

local function range(low, high, format)
  format = format or number
  return low == high and format(low) or string.format("%s–%s", format(low), format(high))
end

local function plural(n, what)
  return string.format("%d %s%s", n, what, n == 1 and "" or "s")
end

local function remark_of(options)
  local remarks = {}
  if #options.after > 0 then
    remarks[1] = "after " .. table.concat(options.after, ", ")
  end
  if options.notify then
    remarks[#remarks + 1] = "ready when it calls self:ready()"
  end
  if options.start_timeout < math.huge then
    remarks[#remarks + 1] = string.format("within %s s", number(options.start_timeout))
  end
  return table.concat(remarks, ", ")
end

local function put_steps(out, steps, width, remark)
  local rows = {}
  for i, names in ipairs(steps) do
    for _, name in ipairs(names) do
      rows[#rows + 1] = { tostring(i), name, remark and remark(name) or "" }
    end
  end
  columns.put(out, rows, width, 2)
end

local function delays_of(worker)
  local low, high = worker.low, worker.high
  local parts = {}
  for i = 1, math.min(#low.delays, #high.delays) do
    local steady = low.steady and high.steady
    if steady and i > low.steady.from + 1 and i > high.steady.from + 1 then
      break
    end
    parts[i] = range(low.delays[i], high.delays[i])
  end
  if high.at and #parts == high.crashes - 1 then
    return table.concat(parts, " ") -- these are all
  end
  local steady, more = high.steady, ""
  if not steady then
    more = high.at and "" or " longer each time"
  elseif steady.from > #parts then
    more = string.format(" %s from restart %d on", range(low.last, high.last), steady.from)
  end
  return table.concat(parts, " ") .. " …" .. more
end

local function give_up_of(worker)
  local low, high = worker.low, worker.high
  local text
  if low.at then
    local crash = low.crashes == high.crashes and tostring(low.crashes)
      or string.format("%d–%d", low.crashes, high.crashes)
    local when = high.at and range(low.at, high.at, moment) or moment(low.at)
    text = string.format("at crash %s, %s s after the first start: %s", crash, when, low.reason)
    if not high.at then
      text = string.format("at crash %d at the earliest, %s s after the first start: %s",
        low.crashes, when, low.reason)
    end
    return text .. (worker.options.essential and "; essential: the host stops" or "")
  elseif low.is_limited and low.crashes >= MOST_CRASHES then
    return string.format("not within %d crashes", low.crashes)
  end
  return "never"
end

local function put_loops(out, plan, width)
  local rows = { { "worker", "delays (s)", "given up" } }
  for _, worker in ipairs(plan.workers) do
    local delays = #worker.low.delays > 0 and delays_of(worker) or "none"
    rows[#rows + 1] = { worker.name, delays, give_up_of(worker) }
  end
  columns.put(out, rows, width)
end

local function put_returns(out, plan, width)
  local rows = {}
  for _, worker in ipairs(plan.workers) do
    if worker.returns then
      local delay = range(worker.returns.low, worker.returns.high, moment)
      rows[#rows + 1] = { worker.name, string.format("%s s later, each time", delay) }
    end
  end
  if #rows > 0 then
    out[#out + 1] = ""
    out[#out + 1] = "after a clean return it is started again"
    columns.put(out, rows, width)
  end
end

local function put_groups(out, plan, width)
  if #plan.groups == 0 then
    return
  end
  out[#out + 1] = ""
  out[#out + 1] = "groups"
  local members = {}
  for _, worker in ipairs(plan.workers) do
    local group = worker.options.group
    if group then
      members[group] = members[group] or {}
      table.insert(members[group], worker.name)
    end
  end
  local rows = {}
  for i, group in ipairs(plan.groups) do
    local limit = "no limit"
    if group.max_restarts < math.huge then
      limit = string.format("fails after more than %s", plural(group.max_restarts, "restart"))
        .. (group.within < math.huge and string.format(" within %s s", number(group.within)) or "")
    end
    rows[i] = { group.name, group.strategy, limit,
      table.concat(members[group.name] or { "no members" }, ", ") }
  end
  columns.put(out, rows, width)
end

--- The plan for people to read.
---@param plan decnet.Plan
---@param title string
---@param width? number of the terminal; no limit
---@return string
function M.text(plan, title, width)
  local out = { string.format("%s: %s", title, plural(#plan.workers, "worker")) }
  if #plan.workers == 0 then
    return out[1] .. "\n"
  end
  width = width or math.huge
  local options = {}
  for _, worker in ipairs(plan.workers) do
    options[worker.name] = worker.options
  end
  local function put_head(text)
    out[#out + 1] = ""
    columns.put_text(out, text, width)
  end
  put_head "start, step by step: each as soon as those that it is after are ready"
  put_steps(out, plan.starts, width, function(name) return remark_of(options[name]) end)
  local longest = plan.longest_stop
  put_head("stop, step by step: each as soon as those after it have ended; "
    .. (longest < math.huge and string.format("at most %s s in all", moment(longest))
    or "it may take for ever (stop_timeout = math.huge)"))
  put_steps(out, plan.stops, width)
  put_groups(out, plan, width)
  put_head "if it crashes at once each time"
  put_loops(out, plan, width)
  put_returns(out, plan, width)
  return table.concat(out, "\n") .. "\n"
end

return M
