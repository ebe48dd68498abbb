-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What it takes to be told of very many workers over HTTP: time, bytes, memory, and how late a
-- worker that wakes every 2 ms does so meanwhile.
--
--   build/release/decnet-host lua bench/crowd.lua [workers]
--
-- On a busy machine, 'chrt -r 1' before the command keeps the others out, if root runs it.

local uv = require "luv"

local COUNT = tonumber(arg[1]) or 100000

local WORKERS = [[
local decnet = require "decnet"
local uv = require "luv"
decnet.worker("end", function() -- with the benchmark, however that ends
  local parent = uv.os_getppid()
  while uv.os_getppid() == parent do decnet.sleep(0.2) end
  decnet.stop()
end)
for i = 1, tonumber(arg[1]) do
  decnet.worker("sleeper " .. i, function() decnet.sleep(3600) end)
end
decnet.worker("ticker", function()
  local samples = assert(io.open(arg[2], "w"))
  while true do
    local due = decnet.now() + 0.002
    decnet.sleep(0.002)
    local now = decnet.now()
    samples:write(("%.6f %.6f\n"):format(now, now - due))
  end
end)
]]

local dir = assert(uv.fs_mkdtemp "/tmp/decnet-bench-XXXXXX")
local socket, samples, script = dir .. "/socket", dir .. "/samples", dir .. "/workers.lua"

local function wait(seconds, is_over)
  local stop = uv.hrtime() + seconds * 1e9
  while uv.hrtime() < stop and not (is_over and is_over()) do
    uv.run "nowait"
    uv.sleep(1)
  end
end

local function begin(path)
  local pipe, bytes, is_over = uv.new_pipe(false), 0, false
  pipe:connect(socket, function(err)
    assert(not err, err)
    pipe:write(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):format(path))
    pipe:read_start(function(_, data)
      assert(bytes > 0 or data and data:find "^HTTP/1.1 200", data)
      bytes = bytes + (data and #data or 0)
      is_over = data == nil
      if is_over then
        pipe:close()
      end
    end)
  end)
  return function() return is_over and bytes end
end

local function ask(path)
  local answered = begin(path)
  while not answered() do
    uv.run "once"
  end
  return answered()
end

local file = assert(io.open(script, "w"))
file:write(WORKERS)
file:close()
local child, pid = uv.spawn(uv.exepath(), {
  args = { "--socket", socket, "--log-level", "error", script, tostring(COUNT), samples },
  stdio = { nil, 1, 2 },
}, function() end)

local function memory(key)
  for line in io.lines(("/proc/%d/status"):format(pid)) do
    local kilobytes = line:match("^" .. key .. ":%s+(%d+)")
    if kilobytes then
      return kilobytes / 1024
    end
  end
end

wait(60, function() return uv.fs_stat(samples) end)
wait(3)
print(("%d workers, %.0f MB"):format(COUNT, memory "VmRSS"))

-- Each path five times, a second of rest before each.
local rows = {}
for _, path in ipairs { "/v1/workers", "/v1/workers/sleeper%20" .. COUNT, "/livez", "/metrics" } do
  local row = { path = path, spans = {}, rests = {}, ms = {} }
  for i = 1, 5 do
    local rest = uv.hrtime()
    wait(1)
    local from = uv.hrtime()
    row.bytes = ask(path)
    local to = uv.hrtime()
    row.ms[i] = (to - from) / 1e6
    row.rests[i] = { rest / 1e9, from / 1e9 }
    row.spans[i] = { from / 1e9, to / 1e9 + 0.01 }
  end
  row.memory, row.peak = memory "VmRSS", memory "VmHWM"
  rows[#rows + 1] = row
end

-- How long others wait who ask at the same time.
local meanwhile = { n = 0, ms = 0 }
local answered = begin "/metrics"
while not answered() do
  local from = uv.hrtime()
  ask "/livez"
  meanwhile.n, meanwhile.ms = meanwhile.n + 1, math.max(meanwhile.ms, (uv.hrtime() - from) / 1e6)
end
child:kill "sigterm"
wait(10, function() return not uv.fs_stat(socket) end)

local ticks = {}
for line in io.lines(samples) do
  local at, late = line:match "^(%S+) (%S+)$"
  ticks[#ticks + 1] = at and { tonumber(at), tonumber(late) * 1000 }
end
for _, path in ipairs { samples, script } do
  os.remove(path)
end
uv.fs_rmdir(dir)

-- ms late in these spans: the 99th percentile and the worst
local function lateness(spans)
  local found = {}
  for _, tick in ipairs(ticks) do
    for _, span in ipairs(spans) do
      if tick[1] >= span[1] and tick[1] < span[2] then
        found[#found + 1] = tick[2]
      end
    end
  end
  table.sort(found)
  return ("%.2f, at worst %.2f"):format(found[math.ceil(#found * 0.99)] or 0, found[#found] or 0)
end

for _, row in ipairs(rows) do
  table.sort(row.ms)
  print(("%-28s %4.0f ms, %6.1f MB; host %.0f MB, at most %.0f"):format(row.path, row.ms[3],
    row.bytes / 1e6, row.memory, row.peak))
  print(("%28s ms late at p99: %s; without %s"):format("", lateness(row.spans),
    lateness(row.rests)))
end
print(("/livez asked %d times during one /metrics: at worst %.1f ms"):format(meanwhile.n,
  meanwhile.ms))
