-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a host does as its environment is: libuv's pool of threads, descriptors that a thread is
-- still at work on, warnings without a host.
local process = require "spec.process.process"
local uv = require "luv"

describe("decnet-host", function()
  lazy_teardown(process.cleanup)

  for _, size in ipairs { "0", "2", "1000000" } do
    it(("counts libuv's threads as libuv does: UV_THREADPOOL_SIZE=%s"):format(size), function()
      local dir = process.dir()
      process.write(dir .. "/workers.lua", [[
        local decnet = require "decnet"
        decnet.worker("w", function()
          assert(decnet.uv.fs_stat "/")
          print "there"
        end)
      ]])
      local child = process.start(process.host, { "--no-control", "workers.lua" },
        { cwd = dir, env = { UV_THREADPOOL_SIZE = size } })
      child:ends(0)
      assert.equal("there\n", child:stdout())
    end)
  end

  it("shows warnings where nobody is hosted, once they are on", function()
    local dir = process.dir()
    process.write(dir .. "/warns.lua", [[
      warn "not yet"
      warn "@on"
      warn "@what is this"
      warn("shown ", "in parts")
      warn "@off"
      warn "no more"
    ]])
    local child = process.start(process.host, { "lua", "warns.lua" }, { cwd = dir })
    child:ends(0)
    assert.equal("Lua warning: shown in parts\n", child:stderr())
  end)

  -- A thread of libuv's pool cannot be taken out of a read; the number of what it reads from must
  -- not become another file's under its hands.
  it("gives a run up that has a thread in a read for ever, and leaves that file open", function()
    local dir = process.dir()
    process.write(dir .. "/workers.lua", [[
      local decnet = require "decnet"
      local uv = require "luv"
      assert(os.execute "mkfifo fifo")
      decnet.worker { name = "reads", min_backoff = 0, max_backoff = 0, run = function(self)
        if self.run == 1 then
          local fd = assert(uv.fs_open("fifo", "r+", 0))
          uv.fs_read(fd, 10, -1, function() end)
          decnet.sleep(0.01)
          print "reads"
          error "boom"
        end
        local fifo = assert(io.open("fifo", "w"))
        print "again"
        fifo:write "x"
        fifo:close()
        decnet.stop()
        decnet.park()
      end }
    ]])
    local child = process.start(process.host, { "--no-control", "workers.lua" }, { cwd = dir })
    child:ends(0)
    assert.equal("reads\nagain\n", child:stdout())
  end)

  -- Their requests have no end until somebody writes to the fifo.
  for order, timeout in pairs { cancelled = 10, killed = 0 } do
    it(("a run is %s while it waits to start one request more"):format(order), function()
      local dir = process.dir()
      process.write(dir .. "/workers.lua", ([[
        local decnet = require "decnet"
        local uv = require "luv"
        assert(os.execute "mkfifo fifo")
        local started = 0
        decnet.worker { name = "reads", stop_timeout = %d, run = function()
          local fd = assert(uv.fs_open("fifo", "r+", 0))
          while true do
            uv.fs_read(fd, 1, -1, function() end)
            started = started + 1
          end
        end }
        decnet.worker("orders", function()
          repeat
            local before = started
            decnet.sleep(0.05)
          until started > 0 and started == before
          local reads = decnet.get "reads"
          decnet.spawn(reads.stop, reads)
          decnet.sleep(0.05)
          local fifo = assert(io.open("fifo", "w"))
          fifo:write(("x"):rep(100))
          fifo:close()
          reads:stop()
          print(started, reads:status().state, reads:status().tasks)
          decnet.stop()
        end)
      ]]):format(timeout))
      local child = process.start(process.host, { "--no-control", "workers.lua" }, { cwd = dir })
      child:ends(0)
      local count, rest = child:stdout():match "^(%d+)\t(.*)$"
      assert.equal("stopped\t0\n", rest)
      assert.near(64, tonumber(count), 36) -- of the fifo's 100 some come before it hears
    end)
  end

  -- Its child is root's, and the host is nobody's any more: no signal reaches the child.
  it("names a worker that cannot be ended, and ends with 3", function()
    if uv.getuid() ~= 0 then
      pending "only root can become somebody else"
    end
    local dir = process.dir()
    process.write(dir .. "/workers.lua", [[
      local decnet = require "decnet"
      local uv = require "luv"
      decnet.worker { name = "stubborn", stop_timeout = 0, run = function()
        local _, pid = assert(uv.spawn("/bin/sleep", { args = { "1000" } }, function() end))
        uv.setuid(65534)
        print(pid)
        decnet.stop()
        decnet.park()
      end }
    ]])
    local child = process.start(process.host,
      { "--no-control", "--shutdown-timeout", "0.1", "workers.lua" },
      { cwd = dir, env = { ASAN_OPTIONS = "detect_leaks=0" } }) -- its handle stays open
    local ok, err = pcall(child.ends, child, 3)
    local pid = child:stdout():match "%d+"
    if pid then
      uv.kill(tonumber(pid), "sigkill")
    end
    assert(ok, err)
    assert.matches('worker=stubborn msg="would not stop: run 1 has 0 tasks and 1 handles left"',
      child:stderr())
  end)

  it("is neither run nor closed by a worker of its own", function()
    local dir = process.dir()
    process.write(dir .. "/workers.lua", [[
      local decnet = require "decnet"
      local core = require "decnet.core"
      decnet.worker("w", function()
        local host = core.current_host()
        print(select(2, pcall(host.run, host)))
        print(select(2, pcall(host.close, host)))
      end)
    ]])
    local child = process.start(process.host, { "--no-control", "workers.lua" }, { cwd = dir })
    child:ends(0)
    assert.equal("this host is running already\na host cannot be closed from inside\n",
      child:stdout())
  end)
end)
