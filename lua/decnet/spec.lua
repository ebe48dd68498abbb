-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Declarations: what a script wrote becomes a name, something to run and a policy, or a message
-- that says what to mend. Knows nothing of the core and raises nothing: the caller knows the level
-- at which the user's line is found.

local _ENV = require "decnet.stdlib"()
local checks = require "decnet.checks"
local options = require "decnet.options"
local policies = require "decnet.policy"
local show = require "decnet.show"
local suggest = require "decnet.suggest"

local M = {}

--- The option tables, in the order of the manual.
M.options = options.worker
M.group_options = options.group

--- The defaults until `decnet.defaults` is called.
M.builtin = policies.builtin

local function by_key(list)
  local map = {}
  for _, option in ipairs(list) do
    map[option.key] = option
  end
  return map
end

local WORKER = by_key(options.worker)
local GROUP = by_key(options.group)
local path_of = checks.path_of
local check_name, check_run = WORKER.name.check, WORKER.run.check

-- ---- messages ----------------------------------------------------------------------------------

local function is_identifier(key)
  return type(key) == "string" and string.find(key, "^[%a_][%w_]*$") ~= nil
end

-- 'worker "flaky": jitter: complaint'; with a place, 'return value[3].jitter: complaint (worker
-- "flaky")'. An empty path is the declaration itself.
local function fail(where, name, path, complaint)
  if where then
    local dot = string.find(path, "^[%a_]") and "." or ""
    local whose = name and string.format(" (worker %s)", show(name)) or ""
    return nil, string.format("%s%s%s: %s%s", where, dot, path, complaint, whose)
  end
  local whose = name and "worker " .. show(name) or "worker"
  local colon = path == "" and "" or ": "
  return nil, string.format("%s%s%s: %s", whose, colon, path, complaint)
end

