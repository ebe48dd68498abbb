-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local luv = require "luv"
local real = require "spec.support.real"
local run = require "spec.support.run"
local testing = require "decnet.testing"

local uv = decnet.uv

-- A shell that prepares, writes its number into a file and goes on with 'script'.
local function shell(dir, script, prepare)
  return "sh", { args = { "-c", ("%s; echo $$ > %s/pid.new; mv %s/pid.new %s/pid; %s"):format(
    prepare or ":", dir, dir, dir, script) } }
end

local function pid_of(dir)
  local f = io.open(dir .. "/pid")
  local pid = f and f:read "n"
  if f then
    f:close()
  end
  return pid
end

describe("decnet.uv.spawn", function()
  local dir, remove, fds

  before_each(function()
    collectgarbage()
    fds = real.count_fds()
    dir, remove = real.temp_dir()
  end)

  after_each(function()
    remove()
    assert.equal(fds, real.count_fds())
    assert.equal(0, real.in_flight())
  end)

  it("returns the exit code and the signal", function()
    real.worker(function(self)
      assert.same({ 0, 0 }, { uv.spawn "true" })
      assert.same({ 3, 0 }, { uv.spawn("sh", { args = { "-c", "exit 3" } }) })
      assert.same({ 0, 9 }, { uv.spawn("sh", { args = { "-c", "kill -9 $$" } }) })
      real.wait(function() return decnet.get(self.name):status().handles == 0 end)
    end)
  end)

  it("says why a child cannot be started", function()
    real.worker(function()
      assert.same({ nil, "ENOENT: no such file or directory", "ENOENT" },
        { uv.spawn("/nowhere/program") })
      assert.equal("EACCES", select(3, uv.spawn("/etc/passwd")))
      run.raises("bad argument #2 to 'uv.spawn'", uv.spawn, "true", "fast")
    end)
  end)

  it("gives the child the pipes it was given", function()
    real.worker(function()
      local out = luv.new_pipe(false)
      local parts = {}
      local ended = decnet.event()
      local task = decnet.spawn(uv.spawn, "sh",
        { args = { "-c", "echo hello; exit 4" }, stdio = { nil, out } })
      decnet.yield()
      out:read_start(function(_, data)
        parts[#parts + 1] = data
        if not data then
          ended:set()
        end
      end)
      assert.same({ 4, 0 }, { task:join() })
      ended:wait()
      assert.equal("hello\n", table.concat(parts))
    end)
  end)

  it("terminates the child when it is cancelled", function()
    real.worker(function(self)
      local task = decnet.spawn(uv.spawn, shell(dir, "exec sleep 1000"))
      real.wait(function() return pid_of(dir) end)
      local pid = pid_of(dir)
      assert.is_true(real.is_alive(pid))
      task:cancel()
      assert.same({ nil, "cancelled" }, { task:join() })
      real.wait(function() return not real.is_alive(pid) end)
      real.wait(function() return decnet.get(self.name):status().handles == 0 end)
    end)
  end)

  it("lets a child that is terminated clean up", function()
    real.worker(function()
      local task = decnet.spawn(uv.spawn, shell(dir, "while :; do sleep 0.01; done",
        ("trap 'echo clean > %s/mark; exit 0' TERM"):format(dir)))
      real.wait(function() return pid_of(dir) end)
      task:cancel()
      task:join()
      real.wait(function() return luv.fs_stat(dir .. "/mark") end)
    end)
  end)

  for what, ending in pairs {
    crashes = function() error "boom" end,
    returns = function() end,
  } do
    it("L14 leaves no child when its run " .. what, function()
      testing.run(function(t)
        decnet.worker { name = "w", restart = "never", run = function()
          decnet.spawn(uv.spawn, shell(dir, "exec sleep 1000"))
          real.wait(function() return pid_of(dir) end)
          ending()
        end }
        t:advance(0)
        real.poll(t, function() return pid_of(dir) end)
        local pid = pid_of(dir)
        real.poll(t, function()
          local state = t:status("w").state
          return state == "done" or state == "failed"
        end)
        assert.is_false(real.is_alive(pid))
      end)
    end)
  end

  it("L14 leaves no child when its run is killed", function()
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 0, run = function()
        uv.spawn(shell(dir, "while :; do sleep 0.1; done", "trap '' TERM"))
      end }
      t:advance(0)
      real.poll(t, function() return pid_of(dir) end)
      local pid = pid_of(dir)
      decnet.get("w"):stop()
      real.poll(t, function() return t:status("w").state == "stopped" end)
      assert.is_false(real.is_alive(pid))
    end)
  end)

  local function text_of(path)
    local f <close> = io.open(path)
    return f and f:read "a" or ""
  end

  -- Does the process run? One that has ended is a zombie until init looks.
  local function runs(pid)
    local stat = text_of("/proc/" .. pid .. "/stat")
    return stat ~= "" and not stat:find(") Z", 1, true)
  end

  local function script(name, text)
    local path = dir .. "/" .. name
    local f <close> = assert(io.open(path, "w"))
    f:write(text)
    return path
  end

  -- A shell blocks signals while it forks: what it starts just then does not get the run's.
  for what, spawn in pairs {
    ["luv.spawn"] = luv.spawn,
    ["decnet.uv.spawn"] = function(...) decnet.spawn(uv.spawn, ...) end,
  } do
    it("L14 leaves nothing of a group that began after the signal: " .. what, function()
      local path = script("late.sh", [[
        trap '
          sh -c "echo \$\$ > $0.pid; exec sleep 1000" &
          while ! [ -s $0.pid ]; do :; done
          exit' TERM
        : > $0.up
        while :; do sleep 0.01; done
      ]])
      real.worker(function()
        spawn("sh", { args = { path }, detached = true })
        real.wait(function() return luv.fs_stat(path .. ".up") end)
      end)
      local pid = tonumber((text_of(path .. ".pid")))
      finally(function() luv.kill(pid, "sigkill") end)
      real.worker(function()
        real.wait(function() return not runs(pid) end)
      end)
    end)
  end

  -- Many programs take a second SIGTERM for "at once".
  it("tells who is ending no second time when another has ended, nor who helps him", function()
    local path = script("polite.sh", [[
      trap 'echo told >> $0.$1' TERM
      : > $0.$1
      while [ -e $0 ] && ! [ -s $0.$1 ]; do sleep 0.01; done
      sleep 0.3 || echo cut >> $0.$1
      echo over >> $0.$1
    ]])
    local files = { path .. ".alone", path .. ".member" }
    real.worker(function()
      local function start(command, is_group)
        assert(luv.spawn("sh", { args = { "-c", command }, detached = is_group }))
      end
      start(("exec sh %s alone"):format(path))
      start(("trap 'sleep 0.1; exit' TERM; sh %s member & wait"):format(path), true)
      for _, file in ipairs(files) do
        real.wait(function() return luv.fs_stat(file) end)
      end
    end)
    for _, file in ipairs(files) do
      real.worker(function()
        real.wait(function() return text_of(file):find "over\n$" end)
      end)
      assert.equal("told\nover\n", text_of(file))
    end
  end)

  it("L14 leaves no child when the host ends", function()
    local pid
    testing.run(function(t)
      decnet.worker("w", function()
        uv.spawn(shell(dir, "exec sleep 1000"))
      end)
      t:advance(0)
      real.poll(t, function() return pid_of(dir) end)
      pid = pid_of(dir)
    end)
    assert.is_false(real.is_alive(pid))
  end)
end)
