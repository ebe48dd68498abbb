-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What luv can do to a process: signals, threads, children.
local process = require "spec.process.process"
local uv = require "luv"

describe("a worker that watches signals", function()
  lazy_teardown(process.cleanup)

  local WATCHER = [[
    local decnet = require "decnet"
    local uv = require "luv"
    decnet.worker { name = "w", min_backoff = 0, run = function(self)
      for _, name in ipairs { "sigterm", "sighup", "sigusr1" } do
        uv.new_signal():start(name, function(heard)
          self.log:info("heard", { name = heard })
        end)
      end
      uv.signal_start_oneshot(uv.new_signal(), "sighup", function()
        self.log:info "once"
      end)
      self.log:info "up"
      if self.run < 3 then
        error "again"
      end
      self:defer(function() decnet.shield(1, decnet.sleep, 0.1) end)
      decnet.park()
    end }
  ]]

  it("hears them, and so does the host", function()
    local child = process.run(WATCHER)
    child:says "msg=up.*msg=up.*msg=up"
    child:kill "sighup"
    child:says "msg=once"
    child:kill "sigusr1"
    child:says "msg=heard name=sigusr1"
    child:kill "sighup"
    process.wait(function() return child:count "name=sighup" == 2 end)
    assert.equal(1, child:count "msg=once")
    process.wait(function() return child:count "reloaded workers.lua" == 2 end)
    assert.equal(1, child:count "msg=status")
    child:stop("sigterm", 0)
    child:says "name=sigterm"
  end)

  it("leaves them to the host when it ends", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("w", function(self)
        for _, name in ipairs { "sigterm", "sighup", "sigint", "sigusr1", "sigpipe" } do
          uv.new_signal():start(name, function() end)
        end
      end)
      decnet.worker { name = "other", after = { "w" }, run = function(self)
        self.log:info "up"
        decnet.park()
      end }
    ]]
    child:says "worker=other msg=up"
    child:kill "sighup"
    child:says "reloaded workers.lua"
    child:kill "sigpipe"
    child:kill "sigusr1"
    child:says "worker=other msg=status"
    child:stop("sigterm", 0)
  end)

  it("is refused those that the host cannot share", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("w", function(self)
        for _, name in ipairs { "sigurg", "sigalrm" } do
          print(select(2, pcall(uv.signal_start, uv.new_signal(), name, print)))
        end
      end)
    ]]
    child:ends(0)
    child:says "uv.signal_start: the host needs signal 23 for itself.*signal 14 for itself"
  end)
end)

describe("a thread of luv's", function()
  lazy_teardown(process.cleanup)

  it("that raises or exits does not end the host", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("w", function(self)
        uv.new_thread(function() error "in a thread" end)
        uv.new_thread(function() os.exit(7) end)
        uv.new_work(function() error "in the pool" end, function() end):queue()
        decnet.sleep(0.2)
        self.log:info "still there"
      end)
    ]]
    child:ends(0)
    child:says "still there"
    child:says "in a thread"
    child:says "a thread cannot end the host"
    child:says "in the pool"
  end)
end)

describe("a child process", function()
  lazy_teardown(process.cleanup)

  local function is_gone(pid)
    return function() return uv.kill(pid, 0) ~= 0 end
  end

  it("whose handle was closed while it lives ends with its run", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("w", function(self)
        local handle, pid
        handle, pid = uv.spawn("sleep", { args = { "1000" } }, function() error "after close" end)
        handle:close(function() self.log:info("closed", { pid = pid }) end)
        assert(handle:is_closing())
        assert(not pcall(handle.close, handle))
        uv.run()
        self.log:info "ran"
        decnet.park()
      end)
    ]]
    local pid = tonumber(child:says "msg=closed pid=(%d+)")
    child:says "msg=ran"
    assert.is_false(is_gone(pid)())
    child:stop("sigterm", 0)
    assert(is_gone(pid)())
  end)

  it("that was closed and ends by itself leaves no zombie", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("w", function(self)
        local handle, pid = uv.spawn("true", {})
        handle:close()
        self.log:info("started", { pid = pid })
        decnet.park()
      end)
    ]]
    local pid = tonumber(child:says "msg=started pid=(%d+)")
    assert(process.wait(is_gone(pid)))
    child:stop("sigterm", 0)
  end)

  it("that is detached takes its group with it", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("w", function(self)
        local out = uv.new_pipe(false)
        uv.spawn("sh", { args = { "-c", "sleep 1000 & echo $!; wait" }, detached = true,
          stdio = { nil, out } })
        out:read_start(function(_, text)
          self.log:info("grandchild", { pid = tonumber(text) })
        end)
        decnet.park()
      end)
    ]]
    local pid = tonumber(child:says "msg=grandchild pid=(%d+)")
    child:stop("sigterm", 0)
    assert(process.wait(is_gone(pid), 10))
  end)
