-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The supervisor once more, as API.md and DESIGN.md tell it: a second opinion on src/core. It has
-- no queues and no timers: after each input everybody looks around, and again until nothing moves.
local M = {}
M.__index = M

local alive = { running = true, stopping = true, closing = true }
local final = { done = true, failed = true, stopped = true }
local letters = { running = "+", done = "d", stopped = "s" }

local function delay(role, n) return math.min(role.min_backoff << n - 1, role.max_backoff) end

local function exceeds(limit, stamps, now) -- one exactly `within` old still counts
  local count = 1
  for _, at in ipairs(stamps) do count = count + (now - at <= limit.within and 1 or 0) end
  stamps[#stamps + 1] = now
  return count > limit.max_restarts
end

-- It may not go on as it is: it is to be down, to start anew, or to restart with its group.
local function is_leaving(w) return not w.wanted or w.again or w.gated end
local function is_up(w) return w.state == "running" or w.state == "waiting" end
local function is_closing(w, to) return w.state == "closing" and w.to == to end
local function is_delayed(w) return w.state == "backoff" or is_closing(w, "backoff") end
local function has_come(w) return w.due and not alive[w.state] end
local function will_start(w) return w.again or w.to == "backoff" or w.to == "waiting" end
local function satisfies(w) -- one that has done its job is as good as one that is ready
  return w and not w.removing and (w.state == "done" or w.ready and not is_leaving(w))
end

function M:lacks(w)
  local lacks = false
  for slot in pairs(w.role.needs) do lacks = lacks or not satisfies(self.slots[slot]) end
  return lacks
end

function M:note(w, letter) self.log[w.slot] = self.log[w.slot] .. letter end

function M:move(w, state)
  w.state, w.due, w.gated = state, w.due and state == "backoff", w.gated and not final[state]
  w.ready = state == "running" and not w.role.notify
  self:note(w, letters[state] or "")
  return self:wake(w)
end

-- Who waits out a delay does so no longer when what it depends on is there again.
function M:wake(w)
  local comes = satisfies(w) and not w.is_there
  w.is_there = satisfies(w)
  for _, v in ipairs(comes and self.order or {}) do
    v.due = v.due or v.role.needs[w.slot] and is_delayed(v) and not self:lacks(v)
  end
  return true
end

function M:begin(w)
  self:note(w, w.automatic and "*" or "")
  w.restarts = w.restarts + (w.automatic and 1 or 0)
  w.run, w.started, w.automatic = w.run + 1, self.now, false
  return self:move(w, "running")
end

function M:recover(w)
  if self.now - w.started < w.role.reset_after or w.streak == 0 then return end
  w.streak = 0
  self:note(w, "^")
end

function M:ended(w, how)
  local was_leaving, has_raised = is_leaving(w), how == "raised" or how == "fatal"
  self:recover(w)
  self:move(w, "closing")
  w.close_at = self.now + w.role.closes_in
  if was_leaving then -- how it ended is recorded and has no consequences
    w.to, w.automatic = w.wanted and "waiting" or "stopped", true
    self:note(w, has_raised and "~" or "")
  elseif has_raised then
    self:crash(w, how)
  elseif w.role.restart == "always" then
    self:plan(w, delay(w.role, 1)) -- not a crash: no limit counts it, no streak grows
  else
    w.to, w.wanted = "done", false
  end
  return true
end

function M:crash(w, how)
  local group = w.role.grouped and self.group
  w.streak = w.streak + 1
  if how == "fatal" or w.role.restart == "never" or exceeds(w.role, w.stamps, self.now) then
    w.to = "failed"
    self:note(w, "!x")
  elseif group and group.counted ~= self.turn and exceeds(group.role, group.stamps, self.now) then
    w.to, group.failed = "failed", true
    self:note(w, "!xX")
    for _, v in ipairs(self.order) do
      if v ~= w and v.role.grouped and not final[v.state] then v.wanted, v.again = false, false end
    end
  else
    self:note(w, "!")
    self:plan(w, delay(w.role, w.streak))
    self.group.counted = w.gated and self.turn or self.group.counted -- the turn's others are free
  end
end

-- A restart by policy; whom the strategy affects meets at the gate (see settle). Who ends in the
-- same turn joins the restart that has begun.
function M:plan(w, after)
  local group, strategy = self.group, w.role.grouped and self.group.role.strategy or "one_for_one"
  local is_affected = strategy == "one_for_all"
  w.to, w.automatic, w.retry_at = "backoff", true, self.now + after
  if strategy == "one_for_one" then return end
  self:note(w, group.restarted ~= self.turn and "G" or "")
  w.gated, group.restarted = true, self.turn
  for _, v in ipairs(self.order) do
    local is_over = v.fails or final[v.state] or v.state == "closing" and not will_start(v)
    if is_affected and v ~= w and v.role.grouped and v.wanted and not is_over then
      v.gated = v.gated or v.again or is_delayed(v) or v.role.restart ~= "never"
      v.wanted = v.gated or v.state == "waiting" -- else it goes down and is not revived
    end
    is_affected = is_affected or v == w
  end
end

function M:look(w) -- what happens by itself: true if something did
  local state, now = w.state, self.now
  if state == "running" then
    self:recover(w)
    if not is_leaving(w) then return false end
    for _, v in ipairs(self.order) do -- what depends on it and leaves, too, goes first
      local is_dependent = v.role.needs[w.slot] and alive[v.state]
      if is_dependent and (self.stopped or is_leaving(v)) then return false end
    end
    w.end_at, w.kill_at = now + w.role.stops_in, now + w.role.stop_timeout
    return self:move(w, "stopping")
  elseif state == "stopping" and now >= math.min(w.end_at, w.kill_at) then
    self:note(w, now < w.end_at and "k" or "")
    return self:ended(w, "cancelled")
  elseif state == "closing" and now >= w.close_at then
    local to = not w.wanted and will_start(w) and "stopped" or w.to
    return self:move(w, w.again and "waiting" or to)
  elseif alive[state] or final[state] and not w.again then
    return false
  elseif not w.wanted then
    return self:move(w, "stopped")
  end
  w.due = w.due or state ~= "backoff" or w.again or now >= w.retry_at
  w.automatic, w.again = w.automatic and not w.again, false
  if final[state] then return self:move(w, "waiting") end
  if not w.due or w.gated then return false end
  return not self:lacks(w) and self:begin(w) or state == "backoff" and self:move(w, "waiting")
end

function M:settle()
  repeat
    local has_moved, is_open = false, true -- the gate: when the last has come, all may start
    self.turn = self.turn + 1
    for i = #self.order, 1, -1 do has_moved = self:look(self.order[i]) or has_moved end
    for _, w in ipairs(self.order) do is_open = is_open and (not w.gated or has_come(w)) end
    for _, w in ipairs(self.order) do
      has_moved, w.gated = has_moved or is_open and w.gated, w.gated and not is_open
    end
  until not has_moved
  for i = #self.order, 1, -1 do -- who is to be gone goes last
    local w = self.order[i]
    if w.removing and final[w.state] then
      self.slots[w.slot] = nil
      self:note(table.remove(self.order, i), "g")
    end
  end
end

local orders = { reset = function() end } -- what people order: false if it is refused
function orders.start(w) w.wanted, w.again = true, w.again or not is_up(w) end
function orders.stop(w) w.wanted, w.again = false, false end
function orders.restart(w) w.wanted, w.again = true, w.state ~= "waiting" end
function orders.remove(w) w.wanted, w.again, w.removing = false, false, true end
function orders.retry(w)
  w.again = w.again or w.state == "failed" or is_closing(w, "failed")
  w.wanted, w.due = w.wanted or w.again, w.due or is_delayed(w)
  return w.wanted
end

function M:order_to(name, slot)
  local w = self.slots[slot]
  if not w or self.stopped or w.removing and name ~= "remove" then return false end
  if name ~= "retry" and name ~= "remove" and not (name == "start" and is_up(w) and w.wanted) then
    w.streak, w.stamps = 0, {} -- what a user did clears the history
    local group = w.role.grouped and self.group.failed and self.group or {}
    group.failed, group.stamps = false, {}
  end
  return orders[name](w) ~= false
end

function M:shutdown()
  for _, w in ipairs(self.order) do orders.stop(w) end
  self.stopped = true
end

function M:add(slot)
  local role = self.scenario[slot]
  for other in pairs(role.needs) do
    if not self.slots[other] then return false end
  end
  if self.slots[slot] or self.stopped then return false end
  self.slots[slot] = { slot = slot, role = role, state = "waiting", wanted = true, run = 0,
    restarts = 0, streak = 0, stamps = {} }
  self.order[#self.order + 1] = self.slots[slot]
end

function M.new(scenario, model)
  local self = setmetatable({ scenario = scenario, now = 0, turn = 0, slots = {}, order = {},
    log = {}, group = { role = scenario.group, stamps = {} } }, model or M)
  for slot = 1, #scenario do
    self.log[slot] = ""
    self:add(slot)
  end
  return self
end

return M
