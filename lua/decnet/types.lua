---@meta decnet.types
-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Read by editors only, never loaded: what completes and checks a workers.lua. A spec keeps the
-- fields in step with decnet.options.

---@alias decnet.Restart
---| "on-failure" # started again after a crash
---| "always" # also after it returned
---| "never" # neither

---Anything that can be called with `self`, or a coroutine that has not started.
---@alias decnet.Body (fun(self: decnet.Self): any) | thread | table

---The options of a worker, and of `decnet.defaults`. Times are seconds.
---@class decnet.WorkerOptions
---@field restart decnet.Restart? when it is started again; "on-failure"
---@field min_backoff number? delay before the first restart of a streak; 1
---@field backoff_factor number? each further delay is this many times longer; 2
---@field max_backoff number? the longest delay; 30
---@field jitter number? fraction 0 to 1 by which delays vary; 0
---@field reset_after number? a run at least this long ends the streak; 60
---@field max_restarts number? more restarts than this within the window: failed; math.huge
---@field within number? length of that window; 60
---@field essential boolean? when it fails for good the host stops; false
---@field stop_timeout number? polite time to end, then it is killed; 10
---@field after string[]? workers that must be ready first; {}
---@field notify boolean? ready when it calls `self:ready()`; false
---@field start_timeout number? not ready by then: a crash; math.huge
---@field watchdog number|false|nil a crash if `self:beat()` stays away this long; off
---@field hang_timeout number? longest slice in which it cannot be preempted; 5
---@field preempt boolean? false: never preempted; true

---What `decnet.worker` takes, and a script may return a list of.
---@class decnet.WorkerSpec: decnet.WorkerOptions
---@field name string?
---@field run decnet.Body?
---@field [1] string? the name, where it is not given by key
---@field [2] decnet.Body? what to run, where it is not given by key

---What a worker is called with.
---@class decnet.Self
---@field name string
---@field run integer number of this run, from 1
---@field restarts integer restarts in the worker's whole life
---@field log decnet.Log
---@field ready fun(self: decnet.Self) ready, for a worker with `notify`
---@field beat fun(self: decnet.Self) alive, for a worker with `watchdog`
---@field healthy fun(self: decnet.Self) ends the streak now: the next delay is `min_backoff`
---@field defer fun(self: decnet.Self, fn: fun()) run `fn` when the run ends, last one first

---@alias decnet.LogCall fun(self: decnet.Log, message: string, fields: table<string, any>?)

---@class decnet.Log
---@field debug decnet.LogCall
---@field info decnet.LogCall
---@field warn decnet.LogCall
---@field error decnet.LogCall
