-- SPDX-License-Identifier: AGPL-3.0-or-later
-- "Did you mean": the nearest of a few known words, or nothing when none is near.

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"

local M = {}

-- Distance is quadratic in the length; no key or enum value is anywhere near as long.
local LONGEST = 64

-- Case and separators carry no meaning in a typo: maxBackoff, max-backoff and MAX_BACKOFF are one
-- word.
local function squash(word)
  return (string.gsub(string.lower(word), "[%s_-]", ""))
end

-- backoff_max is max_backoff with its parts in another order.
local function sorted(word)
  local parts = {}
  for part in string.gmatch(string.lower(string.gsub(word, "(%l)(%u)", "%1_%2")), "[^%s_-]+") do
    parts[#parts + 1] = part
  end
  table.sort(parts)
  return table.concat(parts)
end

-- The only candidate that contains the word: "factor" means backoff_factor, "timeout" could be
-- several.
local function containing(word, candidates)
  local found
  for _, candidate in ipairs(candidates) do
    if string.find(squash(candidate), word, 1, true) then
      if found then
        return nil
      end
      found = candidate
    end
  end
  return found
end

--- The candidate a typed word was meant to be; the first one where several are equally near.
---@param word any what was typed
---@param candidates string[]
---@return string? candidate
function M.near(word, candidates)
  if type(word) ~= "string" or #word < 2 or #word > LONGEST then
    return nil
  end
  local plain, reordered = squash(word), sorted(word)
  local limit = math.max(1, #plain // 3)
  local found
  for _, candidate in ipairs(candidates) do
    local edits = math.min(core.distance(plain, squash(candidate)),
      core.distance(reordered, sorted(candidate)))
    if edits <= limit and edits < #squash(candidate) - 1 then
      found, limit = candidate, edits - 1
    end
  end
  if not found and #plain >= 3 then
    found = containing(plain, candidates)
  end
  return found
end

return M
