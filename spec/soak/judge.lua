-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Judges a soak by its log alone: what is wrong with it, and what it shows.
--
-- The log has the host's lines (--log-format json --log-level debug), those of its workers
-- (workers.lua: begin, end, and by what a run ends), and those of drive.lua: what is declared,
-- ordered and answered, and what was measured from outside. Nothing of the program is used but the
-- names of its messages.
--
-- What must hold of each worker:
--   runs grow by one, one at a time, each that began has its end;
--   nothing starts that is done, stopped or given up, unless ordered since; nor beside a dependency
--   that is not ready;
--   delays follow the backoff rule and are kept, the streak is what the crashes add up to;
--   no more restarts inside a window than max_restarts;
--   crashes that have no line are told of by the next one, by their number;
--   every stop is answered by an end.
-- Of the host: at the end nobody runs; nothing is left open; memory does not grow.

local json = require "spec.support.json"
local share = require "spec.soak.share"
local whole = require "spec.soak.whole"

local M = {}

-- Seconds. Stamps are milliseconds, cut off: two of them are wrong by less than 2 ms.
local STAMP = 0.002
-- A run that lasted reset_after but for so much may have ended the streak or not.
local UNSURE = 0.05

-- ---- workers -----------------------------------------------------------------------------------

local Judge = {}
Judge.__index = Judge

function Judge:complain(line, text, ...)
  self.complaints[#self.complaints + 1] = ("line %d, %s: %s"):format(self.at, line.worker or "host",
    text:format(...))
end

function Judge:worker(line)
  local w = self.workers[line.worker]
  if not w then
    w = { name = line.worker, run = 0, orders = 0, least = 0, most = 0, after = {}, options = {},
      restarts = {}, cleared_at = 0 }
    self.workers[line.worker] = w
  end
  return w
end

-- The delay before restart n of a streak: its bounds.
local function backoff(options, n)
  local cap = options.max_backoff
  local delay = math.min(options.min_backoff * options.backoff_factor ^ (n - 1), cap)
  local spread = delay * options.jitter
  return math.min(delay - spread, cap), math.min(delay + spread, cap)
end

-- Has the run lasted long enough to end the streak? nil: nobody can tell from here.
local function is_long(w, at)
  local lasted, enough = at - w.started, w.options.reset_after
  if lasted >= enough + UNSURE then
    return true
  elseif lasted >= enough - UNSURE then
    return nil
  end
  return false
end

local function count_crash(w, at)
  local long = is_long(w, at)
  if long == nil then
    w.streak = nil
  elseif long then
    w.streak = 1
  elseif w.streak then
    w.streak = w.streak + 1
  end
end

-- Its run is over: what was it, if no line says? Done once, as late as possible.
local function settle(self, line, w)
  if not w.is_alive or w.is_settled then
    return
  end
  w.is_settled = true
  if w.crash then
    return
  end
  if w.how == "raises" then
    w.least, w.most = w.least + 1, w.most + 1
    count_crash(w, w.left)
    w.crash = { at = w.left, retry_after = w.retry_after, streak = w.streak }
    self.untold = self.untold + 1
  elseif w.how ~= "returns" then
    -- Cancelled or killed: for a stop, for its group, or because a watch found it at fault.
    w.is_unclear = true
    w.most = w.most + 1
    w.streak = nil
    if not w.is_excused and not w.is_grouped and not w.is_watched and not self.is_stopping then
      self:complain(line, "run %d ended, and nobody wanted it to", w.run)
    end
  end
end

-- A line that tells how many crashes had none.
local function tell(self, line, w)
  local told = line.suppressed or 0
  if told < w.least or told > w.most then
    self:complain(line, "%d crashes had no line, it tells of %d", w.least, told)
  end
  w.least, w.most = 0, 0
end

local function check_closed(self, line, w)
  if w.begun and not w.ended and not w.is_cut then
    self:complain(line, "run %d has begun and not ended", w.run)
  end
end

-- Has what it waits for come back? Then it does not wait out its delay.
local function has_woken(self, w, since)
  for _, name in ipairs(w.after) do
    local at = self.workers[name].ready_at
    if at and at >= since - STAMP then
      return true
    end
  end
  return false
