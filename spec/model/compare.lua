-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The model against the real supervisor: the same steps, the same trace. Where they differ, the
-- sequence is shortened as far as it goes and shown with what both made of it.
local uv = require "luv"

local play = require "spec.model.play".play

-- The module lies beside the program that runs this: the sanitised program has its own.
package.cpath = uv.exepath():gsub("[^/]*$", "lib/?.so;") .. package.cpath
local core = require "spec.model.core"

local M = { is_sanitised = core.is_sanitised }

local huge = math.huge
local random = math.random

local function pick(...)
  return (select(random(select("#", ...)), ...))
end

--- A worker as scenarios describe it; `options` override what is given here. `stops_in` is how long
--- its body takes to end when cancelled, `closes_in` how long what is left of a run takes to close.
--- `needs` has the slots of those it depends on as keys. All times are multiples of the scenario's
--- `step`, which only the model uses.
function M.role(options)
  local role = { restart = "on-failure", min_backoff = 1000, max_backoff = 4000, grouped = true,
    reset_after = huge, max_restarts = huge, within = 60000, stop_timeout = 10000, stops_in = 0,
    closes_in = 0, needs = {}, notify = false }
  for key, value in pairs(options) do
    role[key] = value
  end
  role.after = {}
  for slot in pairs(role.needs) do
    role.after[#role.after + 1] = string.char(96 + slot)
  end
  role.after = table.concat(role.after, " ")
  return role
end

local function random_role(slot)
  local needs = {}
  for other = 1, slot - 1 do
    needs[other] = random(4) == 1 or nil
  end
  local stops_in = pick(0, 0, 500, 1500, huge)
  return M.role {
    restart = pick("on-failure", "on-failure", "always", "never"),
    min_backoff = pick(0, 250, 1000, 1000, 2000),
    max_backoff = pick(500, 4000, 30000),
    reset_after = pick(0, 1000, 3000, huge),
    max_restarts = pick(0, 1, 2, 4, huge, huge),
    within = pick(0, 1000, 5000, 60000),
    -- whether one that ends at once is killed at once is not seen
    stop_timeout = stops_in == 0 and 10000 or pick(0, 1000, 2000, huge),
    stops_in = stops_in,
    closes_in = pick(0, 0, 250, 1500),
    grouped = random(4) > 1,
    notify = random(4) == 1,
    needs = needs,
  }
end

-- What it may be changed to. Its body stays as it is. So does what it waits for: who wakes it when
-- that becomes ready in the very turn of the change, the model cannot say (spec/core/test_walk.c
-- changes it).
local function random_change(slot, role)
  local other = random_role(slot)
  other.needs, other.after = role.needs, role.after
  other.stops_in, other.closes_in = role.stops_in, role.closes_in
  other.stop_timeout = role.stop_timeout
  return other
end

--- One to three workers, what they depend on, what each may be changed to, and their group.
function M.random_scenario()
  local scenario = {
    step = 250,
    ticks = { 1000, 250, 3000 },
    group = {
      strategy = pick("one_for_one", "one_for_all", "rest_for_one"),
      max_restarts = pick(0, 1, 2, 3, huge, huge),
      within = pick(0, 2000, 5000, 60000),
    },
  }
  for slot = 1, random(3) do
    scenario[slot] = random_role(slot)
    scenario[slot].other = random_change(slot, scenario[slot])
  end
  return scenario
end

-- Time and failures are more likely than the rest.
local verbs = { "s", "p", "R", "y", "z", "a", "r", "i", "x", "e", "m", "c", "v", "v", "d", "d",
  "f", "f", "f", "t", "t", "t", "t", "h" }

--- That many random steps.
function M.random_steps(scenario, count)
  local steps = {}
  for i = 1, count do
    local verb = verbs[random(#verbs)]
    steps[i] = verb .. random((verb == "t" or verb == "h") and #scenario.ticks or #scenario)
  end
  if random(20) == 1 then
    steps[random(count)] = "q1"
  end
  return table.concat(steps)
end

local function shorten(scenario, steps, model)
  local real = core.scenario(scenario)
  local at = 1
  while at < #steps do
    local shorter = steps:sub(1, at - 1) .. steps:sub(at + 2)
    if real:play(shorter) ~= play(scenario, shorter, 1, model) then
      steps, at = shorter, 1
    else
      at = at + 2
    end
  end
  return steps
end

local function show(scenario)
  local lines = {}
  local function add(name, fields)
    local words = {}
    for key, value in pairs(fields) do
      if type(value) ~= "table" then words[#words + 1] = key .. "=" .. tostring(value) end
    end
    table.sort(words)
    lines[#lines + 1] = name .. ": " .. table.concat(words, " ")
  end
  add("group", scenario.group)
  for slot, role in ipairs(scenario) do
    add(string.char(96 + slot), role)
    if role.other then
      add(string.char(96 + slot) .. " changed", role.other)
    end
  end
  return table.concat(lines, "\n")
end

--- A function that plays steps in this scenario and compares their traces from step `from` (1) on;
--- it returns nil, or a text that shows the difference.
function M.comparison(scenario, model)
  local real = core.scenario(scenario)
  return function(steps, from)
    if real:play(steps, from) == play(scenario, steps, from, model) then
      return nil
    end
    steps = shorten(scenario, steps, model)
    return ("%s\nsteps %s\nthe core:\n%sthe model:\n%s"):format(show(scenario), steps,
      real:play(steps), play(scenario, steps, 1, model))
  end
end

--- Compares `count` random sequences, a hundred in each scenario; nil or the first difference.
function M.random_difference(seed, count, length, model)
  math.randomseed(seed)
  for _ = 1, count, 100 do
    local scenario = M.random_scenario()
    local differs = M.comparison(scenario, model)
    for _ = 1, 100 do
      local difference = differs(M.random_steps(scenario, length))
      if difference then return difference end
    end
  end
end

return M
