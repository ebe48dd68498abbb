-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet.supervise and decnet.run_group: hosts for programs that embed decnet.

local _ENV = require "decnet.stdlib"()
local checks = require "decnet.checks"
local core = require "decnet.core"
local decnet = require "decnet"
local spec = require "decnet.spec"

local M = {}

local RUN_GROUP = { "stop", "install_signals", "log" }

--- Host the workers until `options.stop` (a decnet.event) is set or SIGTERM or SIGINT comes, then
--- cancel and await all. Stays when all have finished; an empty list returns at once.
---@param specs table[] declarations, as a script may return
---@param options? { stop: decnet.EventFlag?, install_signals: boolean?, log: boolean? }
---@return integer code 0, or 1 when an essential worker failed, which ends the group too
function M.run_group(specs, options)
  options = options or {}
  local fine, complaint = checks.options(options, RUN_GROUP)
  if not fine then
    error("run_group: " .. complaint, 2)
  end
  if core.current_host() then
    error("run_group: a host is running already; declare the workers with decnet.worker", 2)
  end
  if options.stop ~= nil and not core.is_event(options.stop) then
    error("run_group: options: stop: expected a decnet.event, got " .. type(options.stop), 2)
  end
  local entries, message = spec.list(specs, nil, "specs")
  if not entries then
    error("run_group: " .. message, 2)
  end
  if #entries == 0 then
    return 0
  end
  local host = core.host {
    signals = options.install_signals ~= false,
    keep_alive = true,
    log = options.log,
  }
  host:stop_on(options.stop)
  local ok, code
  ok, message = decnet._declare_all(host, entries)
  if ok then
    ok, message = host:check()
  end
  if ok then
    code = host:run()
  end
  host:close()
  if not ok then
    error("run_group: " .. message, 2)
  end
  return code
end

-- A host for this one worker, for the length of the call.
local function supervise_alone(name, run, policy, options)
  local host = core.host { signals = options.install_signals ~= false, log = options.log }
  local handle, message = decnet._declare(host, name, run, policy)
  if handle then
    host:run()
  end
  local status = handle and handle:status()
  host:close()
  if not handle then
    error("supervise: " .. message, 3)
  end
  return status
end

local function remove_from(list, value)
  for i, other in ipairs(list) do
    if other == value then
      table.remove(list, i)
      return
    end
  end
end

-- Removes the worker; where the caller can still wait, until it is gone. A run that is being killed
-- can only ask.
local function remove(handle)
  if not pcall(core.shield, math.huge, handle.remove, handle) then
    handle:remove()
  end
end

-- A worker of the host that the caller's task runs in. It goes when the call ends, by any way.
local function supervise_here(host, name, run, policy)
  local over = core.event()
  local final = { done = true, give_up = true, stop = true }
  local observers = decnet._listening(host).observers
  local function observe(event)
    if event.worker == name and final[event.event] then
      over:set()
    end
  end
  local handle, message
  local _ <close> = setmetatable({}, { __close = function()
    if handle then
      remove(handle)
    end
    core.atomic(remove_from, observers, observe)
  end })
  table.insert(observers, observe) -- first: the worker may be over before its caller goes on
  core.atomic(function()
    handle, message = decnet._declare(host, name, run, policy)
  end)
  if not handle then
    error("supervise: " .. message, 3)
  end
  over:wait()
  return handle:status() or { state = "stopped" } -- somebody else has removed it
end

--- Run one worker until it returns cleanly, restarting it with backoff when it raises. Raises
--- `decnet.cancelled` if cancelled, and the last error of a worker that is given up.
---@param name string
---@param factory function|thread what to run, as the `run` of a worker
---@param options? table the options of a worker, and `install_signals`, `log` outside of a host
function M.supervise(name, factory, options)
  local given = {}
  for key, value in pairs(options or {}) do
    given[key] = value
  end
  local alone = { install_signals = given.install_signals, log = given.log }
  given.install_signals, given.log = nil, nil
  given.name, given.run = name, factory
  local checked, run, policy = spec.worker(nil, given)
  if not checked then
    error("supervise: " .. run, 2)
  end
  if policy.restart == "always" then
    error('supervise: restart: "always" would never return; host the worker with run_group', 2)
  end
  local host = core.current_host()
  local status
  if host then
    core.refuse_order(2)
    status = supervise_here(host, name, run, policy)
  else
    status = supervise_alone(name, run, policy, alone)
  end
  if status.state == "failed" then
    error(string.format("worker %q failed: %s", name,
      status.last_error and status.last_error.message), 2)
  elseif status.state ~= "done" then
    error(core.cancelled, 0)
  end
end

return M
