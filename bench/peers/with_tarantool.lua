-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Tarantool's fibers, without its database: tarantool with_tarantool.lua BENCH N
-- BENCH_SECONDS: how long to measure
local fiber = require "fiber"
local clock = require "clock"
local ffi = require "ffi"
local SECONDS = tonumber(os.getenv("BENCH_SECONDS") or 3)
local function now() return clock.monotonic() * 1e3 end
local function rss() local f = io.open("/proc/self/statm"); local s = f:read("*a"); f:close(); return tonumber(s:match("%d+ (%d+)")) * 4096 end
local function cpu()
  local f = io.open("/proc/self/stat"); local s = f:read("*a"); f:close()
  local i, u, k = 0, nil, nil
  for w in s:gsub("^.*%) ", ""):gmatch("%S+") do i = i + 1; if i == 12 then u = w elseif i == 13 then k = w end end
  return (u + k) / 100
end
local function out(bench, n, t)
  local p = {}
  for k, v in pairs(t) do p[#p + 1] = string.format('"%s": %.6f', k, v) end
  table.sort(p)
  io.stdout:write(string.format('{"peer": "tarantool", "bench": "%s", "n": %d, %s}\n', bench, n, table.concat(p, ", "))); io.stdout:flush()
end
local function quit() io.stdout:flush(); ffi.cdef "void _exit(int);"; ffi.C._exit(0) end

local function supervise(fn, b0)
  local b = b0
  while true do
    local ok, err = pcall(fn)
    if ok then return end
    fiber.testcancel()
    fiber.sleep(b)           -- b == 0: a plain yield
    b = math.min(b * 2, 30)
  end
end
local function host(n, mk, b0)
  local ws = {}
  for i = 1, n do ws[i] = fiber.new(supervise, mk(i), b0 or 1) end
  return ws
end
local function pct(v, q) return v[math.min(#v, math.floor(#v * q) + 1)] end
local B = {}
function B.idle(n)
  local r0, c0, t0, c = rss(), cpu(), now(), 0
  local done = fiber.cond()
  host(n, function() return function() c = c + 1; if c == n then done:signal() end; fiber.sleep(3600) end end)
  while c < n do done:wait() end
  local dt, dc = now() - t0, cpu() - c0
  fiber.sleep(0.3); local r1 = rss()
  out("A_idle", n, { bytes_per_worker = (r1 - r0) / n, start_ms = dt, start_cpu_s = dc, rss_mb = r1 / 1e6, base_mb = r0 / 1e6, entered = c })
end
function B.crash(n)
  local c = 0
  host(n, function() return function() c = c + 1; error("boom") end end, 0)
  fiber.sleep(0.5); local c0, n0, t0 = cpu(), c, now(); fiber.sleep(SECONDS)
  local dn, dt, dc = c - n0, (now() - t0) / 1e3, cpu() - c0
  out("B_crash", n, { restarts_s = dn / dt, cpu_us_per_restart = dc / dn * 1e6, secs = dt })
end
function B.timers(n)
  local on, lat, k, rnd = false, {}, 0, math.random
  host(n, function() return function()
    while true do local d = rnd(1, 1000); local t = now(); fiber.sleep(d / 1000)
      if on then k = k + 1; lat[k] = now() - t - d end end
  end end)
  fiber.sleep(2 * math.min(1, SECONDS / 10)); on = true
  local c0, t0 = cpu(), now(); fiber.sleep(SECONDS); on = false
  local dc, dt = cpu() - c0, (now() - t0) / 1e3
  table.sort(lat)
  out("C_timers", n, { wakeups_s = k / dt, cpu_s_per_M = dc / k * 1e6, cpu_pct = dc / dt * 100, p50_ms = pct(lat, .5), p99_ms = pct(lat, .99), p999_ms = pct(lat, .999), max_ms = lat[#lat] })
end
B["yield"] = function()
  local c = 0
  host(2, function() return function() while true do c = c + 1; fiber.sleep(0) end end end)
  fiber.sleep(0.3); local n0, t0 = c, now(); fiber.sleep(SECONDS)
  out("D_yield", 2, { switches_s = (c - n0) / ((now() - t0) / 1e3) })
end
-- channel wake-ups never return to the event loop while some fiber is ready, so these count themselves out
function B.pingpong()
  local M, a, b, done = 4e5 * SECONDS, fiber.channel(1), fiber.channel(1), fiber.channel(1)
  local t0 = now()
  host(2, function(i)
    if i == 1 then return function() while true do a:put(b:get()) end end end
    return function() for _ = 1, M do b:put(1); a:get() end; done:put(true) end
  end)
  done:get()
  out("E_pingpong", 2, { msgs_s = 2 * M / ((now() - t0) / 1e3) })
end
function B.fanin(n)
  local M, c, q, done = 2e6 * SECONDS, 0, fiber.channel(1024), fiber.channel(1)
  local t0 = now()
  host(n + 1, function(i)
    if i == 1 then return function() while c < M do q:get(); c = c + 1 end; done:put(true) end end
    return function() while true do q:put(1) end end
  end)
  done:get()
  out("E_fanin", n, { msgs_s = c / ((now() - t0) / 1e3) })
end
function B.starve()
  local secs, L, hog, done = SECONDS * 1e3, {}, nil, fiber.channel(1)
  host(2, function(i)
    if i == 1 then return function()
      local nxt = now()
      for _ = 1, 50 + SECONDS * 100 do
        nxt = nxt + 10; fiber.sleep(math.max(0, (nxt - now()) / 1e3)); local t = now()
        if hog and nxt >= hog and nxt <= hog + secs then L[#L + 1] = { t - nxt, t } end
      end
      done:put(true)
    end end
    return function() fiber.sleep(0.2); hog = now(); local x = 0
      while true do for j = 1, 100000 do x = x + j end; if now() - hog > secs then break end end end
  end)
  done:get()
  local during, v = 0, {}
  for _, r in ipairs(L) do if r[2] < hog + secs - 50 then during = during + 1 end; v[#v + 1] = r[1] end
  table.sort(v)
  out("F_starve", 1, { ticks_during_hog = during, p50_ms = pct(v, .5), p99_ms = pct(v, .99), max_ms = v[#v] })
end
function B.shutdown(n)
  local c, cl, last = 0, 0, 0
  local ws = host(n, function() return function()
    c = c + 1
    local ok, e = pcall(fiber.sleep, 3600)
    if not ok or true then cl = cl + 1; if cl == n then last = now() end end
    if not ok then error(e) end
  end end)
  while c < n do fiber.sleep(0.01) end
  fiber.sleep(0.5); local t0, c0 = now(), cpu()
  for i = 1, n do ws[i]:cancel() end
  while cl < n do fiber.sleep(0) end
  out("G_shutdown", n, { cleaned_ms = last - t0, returned_ms = now() - t0, cpu_s = cpu() - c0, cleaned = cl })
end
function B.cold(n)
  local c = 0
  host(n, function() return function()
    c = c + 1; if c == n then if os.getenv("SHOW") then out("H_cold", n, { rss_mb = rss() / 1e6 }) end; quit() end
    fiber.sleep(3600)
  end end)
  fiber.sleep(3600)
end
function B.echo(port)
  local socket = require "socket"
  host(1, function() return function()
    socket.tcp_server("127.0.0.1", port, function(s)
      s:setsockopt("SOL_TCP", "TCP_NODELAY", true)
      while true do
        local d = s:sysread(4096)
        if d == nil then if s:errno() == 11 then s:readable() else break end
        elseif d == "" then break
        else s:write(d) end
      end
    end)
    fiber.sleep(3600)
  end end)
  fiber.sleep(3600)
end
B[arg[1]](tonumber(arg[2]))
quit()
