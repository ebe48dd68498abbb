-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What worker authors call: require "decnet".

local stdlib = require "decnet.stdlib"()
local _ENV = stdlib

if stdlib.kept "decnet" then -- somebody has cleared package.loaded
  return stdlib.kept "decnet"
end

local core = require "decnet.core"
local hooks = require "decnet.hooks"
local show = require "decnet.show"
local spec = require "decnet.spec"
local suggest = require "decnet.suggest"

local is_event = {}
for _, event in ipairs(hooks.EVENTS) do
  is_event[event] = true
end

---@class decnet
local M = {
  atomic = core.atomic,
  await = core.await,
  cancelled = core.cancelled,
  channel = core.channel,
  current = core.current,
  event = core.event,
  fatal = core.fatal,
  is_cancelled = core.is_cancelled,
  now = core.now,
  park = core.park,
  retry_after = core.retry_after,
  shared = core.shared,
  shield = core.shield,
  sleep = core.sleep,
  spawn = core.spawn,
  timeout = core.timeout,
  yield = core.yield,
}

-- What belongs to one host: defaults, groups, hooks (decnet.hooks); while a script is loaded, added
-- (the hooks that decnet.on was given, as { event =, fn = }) and places (where workers with an
-- `after` are declared, by name).
local states = setmetatable({}, { __mode = "k" })

local function state_of(host)
  local state = states[host]
  if not state then
    state = { groups = {} }
    states[host] = state
  end
  return state
end

-- Of a script that is loaded beside what runs (decnet.reload): load -> its state.
local stages = setmetatable({}, { __mode = "k" })

-- Returns the host, the state that declarations change, and what takes them: the host, or a load.
local function current_host(what)
  local host, load = core.current_host()
  if not host then
    error(string.format("%s: there is no host here; declare workers in a script for "
      .. "decnet-host, or pass them to decnet.run_group", what), 3)
  end
  if load then
    return host, stages[load], load
  end
  return host, state_of(host), host
end

-- Events cost something: a host asks for them only when somebody listens.
local function listening(host)
  local state = state_of(host)
  if not state.hooks then
    core.atomic(function() state.hooks = state.hooks or hooks.new(host) end)
  end
  return state.hooks
end

