---@meta decnet.types
-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Read by editors only, never loaded: what completes and checks a workers.lua. A spec keeps the
-- fields in step with decnet.options.

---@alias decnet.Restart
---| "on-failure" # started again after a crash
---| "always" # also after it returned, `min_backoff` later
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
---@field notify boolean? ready when it calls `self:ready()`, not when it first awaits; false
---@field start_timeout number? not ready by then: a crash; math.huge
---@field watchdog number|false|nil a crash if `self:beat()` stays away this long; off
---@field hang_timeout number? longest slice in which it cannot be preempted; 5
---@field max_memory number|string|false|nil bytes, or "64M", that one run may hold; off
---@field preempt boolean? false: never preempted; true
---@field group string|false|nil name of a group declared before; none

---@alias decnet.Strategy
---| "one_for_one" # the member that crashed, alone
---| "one_for_all" # every member
---| "rest_for_one" # it and the members declared after it

---What `decnet.group` takes.
---@class decnet.GroupOptions
---@field strategy decnet.Strategy? who is restarted when a member crashes; "one_for_one"
---@field max_restarts number? more restarts than this within the window: it fails; math.huge
---@field within number? length of that window, in seconds; 60

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

---Steers a worker. In a task the orders answer when they are carried out; elsewhere they are
---requests for the next turn. Each returns true, or nil, a message and a code.
---@alias decnet.Order fun(self: decnet.Handle): true?, string?, string?

---What `decnet.worker` and `decnet.get` return.
---@class decnet.Handle
---@field name string
---@field start decnet.Order one that is stopped, done or failed
---@field stop decnet.Order for good
---@field restart decnet.Order free of charge for the limits
---@field retry decnet.Order ends the delay it waits in
---@field reset decnet.Order clears the streak
---@field remove decnet.Order stops it first, then forgets it
---@field status fun(self: decnet.Handle): decnet.Status
---@field options fun(self: decnet.Handle): decnet.WorkerOptions

---@alias decnet.State
---| "waiting" # for those in `after`
---| "running"
---| "stopping" # asked to end
---| "closing" # ended, its cleanup is being finished
---| "backoff" # crashed, will be started again
---| "done" # returned
---| "failed" # ended by an error, will not be restarted
---| "stopped" # was asked to

---@class decnet.LastError
---@field message string
---@field traceback string
---@field at number by the clock of `decnet.now`
---@field run integer

---@class decnet.Variable
---@field name string
---@field value string

---A function of a failing stack.
---@class decnet.Frame
---@field at string file:line
---@field name string
---@field locals decnet.Variable[]
---@field upvalues decnet.Variable[]

---@class decnet.Ending
---@field at number by the clock of `decnet.now`
---@field run integer
---@field ended "returned"|"crashed"|"cancelled"|"killed"
---@field error string?
---@field traceback string?
---@field variables decnet.Frame[]? innermost first
---@field reason string? what the host had to say
---@field decision "restart"|"done"|"failed"|"stopped"|nil
---@field delay number? seconds to the restart

---@class decnet.Status
---@field name string
---@field state decnet.State
---@field since number by the clock of `decnet.now`
---@field run integer number of the last run
---@field restarts integer in the worker's whole life
---@field streak integer failures in a row
---@field next_retry_in number? seconds, in "backoff"
---@field wanted "up"|"down" what was last ordered, or what the policy asks for
---@field ready boolean
---@field waiting_for string? names, in "waiting"
---@field last_error decnet.LastError?
---@field endings decnet.Ending[]? the last 32, the last one first
---@field tasks integer
---@field handles integer luv handles that are open
---@field cpu_s number seconds of CPU that the run has used, as the monitor saw it
---@field memory_bytes integer? that the run holds; under decnet-host
---@field allocated_bytes integer? that the run has ever allocated
---@field leftover_bytes integer? that ended runs still hold, as of the last garbage collection
---@field preemptions integer
---@field slice_max_s number longest preempted slice, in seconds

---What functions given to `decnet.on` get.
---@class decnet.Event
---@field event string
---@field worker string
---@field run integer
---@field at number by the clock of `decnet.now`
---@field error string? "crash", "give_up"
---@field traceback string? "crash", "give_up"
---@field streak integer? "crash": failures in a row, this one included
---@field will_restart boolean? "crash"
---@field delay number? "crash": seconds to the restart
---@field count integer? "crash", in hooks: crashes since the last call, this one included
---@field stopping boolean? "crash": it was being stopped; recorded, never counted
---@field reason string? "give_up", and a crash by the host
---@field outage number? "recovered": seconds from the first crash to the start that lasted

---What `decnet.event` returns.
---@class decnet.EventFlag
---@field set fun(self: decnet.EventFlag)
---@field clear fun(self: decnet.EventFlag)
---@field is_set fun(self: decnet.EventFlag): boolean
---@field wait fun(self: decnet.EventFlag, seconds: number?): true?, "timeout"?