local function pass(where, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  local text = type(err) == "string" and err or "raised " .. show(err)
  return fail(where, nil, "", "cannot be read by its metatable: " .. text)
end

-- fn(given, ...). What the metatable of a declaration raises while it is read is a mistake in the
-- declaration.
local function read(where, fn, given, ...)
  if debug.getmetatable(given) then
    return pass(where, pcall(fn, given, ...))
  end
  return fn(given, ...)
end

local function expected(what, value)
  return (select(2, checks.complain(what, value)))
end

local function complain_unknown(key, list)
  if type(key) == "number" then
    return "unexpected item; write option = value"
  end
  local keys = {}
  for _, option in ipairs(list) do
    keys[#keys + 1] = option.key
  end
  local near = suggest.near(key, keys)
  if near then
    return string.format('unknown option; did you mean "%s"?', near)
  end
  return "unknown option; there are " .. table.concat(keys, ", ")
end

-- The first key that is neither an option nor one of so many items, in an order that hashing does
-- not change: the same mistake reads the same each time. Also how many options there are at most.
local function find_unknown(given, map, items)
  local found, found_rank
  local count = debug.getmetatable(given) and math.huge or 0
  for key in next, given do
    local option = map[key]
    if option then
      count = option.required and count or count + 1
    elseif math.type(key) ~= "integer" or key < 1 or key > items then
      local rank = type(key) .. show(key)
      if not found_rank or rank < found_rank then
        found, found_rank = key, rank
      end
    end
  end
  return found, count
end

-- ---- one worker --------------------------------------------------------------------------------

--- `decnet.worker(name, fn)`. Returns name, run and policy, or nil and a message.
---@param name any
---@param run any
---@param defaults decnet.Policy? what `M.defaults` returned; the built-in ones
---@return string? name, any run_or_message, decnet.Policy? policy
function M.pair(name, run, defaults)
  defaults = defaults or M.builtin
  local ok, complaint = check_name(name)
  if not ok then
    return fail(nil, nil, "name", complaint)
  end
  ok, complaint = check_run(run)
  if not ok then
    return fail(nil, name, "run", complaint)
  end
  if defaults.after[1] then
    local path, text = policies.self_wait(name, defaults, false)
    if path then
      return fail(nil, name, path, text)
    end
  end
  return name, run, defaults
end

-- A part given by position or by key, never by both. Returns the value, or nil, path, complaint.
local function part(given, position, key, check)
  local item, named = given[position], given[key]
  local path = string.format("[%d]", position)
  if item == nil then
    local value, complaint = check(named)
    return value, key, complaint
  elseif named ~= nil then
    return nil, path, string.format("the %s is given twice, here and as '%s'; remove one", key, key)
  end
  local value, complaint = check(item)
  return value, path, complaint and string.format("%s: %s", key, complaint)
end

local SHAPE = 'a declaration { "name", function, option = value, ... }'

local function normalise(given, defaults, where)
  local name, path, complaint = part(given, 1, "name", check_name)
  if not name then
    return fail(where, nil, path, complaint)
  end
  local unknown, most = find_unknown(given, WORKER, 2)
  if unknown ~= nil then
    return fail(where, name, path_of(unknown), complain_unknown(unknown, options.worker))
  end
  local run
  run, path, complaint = part(given, 2, "run", check_run)
  if not run then
    return fail(where, name, path, complaint)
  end
  local own, count_or_path
  own, count_or_path, complaint = policies.read(given, policies.options, most)
  if own == nil then
    return fail(where, name, count_or_path, complaint)
  end
  local policy = defaults
  if own then
    path, complaint = policies.contradiction(own)
    if not path then
      path, complaint = policies.idle_option(own, defaults)
    end
    if path then
      return fail(where, name, path, complaint)
    end
    policy = policies.share(defaults, own, count_or_path)
  end
  if policy.after[1] then
    path, complaint = policies.self_wait(name, policy, own and own.after ~= nil)
    if path then
      return fail(where, name, path, complaint)
    end
  end
  return name, run, policy
end

--- A declaration: `{ name =, run =, ... }` or `{ "name", fn, option = value, ... }`.
--- Returns name, run and policy, or nil and a message.
---@param given any
---@param defaults decnet.Policy? what `M.defaults` returned; the built-in ones
---@param where string? its place, as in "return value[3]"; without one messages begin with the name
---@return string? name, any run_or_message, decnet.Policy? policy
function M.normalise(given, defaults, where)
  defaults = defaults or M.builtin
  if type(given) ~= "table" then
    return fail(where, nil, "", expected(SHAPE, given))
  end
  return read(where, normalise, given, defaults, where)
end

--- The arguments of `decnet.worker`, in either form. Returns name, run and policy, or nil and a
--- message.
---@param defaults decnet.Policy?
---@return string? name, any run_or_message, decnet.Policy? policy
function M.worker(defaults, first, second, third)
  if type(first) == "table" then
    if second ~= nil then
      return nil, "decnet.worker: expected one table, or a name and a function; write "
        .. 'decnet.worker{ "name", function, option = value }'
    end
    return M.normalise(first, defaults)
  elseif third ~= nil then
    return nil, "decnet.worker: expected a name and a function; to give options write "
      .. 'decnet.worker{ "name", function, option = value }'
  end
  return M.pair(first, second, defaults)
end

-- ---- defaults, groups --------------------------------------------------------------------------

local DEFAULTS = "decnet.defaults"

local function read_defaults(given, current)
  local where = DEFAULTS
  local unknown = find_unknown(given, WORKER, 0)
  if unknown ~= nil then
    return fail(where, nil, path_of(unknown), complain_unknown(unknown, policies.options))
  end
  for _, option in ipairs(options.worker) do
    if option.required and given[option.key] ~= nil then
      return fail(where, nil, option.key, "belongs to one worker; give it to decnet.worker")
    end
  end
  local own, count_or_path, complaint = policies.read(given, policies.options)
  if own == nil then
    return fail(where, nil, count_or_path, complaint)
  elseif not own then
    return current
  end
  local path, text = policies.contradiction(own)
  if path then
    return fail(where, nil, path, text)
  end
  return policies.share(current, own, count_or_path)
end

--- `decnet.defaults{ ... }`: the defaults from now on, or nil and a message.
---@param current decnet.Policy? the defaults until now; the built-in ones
---@param given any
---@return decnet.Policy? defaults, string? message
function M.defaults(current, given)
  current = current or M.builtin
  if type(given) ~= "table" then
    return fail(DEFAULTS, nil, "", expected("a table of options", given))
  end
  return read(DEFAULTS, read_defaults, given, current)
end

local function read_group(given, name, whose)
  local unknown = find_unknown(given, GROUP, 0)
  if unknown ~= nil then
    local text = complain_unknown(unknown, options.group)
    return nil, string.format("%s%s: %s", whose, path_of(unknown), text)
  end
  local own, path, complaint = policies.read(given, options.group)
  if own == nil then
    return nil, string.format("%s%s: %s", whose, path, complaint)
  end
  own = own or {}
  if own.within and not own.max_restarts then
    return nil, whose .. "within: has no effect without max_restarts; give max_restarts too, "
      .. "or remove it"
  end
  for _, option in ipairs(options.group) do
    if own[option.key] == nil then
      own[option.key] = option.default
    end
  end
  return name, own
end

--- `decnet.group(name, options)`. Returns the name and a new table { strategy =, max_restarts =,
--- within = }, or nil and a message.
---@param name any
---@param given any
---@return string? name, table|string options_or_message
function M.group(name, given)
  local ok, complaint = check_name(name)
  if not ok then
    return nil, "group: name: " .. complaint
  end
  local whose = string.format("group %s: ", show(name))
  given = given == nil and {} or given
  if type(given) ~= "table" then
    return nil, whose .. expected("a table of options", given)
  end
  return read(string.format("group %s", show(name)), read_group, given, name, whose)
end

-- ---- lists -------------------------------------------------------------------------------------

local LIST = 'a list of declarations { { "name", function }, ... }'

-- Why a table is not such a list: path and complaint, or nothing.
local function check_list(value)
  local items = 0
  for _ in next, value do
    items = items + 1
  end
  local stray = find_unknown(value, {}, math.huge)
  if stray ~= nil then
    local advice = WORKER[stray] and "put the declaration into a list: { { ... } }"
      or is_identifier(stray) and checks.name(stray)
        and string.format('write { "%s", function }', stray)
      or "number the declarations from 1"
    return path_of(stray), "not part of a list of declarations; " .. advice
  end
  for i = 1, items do
    if rawget(value, i) == nil then
      return string.format("[%d]", i), "nothing here, but declarations after it; close the gap"
    end
  end
  if type(rawget(value, 1)) == "string" and check_run(rawget(value, 2)) then
    return "[1]", "this is one declaration, not a list; put it into one: { { ... } }"
  end
end

--- What a script returns, or `run_group` is given; nil is an empty list. Returns the declarations
--- in order, or nil and a message.
---@param value any
---@param defaults decnet.Policy?
---@param where string? what the list is called in messages; "return value"
---@return { name: string, run: any, policy: decnet.Policy }[]? entries, string? message
function M.list(value, defaults, where)
  where = where or "return value"
  if value == nil then
    return {}
  elseif type(value) ~= "table" then
    return fail(where, nil, "", expected(LIST .. ", or nothing", value))
  end
  local path, complaint = check_list(value)
  if path then
    return fail(where, nil, path, complaint)
  end
  local entries, place_of = {}, {}
  for i = 1, rawlen(value) do
    local place = string.format("%s[%d]", where, i)
    local name, run, policy = M.normalise(rawget(value, i), defaults, place)
    if not name then
      return nil, run
    elseif place_of[name] then
      local text = string.format("already taken by %s; choose another", place_of[name])
      return fail(place, name, "name", text)
    end
    place_of[name] = place
    entries[i] = { name = name, run = run, policy = policy }
  end
  return entries
end

return M
