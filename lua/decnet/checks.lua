-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What an option's value may be. A check takes the value given and returns the value to use, or
-- nil, the complaint ("expected ..., got ...") and, for something inside the value, the path to it
-- ("[2]").

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"
local show = require "decnet.show"
local suggest = require "decnet.suggest"

local M = {}

local is_printable = core.is_printable

-- Times become nanoseconds in 64 bits; a finite time this long is a mistake well before they
-- overflow.
local LONGEST_S = 1e9
-- One less than the core's "no limit", which is what math.huge becomes.
local MOST_RESTARTS = 2 ^ 32 - 2
local LONGEST_NAME = 200
-- The core's bound (core/limits.h): more dependencies than this is a script gone wrong.
local MOST_NAMES = 4096

---@param expected string
---@param value any
---@param advice string?
local function complain(expected, value, advice)
  local text = string.format("expected %s, got %s", expected, show(value))
  local wants_number = string.find(expected, "number") ~= nil
  if not advice and type(value) == "string" and wants_number and tonumber(value) then
    advice = "write it without quotes"
  end
  return nil, advice and text .. "; " .. advice or text
end
M.complain = complain

-- A longer key is cut, as a value is.
local LONGEST_KEY = 40

--- A key as it stands in a path: `jitter`, `["max backoff"]`, `[2.5]`.
---@param key any
---@return string
function M.path_of(key)
  local is_plain = type(key) == "string" and #key <= LONGEST_KEY
    and string.find(key, "^[%a_][%w_]*$")
  return is_plain and key or string.format("[%s]", show(key))
end

--- `{ positive = true }`: not 0. `{ infinite = true }`: math.huge too. `{ off = true }`: false too,
--- which is math.huge.
---@param rule { positive: boolean?, infinite: boolean?, off: boolean? }
function M.seconds(rule)
  local expected = "a number of seconds " .. (rule.positive and "> 0" or "≥ 0")
  if rule.off then
    expected = expected .. ", or false for off"
  end
  return function(value)
    if rule.off and value == false then
      return math.huge
    elseif type(value) ~= "number" or not (value > 0 or value == 0 and not rule.positive) then
      return complain(expected, value)
    elseif value == math.huge then
      if not rule.infinite then
        return complain(expected, value, "give a finite time")
      end
    elseif value > LONGEST_S then
      local advice = rule.infinite and "write math.huge for no limit" or nil
      return complain(string.format("at most %.0e seconds (31 years)", LONGEST_S), value, advice)
    end
    return value
  end
end

--- A finite number from min to max, both included.
---@param min number
---@param max number?
---@param advice string?
function M.number(min, max, advice)
  local expected = max and string.format("a number from %s to %s", min, max)
    or string.format("a finite number ≥ %s", min)
  return function(value)
    if type(value) ~= "number" or not (value >= min and value <= (max or 1e300)) then
      return complain(expected, value, advice)
    end
    return value
  end
end

--- How many restarts: an integer, or math.huge.
function M.count(value)
  if value == math.huge then
    return value
  end
  local count = type(value) == "number" and math.tointeger(value)
  if type(value) == "number" and value > MOST_RESTARTS then
    return complain(string.format("at most %.0f", MOST_RESTARTS), value,
      "write math.huge for no limit")
  elseif not count or count < 0 then
    return complain("a whole number ≥ 0 or math.huge", value)
  end
  return count
end

function M.boolean(value)
  if type(value) ~= "boolean" then
    return complain("true or false", value)
  end
  return value
end

--- One of a few words.
---@param words string[]
function M.one_of(words)
  local known, quoted = {}, {}
  for i, word in ipairs(words) do
    known[word] = true
    quoted[i] = string.format('"%s"', word)
  end
  local last = table.remove(quoted)
  local expected = table.concat(quoted, ", ") .. " or " .. last
  return function(value)
    if type(value) == "string" and known[value] then
      return value
    end
    local near = suggest.near(value, words)
    return complain(expected, value, near and string.format('did you mean "%s"?', near))
  end
end

local UNITS = { K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30 }

--- The number of bytes that a whole number, or a string with a binary unit, says; nil if it is
--- neither.
---@param value any
---@return integer?
function M.size(value)
  if type(value) == "string" then
    local digits, unit = string.match(value, "^(%d+%.?%d*)([KMGkmg])$")
    value = digits and math.floor(tonumber(digits) * UNITS[string.upper(unit)])
  end
  return type(value) == "number" and value >= 0 and value <= 2 ^ 53 and math.tointeger(value)
    or nil
