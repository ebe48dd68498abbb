-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What specs of workers share: run a function as a worker, and say what they expect of messages.

local decnet = require "decnet"
local testing = require "decnet.testing"
local uv = require "luv"

local M = {}

--- Run `fn(self, t)` as the only worker, for at most `seconds` (1000) of virtual time. Its error
--- fails the spec; so does a worker that has not ended by then.
function M.worker(fn, seconds)
  testing.run(function(t)
    local ok, err
    decnet.worker { name = "w", restart = "never", run = function(self)
      ok, err = xpcall(fn, function(e)
        return type(e) == "string" and debug.traceback(e, 2) or e
      end, self, t)
      if decnet.is_cancelled(err) then
        error(err, 0)
      end
    end }
    t:run_until(function() return t:status("w").state ~= "waiting" and not M.alive(t, "w") end,
      seconds or 1000)
    if ok == nil then
      error("the worker has not ended: " .. t:status("w").state, 0)
    elseif not ok then
      error(err, 0)
    end
  end)
end

function M.alive(t, name)
  local state = t:status(name).state
  return state == "running" or state == "stopping" or state == "closing"
end

--- The crash event of a worker that runs `fn(self)` once.
function M.crash(fn, options)
  local crash
  testing.run(function(t)
    decnet.worker { name = "w", restart = "never", run = fn }
    t:advance(1000)
    crash = M.events(t, "crash")[1]
  end, options)
  return crash
end

--- The events of a kind, and of a worker if `name` is given.
function M.events(t, kind, name)
  local list = {}
  for _, event in ipairs(t:events()) do
    if event.event == kind and (not name or event.worker == name) then
      list[#list + 1] = event
    end
  end
  return list
end

--- The times of the events of a kind.
function M.times(t, kind, name)
  local list = {}
  for i, event in ipairs(M.events(t, kind, name)) do
    list[i] = event.at
  end
  return list
end

M.contains = require "spec.support.text".contains

--- `fn(...)` must raise an error whose message contains `part`. Returns the error.
function M.raises(part, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then
    error(("no error was raised; expected one with %q"):format(part), 2)
  end
  if not tostring(err):find(part, 1, true) then
    error(("%s does not contain %q"):format(tostring(err), part), 2)
  end
  return err
end

--- Equal to the last digit a double can hold after some sums of seconds.
function M.near(expected, got, tolerance)
  if math.abs(expected - got) > (tolerance or 1e-9) then
    error(("expected %.12g, got %.12g"):format(expected, got), 2)
  end
end

--- What is logged, in logfmt, while `fn(t)` runs as in testing.run.
function M.logged(fn, level)
  local path = os.tmpname()
  local fd = assert(uv.fs_open(path, "w", 384))
  local ok, err = pcall(testing.run, fn, { log_fd = fd, log_format = "logfmt", log_level = level })
  uv.fs_close(fd)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  os.remove(path)
  if not ok then
    error(err, 0)
  end
  return text
end

--- A worker's body that sleeps for ever.
function M.forever()
  decnet.sleep(math.huge)
end

--- A body that ignores every cancellation, without using up a turn of the clock each time.
function M.stubborn()
  while true do
    pcall(decnet.shield, math.huge, decnet.sleep, 0.1)
  end
end

return M
