-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Child processes for specs: start one, wait for what it says with a deadline, signal it, see how
-- it ended. Nothing sleeps for a fixed time. What is still there at the end of a spec is killed.

local tidy = require "spec.tidy"
local uv = require "luv"

local M = {}

local PATIENCE = 30 -- seconds; a sanitised build on a busy machine is slow

--- What kills. In the build that counts what is executed: the signal upon which a program writes
--- its counters and kills itself.
M.KILL = tonumber(os.getenv "DECNET_KILL") or "sigkill"
local ROOT = uv.cwd()

local function absolute(path)
  return path:sub(1, 1) == "/" and path or ROOT .. "/" .. path
end

--- The binary under test.
M.host = absolute(os.getenv "DECNET_HOST" or "build/release/decnet-host")

--- Where decnet/core.so is, for a plain lua5.4.
M.cpath = absolute(os.getenv "DECNET_LUA_CPATH" or "build/release/lib/?.so")

--- A file of the tree.
function M.tree(path)
  return ROOT .. "/" .. path
end

--- Is there such a program?
function M.has(program)
  return os.execute("command -v " .. program .. " >/dev/null 2>&1") == true
end

-- ---- files -------------------------------------------------------------------------------------

local scratch = {}

--- A new directory, which goes with the spec.
function M.dir()
  local path = assert(uv.fs_mkdtemp "/tmp/decnet-spec-XXXXXX")
  scratch[#scratch + 1] = path
  return path
end

function M.read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "a" or ""
  if file then
    file:close()
  end
  return text
end

function M.write(path, text, mode)
  local file = assert(io.open(path, mode or "wb"))
  file:write(text)
  file:close()
end

-- ---- waiting -----------------------------------------------------------------------------------

--- Turn the loop until `pred()`; returns what it returned, or nil after so many seconds.
function M.wait(pred, seconds)
  local deadline = uv.hrtime() + (seconds or PATIENCE) * 1e9
  while true do
    uv.run "nowait"
    local value = pred()
    if value or uv.hrtime() > deadline then
      return value or nil
    end
    uv.sleep(2)
  end
end

-- ---- children ----------------------------------------------------------------------------------

local children = {}

---@class decnet.spec.Child
local Child = {}
Child.__index = Child

--- Start `file` with arguments. Options: cwd (a scratch directory), env (a map, added to ours),
--- closed (a map of "stdout", "stderr": not given to it), outputs go to files.
function M.start(file, args, options)
  options = options or {}
  local self = setmetatable({ dir = options.cwd or M.dir() }, Child)
  local env = {}
  for key, value in pairs(uv.os_environ()) do
    env[#env + 1] = not (options.env and options.env[key]) and key .. "=" .. value or nil
  end
  for key, value in pairs(options.env or {}) do
    env[#env + 1] = key .. "=" .. value
  end
  local files = { stdout = self.dir .. "/.stdout", stderr = self.dir .. "/.stderr" }
  local stdio = { options.stdin and assert(uv.fs_open(options.stdin, "r", 0)) or nil }
  for i, name in ipairs { "stdout", "stderr" } do
    stdio[i + 1] = assert(uv.fs_open(files[name], "w", tonumber("600", 8)))
  end
  self.files = files
  local pid
  self.handle, pid = uv.spawn(file, {
    args = args, env = env, cwd = self.dir, stdio = stdio,
  }, function(code, signal)
    self.code, self.signal_number = code, signal
    self.handle:close()
  end)
  for i = 1, 3 do
    if stdio[i] then
      uv.fs_close(stdio[i])
    end
  end
  self.pid = pid
  assert(self.handle, ("%s: %s"):format(file, pid))
  children[#children + 1] = self
  return self
end

--- Start the host under test. `script`: its text, written to workers.lua in a scratch directory;
--- `before` and `after`: arguments around its name.
function M.run(script, before, after, options)
  options = options or {}
  options.cwd = options.cwd or M.dir()
  M.write(options.cwd .. "/workers.lua", script)
  local args = table.move(before or {}, 1, #(before or {}), 1, {})
  args[#args + 1] = "workers.lua"
  table.move(after or {}, 1, #(after or {}), #args + 1, args)
  return M.start(M.host, args, options)
end

function Child:stdout()
  return M.read(self.files.stdout)
end

function Child:stderr()
  return M.read(self.files.stderr)
end

local function complain(self, what)
  error(("%s\n-- stdout:\n%s\n-- stderr:\n%s\n-- ended: %s, signal %s"):format(what,
    self:stdout():sub(-2000), self:stderr():sub(-4000), self.code, self.signal_number), 3)
end

--- Wait until it has said what matches the pattern, on stderr or stdout. Returns the captures.
function Child:says(pattern, seconds)
  local found
  M.wait(function()
    local has_ended = self.code ~= nil
    found = table.pack(self:stderr():match(pattern))
    if found[1] == nil then
      found = table.pack(self:stdout():match(pattern))
    end
    return found[1] ~= nil or has_ended
  end, seconds)
  if found[1] == nil then
    complain(self, "it does not say: " .. pattern)
  end
  return table.unpack(found, 1, found.n)
end

--- How often the pattern is in its log.
function Child:count(pattern)
  return select(2, self:stderr():gsub(pattern, ""))
end

function Child:kill(signal)
  assert(uv.kill(self.pid, signal))
end

--- Wait for its end; the exit code must be this one.
function Child:ends(code, seconds)
  if not M.wait(function() return self.code end, seconds) then
    complain(self, "it does not end")
  elseif self.code ~= code or self.signal_number ~= 0 then
    complain(self, ("exit code %d expected, got %d"):format(code, self.code))
  end
  return self
end

--- Send the signal and wait for the end.
function Child:stop(signal, code, seconds)
  self:kill(signal or "sigterm")
  return self:ends(code or 0, seconds)
end

--- Send `text` to a port of this machine, tell it that this was all, and return what came back.
function M.talk(port, text)
  local answer, is_over = {}, false
  local client = uv.new_tcp()
  client:connect("127.0.0.1", port, function(err)
    if err then
      answer, is_over = { err }, true
      return
    end
    client:write(text, function()
      client:shutdown()
    end)
    client:read_start(function(read_err, data)
      answer[#answer + 1] = read_err or data
      is_over = read_err ~= nil or data == nil
    end)
  end)
  M.wait(function() return is_over end)
  client:close()
  return table.concat(answer)
end

--- For `teardown`: kill what lives, remove what was written.
function M.cleanup()
  for _, signal in ipairs { M.KILL, "sigkill" } do
    for _, child in ipairs(children) do
      if not child.code then
        uv.kill(child.pid, signal)
      end
    end
    M.wait(function()
      for _, child in ipairs(children) do
        if not child.code then
          return false
        end
      end
      return true
    end)
  end
  for _, path in ipairs(scratch) do
    tidy.remove(path)
  end
  children, scratch = {}, {}
end

--- Bytes of memory that a process has, or nil once it is gone.
function M.resident(pid)
  local kilobytes = M.read(("/proc/%d/status"):format(pid)):match "VmRSS:%s+(%d+)"
  return kilobytes and tonumber(kilobytes) * 1024
end

-- Is the binary under test built with sanitizers? Its memory says nothing then.
function M.is_sanitized()
  local doctor = M.start(M.host, { "doctor" })
  return doctor:says "^decnet%-host [%d.]+ %(([%a ]+)%)" ~= "release"
end

return M
