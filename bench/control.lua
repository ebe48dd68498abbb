-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What being asked costs a busy host: how late its workers wake with 1,000 status requests a second
-- and without, in turn.
--
--   build/release/decnet-host lua bench/control.lua [rounds] [seconds a round] [requests a second]
--
-- The host has 51 workers, of which one computes for 20 of 25 ms, five do a little, and the others
-- sleep for 10 ms at a time and note how late they wake. A quiet round and a loaded one are
-- neighbours in time: what other processes do to one they do to the other. On a busy machine,
-- 'chrt -r 1' before the command keeps them out, if root runs it.

local uv = require "luv"

local ROUNDS = tonumber(arg[1]) or 15
local SECONDS = tonumber(arg[2]) or 2
local RATE = tonumber(arg[3]) or 1000
local CONNECTIONS = 16

local WORKERS = [[
local decnet = require "decnet"
local uv = require "luv"
local PERIOD = 0.01
local samples = assert(io.open(arg[1], "w"))

local function compute(seconds)
  local stop = uv.hrtime() + seconds * 1e9
  while uv.hrtime() < stop do
    for _ = 1, 1000 do end
  end
end

decnet.worker("end", function() -- with the benchmark, however that ends
  local parent = uv.os_getppid()
  while uv.os_getppid() == parent do decnet.sleep(0.2) end
  decnet.stop()
end)
decnet.worker("computes", function()
  while true do
    compute(0.02)
    decnet.sleep(0.005)
  end
end)
for i = 1, 5 do
  decnet.worker("works " .. i, function()
    while true do
      compute(0.0003)
      decnet.sleep(0.01)
    end
  end)
end
for i = 1, 44 do
  decnet.worker("ticker " .. i, function()
    decnet.sleep(PERIOD * i / 44)
    while true do
      local due = decnet.now() + PERIOD
      decnet.sleep(PERIOD)
      local now = decnet.now()
      decnet.atomic(function()
        samples:write(("%.6f %.6f\n"):format(now, now - due))
      end)
    end
  end)
end
]]

local dir = assert(uv.fs_mkdtemp "/tmp/decnet-bench-XXXXXX")
local socket, samples, script = dir .. "/socket", dir .. "/samples", dir .. "/workers.lua"

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function wait(seconds, is_over)
  local stop = uv.hrtime() + seconds * 1e9
  while uv.hrtime() < stop and not (is_over and is_over()) do
    uv.run "nowait"
    uv.sleep(1)
  end
end

-- ---- asking ------------------------------------------------------------------------------------

local asked, answered, idle = 0, 0, {}

local function connect()
  local pipe, answer = uv.new_pipe(false), ""
  local connection = {}
  function connection.ask()
    asked = asked + 1
    pipe:write "GET /v1/workers HTTP/1.1\r\nHost: x\r\n\r\n"
  end
  pipe:connect(socket, function(err)
    assert(not err, err)
    idle[#idle + 1] = connection
    pipe:read_start(function(read_err, data)
      assert(not read_err, read_err)
      if not data then
        return
      end
      answer = answer .. data
      assert(answer:find "^HTTP/1.1 200", answer)
      if answer:find "%]}\n$" or answer:find "%]}\n\r\n0\r\n\r\n$" then
        answer = ""
        answered = answered + 1
        idle[#idle + 1] = connection
      end
    end)
  end)
end

-- As many as are due by now; none is sent while all connections wait for an answer.
local function load(seconds)
  local began, before = uv.hrtime(), answered
  local sent = 0
  local timer = uv.new_timer()
  timer:start(1, 1, function()
    local due = (uv.hrtime() - began) / 1e9 * RATE
    while sent < due and #idle > 0 do
      sent = sent + 1
      table.remove(idle, 1).ask() -- in turn: the host closes what is silent for 10 s
    end
  end)
  local stop = began + seconds * 1e9
  while uv.hrtime() < stop do
    uv.run "once"
  end
  timer:close()
  wait(5, function() return asked == answered end)
  return (answered - before) / seconds
end

-- ---- rounds ------------------------------------------------------------------------------------

write(script, WORKERS)
local child = uv.spawn(uv.exepath(), {
  args = { "--socket", socket, "--log-level", "error", script, samples }, stdio = { nil, 1, 2 },
}, function() end)
wait(10, function() return uv.fs_stat(socket) end)
wait(0.5)
for _ = 1, CONNECTIONS do
  connect()
end
wait(2, function() return #idle == CONNECTIONS end)

local rounds, rates = {}, {}
for i = 1, ROUNDS do
  local round = {}
  -- each comes first in every other round
  for _, is_loaded in ipairs(i % 2 == 0 and { true, false } or { false, true }) do
    local from = uv.hrtime() / 1e9
    if is_loaded then
      rates[#rates + 1] = load(SECONDS)
    else
      wait(SECONDS)
    end
    round[is_loaded and "loaded" or "quiet"] = { from = from, to = from + SECONDS, late = {} }
  end
  rounds[i] = round
end
child:kill "sigterm"
wait(5, function() return not uv.fs_stat(socket) end)

local spans = {}
for _, round in ipairs(rounds) do
  spans[#spans + 1], spans[#spans + 2] = round.quiet, round.loaded
end
for line in io.lines(samples) do
  local at, late = line:match "(%S+) (%S+)"
  at = tonumber(at)
  for _, span in ipairs(spans) do
    if at and at >= span.from and at < span.to then
      span.late[#span.late + 1] = tonumber(late) * 1000
    end
  end
end
for _, path in ipairs { samples, script } do
  os.remove(path)
end
uv.fs_rmdir(dir)

local function median(values)
  table.sort(values)
  return values[(#values + 1) // 2]
end

local function quantile(values, q)
  table.sort(values)
  return values[math.max(1, math.ceil(q * #values))]
end

print(("%.0f requests a second, median of %d rounds of %g s; ms late:"):format(median(rates),
  ROUNDS, SECONDS))
for _, q in ipairs { 0.5, 0.9, 0.99 } do
  local quiet, loaded, ratio, more = {}, {}, {}, {}
  for i, round in ipairs(rounds) do
    quiet[i], loaded[i] = quantile(round.quiet.late, q), quantile(round.loaded.late, q)
    ratio[i], more[i] = loaded[i] / quiet[i], loaded[i] - quiet[i]
  end
  print(("p%-3g without %.3f, with %.3f; ratio %.2f, %+.3f"):format(q * 100, median(quiet),
    median(loaded), median(ratio), median(more)))
end
