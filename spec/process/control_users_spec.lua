-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The control socket where it cannot be, and where others are. As nobody if root runs it: root may
-- write anywhere, and needs no XDG_RUNTIME_DIR.
local http = require "spec.process.http"
local plane = require "spec.process.plane"
local process = require "spec.process.process"
local uv = require "luv"

local IS_ROOT = uv.getuid() == 0
local USER = IS_ROOT and 65534 or uv.getuid()

local SCRIPT = [[
  local decnet = require "decnet"
  decnet.worker("w", function() print "works" decnet.park() end)
]]

-- A directory that USER may use.
local function open_dir(mode)
  local dir = process.dir()
  assert(uv.fs_chmod(dir, mode or tonumber("777", 8)))
  return dir
end

local function as_user(args, options)
  local command = { process.host, table.unpack(args) }
  if IS_ROOT then
    table.move(command, 1, #command, 5)
    command[1], command[2], command[3] = "setpriv", "--reuid=65534", "--regid=65534"
    command[4] = "--clear-groups"
  end
  return process.start(table.remove(command, 1), command, options)
end

local function host(args, env)
  local dir = open_dir()
  process.write(dir .. "/workers.lua", SCRIPT)
  args[#args + 1] = "workers.lua"
  return as_user(args, { cwd = dir, env = env })
end

-- It says why it has no control plane, and hosts its workers.
local function runs_without(runtime_dir, message)
  local child = host({}, { XDG_RUNTIME_DIR = runtime_dir })
  child:says "works"
  assert.matches("no control socket: " .. message, child:stderr(), 1, true)
  assert.matches("pass --socket PATH", child:stderr(), 1, true)
  child:stop()
end

local function can_run()
  local child = as_user({ "--version" }, { cwd = open_dir() })
  process.wait(function() return child.code end)
  return child.code == 0
end

describe("the control socket of a user", function()
  lazy_teardown(process.cleanup)

  if not can_run() then
    process.cleanup()
    return it("can be tried", function()
      pending(("user %d cannot run %s"):format(USER, process.host))
    end)
  end

  it("is in the runtime directory, for nobody else", function()
    local dir = process.dir()
    if IS_ROOT then
      assert(uv.fs_chown(dir, USER, USER))
    end
    local child = host({ "--log-level", "debug" }, { XDG_RUNTIME_DIR = dir })
    local path = child:says "control socket: ([^%s\"]+)"
    assert.equal(dir .. "/decnet/workers-", (path:gsub("%x+%.sock$", "")))
    assert.equal(tonumber("40700", 8), uv.fs_stat(dir .. "/decnet").mode)
    assert.equal(tonumber("140600", 8), uv.fs_stat(path).mode)
    plane.in_state(path, "w", "running")
    child:stop()
  end)

  it("goes, if its host was killed, with the next host; what lives or is something else stays",
    function()
      local dir = process.dir()
      if IS_ROOT then
        assert(uv.fs_chown(dir, USER, USER))
      end
      local function start()
        local child = host({ "--log-level", "debug" }, { XDG_RUNTIME_DIR = dir })
        return child, child:says "control socket: ([^%s\"]+)"
      end
      local killed, stale = {}, {}
      for i = 1, 3 do
        killed[i], stale[i] = start()
      end
      local living, living_path = start()
      for _, child in ipairs(killed) do
        uv.kill(child.pid, "sigkill")
      end
      for _, child in ipairs(killed) do
        process.wait(function() return child.code end)
      end
      -- who was killed leaves it; names of another form are no business of ours
      assert(uv.fs_rename(stale[3], dir .. "/decnet/other.sock"))
      process.write(dir .. "/decnet/file-12345678.sock", "no socket")
      for _, name in ipairs { "file-1234567x.sock", "file-12345678.lock", "file_12345678.sock" } do
        process.write(dir .. "/decnet/" .. name, "no socket")
      end
      assert.is_truthy(uv.fs_stat(stale[1]) and uv.fs_stat(stale[2]))
      living:kill "sigstop" -- it answers nobody, and lives
      local next_one, path = start()
      assert.is_nil(uv.fs_stat(stale[1]))
      assert.is_nil(uv.fs_stat(stale[2]))
      for _, name in ipairs { living_path, path, dir .. "/decnet/other.sock",
        dir .. "/decnet/file-12345678.sock" } do
        assert.is_truthy(uv.fs_stat(name), name)
      end
      living:kill "sigcont"
      assert.equal(living.pid, select(2, plane.get(living_path, "/v1/workers")).host.pid)
      living:stop()
      next_one:stop()
    end)

  it("of many hosts that start while others are killed are those of the living", function()
    local dir = process.dir()
    if IS_ROOT then
      assert(uv.fs_chown(dir, USER, USER))
    end
    local children = {}
    for i = 1, 12 do
      children[i] = host({ "--log-level", "debug" }, { XDG_RUNTIME_DIR = dir })
      if i % 3 == 0 then
        children[i - 2]:says "control socket: "
        uv.kill(children[i - 2].pid, "sigkill")
        children[i - 2].is_killed = true
      end
    end
    for _, child in ipairs(children) do
      if not child.is_killed then
        local path = child:says "control socket: ([^%s\"]+)"
        assert.equal(child.pid, select(2, plane.get(path, "/v1/workers")).host.pid)
      end
    end
  end)

  it("is done without if there is no such directory", function()
    runs_without("", "XDG_RUNTIME_DIR is not set to a directory; set it")
    runs_without("relative/path", "XDG_RUNTIME_DIR is not set to a directory; set it")
    runs_without("/nonexistent", "cannot make the directory /nonexistent/decnet: No such file")
  end)

  it("is done without if that directory may not be written", function()
    local dir = open_dir(tonumber("555", 8))
    runs_without(dir, ("cannot make the directory %s/decnet: Permission denied"):format(dir))
  end)

  it("is done without if others can write where it would be", function()
    local dir = open_dir()
    local message = ("%s/decnet must be a directory of user %d with mode 0700"):format(dir, USER)
    assert(uv.fs_mkdir(dir .. "/decnet", 448))
    if IS_ROOT then
      runs_without(dir, message)
      assert(uv.fs_chown(dir .. "/decnet", USER, USER))
    end
    assert(uv.fs_chmod(dir .. "/decnet", tonumber("770", 8)))
    runs_without(dir, message)
  end)

  it("is done without if a link leads elsewhere", function()
    local dir = open_dir()
    assert(uv.fs_symlink("/tmp", dir .. "/decnet"))
    runs_without(dir, ("%s/decnet must be a directory of user"):format(dir))
  end)

  it("is done without if its path would be too long", function()
    local dir = open_dir() .. "/" .. ("x"):rep(100)
    assert(uv.fs_mkdir(dir, tonumber("777", 8)))
    assert(uv.fs_chmod(dir, tonumber("777", 8)))
    runs_without(dir, "the path of a socket can have 107 bytes")
  end)

  it("is refused where the user may not write, if it is asked for", function()
    local dir = open_dir(tonumber("555", 8))
    local child = host({ "--socket", dir .. "/s" }):ends(2)
    assert.matches(("cannot make the socket %s/s: Permission denied"):format(dir), child:stderr(),
      1, true)
  end)

  it("is refused where a dead host's lies, in a directory that is not his to clear", function()
    local dir = open_dir()
    local first = host({ "--socket", dir .. "/s" })
    first:says "works"
    process.wait(function() return uv.fs_stat(dir .. "/s") end)
    uv.kill(first.pid, "sigkill")
    process.wait(function() return first.code end)
    assert(uv.fs_chmod(dir, tonumber("555", 8)))
    local child = host({ "--socket", dir .. "/s" }):ends(2)
    assert.matches("cannot remove the stale " .. dir .. "/s: Permission denied", child:stderr(), 1,
      true)
  end)

  it("is not taken over by others, nor open to them", function()
    if not IS_ROOT then
      return pending "needs root, for there to be two users"
    end
    local dir = open_dir()
    process.write(dir .. "/workers.lua", SCRIPT)
    local path = dir .. "/s"
    local owner = process.start(process.host, { "--socket", path, "workers.lua" }, { cwd = dir })
    owner:says "works"
    local child = host({ "--socket", path }):ends(2)
    assert.matches(path .. " is a socket of another user (0); pass another path", child:stderr(), 1,
      true)

    process.write(dir .. "/ask.lua", [[
      local uv = require "luv"
      local pipe = uv.new_pipe(false)
      pipe:connect(arg[1], function(err) print(err) pipe:close() end)
      uv.run()
    ]])
    assert.equal("EACCES\n", as_user({ "lua", "ask.lua", path }, { cwd = dir }):ends(0):stdout())
    assert.equal(200, http.ask(path, "GET", "/livez").status)
    owner:stop()
  end)
end)
