-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet-host doctor: what this build and this Lua can and cannot do. Everything it says it has
-- tried a moment ago.

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"
local decnet = require "decnet"
local testing = require "decnet.testing"
local uv = require "luv"

local M = {}

local function restarts()
  local delays = {}
  testing.run(function(t)
    decnet.worker("probe", function() error "probe" end)
    t:advance(8)
    for _, event in ipairs(t:events()) do
      delays[#delays + 1] = event.event == "crash" and string.format("%g", event.delay) or nil
    end
  end)
  local text = table.concat(delays, " ")
  return text == "1 2 4 8", "a worker that crashes comes back after 1 2 4 8 ... s", text
end

-- An await inside a coroutine, an iterator, a pcall, a metamethod and a <close> variable.
local function awaits()
  local met = 0
  local function await()
    decnet.sleep(1)
    met = met + 1
  end
  testing.run(function(t)
    decnet.worker("probe", function()
      coroutine.wrap(await)()
      for _ in await do end
      pcall(await)
      local _ = setmetatable({}, { __index = await }).field
      local _ <close> = setmetatable({}, { __close = await })
    end)
    t:advance(10)
  end)
  return met == 5, "awaits in nested coroutines, iterators, pcall, metamethods, <close>",
    met .. " of 5"
end

local function kills()
  local was_closed, state = false, nil
  testing.run(function(t)
    decnet.worker { name = "probe", stop_timeout = 1, run = function()
      local _ <close> = setmetatable({}, { __close = function() was_closed = true end })
      while true do
        pcall(decnet.sleep, 1)
      end
    end }
    t:advance(1)
    t:stop()
    state = t:status("probe").state
  end)
  return was_closed and state == "stopped",
    "a worker that swallows its cancellation is killed; its <close> runs",
    string.format("its state is %s, <close> ran: %s", state, was_closed)
end

-- Calls `fn(host)`, with a host of its own, and returns what it returns.
local function with_host(options, fn)
  options.log = false
  local host = core.host(options)
  local ok, result = pcall(fn, host)
  host:close()
  if not ok then
    error(result, 0)
  end
  return result
end

local function memory()
  local COUNT, LIMIT = 2000, 1750
  local function sleep()
    decnet.sleep(3600)
  end
  local bytes = with_host({ virtual = true }, function(host)
    host:boot()
    collectgarbage()
    local before = collectgarbage "count"
    for i = 1, COUNT do
      decnet.worker("w" .. i, sleep)
    end
    while host:step(0) do end
    collectgarbage()
    return (collectgarbage "count" - before) * 1024 // COUNT
  end)
  return bytes <= LIMIT, string.format("a sleeping worker costs %d bytes of Lua's memory", bytes)
end

local function preempts()
  local is_spinning, woke_in_time = false, false
  with_host({}, function(host)
    decnet.worker("neighbour", function()
      decnet.sleep(0.005)
      woke_in_time = is_spinning
    end)
    decnet.worker("spinner", function()
      is_spinning = true
      local until_s = os.clock() + 0.05
      while os.clock() < until_s do end
      is_spinning = false
    end)
    host:run()
  end)
  return woke_in_time, "a worker that computes does not hold up the others",
    "it does; call decnet.yield() in long loops, or use decnet.offload"
end

-- Legal Lua that ends Debian's 5.4.4 by a segmentation fault: a __concat under which the stack
-- moves. Tried in a child, for that reason.
local CONCAT = [[
local function deep(n)
  if n == 0 then return 0 end
  local a, b, c, d, e, f, g, h = 1, 2, 3, 4, 5, 6, 7, 8
  return 1 + deep(n - 1) + a - a + b - b + c - c + d - d + e - e + f - f + g - g + h - h
end
local object = setmetatable({}, { __concat = function() deep(3000) return "R" end })
for _ = 1, 50 do
  local co = coroutine.create(function() return "head" .. object .. "tail" end)
  local ok, text = coroutine.resume(co)
  if not ok or text ~= "headR" then os.exit(1) end
end
]]

local function concat()
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(CONCAT)
  file:close()
  local exit_code, signal
  local child, message = uv.spawn(uv.exepath(), { args = { "lua", path } }, function(code, number)
    exit_code, signal = code, number
  end)
  while child and not exit_code do
    uv.run "once"
  end
  os.remove(path)
  if child then
    child:close()
    uv.run()
  end
  return exit_code == 0 and signal == 0,
    "'a'..object..'b' is sound where __concat makes the stack move",
    not child and message
      or "it crashes this Lua; 5.4.6 is sound, and so is that in decnet-host's package for Debian"
end

-- probe, and whether the host is of no use without it
local PROBES = {
  { restarts, true },
  { awaits, true },
  { kills, true },
  { memory, false },
  { preempts, false },
  { concat, false },
}

--- Print what this build is and what it can do. Returns the exit code: 1 if something that must
--- work does not.
---@param about { version: string, build: string, lua: string }
---@return integer
function M.main(about)
  print(string.format("decnet-host %s (%s), %s, libuv %s",
    about.version, about.build, about.lua, uv.version_string()))
  local code = 0
  for _, probe in ipairs(PROBES) do
    local try, is_vital = probe[1], probe[2]
    local ran, ok, what, why = pcall(try)
    if not ran then
      ok, what, why = false, "a probe failed", ok
    end
    local mark = ok and "ok" or is_vital and "FAIL" or "no"
    print(string.format("%-5s%s%s", mark, what, not ok and why and (": " .. tostring(why)) or ""))
    code = not ok and is_vital and 1 or code
  end
  return code
end

return M
