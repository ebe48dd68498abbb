-- SPDX-License-Identifier: AGPL-3.0-or-later
-- luv by hand, in lua5.4: one coroutine and one uv_timer a worker, a supervise loop around pcall.
-- lua5.4 with_luv.lua BENCH N; BENCH_SECONDS: how long to measure
local uv = require "luv"
local hr = uv.hrtime
local function now() return hr() / 1e6 end -- ms
local function rss() local f = io.open("/proc/self/statm"); local s = f:read("a"); f:close(); return tonumber(s:match("%d+ (%d+)")) * 4096 end
local function cpu()
  local f = io.open("/proc/self/stat"); local s = f:read("a"); f:close()
  local i = 0; local u, k
  for w in s:gsub("^.*%) ", ""):gmatch("%S+") do i = i + 1; if i == 12 then u = w elseif i == 13 then k = w end end
  return (u + k) / 100
end
local PEER = os.getenv("PEER") or "luv"
local SECONDS = tonumber(os.getenv "BENCH_SECONDS" or 3)
local MEASURED = math.floor(SECONDS * 1e3) -- ms
local function out(bench, n, t)
  local p = {}
  for k, v in pairs(t) do p[#p + 1] = string.format('"%s": %.6f', k, v) end
  table.sort(p)
  io.stdout:write(string.format('{"peer": "%s", "bench": "%s", "n": %d, %s}\n', PEER, bench, n, table.concat(p, ", "))); io.stdout:flush()
end
local function quit() io.stdout:flush(); os.exit(0, false) end

-- ---- scheduler -----------------------------------------------------------
local CANCEL = setmetatable({}, { __tostring = function() return "cancelled" end })
local resume, yield = coroutine.resume, coroutine.yield
-- ready queue drained once per loop iteration; an active idle handle keeps the poll timeout 0
local rq, rn, spare = {}, 0, {}
local idle, check = uv.new_idle(), uv.new_check()
local armed = false
local function step(w)
  local ok, err = resume(w.co, w)
  if not ok then io.stderr:write("scheduler: ", tostring(err), "\n") end
  if coroutine.status(w.co) == "dead" and w.on_exit then w.on_exit(w) end
end
local function drain()
  local q, n = rq, rn
  rq, rn, spare = spare, 0, q
  for i = 1, n do local w = q[i]; q[i] = nil; step(w) end
  if rn == 0 and armed then armed = false; idle:stop(); check:stop() end
end
local function ready(w)
  rn = rn + 1; rq[rn] = w
  if not armed then armed = true; idle:start(function() end); check:start(drain) end
end
local W = {}; W.__index = W
function W:sleep(ms)
  if self.stopped then error(CANCEL, 0) end
  if ms == 0 then ready(self) else self.timer:start(ms, 0, self.cb) end
  yield()
  if self.stopped then error(CANCEL, 0) end
end
function W:park() yield(); if self.stopped then error(CANCEL, 0) end end
function W:cancel() if not self.stopped then self.stopped = true; self.timer:stop(); step(self) end end
local function supervise(w)
  local b = w.b0
  while true do
    local ok, err = pcall(w.fn, w)
    if ok or err == CANCEL or w.stopped then break end
    local ok2 = pcall(w.sleep, w, b)
    if not ok2 then break end
    b = math.min(b * 2, 30000)
  end
  if not w.timer:is_closing() then w.timer:close() end
end
local function host(n, mk, b0)
  local ws = {}
  for i = 1, n do
    local w = setmetatable({ name = "w" .. i, fn = mk(i), b0 = b0 or 1000, timer = uv.new_timer(), stopped = false }, W)
    w.co = coroutine.create(supervise)
    w.cb = function() step(w) end
    ws[i] = w
  end
  for i = 1, n do step(ws[i]) end
  return ws
end
local function after(ms, f) local t = uv.new_timer(); t:start(ms, 0, function() t:close(); f() end); return t end

-- mailbox: optional bound
local Q = {}; Q.__index = Q
local function queue(max) return setmetatable({ h = 1, t = 0, max = max or math.huge, g = nil, ph = 1, pt = 0, p = {} }, Q) end
function Q:put(w, v)
  while self.t - self.h + 1 >= self.max do local pt = self.pt + 1; self.pt = pt; self.p[pt] = w; w:park() end
  local t = self.t + 1; self.t = t; self[t] = v
  local g = self.g; if g then self.g = nil; ready(g) end
end
function Q:get(w)
  while self.h > self.t do self.g = w; w:park() end
  local h = self.h; local v = self[h]; self[h] = nil; self.h = h + 1
  local ph = self.ph; local p = self.p[ph]
  if p then self.p[ph] = nil; self.ph = ph + 1; ready(p) end
  return v
end
local function pct(v, q) return v[math.min(#v, math.floor(#v * q) + 1)] end

local B = {}
function B.idle(n)
  local r0, c0, t0, c, dt, dc = rss(), cpu(), now(), 0, nil, nil
  host(n, function() return function(w)
    c = c + 1
    if c == n then dt = now() - t0; dc = cpu() - c0 end
    w:sleep(3600e3 // 1 | 0)
  end end)
  after(300, function() local r1 = rss()
    out("A_idle", n, { bytes_per_worker = (r1 - r0) / n, start_ms = dt, start_cpu_s = dc, rss_mb = r1 / 1e6, base_mb = r0 / 1e6, entered = c }); quit() end)
end
function B.crash(n)
  local c = 0
  host(n, function() return function(w) c = c + 1; error("boom") end end, 0)
  after(500, function()
    local c0, n0, t0 = cpu(), c, now()
    after(MEASURED, function() local dn, dt, dc = c - n0, (now() - t0) / 1e3, cpu() - c0
      out("B_crash", n, { restarts_s = dn / dt, cpu_us_per_restart = dc / dn * 1e6, secs = dt }); quit() end)
  end)
end
function B.timers(n)
  local on, lat, k, rnd = false, {}, 0, math.random
  host(n, function() return function(w)
    while true do
      local d = rnd(1, 1000); local t = now()
      w:sleep(d)
      if on then k = k + 1; lat[k] = now() - t - d end
    end
  end end)
  after(math.floor(2000 * math.min(1, SECONDS / 10)), function()
    on = true; local c0, t0 = cpu(), now()
    after(MEASURED, function() on = false
      local dc, dt = cpu() - c0, (now() - t0) / 1e3
      table.sort(lat)
      out("C_timers", n, { wakeups_s = k / dt, cpu_s_per_M = dc / k * 1e6, cpu_pct = dc / dt * 100, p50_ms = pct(lat, .5), p99_ms = pct(lat, .99), p999_ms = pct(lat, .999), max_ms = lat[#lat] }); quit() end)
  end)
end
B["yield"] = function(n)
  local c = 0
  host(2, function() return function(w) while true do c = c + 1; w:sleep(0) end end end)
  after(300, function() local n0, t0 = c, now()
    after(MEASURED, function() out("D_yield", 2, { switches_s = (c - n0) / ((now() - t0) / 1e3) }); quit() end) end)
end
function B.yieldraw(n) -- no loop turn at all: bare coroutine resume/yield pair driven by a Lua for loop
  local c = 0
  local co = { coroutine.wrap(function() while true do c = c + 1; yield() end end), coroutine.wrap(function() while true do c = c + 1; yield() end end) }
  local a, b, t0 = co[1], co[2], now()
  for _ = 1, 1e7 do a(); b() end
  out("D_yieldraw", 2, { switches_s = c / ((now() - t0) / 1e3) }); quit()
end
function B.pingpong(n)
  local c, a, b = 0, queue(), queue()
  host(2, function(i)
    if i == 1 then return function(w) while true do a:put(w, b:get(w)) end end end
    return function(w) while true do b:put(w, 1); a:get(w); c = c + 2 end end
  end)
  after(300, function() local n0, t0 = c, now()
    after(MEASURED, function() out("E_pingpong", 2, { msgs_s = (c - n0) / ((now() - t0) / 1e3) }); quit() end) end)
end
function B.fanin(n)
  local c, q = 0, queue(1024)
  host(n + 1, function(i)
    if i == 1 then return function(w) while true do q:get(w); c = c + 1 end end end
    return function(w) while true do q:put(w, 1) end end
  end)
  after(500, function() local n0, t0 = c, now()
    after(MEASURED, function() out("E_fanin", n, { msgs_s = (c - n0) / ((now() - t0) / 1e3) }); quit() end) end)
end
function B.starve()
  local secs, L, hog = MEASURED, {}, nil
  host(2, function(i)
    if i == 1 then return function(w)
      local nxt = now()
      for _ = 1, 50 + MEASURED // 10 do
        nxt = nxt + 10; local d = nxt - now(); w:sleep(d > 0 and math.max(1, math.floor(d + 0.5)) or 0)
        local t = now(); if hog and nxt >= hog and nxt <= hog + secs then L[#L + 1] = { t - nxt, t } end
      end
      local during, v = 0, {}
      for _, r in ipairs(L) do if r[2] < hog + secs - 50 then during = during + 1 end; v[#v + 1] = r[1] end
      table.sort(v)
      out("F_starve", 1, { ticks_during_hog = during, p50_ms = pct(v, .5), p99_ms = pct(v, .99), max_ms = v[#v] }); quit()
    end end
    return function(w) w:sleep(200); hog = now(); local x = 0
      while true do for j = 1, 100000 do x = x + j end; if now() - hog > secs then break end end end
  end)
end
function B.shutdown(n)
  local c, cl, last = 0, 0, 0
  local ws = host(n, function() return function(w)
    local fin <close> = setmetatable({}, { __close = function() cl = cl + 1; if cl == n then last = now() end end })
    c = c + 1
    w:sleep(3600000)
  end end)
  after(500, function()
    assert(c == n); local t0, c0 = now(), cpu()
    local exited, t1 = 0, nil
    for i = 1, n do ws[i]:cancel() end
    t1 = now()
    out("G_shutdown", n, { cleaned_ms = last - t0, returned_ms = t1 - t0, cpu_s = cpu() - c0, cleaned = cl }); quit()
  end)
end
function B.cold(n)
  local c = 0
  host(n, function() return function(w)
    c = c + 1
    if c == n then if os.getenv("SHOW") then out("H_cold", n, { rss_mb = rss() / 1e6 }) end; quit() end
    w:sleep(3600000)
  end end)
end
function B.echo(port)
  host(1, function() return function(w)
    local s = uv.new_tcp(); s:bind("127.0.0.1", port)
    s:listen(128, function(err)
      local c = uv.new_tcp(); s:accept(c); c:nodelay(true)
      c:read_start(function(e, d) if d then c:try_write(d) else c:close() end end)
    end)
    w:sleep(3600000)
  end end)
end
B[arg[1]](tonumber(arg[2]))
uv.run()
