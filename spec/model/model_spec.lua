-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The supervisor in src/core and the model in spec/model/supervisor.lua were written from the same
-- documents and must not differ. DECNET_STORM is the number of random sequences (./dev storm: a
-- million), DECNET_SEED where they begin.

local supervisor = require "spec.model.change"

-- Each step of the sequences that are tried exhaustively.
local steps = { "t1" }
for verb in ("sfiparty"):gsub("t", ""):gmatch "." do
  steps[#steps + 1] = verb .. 1
  steps[#steps + 1] = verb .. 2
end

describe("the model of the supervisor #host", function()
  local seed = tonumber(os.getenv "DECNET_SEED") or 1
  local compare

  lazy_setup(function()
    compare = require "spec.model.compare" -- built for the tests of this program only
  end)

  -- Two workers, the second slow to stop, in a group that allows one restart in five seconds.
  local function each_sequence(restart, strategy, length)
    local differs = compare.comparison {
      step = 500,
      ticks = { 1000 },
      group = { strategy = strategy, max_restarts = 1, within = 5000 },
      compare.role { restart = restart },
      compare.role { restart = restart, stops_in = 500 },
    }
    local played = 0
    local function extend(sequence, depth)
      for _, step in ipairs(steps) do
        local longer = sequence .. step
        local difference = differs(longer, depth)
        if difference then error(difference, 0) end
        played = played + 1
        if depth < length then extend(longer, depth + 1) end
      end
    end
    extend("", 1)
    return played
  end

  for _, restart in ipairs { "on-failure", "always", "never" } do
    for _, strategy in ipairs { "one_for_one", "one_for_all", "rest_for_one" } do
      it(("agrees with the core in every sequence of four steps: %s, %s"):format(restart,
        strategy), function()
        local length = compare.is_sanitised and 2 or 4
        local expected = 0
        for n = 1, length do
          expected = expected + 15 ^ n
        end
        assert.equal(expected, each_sequence(restart, strategy, length))
      end)
    end
  end

  it("agrees with the core in random sequences of twenty steps", function()
    local usual = compare.is_sanitised and 1000 or 10000
    local count = tonumber(os.getenv "DECNET_STORM") or usual
    local difference = compare.random_difference(seed, count, 20)
    if difference then
      error(("DECNET_SEED=%d\n%s"):format(seed, difference), 0)
    end
  end)

  -- What the comparison is worth: each of these mistakes must be found.
  local mistakes = {
    ["a streak that does not end"] = { recover = function() return false end },
    ["a run that crashes while stopping is counted"] = { ended = function(self, w, how)
      w.streak = w.streak + (w.state == "stopping" and how == "raised" and 1 or 0)
      return supervisor.ended(self, w, how)
    end },
    ["a stop that does not outrank a restart"] = { order_to = function(self, name, slot)
      local w = self.slots[slot]
      return not (name == "stop" and w and w.again) and supervisor.order_to(self, name, slot)
    end },
    ["a group that does not wait for the slowest"] = { plan = function(self, w, after)
      supervisor.plan(self, w, after)
      w.gated = false
    end },
    ["a dependency that wakes nobody"] = { move = function(self, w, state)
      local lacks = self.lacks
      self.lacks = function() return true end
      supervisor.move(self, w, state)
      self.lacks = lacks
      return true
    end },
    ["a removed worker that keeps its history"] = { add = function(self, slot)
      local before = self.before or {}
      local is_added = supervisor.add(self, slot) ~= false
      if is_added and before[slot] then self.slots[slot].run = before[slot].run end
      self.before, before[slot] = before, self.slots[slot]
      return is_added
    end },
    ["a change that does not wait for the run's end"] = { change = function(self, slot, is_trial)
      local is_refused = supervisor.change(self, slot, is_trial) == false
      local w = self.slots[slot]
      if w and w.pending then w.role, w.trial, w.pending = w.pending.role, is_trial, nil end
      return not is_refused
    end },
    ["a crash on trial that is counted"] = { crash = function(self, w, how)
      w.trial = false
      supervisor.crash(self, w, how)
    end },
    ["a word of being ready that nobody hears"] = { says_ready = function() end },
    ["a stop whose time goes on while the host stands still"] = { stand_still = function(self, d)
      self.now = self.now + d
    end },
    ["a trial that never ends"] = { prove = function() end },
    ["a delay that does not grow"] = { crash = function(self, w, how)
      supervisor.crash(self, w, how)
      if w.retry_at then w.retry_at = math.min(w.retry_at, self.now + w.role.min_backoff) end
    end },
  }
  for name, broken in pairs(mistakes) do
    it("differs if it is mistaken: " .. name, function()
      local model = setmetatable({}, { __index = supervisor })
      model.__index = model
      for method, fn in pairs(broken) do
        model[method] = fn
      end
      local difference = compare.random_difference(1, 20000, 20, model)
      assert.is_string(difference)
    end)
  end

  it("has at most 200 lines, and 76 for what a reload adds, not counting empty ones", function()
    for name, most in pairs { supervisor = 200, change = 76 } do
      local lines = 0
      for line in io.lines("spec/model/" .. name .. ".lua") do
        lines = lines + (line ~= "" and 1 or 0)
      end
      assert.is_true(lines <= most, ("%s: %d lines"):format(name, lines))
    end
  end)
end)
