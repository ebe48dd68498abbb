-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The language of decnet-host simulate: what happens to which worker, and when.
--
--   scenario = item { (";" | newline) item }
--   item     = NAME event { event } | "shutdown" "@" TIME | "until" TIME
--   event    = VERB [ "(" TIME ")" ] "@" when { "," when }
--   when     = TIME [ ".." [ TIME ] ]        a range goes with crash only
--
-- A NAME with blanks or marks in it is written in double quotes, and so is a worker named until.

local _ENV = require "decnet.stdlib"()
local suggest = require "decnet.suggest"

local M = {}

---@class decnet.Action
---@field at number seconds since the start
---@field name string? of a worker; none: the host
---@field verb string
---@field till number? end of a range; math.huge
---@field is_end boolean? a range ends here
---@field seconds number? argument of retry_after

---@class decnet.Scenario
---@field actions decnet.Action[] in order of time
---@field till number? the time to end at

-- What happens inside a worker, what somebody orders, and what the host is told.
M.happens = { crash = true, fatal = true, finish = true, hang = true, ready = true,
  retry_after = true }
M.orders = { reset = true, restart = true, retry = true, start = true, stop = true }

local VERBS = { "crash", "fatal", "finish", "hang", "ready", "reset", "restart", "retry",
  "retry_after", "start", "stop" }

local LONGEST = 1e9 -- seconds, as in options

local WORD = '^[^%s;@(),"]+'

-- ---- reading -----------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

