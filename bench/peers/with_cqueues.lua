-- SPDX-License-Identifier: AGPL-3.0-or-later
-- lua-cqueues on Lua 5.4: one controller, one coroutine a worker, a supervise loop around pcall.
-- lua5.4 with_cqueues.lua BENCH N; BENCH_SECONDS: how long to measure
local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local mono = cqueues.monotime
local SECONDS = tonumber(os.getenv "BENCH_SECONDS" or 3)
local function now() return mono() * 1e3 end
local function rss() local f = io.open("/proc/self/statm"); local s = f:read("a"); f:close(); return tonumber(s:match("%d+ (%d+)")) * 4096 end
local function cpu()
  local f = io.open("/proc/self/stat"); local s = f:read("a"); f:close()
  local i, u, k = 0, nil, nil
  for w in s:gsub("^.*%) ", ""):gmatch("%S+") do i = i + 1; if i == 12 then u = w elseif i == 13 then k = w end end
  return (u + k) / 100
end
local function out(b, n, t)
  local p = {}
  for k, v in pairs(t) do p[#p + 1] = string.format('"%s": %.6f', k, v) end
  table.sort(p)
  io.stdout:write(string.format('{"peer": "cqueues", "bench": "%s", "n": %d, %s}\n', b, n, table.concat(p, ", "))); io.stdout:flush()
end
local function quit() io.stdout:flush(); os.exit(0, false) end
local cq = cqueues.new()
local sleep = cqueues.sleep
local CANCEL = {}
local function supervise(w)
  local b = w.b0
  while true do
    local ok, err = pcall(w.fn, w)
    if ok or err == CANCEL or w.stopped then return end
    sleep(b); b = math.min(b * 2, 30)
  end
end
local function host(n, mk, b0)
  local ws = {}
  for i = 1, n do local w = { fn = mk(i), b0 = b0 or 1 }; ws[i] = w; cq:wrap(supervise, w) end
  return ws
end
local function pct(v, q) return v[math.min(#v, math.floor(#v * q) + 1)] end
local function main(f) cq:wrap(function() local ok, e = xpcall(f, debug.traceback); if not ok then io.stderr:write(e, "\n") end; quit() end); assert(cq:loop()) end
local B = {}
function B.idle(n)
  local r0, c0, t0, c, dt, dc = rss(), cpu(), now(), 0, nil, nil
  host(n, function() return function(w) c = c + 1; if c == n then dt = now() - t0; dc = cpu() - c0 end; sleep(3600) end end)
  repeat sleep(0.05) until dt
  sleep(0.3); local r1 = rss()
  out("A_idle", n, { bytes_per_worker = (r1 - r0) / n, start_ms = dt, start_cpu_s = dc, rss_mb = r1 / 1e6, base_mb = r0 / 1e6, entered = c })
end
function B.crash(n)
  local c = 0
  host(n, function() return function() c = c + 1; error("boom") end end, 0)
  sleep(0.5); local c0, n0, t0 = cpu(), c, now(); sleep(SECONDS)
  local dn, dt, dc = c - n0, (now() - t0) / 1e3, cpu() - c0
  out("B_crash", n, { restarts_s = dn / dt, cpu_us_per_restart = dc / dn * 1e6, secs = dt })
end
function B.timers(n)
  local on, lat, k, rnd = false, {}, 0, math.random
  host(n, function() return function(w)
    while true do local d = rnd(1, 1000); local t = now(); sleep(d / 1000); if on then k = k + 1; lat[k] = now() - t - d end end
  end end)
  sleep(2 * math.min(1, SECONDS / 10)); on = true
  local c0, t0 = cpu(), now(); sleep(SECONDS); on = false
  local dc, dt = cpu() - c0, (now() - t0) / 1e3
  table.sort(lat)
  out("C_timers", n, { wakeups_s = k / dt, cpu_s_per_M = dc / k * 1e6, cpu_pct = dc / dt * 100, p50_ms = pct(lat, .5), p99_ms = pct(lat, .99), p999_ms = pct(lat, .999), max_ms = lat[#lat] })
end
B["yield"] = function()
  local c = 0
  host(2, function() return function() while true do c = c + 1; sleep(0) end end end)
  sleep(0.3); local n0, t0 = c, now(); sleep(SECONDS)
  out("D_yield", 2, { switches_s = (c - n0) / ((now() - t0) / 1e3) })
end
local function queue() return { h = 1, t = 0, cv = condition.new() } end
local function put(q, v) q.t = q.t + 1; q[q.t] = v; q.cv:signal(1) end
local function get(q) while q.h > q.t do q.cv:wait() end; local v = q[q.h]; q[q.h] = nil; q.h = q.h + 1; return v end
function B.pingpong()
  local c, a, b = 0, queue(), queue()
  host(2, function(i)
    if i == 1 then return function() while true do put(a, get(b)) end end end
    return function() while true do put(b, 1); get(a); c = c + 2 end end
  end)
  sleep(0.3); local n0, t0 = c, now(); sleep(SECONDS)
  out("E_pingpong", 2, { msgs_s = (c - n0) / ((now() - t0) / 1e3) })
end
function B.shutdown(n)
  local c, cl, last = 0, 0, nil
  local stop = condition.new()
  local ws = host(n, function() return function(w)
    local fin <close> = setmetatable({}, { __close = function() cl = cl + 1; if cl == n then last = now() end end })
    c = c + 1
    stop:wait(3600)          -- cancellable sleep: woken by signal
    error(CANCEL, 0)
  end end)
  repeat sleep(0.05) until c == n
  sleep(0.5); local t0, c0 = now(), cpu()
  stop:signal()
  repeat sleep(0) until last
  out("G_shutdown", n, { cleaned_ms = last - t0, returned_ms = now() - t0, cpu_s = cpu() - c0, cleaned = cl })
end
function B.cold(n)
  local c = 0
  host(n, function() return function(w) c = c + 1
    if c == n then if os.getenv "SHOW" then out("H_cold", n, { rss_mb = rss() / 1e6 }) end; quit() end
    sleep(3600) end end)
  sleep(3600)
end
function B.echo(port)
  local socket = require "cqueues.socket"
  local s = socket.listen("127.0.0.1", port)
  s:listen()
  for c in s:clients() do
    cq:wrap(function()
      c:setmode("bn", "bn"); c:setvbuf("no")
      while true do local d = c:read(-4096); if not d then break end; c:write(d) end
      c:close()
    end)
  end
end
main(function() B[arg[1]](tonumber(arg[2])) end)