end

-- Nobody means so few bytes, nor so many megabytes.
local MOST_MEGABYTES = 4096

--- What somebody who wrote 64MB, 64MiB, 64 M or 64 meant: 64M; nil for what is a size, or is none.
---@param value any
---@return string? size
function M.near_size(value)
  if type(value) ~= "string" and type(value) ~= "number" then
    return nil
  end
  local text = tostring(value)
  local digits, unit = string.match(text, "^(%d+%.?%d*)%s*([KMGkmg])i?[Bb]?$")
  if digits then
    return not M.size(text) and digits .. string.upper(unit) or nil
  end
  local number = string.find(text, "^%d+$") and tonumber(text)
  return number and number > 0 and number <= MOST_MEGABYTES and text .. "M" or nil
end

--- Bytes, at least so many kibibytes; false is off.
---@param least integer
function M.bytes(least)
  local expected = string.format('a number of bytes, or a string such as "64M" (K, M or G), of at '
    .. "least %dK, or false", least // 1024)
  return function(value)
    if value == false or value == math.huge then
      return math.huge
    end
    local bytes = M.size(value)
    if not bytes or bytes < least then
      local near = M.near_size(value)
      return complain(expected, value, near and string.format('write "%s"', near))
    end
    return bytes
  end
end

--- The options of a call: a table, with no other keys than these. Returns true, or nil and the
--- complaint.
---@param given any
---@param known string[]
---@return true?, string? complaint
function M.options(given, known)
  if type(given) ~= "table" then
    return nil, "options: " .. select(2, complain("a table", given))
  end
  local is_known = {}
  for _, key in ipairs(known) do
    is_known[key] = true
  end
  for key in next, given do
    if not is_known[key] then
      local near = suggest.near(key, known)
      return nil, string.format("options: unknown option %s; %s", show(key),
        near and string.format('did you mean "%s"?', near)
        or "there are " .. table.concat(known, ", "))
    end
  end
  return true
end

--- A name fit for a log line, a command line and a metric.
function M.name(value)
  if is_printable(value) and #value <= LONGEST_NAME then
    return value
  elseif type(value) ~= "string" or value == "" then
    return complain("a name (a non-empty string)", value)
  elseif #value > LONGEST_NAME then
    local expected = string.format("a name of at most %d bytes", LONGEST_NAME)
    return nil, string.format("expected %s, got %d bytes: %s", expected, #value, show(value))
  elseif not utf8.len(value) then
    return complain("a name in valid UTF-8", value)
  elseif string.find(value, "[\0\1-\31\127]") or string.find(value, "\xC2[\x80-\x9F]") then
    return complain("a name without control characters", value)
  end
  return value
end

--- A list of names, copied, each once.
function M.names(value)
  if type(value) ~= "table" then
    local advice = type(value) == "string" and string.format("write { %s }", show(value)) or nil
    return complain("a list of names", value, advice)
  end
  local copy, seen, items = {}, {}, 0
  for key in next, value do
    if math.type(key) ~= "integer" or key < 1 then
      local _, text = complain("a list of names", value, 'write { "first", "second" }')
      local path = M.path_of(key)
      return nil, text, (string.find(path, "^%[") and "" or ".") .. path
    end
    items = items + 1
  end
  if items > MOST_NAMES then
    return nil, string.format("expected at most %d names, got %d", MOST_NAMES, items)
  end
  for i = 1, items do
    local name, text = M.name(rawget(value, i))
    if not name then
      return nil, text, string.format("[%d]", i)
    elseif not seen[name] then
      seen[name] = true
      copy[#copy + 1] = name
    end
  end
  return copy
end

local RUNNABLE = "a function, or a coroutine that has not started"

local function startable(thread)
  local status = coroutine.status(thread)
  if status == "suspended" and debug.getinfo(thread, 0) ~= nil then
    status = "started"
  end
  if status ~= "suspended" then
    local advice = "give its function, which can be started again for each run"
    return nil, string.format("expected %s, got a coroutine that is %s; %s", RUNNABLE, status,
      advice)
  end
  return thread
end

--- What a worker runs: a function, an object with __call, or a coroutine that has not started.
function M.runnable(value)
  local kind = type(value)
  if kind == "function" then
    return value
  elseif kind == "thread" then
    return startable(value)
  end
  local meta = debug.getmetatable(value)
  if kind ~= "string" and type(meta) == "table" and rawget(meta, "__call") ~= nil then
    return value
  end
  return complain(RUNNABLE, value)
end

return M
