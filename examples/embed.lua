-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A program of your own that hosts workers, under a plain Lua:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/release/lib/?.so;;" \
--     lua5.4 examples/embed.lua [SECONDS]
--
-- It ends after so many seconds (5), or by Ctrl-C or SIGTERM.

local decnet = require "decnet" -- before code that keeps functions of coroutine in locals

local SECONDS = tonumber(arg[1] or 5)

-- One worker alone, like a function call that tries again: it returns when the worker has.
local attempts = 0
decnet.supervise("connect", function(self)
  attempts = attempts + 1
  if attempts < 3 then
    error "nobody answers"
  end
  self.log:info "connected"
end, { min_backoff = 0.1, max_backoff = 1 })
print("connected", attempts .. " attempts")

-- Several workers, until one of them, or a signal, says that it is enough.
local readings = decnet.channel(10)
local stop = decnet.event()
local sum = 0

decnet.run_group({
  { "sensor", function(self)
    self.log:info "measuring"
    while true do
      readings:send(math.random(1, 6)) -- waits while the channel is full
      decnet.sleep(0.1)
    end
  end },

  { name = "counter", min_backoff = 0.1, run = function()
    for value in readings:iter() do
      sum = sum + value
    end
  end },

  { name = "timer", run = function()
    decnet.sleep(SECONDS)
    stop:set()
  end },
}, { stop = stop })

print("stopped", "sum " .. sum)
