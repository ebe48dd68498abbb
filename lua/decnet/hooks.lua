-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What decnet.on does with the events of one host.
--
-- Each call of a hook is a task of the host's own, with a time budget. A worker that crashes in a
-- loop reaches a crash hook once in PAUSE seconds; the event says how many crashes it stands for.

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"

local M = {}

--- Seconds that one call of a hook may take; then it is cancelled.
M.BUDGET = 10

--- Seconds between two events of a worker's crash loop.
M.PAUSE = 1

--- What decnet.on takes.
M.EVENTS = { "start", "ready", "crash", "restart", "recovered", "give_up", "done", "stop" }

local ipairs, next, setmetatable = ipairs, next, setmetatable
local format, insert, remove = string.format, table.insert, table.remove

local Hooks = {}
Hooks.__index = Hooks

local function copy(event)
  local new = {}
  for key, value in next, event do
    new[key] = value
  end
  return new
end

local function call(host, fn, event)
  if not core.timeout(M.BUDGET, fn, event) then
    host:log("warn", format("a hook of %s took longer than %g s: it was cancelled", event.event,
      M.BUDGET))
  end
end

function Hooks:send(event)
  for _, hook in ipairs(self.of[event.event] or {}) do
    self.host:hold(call, self.host, hook.fn, copy(event))
  end
end

-- The crashes that come while a worker's loop is quiet are counted; the last of them is told.
local function tell_later(self, worker)
  local quiet = self.quiet[worker]
  repeat
    core.sleep(M.PAUSE)
    local event = quiet.event
    quiet.event = nil
    if event then
      self:send(event)
    end
  until not event
  if self.quiet[worker] == quiet then
    self.quiet[worker] = nil
  end
end

function Hooks:on_crash(event)
  local quiet = self.quiet[event.worker]
  local untold = quiet and quiet.event
  event.count = 1 + (untold and untold.count or 0)
  if quiet and event.will_restart then
    quiet.event = event
    return
  end
  self:send(event)
  if quiet then
    quiet.event = nil
  else
    self.quiet[event.worker] = {}
    self.host:spawn(tell_later, self, event.worker)
  end
end

--- Tell everybody who wants to know.
function Hooks:on_event(event)
  for _, observe in ipairs(self.observers) do
    observe(event)
  end
  if event.event ~= "crash" then
    self:send(event)
  elseif self.of.crash then
    self:on_crash(copy(event))
  end
end

--- Call `hook.fn(event)` at each `hook.event`, until it is removed.
---@param hook { event: string, fn: fun(event: decnet.Event) }
function Hooks:add(hook)
  self.of[hook.event] = self.of[hook.event] or {}
  insert(self.of[hook.event], hook)
end

function Hooks:remove(hook)
  local list = self.of[hook.event]
  for i = #list, 1, -1 do
    if list[i] == hook then
      remove(list, i)
    end
  end
end

--- The hooks of a host; `observers` are called with every event at once, and must not wait.
function M.new(host)
  local hooks = setmetatable({ host = host, of = {}, observers = {}, quiet = {} }, Hooks)
  host:on_event(function(event) hooks:on_event(event) end)
  return hooks
end

return M
