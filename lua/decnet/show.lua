-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Any Lua value as a few words on one line, for messages. Never raises, whatever the value's
-- metamethods do.

local _ENV = require "decnet.stdlib"()

local LONGEST = 48

local NAMED = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }
local ARTICLE = { thread = "a coroutine", userdata = "a userdata" }

local function escape(char)
  return NAMED[char] or string.format("\\x%02X", string.byte(char))
end

local function clean(text)
  local cut = false
  if #text > LONGEST then
    -- Up to three bytes less, so that no character is cut in two.
    text = string.gsub(string.sub(text, 1, LONGEST), "[\xC0-\xFF][\x80-\xBF]?[\x80-\xBF]?$", "")
    cut = true
  end
  local pattern = utf8.len(text) and '[\0\1-\31\127\\"]' or '[\0\1-\31\127-\255\\"]'
  return string.gsub(string.gsub(text, "\xC2[\x80-\x9F]", "?"), pattern, escape), cut
end

local function number(value)
  if value ~= value then
    return "NaN"
  elseif value == math.huge then
    return "math.huge"
  elseif value == -math.huge then
    return "-math.huge"
  end
  return tostring(value)
end

--- `"text"`, `5`, `NaN`, `nothing` (for nil), `a table`, `a table (what its __tostring says)`.
---@param value any
---@return string
return function(value)
  local kind = type(value)
  if kind == "nil" then
    return "nothing"
  elseif kind == "string" then
    local text, cut = clean(value)
    return string.format('"%s"%s', text, cut and "..." or "")
  elseif kind == "number" then
    return number(value)
  elseif kind == "boolean" then
    return tostring(value)
  end
  local name = ARTICLE[kind] or "a " .. kind
  local meta = debug.getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then
    local ok, text = pcall(tostring, value)
    if ok then
      local shown, cut = clean(text)
      return string.format("%s (%s%s)", name, shown, cut and "..." or "")
    end
  end
  return name
end