end

-- What must be between the last run and this automatic one.
local function due(self, line, w, at)
  local crash, o = w.crash, w.options
  local least, most
  if w.is_unclear or crash and crash.is_rejected then -- a reload may put it back at once
    return nil
  elseif crash and crash.retry_after then
    least, most = crash.retry_after, crash.retry_after
  elseif crash and crash.delay then
    least, most = crash.delay, crash.delay
  elseif crash then
    if not crash.streak then
      return nil
    end
    least, most = backoff(o, crash.streak)
  elseif w.how == "returns" and o.restart == "always" then
    least, most = backoff(o, 1)
  else
    self:complain(line, "run %d is restarted without a crash", w.run)
    return nil
  end
  -- the line of the crash comes after the end, at times much later
  local left = w.left or w.started
  if at < left + least - STAMP and not has_woken(self, w, left) then
    self:complain(line, "restarted %.3f s after run %d, the delay is %.3f s", at - left, w.run,
      least)
  end
  return math.max(w.left or crash.at, w.ended_at or left) + most
end

-- Crashes that were restarted, in the window.
local function check_limit(self, line, w)
  local o = w.options
  if not w.crash or not o.max_restarts or w.crash.is_rejected or w.crash.at <= w.cleared_at then
    return
  end
  w.restarts[#w.restarts + 1] = w.crash.at
  local count = 0
  for _, at in ipairs(w.restarts) do
    count = count + (at > w.crash.at - o.within + UNSURE and 1 or 0)
  end
  if count > o.max_restarts then
    self:complain(line, "%d restarts within %g s, %d are allowed", count, o.within, o.max_restarts)
  end
end

local function is_ready(w)
  return w.down == "done" or w.is_alive and not w.crash and w.ready == w.run
end

local function check_needs(self, line, w)
  for _, name in ipairs(w.after) do
    if not is_ready(self.workers[name]) then
      self:complain(line, "started beside %s, which is not ready", name)
    end
  end
end

local function on_restart(self, line, w, at)
  local by = due(self, line, w, at)
  check_limit(self, line, w)
  self.restarts = self.restarts + 1
  -- those of a group, and those that wait for others, may have to wait longer
  if by and not w.is_grouped and #w.after == 0 then
    self.late[#self.late + 1] = { worker = w.name, line = self.at, due = by, at = at,
      had_child = w.had_child }
  end
end

local function is_meddled(w, at)
  return w.meddled_at ~= nil and at < w.meddled_at + share.MEDDLING
end

local on = {}

function on.started(self, line, w, at)
  settle(self, line, w)
  if line.run ~= w.run + 1 then
    self:complain(line, "run %d follows run %d", line.run, w.run)
  end
  check_closed(self, line, w)
  if w.down and not w.is_excused and not w.is_grouped then
    self:complain(line, "started though it is %s", w.down)
  elseif not w.down and not w.is_excused and w.run > 0 and not w.is_grouped then
    on_restart(self, line, w, at)
  end
  check_needs(self, line, w)
  if self.is_stopping then
    self:complain(line, "started though the host stops")
  end
  self.runs = self.runs + 1
  w.run, w.started, w.is_alive, w.down = line.run, at, true, nil
  w.begun, w.ended, w.ended_at, w.crash, w.how, w.left = nil, nil, nil, nil, nil, nil
  w.retry_after, w.is_cut, w.had_child, w.is_settled = nil, nil, nil, nil
  w.is_unclear, w.order = nil, nil
  local is_tried_again = w.is_behind and self.reloads > 0 -- a reload may be slower than a backoff
  w.is_excused = w.orders > 0 or is_meddled(w, at) or is_tried_again
end

-- Lines of a run that must be the one that is alive.
local function check_run(self, line, w)
  if line.run ~= w.run or not w.is_alive then
    self:complain(line, "'%s' of run %s; run %d is %s", line.msg, line.run, w.run,
      w.is_alive and "alive" or w.down or "over")
    return false
  end
  return true
end

function on.begin(self, line, w)
  if check_run(self, line, w) and w.begun then
    self:complain(line, "run %d begins twice", w.run)
  end
  w.begun = true
  w.had_child = line.work == "stubborn_child"
  self.works[line.work] = (self.works[line.work] or 0) + 1
end

on["end"] = function(self, line, w, at)
  if check_run(self, line, w) and w.ended then
    self:complain(line, "run %d ends twice", w.run)
  end
  w.ended, w.ended_at = true, at
  w.how = w.how or "killed"
end

local function on_leaving(self, line, w, at)
  check_run(self, line, w)
  w.how, w.left, w.retry_after = line.msg, w.left or at, line.retry_after
end

on.raises, on.returns, on.cancelled = on_leaving, on_leaving, on_leaving

function on.ready(self, line, w, at)
  if check_run(self, line, w) and w.ready == w.run then
    self:complain(line, "run %d is ready twice", w.run)
  end
  w.ready, w.ready_at = w.run, at
end

function on.crashed(self, line, w, at)
  check_run(self, line, w)
  tell(self, line, w)
  self.crashes = self.crashes + 1
  if w.crash then
    self:complain(line, "run %d crashes twice", w.run)
  end
  local left = w.left or at
  w.crash = { at = left, delay = line.restart_in, streak = line.streak or 1,
    retry_after = w.retry_after }
  if line.msg:find ", not restarted$" then
    w.streak = nil
    return
  end
  if line.msg:find "goes back" then
    w.crash.is_rejected, w.is_behind = true, true
    w.streak = nil
    return
  end
  if not w.is_excused and not w.crash.retry_after and line.restart_in then
    count_crash(w, at)
    if w.streak and w.streak ~= w.crash.streak then
      self:complain(line, "streak %d, but it is the crash number %d in a row", w.crash.streak,
        w.streak)
    end
    local least, most = backoff(w.options, w.crash.streak)
    if line.restart_in < least - 1e-6 or line.restart_in > most + 1e-6 then
      self:complain(line, "restart in %g s, the rule says %g to %g", line.restart_in, least, most)
    end
  elseif w.retry_after and line.restart_in and math.abs(w.retry_after - line.restart_in) > 1e-6 then
    self:complain(line, "restart in %g s, it asked for %g", line.restart_in, w.retry_after)
  end
  w.streak = w.orders == 0 and w.crash.streak or nil
end

-- Of a flood that is over.
local function on_summary(self, line, w)
  settle(self, line, w)
  tell(self, line, w)
end

function on.recovered(self, line, w)
  tell(self, line, w)
  w.streak = 0
end

local function on_down(self, line, w, state)
  settle(self, line, w)
  check_closed(self, line, w)
  if w.least > 0 then
    self:complain(line, "%d crashes had no line", w.least)
  end
  w.least, w.most = 0, 0
  w.is_alive, w.down, w.streak = false, state, nil
end

function on.stopped(self, line, w)
  if not w.is_excused and not w.is_grouped and not self.is_stopping then
    self:complain(line, "stopped, and nobody ordered it")
  end
  on_down(self, line, w, "stopped")
end

function on.done(self, line, w, at)
  w.ready_at = at
  if w.options.restart == "always" then
    self:complain(line, "done, though it is restarted always")
  end
  on_down(self, line, w, "done")
end

-- Its cleanup may still be under way.
local function on_give_up(self, line, w)
  if not w.crash then
    self:complain(line, "given up without a crash")
  end
  self.given_up = self.given_up + 1
  w.down, w.streak, w.is_settled = "given up", nil, true
end

-- A cleanup that was broken off, as it took too long on a busy machine, tells of no end.
on["error while ending"] = function(self, line, w)
  if line.error:find("was dropped", 1, true) then
    self.dropped = self.dropped + 1
    w.ended = true
  end
end

function on.killed(self, line, w)
  check_run(self, line, w)
  if line.reason and line.reason:find("its cleanup", 1, true) then
    self.dropped = self.dropped + 1
    w.is_cut = true
  end
end

-- ---- orders ------------------------------------------------------------------------------------

local function forget_restarts(w, at)
  w.streak, w.restarts, w.cleared_at = nil, {}, at
end

local function excuse(w, verb, at)
  w.is_excused = w.is_excused or verb ~= "reset"
  forget_restarts(w, at)
end

function on.order(self, line, w, at)
  -- it tries once more with those that went back
  for _, other in pairs(line.verb == "reload" and self.workers or {}) do
    if other.is_behind then
      excuse(other, line.verb, at)
    end
  end
  self.reloads = self.reloads + (line.verb == "reload" and 1 or 0)
  self.orders = self.orders + 1
  w.orders = w.orders + 1
  w.order = w.run
  excuse(w, line.verb, at)
end

function on.answered(self, line, w, at)
  self.reloads = self.reloads - (line.verb == "reload" and 1 or 0)
  w.orders = w.orders - 1
  forget_restarts(w, at)
  if line.code ~= 0 or w.orders > 0 or is_meddled(w, at) then
    return
  end
  if line.verb == "stop" then
    if not w.down then
      self:complain(line, "a stop was answered, but run %d has not ended", w.run)
    end
    w.is_excused = false
    self.stops = self.stops + 1
  elseif w.is_alive and not w.how and w.run ~= w.order then
    w.is_excused = false
  end
end

function on.meddles(self, line, _, at)
  local w = self:worker { worker = line.whom }
  w.meddled_at = at
  excuse(w, line.verb, at)
end

-- ---- the host ----------------------------------------------------------------------------------

function on.declared(self, line, w)
  self.count = self.count + 1
  w.options, w.after = line.options, line.after
  w.is_grouped = line.is_grouped
  w.is_watched = line.is_watched
end

function on.lateness(self, line, w, at)
  w.begun = nil -- it tells nothing of its end
  self.ticks[#self.ticks + 1] = { at = at, max = line.max, p99 = line.p99, median = line.median }
end

on["a calm"] = function(self, line, _, at)
  line.at, line.runs = at, self.runs
  self.calms[#self.calms + 1] = line
end

on["host ended"] = function(self, line)
  self.has_ended = true
  if line.code ~= 0 then
    self:complain(line, "exit code %d, signal %d", line.code, line.signal)
  end
  if line.children > 0 then
    self:complain(line, "%d of its children are left", line.children)
  end
end

-- ---- reading -----------------------------------------------------------------------------------

local function handler(line)
  local msg = line.msg
  if on[msg] then
    return on[msg]
  elseif line.worker and msg:find "^crashed" then
    return line.run and on.crashed or on_summary
  elseif msg:find "^given up" then
    return on_give_up
  end
end

-- Seconds, of "2026-11-23T01:15:03.670Z".
local function seconds(ts)
  local y, mo, d, h, mi, s = ts:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$"
  return os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = 0 } + tonumber(s)
end

function Judge:read(text)
  self.at = self.at + 1
  local ok, line = pcall(json.decode, text)
  if not ok or type(line) ~= "table" or not line.ts then
    self:complain({}, "no line of a log: %s", text:sub(1, 100))
    return
  end
  if line.msg:find "^stopping" then
    self.is_stopping = true
  end
  local handle = handler(line)
  if handle then
    handle(self, line, line.worker and self:worker(line), seconds(line.ts))
  end
end

function Judge:finish()
  for _, w in pairs(self.workers) do
    if not w.down then
      self:complain({ worker = w.name }, "run %d is not accounted for", w.run)
    end
    check_closed(self, { worker = w.name }, w)
  end
  if self.count == 0 or not self.is_stopping or not self.has_ended then
    self:complain({}, "the log does not go from the declarations to the end of the host")
  end
  whole.check(self)
end

--- Judge the lines that the iterator gives; `.complaints` is a list of texts.
function M.judge(lines)
  local self = setmetatable({ workers = {}, complaints = {}, at = 0, count = 0, runs = 0,
    crashes = 0, untold = 0, restarts = 0, orders = 0, reloads = 0, stops = 0, given_up = 0,
    dropped = 0, late = {}, ticks = {}, calms = {}, works = {} }, Judge)
  for text in lines do
    self:read(text)
  end
  self:finish()
  return self
end

return M
