-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What specs share that touch the real world: files, sockets, children. The virtual clock does not
-- wait for sockets and children, so these poll, for a bounded real time.

local core = require "decnet.core"
local decnet = require "decnet"
local testing = require "decnet.testing"
local uv = require "luv"

local M = {}

local LIMIT_NS = 20e9

--- Turn the host until `pred()` is true; real time passes, the clock hardly moves.
function M.poll(t, pred)
  local limit = uv.hrtime() + LIMIT_NS
  while not pred() do
    if uv.hrtime() > limit then
      error("nothing came of it in 20 seconds", 2)
    end
    t.host:step(t.host:after(0.001))
    uv.sleep(1)
  end
end

--- Run `fn(self, t)` as the only worker until it ends. Its error fails the spec.
function M.worker(fn)
  testing.run(function(t)
    local ok, err
    decnet.worker { name = "w", restart = "never", run = function(self)
      ok, err = xpcall(fn, function(e)
        return type(e) == "string" and debug.traceback(e, 2) or e
      end, self, t)
    end }
    t:advance(0)
    M.poll(t, function() return t:status("w").state == "done" end)
    if not ok then
      error(err, 0)
    end
  end)
end

--- Wait in a task until `pred()` is true.
function M.wait(pred)
  local limit = uv.hrtime() + LIMIT_NS
  while not pred() do
    if uv.hrtime() > limit then
      error("nothing came of it in 20 seconds", 2)
    end
    decnet.yield()
  end
end

--- Two connected streams.
function M.pair()
  local fds = assert(uv.socketpair("stream", nil, { nonblock = true }, { nonblock = true }))
  local a, b = uv.new_pipe(false), uv.new_pipe(false)
  assert(a:open(fds[1]))
  assert(b:open(fds[2]))
  return a, b
end

function M.in_flight()
  return core.in_flight(0)
end

-- With its first stream libuv opens a descriptor that it keeps.
uv.new_pipe(false):close()

--- The number of open file descriptors of this process.
function M.count_fds()
  local n = 0
  local entries = assert(uv.fs_scandir "/proc/self/fd")
  while uv.fs_scandir_next(entries) do
    n = n + 1
  end
  return n
end

--- A directory that is removed, with what is in it, by `remove()`.
function M.temp_dir()
  local path = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/decnet-spec-XXXXXX"))
  return path, function()
    assert(os.execute("rm -rf '" .. path .. "'"))
  end
end

function M.is_alive(pid)
  return uv.kill(pid, 0) == 0
end

return M
