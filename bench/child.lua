-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Programs that are measured: started, listened to, ended.

local uv = require "luv"

local M = {}

local TICKS = 100 -- a second, of /proc/*/stat on every Linux
local STDERR = "build/bench/stderr.log"

-- ---- CPU time ----------------------------------------------------------------------------------

local function stat_of(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then
    file:close()
  end
  local fields = {}
  for word in (text or ""):gsub("^.*%) ", ""):gmatch "%S+" do
    fields[#fields + 1] = tonumber(word) or 0
  end
  return fields
end

--- CPU seconds that a process has used; 0 if it is gone.
function M.cpu_of(pid)
  local stat = stat_of(("/proc/%d/stat"):format(pid))
  return ((stat[12] or 0) + (stat[13] or 0)) / TICKS
end

-- CPU seconds of this process and of the children that have ended.
local function cpu_of_ours()
  local stat = stat_of "/proc/self/stat"
  return (stat[12] + stat[13] + stat[14] + stat[15]) / TICKS
end

-- CPU seconds of the whole machine.
local function cpu_of_all()
  local file = assert(io.open "/proc/stat", "the benchmarks need Linux")
  file:read(3)
  local user, nice, system, _, _, irq, softirq = file:read("n", "n", "n", "n", "n", "n", "n")
  file:close()
  return (user + nice + system + irq + softirq) / TICKS
end

--- Start to watch how busy others keep the machine; the function returned says it, in CPUs.
function M.watch_others()
  local began, ours, all = uv.hrtime(), cpu_of_ours(), cpu_of_all()
  return function()
    local seconds = (uv.hrtime() - began) / 1e9
    return math.max(0, cpu_of_all() - all - (cpu_of_ours() - ours)) / seconds
  end
end

-- ---- processes ---------------------------------------------------------------------------------

---@class decnet.bench.Child
local Child = {}
Child.__index = Child

--- A word of a command for the shell.
function M.quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- Bound to some CPUs; it does not outlive us.
local function bound(argv, cores)
  local before = { "setpriv", "--pdeathsig", "KILL", "taskset", "-c", cores }
  return table.move(argv, 1, #argv, #before + 1, before)
end

--- Start a program. `env`: added to ours; `cores`: as taskset takes them, nil: any, for what ends
--- by itself and whose start is measured.
function M.start(argv, env, cores)
  local self = setmetatable({ argv = argv, said = "", began_ns = 0 }, Child)
  local command = cores and bound(argv, cores) or argv
  local environment = {}
  for key, value in pairs(uv.os_environ()) do
    environment[#environment + 1] = key .. "=" .. value
  end
  for key, value in pairs(env) do
    environment[#environment + 1] = key .. "=" .. value
  end
  local out = uv.new_pipe()
  local err = assert(uv.fs_open(STDERR, "w", tonumber("644", 8)))
  self.began_ns = uv.hrtime()
  self.handle, self.pid = uv.spawn(command[1], {
    args = table.move(command, 2, #command, 1, {}), env = environment, stdio = { nil, out, err },
  }, function(code, signal)
    self.ended_ns, self.code, self.signal = uv.hrtime(), code, signal
    self.handle:close()
  end)
  uv.fs_close(err)
  if not self.handle then
    out:close()
    return nil, self.pid
  end
  self.out = out
  out:read_start(function(_, data)
    if data then
      self.said = self.said .. data
    else
      out:close()
      self.is_silent = true
    end
  end)
  return self
end

--- Turn the loop until pred() is true; false: it was not within so many seconds.
function M.wait(pred, seconds)
  local is_late = false
  local timer = uv.new_timer()
  timer:start(seconds * 1000 // 1 | 0, 0, function()
    is_late = true
  end)
  while not pred() and not is_late do
    uv.run "once"
  end
  timer:close()
  return not is_late
end

--- Kill it if it is still there, and wait for its end.
function Child:finish()
  if not self.ended_ns then
    self.handle:kill "sigkill"
  end
  M.wait(function() return self.ended_ns and self.is_silent end, 60)
end

--- What it said: the figures of its first line of JSON; nil and the reason if there is none.
function Child:figures(seconds)
  M.wait(function() return self.said:find "}\n" or self.is_silent end, seconds)
  local line = self.said:match "{[^\n]*}"
  if not line then
    local file = io.open(STDERR)
    local err = file and file:read "a" or ""
    if file then
      file:close()
    end
    return nil, ("%s: no result (%s)"):format(table.concat(self.argv, " "),
      err ~= "" and err:sub(-300) or self.ended_ns and "it ended" or "too late")
  end
  local figures = {}
  for key, value in line:gmatch '"([%w_]+)": ?([-+%d.eE]+)' do
    figures[key] = tonumber(value)
  end
  return figures
end

return M
