-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The model of the supervisor with what a reload adds, declarations that change, on trial or not,
-- with runs that say themselves when they are ready, and with a host that stands still.
local supervisor = require "spec.model.supervisor"

local M = setmetatable({}, { __index = supervisor })
M.__index = M

local alive = { running = true, stopping = true, closing = true }
local TRIAL_DELAY = 1000

-- The new declaration is in force when nothing of the old run is left.
local function apply(w)
  local old, new = w.role, w.pending and w.pending.role
  if not new then return end
  w.role, w.trial, w.pending = new, w.pending.trial, nil
  w.gated = w.gated and old.grouped == new.grouped -- those it leaves no longer wait for it
  if old.max_restarts ~= new.max_restarts or old.within ~= new.within then
    w.stamps = {} -- counted for another limit
  end
end

--- The worker's other declaration; false if it is refused.
function M:change(slot, is_trial)
  local w = self.slots[slot]
  if not w or self.stopped or w.removing then return false end
  local declared = w.pending and w.pending.role or w.role
  local role = self.scenario[slot]
  w.pending = { role = declared == role and role.other or role, trial = is_trial }
  if not alive[w.state] then apply(w) end
end

--- Who was to stop just goes on when it is started, unless it has changed.
function M:order_to(name, slot)
  local w = self.slots[slot]
  local has_changed = name == "start" and w and w.pending and not w.wanted
  return supervisor.order_to(self, has_changed and "restart" or name, slot)
end

--- Its run says that it is ready; false if there is none.
function M:says_ready(slot)
  local w = self.slots[slot]
  if not w or w.state ~= "running" and w.state ~= "stopping" then return false end
  w.ready = w.state == "running"
  self:wake(w)
end

-- Nobody could do anything: who is stopping still has as much time as before, but for 100 ms.
function M:stand_still(duration)
  self.now = self.now + duration
  local lost = math.max(duration - 100, 0)
  for _, w in ipairs(self.order) do
    w.kill_at = w.state == "stopping" and w.kill_at + lost or w.kill_at
  end
end

function M:move(w, state)
  local was_closing = w.state == "closing"
  supervisor.move(self, w, state)
  if was_closing then apply(w) end
  return true
end

function M:prove(w)
  self:note(w, w.trial and "v" or "")
  w.trial = false
end

function M:recover(w)
  supervisor.recover(self, w)
  if self.now - w.started >= w.role.reset_after then self:prove(w) end
end

function M:ended(w, how)
  local is_leaving = not w.wanted or w.again or w.gated
  self:recover(w)
  if how == "returned" and not is_leaving then self:prove(w) end
  return supervisor.ended(self, w, how)
end

-- A crash on trial says nothing about the worker: it is neither counted nor final.
function M:crash(w, how)
  if not w.trial then return supervisor.crash(self, w, how) end
  w.streak, w.trial = w.streak + 1, false
  self:note(w, "!j")
  self:plan(w, TRIAL_DELAY)
end

return M
