-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Each kind of handle and request of libuv, each by itself. Not what has a Lua state in a thread:
-- luv ends the process when there is no memory for that; nor names of addresses, for which libc
-- then asks the network.
local scenario = require "spec.starve.common"
local decnet = require "decnet"
local uv = require "luv"

-- Call fn with a callback and wait for that, not for long.
local function called(fn)
  decnet.await(function(resume)
    fn(resume)
  end, 0.1)
end

-- Where the point's own files are, which go with the driver.
local scratch = os.getenv "DECNET_STARVE_SOCKET" or "/tmp/decnet-starve"

local function name(suffix)
  return ("%s-%d-%s"):format(scratch, uv.os_getpid(), suffix)
end

local files = {}
for i = 1, 600 do
  files[i] = assert(io.open "/dev/null")
end

-- The table in which luv keeps its handles, and we how they are closed, grows with the next but a
-- few, at every other point at luv's turn.
local registry = debug.getregistry()
local anchored = {}
if (os.getenv "DECNET_STARVE" or ""):find "[02468]$" then
  registry[#registry + 1] = true
end
repeat
  anchored[#anchored + 1] = assert(uv.new_idle())
until #registry >= 120

-- Call start with what make makes of a descriptor of about that number, as nobody watches a higher
-- one yet: libuv's table of who watches which must grow. The turn between takes back the slack that
-- make was given.
local function start_at(number, make, start)
  for i = number, number + 10 do
    files[i]:close()
  end
  local handle = assert(make(assert(uv.socketpair())[1]))
  decnet.sleep(0)
  start(handle)
end

local function pipe_of(fd)
  local pipe = assert(uv.new_pipe(false))
  pipe:open(fd)
  return pipe
end

local steps = {
  function()
    for _, make in ipairs { uv.new_pipe, uv.new_idle } do
      local handles = {}
      for i = 1, 20 do
        handles[i] = make()
      end
      for _, handle in ipairs(handles) do
        handle:close()
      end
    end
  end,
  function()
    start_at(70, uv.new_poll, function(poll) poll:start("r", function() end) end)
  end,
  function()
    start_at(140, function()
      local server = assert(uv.new_tcp())
      assert(server:bind("127.0.0.1", 0))
      return server
    end, function(server) server:listen(1, function() end) end)
  end,
  function()
    start_at(280, pipe_of, function(pipe) decnet.timeout(0.001, decnet.uv.read, pipe) end)
  end,
  function()
    start_at(560, pipe_of, function(pipe) pipe:read_start(function() end) end)
  end,
  function()
    local timer = assert(uv.new_timer())
    called(function(resume) timer:start(1, 0, resume) end)
    timer:close(function() end)
  end,
  function()
    local a, b = assert(uv.new_udp()), assert(uv.new_udp { family = "inet", mmsgs = 2 })
    assert(b:bind("127.0.0.1", 0))
    called(function(resume)
      b:recv_start(resume)
      a:send("x", "127.0.0.1", assert(b:getsockname()).port, function() end)
    end)
    b:recv_stop()
    a:close()
    b:close()
  end,
  function()
    local path = name "pipe"
    os.remove(path)
    local server, client = assert(uv.new_pipe(false)), assert(uv.new_pipe(false))
    assert(server:bind(path))
    server:listen(4, function()
      local peer = uv.new_pipe(false)
      if peer and server:accept(peer) then
        peer:write("hello", function() end)
        peer:read_start(function() end)
        peer:shutdown(function() end)
      end
    end)
    client:connect(path, function() end)
    called(function(resume) client:read_start(resume) end)
    client:write { "a", "b" }
    client:close()
    server:close()
    os.remove(path)
  end,
  function()
    local fds = assert(uv.socketpair())
    local a = assert(uv.new_tcp())
    a:open(fds[1])
    local poll = assert(uv.new_poll(fds[2]))
    called(function(resume)
      poll:start("r", resume)
      a:write "x"
    end)
    poll:stop()
    poll:close()
    a:close()
    uv.fs_close(fds[2])
  end,
  function()
    local watch = assert(uv.new_fs_event())
    watch:start("/tmp", {}, function() end)
    watch:stop()
    local poll = assert(uv.new_fs_poll())
    poll:start("/tmp", 1000, function() end)
    poll:close()
  end,
  function()
    for _, new in ipairs { uv.new_idle, uv.new_check, uv.new_prepare } do
      local handle = assert(new())
      called(function(resume) handle:start(resume) end)
      handle:close()
    end
  end,
  function()
    local async
    called(function(resume)
      async = assert(uv.new_async(resume))
      async:send(1)
    end)
    async:close()
  end,
  function()
    local signal = assert(uv.new_signal())
    called(function(resume)
      assert(signal:start("sigusr2", resume))
      uv.kill(uv.os_getpid(), "sigusr2")
    end)
    signal:close()
  end,
  function() called(function(resume) uv.fs_stat("/", resume) end) end,
  function()
    called(function(resume)
      uv.fs_open("/dev/null", "r", 0, function(_, fd)
        if fd then
          uv.fs_read(fd, 10, 0, function() end)
          uv.fs_close(fd, resume)
        end
      end)
    end)
  end,
  function()
    called(function(resume) uv.fs_mkdtemp(name "XXXXXX", resume) end)
    called(function(resume) uv.fs_scandir("/", resume) end)
  end,
  function() called(function(resume) uv.fs_opendir("/", resume) end) end,
  function()
    for _ = 1, 70 do
      assert(uv.fs_open("/dev/null", "r", 0))
    end
  end,
  function()
    for _ = 1, 100 do
      uv.fs_stat("/", function() end)
    end
  end,
  function()
    local timer = decnet.shared(function()
      local timer = assert(uv.new_timer())
      timer:start(1, 0, function() end)
      return timer
    end)
    decnet.sleep(0.002)
    decnet.shared(timer.close, timer)
  end,
  function() called(function(resume) uv.getaddrinfo("127.0.0.1", nil, nil, resume) end) end,
  function() called(function(resume) uv.random(8, nil, resume) end) end,
  function() called(function(resume) uv.cancel(assert(uv.fs_stat("/", resume))) end) end,
  function()
    local out = assert(uv.new_pipe(false))
    local child
    called(function(resume)
      child = uv.spawn("/bin/echo", { args = { "x" }, stdio = { nil, out } }, resume)
      out:read_start(function() end)
    end)
    if child then
      child:close()
    end
    out:close()
  end,
  function() decnet.uv.fs_stat "/" end,
  function() decnet.uv.getaddrinfo("127.0.0.1", nil, {}) end,
  function() decnet.uv.random(4) end,
  function()
    local file = decnet.uv.fs_open("/dev/null", "r", 0)
    if file then
      decnet.uv.fs_close(file)
    end
  end,
  function()
    local timer = assert(uv.new_timer())
    timer:start(1, 0, function() timer:close() end)
    decnet.timeout(0.1, uv.run)
    uv.run "nowait"
    uv.loop_alive()
    uv.walk(function() end)
    uv.loop_close()
    uv.stop()
  end,
}

scenario.try_each(steps, { "ENOBUFS", "allocating luv request", "uv_req" }) -- none was made
