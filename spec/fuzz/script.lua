-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What spec/fuzz/script.c runs for each input: a script is loaded as decnet-host loads it, checked
-- and planned, and its workers run for a while on the virtual clock. What it can reach is decnet
-- and Lua, not the machine. Then everything is as before, and a decent script must load and run.

local decnet = require "decnet"
local declared = require "decnet.declared"
local plan = require "decnet.plan"
local testing = require "decnet.testing"

-- From state.c: a file of no name, and what bounds a script that does not come to its end.
local path, bound, is_canary = FUZZ_PATH, FUZZ_BOUND, FUZZ_CANARY -- luacheck: ignore

local MOVES = 60 -- of the clock
local INSTRUCTIONS = 500 -- then a task is preempted
local SECONDS = 100 -- on the virtual clock
local MEMORY = 64 * 2 ^ 20

local DECENT = [[
local decnet = require "decnet"
decnet.worker("decent", function(self) decnet.sleep(1) has_run = true end)
]]

-- ---- what a script can reach -------------------------------------------------------------------

local function nothing() end

local modules = { decnet = decnet, ["decnet.testing"] = testing }
local open, load, type, next, rawset, error = io.open, load, type, next, rawset, error
local getmetatable, debug, assert, pcall, tostring = getmetatable, debug, assert, pcall, tostring
local collectgarbage, find = collectgarbage, string.find

local world = {
  os = { clock = os.clock, date = os.date, getenv = nothing, time = os.time },
  io = { write = nothing, stderr = false, stdout = false },
  require = function(name)
    return modules[name] or error("no module is named " .. tostring(name), 2)
  end,
  load = function(text, name, _, ...) -- bytecode may do anything
    return load(text, name, "t", ...)
  end,
  print = nothing,
}
for _, name in ipairs { "assert", "collectgarbage", "coroutine", "error", "getmetatable", "ipairs",
  "math", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen", "rawset", "select",
  "setmetatable", "string", "table", "tonumber", "tostring", "type", "utf8", "warn", "xpcall" } do
  world[name] = _G[name]
end
world._G = _G

local function copy(from)
  local to = {}
  for key, value in next, from do
    to[key] = value
  end
  return to
end

local libraries = {}
for _, value in next, world do
  if type(value) == "table" and value ~= _G then
    libraries[value] = copy(value)
  end
end
local strings = getmetatable ""
libraries[strings] = copy(strings)

local function fill(at, from)
  debug.setmetatable(at, nil)
  for key in next, copy(at) do
    rawset(at, key, nil)
  end
  for key, value in next, from do
    rawset(at, key, value)
  end
end

-- Metatables of simple values are everybody's.
local function restore()
  fill(_G, world)
  for library, as_it_was in next, libraries do
    fill(library, as_it_was)
  end
  debug.setmetatable("", strings)
  for _, value in next, { 0, true, nothing, coroutine.create(nothing) } do
    debug.setmetatable(value, nil)
  end
  debug.setmetatable(nil, nil)
end

-- ---- an input ----------------------------------------------------------------------------------

local function write(text)
  local file = assert(open(path, "wb"))
  file:write(text)
  file:close()
end

local function check_refusal(text, message)
  if is_canary and find(message, "<eof>", 1, true) then
    message = nil
  end
  assert(type(message) == "string", "refused without a message")
  if find(text, "^\27") then
    assert(find(message, "is precompiled Lua", 1, true), message)
  end
end

-- Loads what the file says, and lets time go by. Returns whether it was taken, and its plan.
local function host_it(text)
  local what
  testing.run(function(t)
    local ok, message = pcall(t.load, t, path)
    bound(false)
    if not ok then
      return check_refusal(text, message)
    end
    assert(not find(text, "^\27"), "a precompiled script was taken")
    what = declared.read(t.host)
    if not t.host:boot() then
      return
    end
    local limit = t.host:after(SECONDS)
    for _ = 1, MOVES do
      if not t.host:step(limit) then
        break
      end
    end
  end, { preempt_every = INSTRUCTIONS, max_memory = MEMORY })
  return what
end

--- One input. Raises what does not hold.
---@param text string
return function(text)
  restore()
  write(text)
  local what = host_it(text)
  bound(false)
  restore()
  if what and #what.workers < 20 then
    assert(type(plan.text(plan.make(what, {}), "script.lua")) == "string")
  end
  if #text % 4 == 0 then -- it takes as long as the input does
    write(DECENT)
    bound(true)
    assert(host_it(DECENT), "a decent script is refused")
    assert(_G.has_run, "a decent script does not run")
  end
  collectgarbage "step"
end
