-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Every option of a declaration: validation, defaults, "did you mean" and the reference manual all
-- read this table.
--
--   key       as written in a declaration
--   check     value -> value to use | nil, complaint, path inside the value (decnet.checks)
--   default   as it stands in a policy: math.huge is "off" or "no limit", false is "none"
--   shown     the default as the manual prints it, where it is not the plain value
--   unit      "seconds", "bytes", or nil
--   doc       one or two sentences for the manual
--   required  a part of every declaration, without default (name, run)
--   restarts  says how the worker is restarted: without effect when it never is

local _ENV = require "decnet.stdlib"()
local checks = require "decnet.checks"

local M = {}

---@class decnet.Option
---@field key string
---@field check fun(value: any): any, string?, string?
---@field default any
---@field shown string?
---@field unit string?
---@field doc string
---@field required boolean?
---@field restarts boolean?

---@type decnet.Option[]
M.worker = {
  {
    key = "name", required = true, check = checks.name,
    doc = "What the worker is called in logs, in `after` and in `decnet.get`: at most 200 bytes "
      .. "of UTF-8 without control characters, and no other worker's name.",
  },
  {
    key = "run", required = true, check = checks.runnable,
    doc = "What the worker does: a function (or an object with `__call`), called with `self` in "
      .. "a fresh coroutine for each run, or a coroutine that has not started.",
  },
  {
    key = "restart", default = "on-failure",
    check = checks.one_of { "on-failure", "always", "never" },
    doc = '`"on-failure"`: started again after a crash. `"always"`: also after it returned, '
      .. '`min_backoff` later and free of the limits. `"never"`: neither.',
  },
  {
    key = "min_backoff", default = 1, unit = "seconds", restarts = true, check = checks.seconds {},
    doc = "Delay before the first restart of a streak, counted from the end of the run. "
      .. "`max_backoff` caps it too.",
  },
  {
    key = "backoff_factor", default = 2, restarts = true, check = checks.number(1),
    doc = "Each further delay of the streak is this many times the one before it. 1 keeps the "
      .. "delay the same.",
  },
  {
    key = "max_backoff", default = 30, unit = "seconds", restarts = true,
    check = checks.seconds { infinite = true },
    doc = "The longest delay. With the defaults the delays are 1 2 4 8 16 30 30 ….",
  },
  {
    key = "jitter", default = 0, restarts = true,
    check = checks.number(0, 1, "0.1 means 10 % either way"),
    doc = "Spreads each delay d uniformly over d·(1 ± jitter), so that workers which crashed "
      .. "together do not come back together. The result never exceeds `max_backoff`.",
  },
  {
    key = "reset_after", default = 60, unit = "seconds", restarts = true,
    check = checks.seconds { infinite = true },
    doc = "A run that lasted at least this long ends the streak: the next delay is "
      .. "`min_backoff` again. `math.huge`: the streak never ends by itself.",
  },
  {
    key = "max_restarts", default = math.huge, restarts = true, check = checks.count,
    doc = "With more restarts than this inside the window the worker is given up: state "
      .. "`failed`. 0 gives up at the first crash.",
  },
  {
    key = "within", default = 60, unit = "seconds", restarts = true,
    check = checks.seconds { positive = true, infinite = true },
    doc = "Length of the sliding window of `max_restarts`. A restart counts at the moment its "
      .. "run ended; one that is exactly this old still counts.",
  },
  {
    key = "essential", default = false, check = checks.boolean,
    doc = "When this worker fails for good, the host stops, with exit code 1.",
  },
  {
    key = "stop_timeout", default = 10, unit = "seconds",
    check = checks.seconds { infinite = true },
    doc = "How long a cancelled run may take to end; then it is killed. 0 kills at once, "
      .. "`math.huge` waits for ever.",
  },
  {
    key = "after", default = {}, shown = "`{}`", check = checks.names,
    doc = "Names of workers that must be ready before this one starts. A cycle is refused with "
      .. "its path.",
  },
  {
    key = "notify", default = false, check = checks.boolean,
    doc = "The worker is ready when it calls `self:ready()`, instead of when it first awaits. "
      .. "One that has returned cleanly counts as ready in both cases.",
  },
  {
    key = "start_timeout", default = math.huge, unit = "seconds",
    check = checks.seconds { positive = true, infinite = true },
    doc = "A run that is not ready by then has crashed.",
  },
  {
    key = "watchdog", default = math.huge, shown = "off", unit = "seconds",
    check = checks.seconds { positive = true, infinite = true, off = true },
    doc = "A run that does not call `self:beat()` for this long has crashed. `false`: off.",
  },
  {
    key = "hang_timeout", default = 5, unit = "seconds",
    check = checks.seconds { positive = true, infinite = true },
    doc = "The longest slice in which the worker cannot be preempted before an error is raised "
      .. "in it.",
  },
  {
    key = "max_memory", default = math.huge, shown = "off", unit = "bytes",
    check = checks.bytes(64 * 1024),
    doc = 'Bytes that one run may hold, without its garbage: a number, or a string such as '
      .. '`"64M"`; at least 64K. Above it a memory error is raised in the run. Under '
      .. 'decnet-host only. `false`: off.',
  },
  {
    key = "preempt", default = true, check = checks.boolean,
    doc = "`false`: the worker is never preempted; only `hang_timeout` applies.",
  },
  {
    key = "group", default = false, shown = "none",
    check = function(value)
      if value == false then
        return value
      end
      return checks.name(value)
    end,
    doc = "The name of a group declared before with `decnet.group`. `false`: none.",
  },
}

---@type decnet.Option[]
M.group = {
  {
    key = "strategy", default = "one_for_one",
    check = checks.one_of { "one_for_one", "one_for_all", "rest_for_one" },
    doc = 'Who is restarted when a member crashes: the member alone, every member '
      .. '(`"one_for_all"`), or the member and those declared after it (`"rest_for_one"`).',
  },
  {
    key = "max_restarts", default = math.huge, check = checks.count,
    doc = "With more restarts of its members than this inside the window the group fails and "
      .. "its members stop.",
  },
  {
    key = "within", default = 60, unit = "seconds",
    check = checks.seconds { positive = true, infinite = true },
    doc = "Length of the sliding window of `max_restarts`.",
  },
}

return M
