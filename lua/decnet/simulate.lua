-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet-host simulate: the core on the virtual clock, with bodies that do what a scenario says
-- (decnet.scenario), and a timeline of what came of it. Nothing of the script's functions runs.

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"
local decnet = require "decnet"
local declared_of = require "decnet.declared"
local scenario_of = require "decnet.scenario"

local M = {}

-- What is due within so many seconds of an event comes before it: a virtual clock moves by a
-- microsecond from turn to turn, and 'crash@0,1' means the run that begins at 1.
local SAME = 0.001

-- A scenario that does not end by itself stops here: so many lines, and some more for each worker.
local MOST_LINES, MOST_LINES_EACH = 1000, 20
local MOST_MOVES = 1000000

local HOST = "(host)"
local CRASH, FATAL = "simulated crash", "simulated fatal error"

-- Without the microseconds that a virtual clock moves by between turns.
local function number(seconds)
  if seconds < 0.01 then
    return string.format("%.3g", seconds)
  end
  return string.format("%.12g", math.floor(seconds * 1000 + 0.5) / 1000)
end

local Simulation = {}
Simulation.__index = Simulation

function Simulation:line(who, what, ...)
  local line = { at = self.host:now(), who = who, what = string.format(what, ...) }
  self.lines[#self.lines + 1] = line
  self.last_at = line.at
  return line
end

-- ---- bodies ------------------------------------------------------------------------------------

---@class decnet.Actor a worker in the simulation
---@field name string
---@field options table as declared
---@field handle any
---@field is_told_ready boolean `ready` comes from the scenario only
---@field hangs boolean it will, once: so it must beat until then
---@field is_hung boolean this run does not answer any more
---@field fails_till number each run that begins before this crashes
---@field told any event: there is a verb for the run
---@field verb decnet.Action
---@field has_crashed boolean in this run
---@field is_restart boolean the next start is the policy's

local DO = {
  crash = function() error(CRASH, 0) end,
  fatal = function() decnet.fatal(FATAL) end,
  finish = function() end,
  retry_after = function(_, action) decnet.retry_after(action.seconds, CRASH) end,
  hang = function(actor)
    actor.is_hung = true
    decnet.shield(math.huge, decnet.park)
  end,
}

-- A worker with `watchdog` beats unless it hangs; one with `notify` is ready at once, unless the
-- scenario says when.
local function body_of(actor)
  local watchdog = actor.hangs and actor.options.watchdog
  local pause = watchdog and watchdog / 2 or math.huge
  return function(self)
    actor.told, actor.is_hung, actor.self = decnet.event(), false, self
    if decnet.now() < actor.fails_till then
      error(CRASH, 0)
    elseif actor.options.notify and not actor.is_told_ready then
      self:ready()
    end
    while not actor.told:wait(pause) do
      self:beat()
    end
    return DO[actor.verb.verb](actor, actor.verb)
  end
end

-- ---- what the core says ------------------------------------------------------------------------

local ON = {}

function ON.restart(_, actor)
  actor.is_restart = true
end

function ON.start(self, actor, event)
  self:line(event.worker, "%s, run %d", actor.is_restart and "restart" or "start", event.run)
  actor.is_restart, actor.has_crashed = false, false
end

function ON.ready(self, _, event)
  self:line(event.worker, "ready")
end

function ON.crash(self, actor, event)
  actor.has_crashed = true
  local reason = event.reason and ": " .. event.reason or ""
  if event.stopping then
    self:line(event.worker, "crash while stopping, not counted%s", reason)
  elseif event.will_restart then
    self:line(event.worker, "crash #%d%s, restart in %s s", event.streak, reason,
      number(event.delay))
  else
    self:line(event.worker, "crash #%d%s", event.streak, reason)
  end
end

function ON.give_up(self, actor, event)
  actor.reason = event.reason
  self:line(event.worker, "given up: %s", event.reason)
end

function ON.recovered(self, _, event)
  self:line(event.worker, "recovered, after an outage of %s s", number(event.outage))
end

function ON.done(self, _, event)
  self:line(event.worker, "done")
end

function ON.stop(self, _, event)
  self:line(event.worker, "stopped")
end

function ON.group_restart(self, _, event)
  self:line(event.worker, "group %s restarts with it in %s s", event.group, number(event.delay))
end

function ON.group_failed(self, _, event)
  self:line(event.worker, "group %s has failed", event.group)
end

-- A move of the state machine that no other event speaks of.
function ON.state(self, actor, event)
  if event.to == "stopping" then
    self:line(event.worker, "stopping")
  elseif event.from == "stopping" and actor.is_hung then
    self:line(event.worker, "killed")
  elseif event.to == "backoff" and not actor.has_crashed then
    local left = actor.handle:status().next_retry_in
    self:line(event.worker, "returned, restart in %s s", number(left))
  elseif event.to == "waiting" then
    self:note_waiting(actor)
  elseif event.to == "failed" and actor.options.essential then
    self:line(HOST, "stops: %s is essential and has failed", event.worker)
  end
end

function Simulation:note_waiting(actor)
  local status = actor.handle:status()
  if status.state == "waiting" and status.waiting_for then
    self:line(actor.name, "waiting for %s", status.waiting_for)
  end
end

-- ---- time --------------------------------------------------------------------------------------

function Simulation:step(limit)
  self.moves = self.moves + 1
  local has_more = self.host:step(limit)
  if not self.is_over and self.host:is_over() then
    self.is_over = true
    self:line(HOST, "ends, exit code %d", self.host:exit_code())
  end
  return has_more
end

function Simulation:is_too_long()
  return self.moves > MOST_MOVES or #self.lines > MOST_LINES + MOST_LINES_EACH * #self.list
end

function Simulation:must_end()
  return self.is_over or self:is_too_long()
end

-- All that is due now.
function Simulation:settle()
  while not self:must_end() and self.host:idle_for() <= SAME do
    self:step(self.host:after(SAME))
  end
end

function Simulation:advance_to(at)
  local limit = self.host:after(math.max(0, at - self.host:now()))
  while not self:must_end() and self:step(limit) do end
  self:settle()
end

-- Until nothing happens any more; beats for ever do not count.
function Simulation:run_out()
  while not self:must_end() do
    local left = self.host:idle_for()
    if left == math.huge or self.host:now() + left > self.last_at + self.patience then
      return
    end
    self:step(self.host:after(left))
  end
end

-- ---- the scenario ------------------------------------------------------------------------------

local function describe(status)
  local text = status.state
  if status.next_retry_in then
    text = string.format("in backoff for another %s s", number(status.next_retry_in))
  elseif status.waiting_for then
    text = string.format("%s for %s", text, status.waiting_for)
  end
  return text
end

local function title(action)
  return action.seconds and string.format("%s(%s)", action.verb, number(action.seconds))
    or action.verb
end

-- Something happens inside the worker: only to a run that can notice.
function Simulation:happen(actor, action)
  local status = actor.handle:status()
  if action.verb == "ready" and not actor.options.notify then
    self:line(actor.name, "ready: no effect, it has no notify")
  elseif status.state ~= "running" then
    self:line(actor.name, "%s: no effect, it is %s", title(action), describe(status))
  elseif actor.is_hung then
    self:line(actor.name, "%s: no effect, it hangs", title(action))
  elseif action.verb == "ready" then
    actor.self:ready()
  else
    if action.verb == "hang" then
      self:line(actor.name, "hangs")
    end
    actor.verb = action
    actor.told:set()
  end
end

function Simulation:fail_till(actor, action)
  actor.fails_till = math.max(actor.fails_till, action.till)
  local till = action.till < math.huge and string.format("until %s", number(action.till))
    or "for ever"
  self:line(actor.name, "crashes in each run from now on, %s", till)
  local status = actor.handle:status()
  if status.state == "running" and not actor.is_hung then
    actor.verb = action
    actor.told:set()
  end
end

function Simulation:end_range(actor)
  if actor.fails_till <= self.played_at then
    self:line(actor.name, "crashes no longer")
  end
end

-- An order that changes nothing is told apart when everything that it caused has happened.
function Simulation:order(actor, action)
  local before = actor.handle:status()
  local line = self:line(actor.name, "order: %s", action.verb)
  local ok, message = actor.handle[action.verb](actor.handle)
  if not ok then
    line.what = string.format("%s, refused: %s", line.what, message)
  elseif action.verb ~= "reset" then
    self.ordered[#self.ordered + 1] = { line = line, actor = actor, before = before }
  end
end

function Simulation:judge_orders()
  for _, order in ipairs(self.ordered) do
    local before, now = order.before, order.actor.handle:status()
    if now.state == before.state and now.run == before.run and now.wanted == before.wanted then
      order.line.what = string.format("%s, no effect: it is %s", order.line.what, describe(now))
    end
  end
  self.ordered = {}
end

function Simulation:apply(action)
  local actor = self.actors[action.name]
  if action.verb == "shutdown" then
    self:line(HOST, "order: shutdown")
    self.host:stop()
  elseif scenario_of.orders[action.verb] then
    self:order(actor, action)
  elseif action.till then
    self:fail_till(actor, action)
  elseif action.is_end then
    self:end_range(actor)
  else
    self:happen(actor, action)
  end
end

-- What happens at one time happens in one turn, but for a second event of the same worker.
function Simulation:play(actions)
  local touched = {}
  for _, action in ipairs(actions) do
    local who = action.name or HOST
    if self.till and action.at > self.till then
      break -- the end of a range
    end
    if action.at > self.played_at or touched[who] then
      self:settle()
      self:judge_orders()
      touched = {}
    end
    if action.at > self.played_at then
      self:advance_to(action.at)
      self.played_at = action.at
    end
    if self.is_over and not action.is_end then
      self:line(who, "%s@%s: no effect, the host has ended", title(action), number(action.at))
    elseif not self:must_end() then
      self:apply(action)
      touched[who] = true
    end
  end
  self:settle()
  self:judge_orders()
end

-- ---- the whole ---------------------------------------------------------------------------------

-- Nothing that is still to come without an event is further away.
local function longest_time(declared, actions)
  local longest = 0
  local function consider(seconds)
    if seconds and seconds < math.huge then
      longest = math.max(longest, seconds)
    end
  end
  for _, worker in ipairs(declared.workers) do
    local options = worker.options
    for _, key in ipairs { "max_backoff", "reset_after", "start_timeout", "stop_timeout" } do
      consider(options[key])
    end
    consider(options.watchdog or nil)
  end
  for _, action in ipairs(actions) do
    consider(action.seconds)
  end
  return longest
end

local function new_actors(declared, actions)
  local actors, list = {}, {}
  for i, worker in ipairs(declared.workers) do
    local actor = { name = worker.name, options = worker.options, fails_till = 0 }
    actors[worker.name], list[i] = actor, actor
  end
  for _, action in ipairs(actions) do
    local actor = actors[action.name]
    if actor and action.verb == "hang" then
      actor.hangs = true
    elseif actor and action.verb == "ready" then
      actor.is_told_ready = true
    end
  end
  return actors, list
end

-- Who never hangs beats in time: without a watchdog there is nothing to wait for.
local function cast(declared, actors)
  local workers, is_beating = {}, false
  for i, worker in ipairs(declared.workers) do
    local hangs = actors[worker.name].hangs
    is_beating = is_beating or hangs and worker.options.watchdog
    workers[i] = hangs and worker or {
      name = worker.name, options = declared_of.with(worker.options, { watchdog = math.huge }),
    }
  end
  return { workers = workers, groups = declared.groups }, is_beating
end

function Simulation:begin(declared, scenario, options)
  local actors, list = new_actors(declared, scenario.actions)
  local players, is_beating = cast(declared, actors)
  self.actors, self.list = actors, list
  self.patience = is_beating and longest_time(declared, scenario.actions) or math.huge
  self.host = declared_of.host(players, function(worker)
    return body_of(actors[worker.name])
  end, function(event)
    local on = ON[event.event]
    if on then
      on(self, actors[event.worker], event)
    end
  end, {
    seed = options.seed, keep_alive = options.keep_alive,
    shutdown_timeout = options.shutdown_timeout,
  })
  for i, handle in ipairs(self.host:workers()) do
    list[i].handle = handle
  end
end

function Simulation:finish()
  if self.till then
    self:advance_to(self.till)
  else
    self:run_out()
  end
  if self:is_too_long() then
    self:line(HOST, "the simulation ends here, after %d events: say when with an earlier 'until S'",
      #self.lines)
  end
  self.final = {}
  for i, actor in ipairs(self.list) do
    self.final[i] = actor.handle:status()
    self.final[i].reason = actor.reason
  end
  self.ended_at = self.host:now()
  self.host:on_event(nil)
  self.host:close()
end

---@class decnet.Timeline
---@field lines { at: number, who: string, what: string }[]
---@field final decnet.Status[] of each worker, in order of declaration; `reason` of a give-up
---@field ended_at number

--- Play a scenario. There must be no other host.
---@param declared decnet.Declared
---@param scenario decnet.Scenario
---@param options? { seed: integer?, keep_alive: boolean?, shutdown_timeout: number? }
---@return decnet.Timeline
function M.run(declared, scenario, options)
  assert(not core.current_host(), "simulate: a host is running already")
  options = options or {}
  local self = setmetatable({ lines = {}, ordered = {}, moves = 0, last_at = 0, played_at = 0,
    till = scenario.till }, Simulation)
  self:begin(declared, scenario, options)
  self:settle()
  for _, actor in ipairs(self.list) do
    self:note_waiting(actor)
  end
  self:play(scenario.actions)
  self:finish()
  return { lines = self.lines, final = self.final, ended_at = self.ended_at }
end

-- ---- as text -----------------------------------------------------------------------------------

local function pad(text, width)
  return text .. string.rep(" ", width - utf8.len(text))
end

local function remark_of(status)
  if status.next_retry_in then
    return string.format("restart in %s s", number(status.next_retry_in))
  elseif status.waiting_for then
    return "waiting for " .. status.waiting_for
  elseif status.state == "failed" then
    return status.reason
  end
  return ""
end

local function summary(out, final, width)
  local format = "%s  %-8s  %5s  %8s  %6s  %s"
  out[#out + 1] = string.format(format, pad("worker", width), "state", "run", "restarts",
    "streak", "")
  for _, status in ipairs(final) do
    out[#out + 1] = string.format(format, pad(status.name, width), status.state, status.run,
      status.restarts, status.streak, remark_of(status))
  end
end

--- The timeline for people to read, with a table of how everything ended.
---@param timeline decnet.Timeline
---@return string
function M.text(timeline)
  local width = #HOST
  for _, status in ipairs(timeline.final) do
    width = math.max(width, utf8.len(status.name))
  end
  local out = {}
  for i, line in ipairs(timeline.lines) do
    out[i] = string.format("%10.3f  %s  %s", line.at, pad(line.who, width), line.what)
  end
  out[#out + 1] = string.format("\nafter %s s", number(timeline.ended_at))
  summary(out, timeline.final, width)
  return (string.gsub(string.gsub(table.concat(out, "\n"), " +\n", "\n"), " +$", "")) .. "\n"
end

return M
