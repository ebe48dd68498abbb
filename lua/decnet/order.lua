-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Who must be ready before whom: every name in an `after` exists, and nobody waits for himself in a
-- circle.

local show = require "decnet.show"
local suggest = require "decnet.suggest"

local M = {}

-- A circle of thousands is told by its first names.
local MOST_SHOWN = 12

local function names_of(by_name)
  local names = {}
  for name in next, by_name do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function unknown(entry, i, by_name)
  local missing = entry.policy.after[i]
  local near = suggest.near(missing, names_of(by_name))
  local advice = near and ("did you mean %s?"):format(show(near))
    or "declare it, or remove the name"
  return ("worker %s: after[%d]: there is no worker %s; %s")
    :format(show(entry.name), i, show(missing), advice)
end

local function circle(path, from)
  local names = {}
  for i = from, math.min(#path, from + MOST_SHOWN - 1) do
    names[#names + 1] = path[i].name
  end
  if #path - from >= MOST_SHOWN then
    names[#names + 1] = "..."
  end
  names[#names + 1] = path[from].name
  return ("worker %s: after: each waits for the next, for ever: %s; remove one of these")
    :format(show(path[from].name), table.concat(names, " -> "))
end

--- Checks a set of declarations, as `decnet.spec`.list returns them. Returns true, or nil and a
--- message. Iterative: a chain may be as long as there are workers.
---@param entries { name: string, policy: decnet.Policy }[]
---@param others table<string, any>? names that exist besides and depend on none of these
---@return true? ok, string? message
function M.check(entries, others)
  local by_name = {}
  for name in next, others or {} do
    by_name[name] = false
  end
  for _, entry in ipairs(entries) do
    by_name[entry.name] = entry
  end
  local finished, depth_of = {}, {}
  for _, root in ipairs(entries) do
    local path, next_index = { root }, { 1 }
    depth_of[root] = finished[root] and depth_of[root] or 1
    if finished[root] then
      path = {}
    end
    while #path > 0 do
      local depth = #path
      local entry, i = path[depth], next_index[depth]
      local name = entry.policy.after[i]
      if name == nil then
        finished[entry] = true
        path[depth] = nil
      else
        next_index[depth] = i + 1
        local other = by_name[name]
        if other == nil then
          return nil, unknown(entry, i, by_name)
        elseif other and not finished[other] then
          if depth_of[other] then
            return nil, circle(path, depth_of[other])
          end
          path[depth + 1], next_index[depth + 1] = other, 1
          depth_of[other] = depth + 1
        end
      end
    end
  end
  return true
end

return M
