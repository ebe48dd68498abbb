-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet.testing: a fresh host on a virtual clock, for specs that need not sleep.

local _ENV = require "decnet.stdlib"()
local checks = require "decnet.checks"
local core = require "decnet.core"
local decnet = require "decnet"
local reload = require "decnet.reload"
local script = require "decnet.script"

local M = {}

---@class decnet.Test
---@field host any
local Test = {}
Test.__index = Test

-- A test that waits for what never comes must fail, not hang.
-- A preempted slice moves the clock by its real length. Only what really hangs should be: not a
-- full collection on a slow machine.
local SLICE = 0.1 -- real seconds

local STOP_LIMIT = 1e6 -- virtual seconds
local UNTIL_LIMIT = 3600

local function boot(self, seconds)
  if getmetatable(self) ~= Test then
    error("call it as a method: t:advance(...), t:run_until(...), t:stop()", 3)
  elseif seconds ~= nil and not (type(seconds) == "number" and seconds >= 0) then
    error(string.format("expected a number of seconds >= 0, got %s", tostring(seconds)), 3)
  end
  local ok, message = self.host:boot()
  if not ok then
    error(message, 3)
  end
end

--- Move the clock by `seconds`, through each deadline in turn.
---@param seconds number
function Test:advance(seconds)
  boot(self, seconds or false)
  local limit = self.host:after(seconds)
  while self.host:step(limit) do end
end

--- Move the clock until `pred()` is true, at most `max_seconds` (3600). Returns whether it is.
---@param pred fun(): any
---@param max_seconds? number
---@return boolean
function Test:run_until(pred, max_seconds)
  boot(self, max_seconds)
  local limit = self.host:after(max_seconds or UNTIL_LIMIT)
  while not pred() do
    if not self.host:step(limit) then
      return pred() and true or false
    end
  end
  return true
end

--- Seconds on the virtual clock.
---@return number
function Test:now()
  return self.host:now()
end

--- The status table of a worker.
---@param name string
---@return decnet.Status
function Test:status(name)
  local handle, message = self.host:get(name)
  if not handle then
    error(message, 2)
  end
  return handle:status()
end

--- What happened so far: the tables that `decnet.on` hooks get, in order.
---@return decnet.Event[]
function Test:events()
  return table.move(self.recorded, 1, #self.recorded, 1, {})
end

--- Load a workers.lua into this host, as decnet-host would.
---@param path string
---@param ... string its arguments, in the global `arg`
function Test:load(path, ...)
  local ok, message = script.load(self.host, path, { ... })
  if not ok then
    error(message, 2)
  end
end

--- Load the script again, as SIGHUP does: the clock moves until every worker that it concerns has
--- been stopped and started. Returns true or false, and what the log says.
---@return boolean ok, string message
function Test:reload()
  boot(self)
  local ok, message
  reload.request(self.host, function(...)
    ok, message = ...
  end)
  local limit = self.host:after(STOP_LIMIT)
  while ok == nil and self.host:step(limit) do end
  if ok == nil then
    error("the reload does not end: a worker with stop_timeout = math.huge ignores its "
      .. "cancellation", 2)
  end
  return ok, message
end

--- Stop the host politely and run it to its end; returns the exit code. `status` still answers.
---@return integer
function Test:stop()
  boot(self)
  self.host:stop()
  local limit = self.host:after(STOP_LIMIT)
  while not self.host:is_over() do
    if not self.host:step(limit) and not self.host:is_over() then
      error("the host does not stop: a worker with stop_timeout = math.huge ignores its "
        .. "cancellation", 2)
    end
  end
  return self.host:exit_code()
end

local function with_traceback(err)
  if type(err) == "string" then
    return debug.traceback(err, 2)
  end
  return err
end

---@class decnet.TestOptions
---@field seed integer? of jitter; 1
---@field slice number? seconds of CPU after which a task is preempted; 0.1
---@field max_memory integer? bytes that all of Lua may hold
---@field preempt_every integer? preempt after each so many instructions
---@field log_fd integer? where to log; nowhere
---@field log_format string?
---@field log_level string?

local OPTIONS = { "seed", "slice", "max_memory", "preempt_every", "log_fd", "log_format",
  "log_level" }

--- Run `fn(t)` with a fresh host on a virtual clock. Errors raised in it are raised here; so is a
--- leak: whatever luv handle is left when the host has ended.
---@param fn fun(t: decnet.Test)
---@param options? decnet.TestOptions
function M.run(fn, options)
  if core.current_host() then
    error("testing.run: a host is running already", 2)
  end
  if type(fn) ~= "function" then
    error("testing.run: expected a function, got " .. type(fn), 2)
  end
  options = options or {}
  local fine, complaint = checks.options(options, OPTIONS)
  if not fine then
    error("testing.run: " .. complaint, 2)
  end
  local before = core.count_handles()
  local host = core.host {
    virtual = true,
    keep_alive = true,
    seed = options.seed or 1,
    slice = options.slice or SLICE,
    max_memory = options.max_memory,
    preempt_every = options.preempt_every,
    log = options.log_fd ~= nil,
    log_fd = options.log_fd,
    log_format = options.log_format,
    log_level = options.log_level,
  }
  local t = setmetatable({ host = host, recorded = {} }, Test)
  table.insert(decnet._listening(host).observers, function(event)
    t.recorded[#t.recorded + 1] = event
  end)
  local ok, err = xpcall(fn, with_traceback, t)
  host:close()
  if not ok then
    error(err, 0)
  end
  local left = core.count_handles() - before
  if left > 0 then
    error(string.format("testing.run: %d luv handle(s) are still open", left), 2)
  end
end

return M
