-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet.offload: what would hold the loop runs on threads of its own.

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"

local M = {}

--- Run `fn(...)` on a thread of its own, in a fresh Lua state, and wait for its results. `fn` must
--- be a Lua function without upvalues but `_ENV`: it has the standard libraries and can `require`
--- what its caller can, except decnet. Arguments and results are copied: nil, booleans, numbers
--- (integers stay integers), strings, tables of those. Its errors are raised here.
---
--- Cancelling or killing the caller ends the function, whatever it catches (its `<close>` variables
--- do not run); but not while it is in a C function that does not return (`os.execute`, say) or in
--- a `__gc` metamethod. Up to 4 run at a time, first come first served.
---@type fun(fn: function, ...: any): ...: any
M.offload = core.offload

return M