local function declare(host, name, run, policy)
  local handle, message = host:declare(name, run, policy)
  if not handle then
    return nil, string.find(message, "^worker ") and message
      or string.format("worker %q: %s", name, message)
  end
  local stage = stages[host]
  if stage then
    stage.entries[#stage.entries + 1] =
      { name = name, run = message, policy = policy, handle = handle }
  end
  return handle
end

-- Whom a worker waits for can be declared later: what is wrong with it is found when the script has
-- been loaded, and is to be said with the line of the declaration.
local function note_place(places, name)
  local info = debug.getinfo(3, "Sl")
  if info and info.currentline > 0 then
    places[name] = string.format("%s:%d", info.short_src, info.currentline)
  end
end

--- Declare a worker: `decnet.worker(name, fn)` or `decnet.worker{ name =, run =, ... }`. Workers
--- declared while the script loads start, in order, when it has returned; one declared later starts
--- at once.
---@param first string|decnet.WorkerSpec
---@param second? function|thread
---@return decnet.Handle
function M.worker(first, second, third)
  local _, state, target = current_host "decnet.worker"
  local name, run, policy = spec.worker(state.defaults, first, second, third)
  if not name then
    error(run, 2)
  end
  local handle, message = declare(target, name, run, policy)
  if not handle then
    error(message, 2)
  elseif state.places and policy.after[1] then
    note_place(state.places, name)
  end
  return handle
end

--- Declare a group: workers declared after it with `group = name` share its restart strategy and
--- its limit. Their order in the group is the order of their declarations.
---@param name string
---@param options? decnet.GroupOptions
function M.group(name, options)
  local _, state, target = current_host "decnet.group"
  local checked, filled = spec.group(name, options)
  if not checked then
    error("decnet." .. filled, 2)
  end
  local ok, message = target:group(checked, filled)
  if not ok then
    error("decnet.group: " .. message, 2)
  end
  state.groups[checked] = filled
end

--- Set the defaults of the workers declared after it.
---@param options table
function M.defaults(options)
  local _, state = current_host "decnet.defaults"
  local new, message = spec.defaults(state.defaults, options)
  if not new then
    error(message, 2)
  end
  state.defaults = new
end

--- Call `fn(event)`, in a task of its own, whenever the event happens to a worker. It may take
--- 10 s. Its errors are logged and change nothing.
---@param event "start"|"ready"|"crash"|"restart"|"recovered"|"give_up"|"done"|"stop"
---@param fn fun(event: decnet.Event)
function M.on(event, fn)
  local host, state, target = current_host "decnet.on"
  if not is_event[event] then
    local near = type(event) == "string" and suggest.near(event, hooks.EVENTS)
    error(string.format("decnet.on: event: no event is named %s%s", show(event),
      near and string.format("; did you mean %q?", near)
      or "; there are " .. table.concat(hooks.EVENTS, ", ")), 2)
  elseif type(fn) ~= "function" then
    error(string.format("decnet.on: fn: expected a function, got %s", type(fn)), 2)
  end
  local hook = { event = event, fn = fn }
  if state.added then
    state.added[#state.added + 1] = hook
  end
  if target == host then
    core.atomic(function() listening(host):add(hook) end)
  end
end

--- Ask the host to stop: its workers are cancelled and awaited.
---@param reason? string for the log
function M.stop(reason)
  local host = current_host "decnet.stop"
  core.refuse_order(2)
  if reason ~= nil then
    host:log("info", "stopping: " .. tostring(reason))
  end
  host:stop()
end

--- A status table for each worker, in order of declaration.
---@return decnet.Status[]
function M.status()
  local list = {}
  for i, handle in ipairs(current_host "decnet.status":workers()) do
    list[i] = handle:status()
  end
  return list
end

--- The handle of a worker, or nil and a message.
---@param name string
---@return decnet.Handle?, string? message, string? code
function M.get(name)
  local host = current_host "decnet.get"
  if type(name) ~= "string" then
    error(string.format("decnet.get: name: expected a string, got %s", type(name)), 2)
  end
  return host:get(name)
end

-- The entries of a list that decnet.spec has checked.
local function declare_all(host, entries)
  for _, entry in ipairs(entries) do
    local handle, message = declare(host, entry.name, entry.run, entry.policy)
    if not handle then
      return nil, message
    end
  end
  return true
end

-- For the other modules of decnet.
M._declare = declare
M._declare_all = declare_all
M._listening = listening
M._state_of = state_of
M._stages = stages

-- Loaded when first used: not every script embeds, offloads or talks to luv.
local LAZY = {
  offload = "decnet.offload",
  run_group = "decnet.embed",
  supervise = "decnet.embed",
  uv = "decnet.uv",
}

-- What is wrong with a key; nothing with one that begins with _: tools look for some.
local function complain_unknown(key)
  if type(key) ~= "string" or string.find(key, "^_") then
    return nil
  end
  local known = {}
  for _, names in ipairs { M, LAZY } do
    for name in next, names do
      known[#known + 1] = not string.find(name, "^_") and name or nil
    end
  end
  table.sort(known)
  local near = suggest.near(key, known)
  return string.format("decnet has no %q; %s", key, near and string.format("did you mean %q?", near)
    or "there are " .. table.concat(known, ", "))
end

setmetatable(M, {
  __index = function(self, key)
    local name = LAZY[key]
    if not name then
      local complaint = complain_unknown(key)
      if complaint then
        error(complaint, 2)
      end
      return nil
    end
    local module = require(name)
    local value = name == "decnet.uv" and module or module[key]
    rawset(self, key, value)
    return value
  end,
})

return stdlib.keep("decnet", stdlib.sealed("decnet", M))
