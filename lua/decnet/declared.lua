-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a script has declared, as plain data, and hosts on the virtual clock in which bodies of our
-- own stand in for its functions. Nothing of the script's code is in such a host: the core alone
-- decides, on the declared options.

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"

local M = {}

---@class decnet.DeclaredGroup
---@field name string
---@field strategy string
---@field max_restarts number
---@field within number

---@class decnet.DeclaredWorker
---@field name string
---@field options table every option, filled in

---@class decnet.Declared
---@field workers decnet.DeclaredWorker[] in order of declaration
---@field groups decnet.DeclaredGroup[]

-- Our bodies do next to nothing: what the script's functions may use is no matter here, and a slow
-- machine must not move the clock.
local SLICE = 10 -- real seconds
local OURS = { preempt = true, hang_timeout = math.huge, max_memory = math.huge }

--- What has been declared in `host`.
---@param host any
---@return decnet.Declared
function M.read(host)
  local workers = {}
  for i, handle in ipairs(host:workers()) do
    workers[i] = { name = handle.name, options = handle:options() }
  end
  return { workers = workers, groups = host:groups() }
end

--- The same options, but for those in `changes`.
---@param options table
---@param changes table
---@return table
function M.with(options, changes)
  local new = {}
  for key, value in pairs(options) do
    new[key] = value
  end
  for key, value in pairs(changes) do
    new[key] = value
  end
  return new
end

--- A host on the virtual clock with these groups and workers, each worker with the body that
--- `body_of(worker)` returns, ready to be stepped. To be closed by the caller.
---@param declared decnet.Declared
---@param body_of fun(worker: decnet.DeclaredWorker): fun(self: decnet.Self)
---@param on_event fun(event: decnet.Event) also gets "state" events: `from`, `to`
---@param options? table of the host
---@return any host
function M.host(declared, body_of, on_event, options)
  local host = core.host(M.with({ slice = SLICE, seed = 1 }, M.with(options or {}, {
    virtual = true, log = false,
  })))
  host:on_event(on_event, true)
  for _, group in ipairs(declared.groups) do
    assert(host:group(group.name, group))
  end
  for _, worker in ipairs(declared.workers) do
    local policy = M.with(worker.options, OURS)
    assert(host:declare(worker.name, body_of(worker), policy))
  end
  assert(host:boot())
  return host
end

return M
