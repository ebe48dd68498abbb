-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Policies: a plain table with every option of decnet.options but name and run. Workers that say
-- the same share one, so that the core may keep one copy of each by identity: never write to one.

local _ENV = require "decnet.stdlib"()
local options = require "decnet.options"
local show = require "decnet.show"

local M = {}

---@class decnet.Policy every option but name and run, filled in; shared: never write to it

--- The options that make a policy, in the order of the manual.
---@type decnet.Option[]
M.options = {}

--- What a worker gets that says nothing, under no `decnet.defaults`.
---@type decnet.Policy
M.builtin = {}

for _, option in ipairs(options.worker) do
  if not option.required then
    M.options[#M.options + 1] = option
    M.builtin[option.key] = option.default
  end
end

-- defaults -> signature -> policy; weak, so that neither workers nor defaults of the past are kept.
local known = setmetatable({}, { __mode = "k" })

-- What a declaration says, as a string; nothing if it holds a list.
local function signature_of(own, count)
  local parts = {}
  for _, option in ipairs(M.options) do
    local value = own[option.key]
    if value ~= nil then
      if type(value) == "table" then
        return nil
      end
      parts[#parts + 1] = option.key
      parts[#parts + 1] = string.format("%q", value)
      if #parts == 2 * count then
        break
      end
    end
  end
  return table.concat(parts, "\n")
end

local function merge(defaults, own)
  local policy = {}
  for _, option in ipairs(M.options) do
    local value = own[option.key]
    if value == nil then
      value = defaults[option.key]
    end
    policy[option.key] = value
  end
  return policy
end

--- The policy that `own` makes of `defaults`; the same table for the same options.
---@param defaults decnet.Policy
---@param own table checked options
---@param count integer how many
---@return decnet.Policy
function M.share(defaults, own, count)
  local signature = signature_of(own, count)
  if not signature then
    return merge(defaults, own)
  end
  local policies = known[defaults]
  if not policies then
    policies = setmetatable({}, { __mode = "v" })
    known[defaults] = policies
  end
  local policy = policies[signature]
  if not policy then
    policy = merge(defaults, own)
    policies[signature] = policy
  end
  return policy
end

--- Reads what a table gives of some options. Returns them checked and their number (false if there
--- are none), or nil, the path of the first bad one and the complaint.
---@param given table
---@param list decnet.Option[]
---@param most integer? stop after so many
---@return table|false|nil own, integer|string count_or_path, string? complaint
function M.read(given, list, most)
  local own, count = false, 0
  most = most or #list
  for i = 1, #list do
    if count == most then
      break
    end
    local option = list[i]
    local key = option.key
    local value = given[key]
    if value ~= nil then
      local checked, complaint, path = option.check(value)
      if checked == nil then
        return nil, key .. (path or ""), complaint
      end
      own = own or {}
      own[key] = checked
      count = count + 1
    end
  end
  return own, count
end

--- Options given together that contradict each other. Returns path and complaint, or nothing.
---@param own table checked options
---@return string? path, string? complaint
function M.contradiction(own)
  if own.min_backoff and own.max_backoff and own.min_backoff > own.max_backoff then
    local min, max = show(own.min_backoff), show(own.max_backoff)
    return "min_backoff", string.format("expected at most max_backoff (%s), got %s; raise "
      .. "max_backoff or lower min_backoff", max, min)
  end
end

--- What a worker says itself must have an effect; what it inherits need not. Returns path and
--- complaint, or nothing.
---@param own table checked options
---@param defaults decnet.Policy
---@return string? path, string? complaint
function M.idle_option(own, defaults)
  if (own.restart or defaults.restart) == "never" then
    for _, option in ipairs(M.options) do
      if option.restarts and own[option.key] ~= nil then
        if own.restart then
          return option.key, 'has no effect with restart = "never"; remove one of the two'
        end
        return option.key, 'has no effect with restart = "never", which decnet.defaults set; '
          .. "remove it or give restart"
      end
    end
  end
  if own.within and not own.max_restarts and defaults.max_restarts == math.huge then
    return "within", "has no effect without max_restarts; give max_restarts too, or remove it"
  end
end

--- A worker that waits for itself. Returns path and complaint, or nothing.
---@param name string
---@param policy decnet.Policy
---@param is_own boolean the worker gave the list itself
---@return string? path, string? complaint
function M.self_wait(name, policy, is_own)
  for i, other in ipairs(policy.after) do
    if other == name then
      local advice = is_own and "remove its name"
        or "decnet.defaults put it there: give this worker an after of its own"
      return string.format("after[%d]", i), "a worker cannot wait for itself; " .. advice
    end
  end
end

return M
