-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Plays a sequence of steps with the model and writes the trace that spec/model/core.c, where steps
-- and trace are explained, writes of the real supervisor.
local supervisor = require "spec.model.change"

local M = {}

local orders = { s = "start", p = "stop", R = "restart", y = "retry", z = "reset", r = "remove" }
local endings = { f = "raised", x = "fatal", i = "returned" }
local letters = { waiting = "W", running = "R", stopping = "P", closing = "C", backoff = "B",
  done = "D", failed = "F", stopped = "S" }

-- Nothing happens but at multiples of `step`.
local function tick(model, duration)
  local step = model.scenario.step
  for _ = 1, duration // step do
    model.now = model.now + step
    model:settle()
  end
end

-- The runs in these slots end in the same turn, all like this but one, which returns; false if
-- there are none.
local function finish(model, how, first, last, returning)
  local list = {}
  for slot = first, last do
    local w = model.slots[slot]
    if w and (w.state == "running" or w.state == "stopping") then
      list[#list + 1], w.fails = w, true
    end
  end
  for _, w in ipairs(list) do
    model:ended(w, w.slot == returning and "returned" or how)
    w.fails = false
  end
  return #list > 0
end

-- Returns false if it was refused, or there was nobody who could do it.
local function take(model, verb, n)
  if verb == "t" then
    return tick(model, model.scenario.ticks[n])
  elseif verb == "h" then
    return model:stand_still(model.scenario.ticks[n])
  elseif verb == "a" then
    return model:add(n)
  elseif verb == "d" then
    return model:says_ready(n)
  elseif verb == "c" or verb == "v" then
    return model:change(n, verb == "v")
  elseif verb == "q" then
    return model:shutdown()
  elseif verb == "e" then
    return finish(model, "raised", 1, #model.scenario)
  elseif verb == "m" then
    return finish(model, "raised", 1, #model.scenario, n)
  elseif endings[verb] then
    return finish(model, endings[verb], n, n)
  end
  return model:order_to(orders[verb], n)
end

local function describe(model, slot)
  local w = model.slots[slot]
  if not w then return " -:" .. model.log[slot] end
  local letter = w.state == "waiting" and w.gated and "G" or letters[w.state]
  local delay = ""
  if w.wanted and (w.state == "backoff" or w.state == "closing" and w.to == "backoff") then
    delay = "+" .. math.max(w.retry_at - model.now, 0)
  end
  return (" %s%d.%d.%d%s:%s"):format(w.wanted and letter or letter:lower(), w.run, w.restarts,
    w.streak, delay, model.log[slot])
end

--- The trace of `steps`, a string like "f1t1s1", of workers as `scenario` describes them. Lines
--- begin with step number `from` (1). `model` may be a mistaken one.
function M.play(scenario, steps, from, model)
  local self = supervisor.new(scenario, model or supervisor)
  local trace = ""
  self:settle()
  for i = 1, #steps // 2 do
    local step = steps:sub(2 * i - 1, 2 * i)
    for slot = 1, #scenario do
      self.log[slot] = ""
    end
    local is_done = take(self, step:sub(1, 1), step:byte(2) - 48) ~= false
    self:settle()
    if i >= (from or 1) then
      trace = trace .. step .. (is_done and "" or "?")
      for slot = 1, #scenario do
        trace = trace .. describe(self, slot)
      end
      trace = trace .. "\n"
    end
  end
  return trace
end

return M