-- Leaves the parser; M.parse makes two results of it.
function Reader:fail(at, message, ...)
  local before = string.sub(self.text, 1, at - 1)
  local _, lines = string.gsub(before, "\n", "")
  local line = string.match(before, "[^\n]*$")
  local place = string.format("column %d", (utf8.len(line) or #line) + 1)
  if lines > 0 then
    place = string.format("line %d, %s", lines + 1, place)
  end
  error({ message = string.format("%s: %s", place, string.format(message, ...)) }, 0)
end

-- What stands at a place, for messages.
function Reader:got(at)
  local rest = string.sub(self.text, at)
  local word = string.match(rest, WORD) or string.match(rest, "^[^\n]")
    or string.match(rest, "^\n") and "a new line"
  return word and string.format("got '%s'", word) or "got the end"
end

function Reader:blanks()
  self.at = string.match(self.text, "^[ \t\r]*()", self.at)
end

function Reader:take(pattern)
  local found = string.match(self.text, pattern, self.at)
  if found then
    self.at = self.at + #found
  end
  return found
end

function Reader:ends_item()
  self:blanks()
  return self.at > #self.text or string.find(self.text, "^[;\n]", self.at) ~= nil
end

function Reader:expect(mark, what)
  if string.sub(self.text, self.at, self.at) ~= mark then
    self:fail(self.at, "expected %s, %s", what, self:got(self.at))
  end
  self.at = self.at + 1
end

-- Does an item begin here, whose ';' is missing?
function Reader:begins_item(word)
  return self.known[word] or word == "shutdown" or word == "until"
end

function Reader:time()
  self:blanks()
  local at = self.at
  local text = self:take "^%d+%.%d+" or self:take "^%d+"
  if not text then
    self:fail(at, "expected a time in seconds, as in 2.5, %s%s", self:got(at),
      self:begins_item(self:take(WORD)) and "; write ';' before it" or "")
  end
  local seconds = tonumber(text)
  if seconds > LONGEST then
    self:fail(at, "expected at most 1e9 seconds, got %s", text)
  end
  return seconds
end

-- ---- events ------------------------------------------------------------------------------------

function Reader:verb()
  local at = self.at
  local verb = self:take(WORD)
  if not verb then
    self:fail(at, "expected an event, as in crash@3, %s", self:got(at))
  elseif not M.happens[verb] and not M.orders[verb] then
    if self:begins_item(verb) then
      self:fail(at, "'%s' is no event of a worker; write ';' before it", verb)
    end
    local near = suggest.near(verb, VERBS)
    self:fail(at, "no event is named '%s'; %s", verb,
      near and string.format("did you mean '%s'?", near)
      or "there are " .. table.concat(VERBS, ", "))
  end
  local seconds
  if verb == "retry_after" then
    self:expect("(", "the delay, as in retry_after(5)@3")
    seconds = self:time()
    self:blanks()
    self:expect(")", "')'")
  end
  self:expect("@", string.format("'@' and a time after '%s'", verb))
  return verb, seconds
end

function Reader:range(verb, from)
  local at = self.at
  if not self:take "^%.%." then
    return nil
  elseif verb ~= "crash" then
    self:fail(at, "a range goes with crash only: each run that begins inside crashes")
  end
  local till = string.find(self.text, "^%d", self.at) and self:time() or math.huge
  if till <= from then
    self:fail(at, "the range ends before it begins")
  end
  return till
end

function Reader:event(name)
  local verb, seconds = self:verb()
  repeat
    local at = self:time()
    local till = self:range(verb, at)
    local action = { name = name, verb = verb, at = at, till = till, seconds = seconds }
    table.insert(self.actions, action)
    if till and till < math.huge then
      table.insert(self.actions, { name = name, verb = "crash", at = till, is_end = true })
    end
  until not self:take "^,"
  if not self:ends_item() and not string.find(self.text, "^[ \t\r]", self.at - 1) then
    self:fail(self.at, "expected ',' and a time, another event, or ';', %s", self:got(self.at))
  end
end

-- ---- items -------------------------------------------------------------------------------------

function Reader:name()
  local at = self.at
  local name, is_quoted = self:take(WORD), false
  if not name then
    name = string.match(self.text, '^"([^"\n]*)"', at)
    if not name then
      self:fail(at, "expected the name of a worker, %s", self:got(at))
    end
    self.at, is_quoted = at + #name + 2, true
  end
  return name, is_quoted, at
end

function Reader:worker(name, at)
  if not self.known[name] then
    if string.find(self.text, "^@", self.at) then
      self:fail(at, "expected the name of a worker before '%s@'", name)
    end
    local near = suggest.near(name, self.names)
    self:fail(at, "no worker is named '%s'; %s", name, near
      and string.format("did you mean '%s'?", near) or "decnet-host check prints the names")
  end
  repeat
    self:blanks()
    self:event(name)
  until self:ends_item()
end

function Reader:item()
  local name, is_quoted, at = self:name()
  if name == "until" and not is_quoted then
    self.till_time, self.till_at = self:time(), at
  elseif name == "shutdown" and not is_quoted and string.find(self.text, "^@", self.at) then
    self.at = self.at + 1
    table.insert(self.actions, { verb = "shutdown", at = self:time() })
  else
    self:worker(name, at)
  end
  if not self:ends_item() then
    self:fail(self.at, "expected ';', %s", self:got(self.at))
  end
end

function Reader:scenario()
  while self.at <= #self.text do
    if not self:ends_item() then
      self:item()
    end
    self.at = self.at + 1
  end
  for i, action in ipairs(self.actions) do
    action.order = i
    if self.till_time and action.at > self.till_time and not action.is_end then
      self:fail(self.till_at, "until %g comes before %s@%g; it would not happen", self.till_time,
        action.verb, action.at)
    end
  end
  table.sort(self.actions, function(a, b)
    return a.at < b.at or a.at == b.at and a.order < b.order
  end)
  return { actions = self.actions, till = self.till_time }
end

--- Read a scenario about these workers. Returns nil and a message with the place for one that
--- cannot be.
---@param text string
---@param names string[]
---@return decnet.Scenario? scenario, string? message
function M.parse(text, names)
  local known = {}
  for _, name in ipairs(names) do
    known[name] = true
  end
  local reader = setmetatable({ text = text, at = 1, names = names, known = known, actions = {} },
    Reader)
  local ok, result = pcall(reader.scenario, reader)
  if ok then
    return result
  elseif type(result) == "table" then
    return nil, result.message
  end
  error(result, 0)
end

return M
