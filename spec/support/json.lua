-- SPDX-License-Identifier: AGPL-3.0-or-later
-- JSON for specs: a reader that takes nothing but JSON.

local M = {}

local value

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function text(s, at)
  local parts = {}
  while true do
    local plain, stop = s:match('^([^"\\%c]*)()', at)
    parts[#parts + 1] = plain
    local c = s:sub(stop, stop)
    if c == '"' then
      return table.concat(parts), stop + 1
    end
    assert(c == "\\", "a string that does not end")
    local escape = s:sub(stop + 1, stop + 1)
    if escape == "u" then
      parts[#parts + 1] = utf8.char(tonumber(s:sub(stop + 2, stop + 5), 16))
      at = stop + 6
    else
      parts[#parts + 1] = ESCAPES[escape] or escape
      at = stop + 2
    end
  end
end

local function list(s, at, close, item)
  local result, n = {}, 0
  at = s:match("^%s*()", at)
  if s:sub(at, at) == close then
    return result, at + 1
  end
  while true do
    at = item(result, n + 1, at)
    n = n + 1
    local mark, stop = s:match("^%s*([,%]}])()", at)
    assert(mark, "no comma and no end at " .. at)
    at = stop
    if mark == close then
      return result, at
    end
  end
end

M.null = setmetatable({}, { __tostring = function() return "null" end })

function value(s, at)
  at = s:match("^%s*()", at)
  local c = s:sub(at, at)
  if c == "{" then
    return list(s, at + 1, "}", function(result, _, from)
      local key, field
      key, from = text(s, assert(s:match('^%s*"()', from), "no key at " .. from))
      field, from = value(s, assert(s:match("^%s*:()", from), "no colon at " .. from))
      assert(result[key] == nil, "twice: " .. key)
      result[key] = field
      return from
    end)
  elseif c == "[" then
    return list(s, at + 1, "]", function(result, i, from)
      result[i], from = value(s, from)
      return from
    end)
  elseif c == '"' then
    return text(s, at + 1)
  end
  local word, stop = s:match("^([%w%.%+%-]+)()", at)
  local known = { ["true"] = true, ["false"] = false, null = M.null }
  if known[word] ~= nil then
    return known[word], stop
  end
  return assert(tonumber(word), "no value at " .. at), stop
end

--- The value of a JSON text. It must be valid UTF-8, null is M.null.
function M.decode(s)
  assert(utf8.len(s), "not UTF-8")
  local result, at = value(s, 1)
  assert(s:find("^%s*$", at), "something behind the value")
  return result
end

return M