end)

describe("a worker that opens and crashes", function()
  lazy_teardown(process.cleanup)

  local function count_children(pid)
    local n = 0
    for name in uv.fs_scandir_next, assert(uv.fs_scandir "/proc") do
      local stat = name:find "^%d+$" and process.read("/proc/" .. name .. "/stat") or ""
      n = n + (tonumber(stat:match "^.*%) %a (%d+)") == pid and 1 or 0)
    end
    return n
  end

  it("leaves no descriptor and no child behind, however often", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      local function count(path)
        local n = 0
        for _ in uv.fs_scandir_next, uv.fs_scandir(path) do n = n + 1 end
        return n
      end
      local first
      decnet.worker { name = "w", min_backoff = 0, run = function(self)
        local fds = count "/proc/self/fd"
        if self.run == 3 then
          first = fds
        end
        local server = uv.new_tcp()
        assert(server:bind("127.0.0.1", 0))
        assert(server:listen(8, function() end))
        for _ = 1, 2 do
          uv.new_timer():start(1000, 0, function() end)
        end
        assert(uv.spawn("sleep", { args = { "1000" } }))
        assert(uv.fs_open("workers.lua", "r", 0))
        assert(io.open "workers.lua")
        assert(uv.fs_opendir ".")
        uv.fs_open("workers.lua", "r", 0, function() end)
        if self.run == 50 then
          collectgarbage "stop"
        elseif self.run > 100 then
          self.log:info("flat", { first = first, last = fds })
          decnet.park()
        end
        error "again"
      end }
    ]]
    local first, last = child:says("msg=flat first=(%d+) last=(%d+)", 60)
    assert.equal(first, last)
    assert.equal(1, count_children(child.pid))
    child:stop("sigterm", 0)
  end)
end)

describe("a run with as many requests as it may have at once", function()
  lazy_teardown(process.cleanup)

  -- While the task that starts one more waits, so do the others of its run: also the one that would
  -- make the requests come to an end.
  it("goes on after a while though none of them is done", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker("w", function()
        assert(os.execute "mkfifo pipe")
        local opened, n = 0, 70
        decnet.spawn(function()
          assert(uv.fs_open("pipe", "r+", 0))
        end)
        for _ = 1, n do
          assert(uv.fs_open("pipe", "r", 0, function(err, fd)
            assert(fd, err)
            opened = opened + 1
          end))
        end
        while opened < n do
          decnet.sleep(0.001)
        end
        print "all are open"
        decnet.stop()
      end)
    ]]
    assert.equal("all are open\n", child:ends(0, 20):stdout())
  end)
end)

describe("a program of luv's in decnet-host lua", function()
  lazy_teardown(process.cleanup)

  local function ends_with_a_handle_closing(code, how)
    local dir = process.dir()
    process.write(dir .. "/case.lua", [[
      local uv = require "luv"
      local closing, open = uv.new_tcp(), uv.new_tcp()
      closing:close(function() print "closed" end)
      keep = setmetatable({}, { __gc = function() assert(uv.is_closing(open)) end })
    ]] .. how)
    local child = process.start(process.host, { "lua", "case.lua" }, { cwd = dir }):ends(code)
    assert.equal("closed\n", child:stdout())
    assert.equal("", child:stderr())
  end

  it("may end with a handle still closing", function()
    ends_with_a_handle_closing(0, "")
    ends_with_a_handle_closing(3, "os.exit(3, true)")
  end)

  it("may have given spawn what is no callback", function()
    ends_with_a_handle_closing(0,
      "for _ = 1, 99 do assert(not pcall(uv.spawn, 'true', {}, 5)) end")
  end)
end)
