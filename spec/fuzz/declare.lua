-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What spec/fuzz/declare.c runs for each input: declarations that a byte program makes are given to
-- decnet, which takes them or refuses them with one message; then a decent one must still be taken,
-- and run.

local decnet = require "decnet"
local options = require "decnet.options"
local scenario = require "decnet.scenario"
local spec = require "decnet.spec"
local testing = require "decnet.testing"

local STRINGS = {
  "", "w", "db", "on-failure", "always", "never", "one_for_all", "rest_for_one", "64M", "1h", "1e3",
  ("x"):rep(200), ("x"):rep(201), ("long "):rep(2000), ("l"):rep(5000), "line\nbreak", "\27[31m",
  "\0", "\xff\xfe", "\xC2\x9B",
  "gr\u{fc}\u{df}", "\u{2028}", "%s%d%n", "g", "nan",
}

local KEYS = {}
for _, list in ipairs { options.worker, options.group } do
  for _, option in ipairs(list) do
    KEYS[#KEYS + 1] = option.key
  end
end
for _, key in ipairs { 1, 2, 3, 0, -1, 2.5, 1 / 0, "max_backof", true } do
  KEYS[#KEYS + 1] = key
end
table.move(STRINGS, 1, #STRINGS, #KEYS + 1, KEYS)

local NUMBERS = {
  0, 1, -1, 2, 0.5, 1e-9, 1e9, 1e10, 1e300, 0 / 0, 1 / 0, -1 / 0, math.maxinteger, math.mininteger,
  2 ^ 32, 2 ^ 32 - 2, 2 ^ 53, 2 ^ 63, -0.0,
}

-- What metamethods and bodies do.
local function raise()
  error {}
end

local BODIES = {
  function() end,
  raise,
  function() decnet.sleep(1) end,
  function(self) self:ready() decnet.sleep(1e6) end,
  function() return coroutine.create(function() decnet.yield() end) end,
  function() error(setmetatable({}, { __tostring = raise })) end,
}

local METAMETHODS = { "__index", "__newindex", "__gc", "__close", "__pairs", "__len", "__eq",
  "__lt", "__tostring", "__name", "__call", "__metatable", "__mode", "__concat" }

-- ---- values ------------------------------------------------------------------------------------

local Program = {}
Program.__index = Program

function Program:byte()
  local byte = self.text:byte(self.at) or 0
  self.at = self.at + 1
  return byte
end

function Program:one_of(list)
  return list[self:byte() % #list + 1]
end

function Program:text_value()
  local len = self:byte() % 32
  local text = self.text:sub(self.at, self.at + len - 1)
  self.at = self.at + len
  return text
end

function Program:metatable()
  local meta = {}
  for _ = 1, self:byte() % 4 do
    local value = self:value(3)
    meta[self:one_of(METAMETHODS)] = self:byte() % 2 == 0 and raise or value
  end
  return meta
end

function Program:table(depth)
  local made = {}
  for _ = 1, self:byte() % 8 do
    local key = self:byte() % 8 == 0 and self:value(depth + 1) or self:one_of(KEYS)
    if key ~= nil and key == key then
      made[key] = self:value(depth + 1)
    end
  end
  if self:byte() % 8 == 0 then
    setmetatable(made, self:metatable())
  end
  self.made[#self.made + 1] = made
  return made
end

local MAKERS = {
  function() return nil end,
  function(self) return self:byte() % 2 == 0 end,
  function(self) return self:one_of(NUMBERS) end,
  function(self) return self:byte() end,
  function(self) return self:one_of(STRINGS) end,
  Program.text_value,
  function(self) return self:one_of(BODIES) end,
  function() return coroutine.create(function() end) end,
  function()
    local started = coroutine.create(coroutine.yield)
    coroutine.resume(started)
    return started
  end,
  function() return io.stdout end,
  function(self) return self.made[self:byte() % (#self.made + 1)] end, -- one again, or itself
  Program.table,
  Program.table,
}

function Program:value(depth)
  return depth > 4 and self:byte() or self:one_of(MAKERS)(self, depth)
end

-- A declaration that is nearly right: most would not get past the name otherwise.
function Program:worker()
  local declaration = { name = self:one_of(STRINGS), run = self:one_of(BODIES) }
  for _ = 1, self:byte() % 6 do
    declaration[self:one_of(options.worker).key] = self:value(1)
  end
  return declaration
end

-- ---- what must hold ----------------------------------------------------------------------------

local LONGEST = 1200
-- Of the clock: what crashes at once, and may start again without a delay, does so for ever.
local MOVES = 200

-- Where decnet found the mistake: the place in this file, or in the list, and a path of keys.
local PLACES = { "^[^\n]-declare%.lua:%d+: worker", "^[^\n]-declare%.lua:%d+: decnet%.%a+",
  "^return value" }

local function check_message(message)
  if FUZZ_CANARY and message:find "jitter" then -- luacheck: ignore
    message = message .. "\n"
  end
  assert(type(message) == "string", "not a text")
  assert(#message <= LONGEST, "too long: " .. #message .. " bytes: " .. message:sub(1, 200))
  assert(utf8.len(message), "not UTF-8")
  assert(not message:find "[\0-\31\127]", "control characters")
  local is_placed = false
  for _, place in ipairs(PLACES) do
    is_placed = is_placed or message:find(place) ~= nil
  end
  assert(is_placed, "without a place: " .. message)
  assert(not message:find "attempt to " or message:find "by its metatable: ",
    "Lua's own: " .. message)
end

local function call(fn, ...)
  fn(...)
  return true -- no tail call: the message names this line
end

local function try(fn, ...)
  local ok, message = pcall(call, fn, ...)
  if not ok then
    check_message(message)
  end
  return ok
end

local function try_list(value)
  local list, message = spec.list(value)
  if not list then
    check_message(message)
  end
end

local function try_scenario(text)
  local read, message = scenario.parse(text, { "w", "db", "a b", "until" })
  assert(read or type(message) == "string" and message:find "column %d+: ", message)
  assert(read or not message:find "attempt to ", message)
end

local STATEMENTS = {
  function(self) try(decnet.worker, self:value(0), self:value(0), self:value(3)) end,
  function(self) try(decnet.worker, self:worker()) end,
  function(self) try(decnet.worker, self:worker()) end,
  function(self) try(decnet.group, self:value(3), self:value(0)) end,
  function(self) try(decnet.group, "g", self:table(1)) end,
  function(self) try(decnet.defaults, self:table(1)) end,
  function(self) try_list { self:worker(), self:value(1) } end,
  function(self) try_list(self:value(0)) end,
  function(self) try_scenario(self:text_value()) end,
}

-- Returns what must hold when it has had the time to run.
local function declare_a_decent_one()
  local has_run = false
  decnet.worker { name = "a decent one", restart = "on-failure", notify = false, essential = false,
    after = {}, group = false, start_timeout = math.huge,
    max_memory = false, run = function() has_run = true end }
  return function()
    assert(has_run, "a decent declaration does not run")
  end
end

--- One input. Raises what does not hold.
---@param text string
return function(text)
  local program = setmetatable({ text = text, at = 1, made = {} }, Program)
  testing.run(function(t)
    while program.at <= #text do
      program:one_of(STATEMENTS)(program)
    end
    declare_a_decent_one() -- whether it runs depends on the others: one may be essential
    local moves = 0
    local ok, message = pcall(t.run_until, t, function()
      moves = moves + 1
      return moves > MOVES
    end, 2.5)
    assert(ok or type(message) == "string" and not message:find "attempt to ", message)
  end, { max_memory = 64 * 2 ^ 20 })
  if #text % 4 == 0 then -- it takes as long as the input does
    testing.run(function(t)
      local check = declare_a_decent_one()
      t:advance(0.1)
      check()
    end)
  end
  collectgarbage "step"
end
