-- SPDX-License-Identifier: AGPL-3.0-or-later
local http = require "spec.process.http"
local process = require "spec.process.process"

describe("the exit code", function()
  local stuck

  -- These take seconds of their own: they run beside the others.
  lazy_setup(function()
    stuck = {
      in_a_loop = process.run [[
        local decnet = require "decnet"
        decnet.worker("quiet", function() decnet.park() end)
        decnet.worker("spinner", function(self)
          decnet.sleep(0)
          decnet.atomic(function() -- nothing between the line and the sleep
            self.log:info "spinning"
            require "luv".sleep(1e9) -- a C function: nobody can take the CPU from it
          end)
        end)
      ]],
      with_a_limit = process.run([[
        local decnet = require "decnet"
        decnet.worker("spinner", function(self)
          decnet.atomic(function()
            self.log:info "spinning"
            require "luv".sleep(1e9)
          end)
        end)
      ]], { "--shutdown-timeout", "0.1" }),
      in_close = process.run [[
        local decnet = require "decnet"
        local function hang() while true do end end
        decnet.worker { name = "clinger", stop_timeout = 0, run = function(self)
          local guard <close> = setmetatable({}, { __close = hang })
          self.log:info "clinging"
          decnet.park()
        end }
      ]],
    }
    -- Two signals that the kernel cannot merge into one.
    stuck.in_a_loop:says "worker=spinner msg=spinning"
    stuck.in_a_loop:kill "sigterm"
    stuck.in_a_loop:kill "sigint"
    stuck.with_a_limit:says "worker=spinner msg=spinning"
    stuck.with_a_limit:kill "sigterm"
    stuck.in_close:says "worker=clinger msg=clinging"
    stuck.in_close:kill "sigterm"
    stuck.in_close:says "msg=\"stopping"
    stuck.in_close:kill "sigint"
  end)

  lazy_teardown(process.cleanup)

  it("is 0 when all workers have ended cleanly (F20)", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker("short", function() decnet.sleep(0.01) end)
      decnet.worker("shorter", function() end)
    ]]
    child:ends(0)
    assert.equal(2, child:count "msg=done")
  end)

  it("is 0 for an empty script, with a hint (B02)", function()
    for _, script in ipairs { "", "-- nothing here yet\n", "#!/usr/bin/env decnet-host\n" } do
      local child = process.run(script, { "--log-format", "json" }):ends(0)
      local hint = http.json(child:stderr():match "^[^\n]*")
      assert.equal("warn", hint.level)
      assert.equal('workers.lua declares no workers; declare one with decnet.worker("name", '
        .. "function(self) ... end)", hint.msg)
    end
  end)

  it("is 0 after a stop, though a worker had crashed", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker("flaky", function() error "boom" end)
      decnet.worker("quiet", function() decnet.park() end)
    ]]
    child:says "worker=flaky msg=crashed"
    child:stop("sigterm", 0)
  end)

  it("is 1 when the host ended by itself with a failed worker", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker("fine", function() end)
      decnet.worker { name = "broken", restart = "never", run = function() error "boom" end }
    ]]
    child:ends(1)
    assert.equal(1, child:count "worker=broken msg=\"crashed, not restarted\"")
    assert.equal(1, child:count "worker=fine msg=done")
  end)

  it("is 1 when an essential worker is given up, and the host stops (D12)", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker("other", function(self)
        self:defer(function() self.log:info "cleaned up" end)
        decnet.park()
      end)
      decnet.worker { name = "vital", essential = true, max_restarts = 2, max_backoff = 0.01,
        run = function() error "boom" end }
    ]]
    child:ends(1)
    assert.equal(3, child:count "worker=vital msg=\"?crashed")
    assert.equal(1, child:count "worker=other msg=\"cleaned up\"")
    assert.equal(1, child:count "worker=other msg=stopped")
  end)

  it("is 0 when a worker asks the host to stop", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker("quiet", function() decnet.park() end)
      decnet.worker("boss", function() decnet.stop "enough" end)
    ]]
    child:ends(0)
    assert.equal(1, child:count "msg=\"stopping: enough\"")
  end)

  it("comes late with --keep-alive, which stays when all have finished (F20)", function()
    local child = process.run([[
      require "decnet".worker("short", function() end)
    ]], { "--keep-alive" })
    child:says "worker=short msg=done"
    -- It waits now: a host that would end by itself does so within a turn of its loop.
    assert.is_nil(process.wait(function() return child.code end, 0.2))
    child:stop("sigterm", 0)
  end)

  it("is 0 when --shutdown-timeout kills what ignores its cancellation", function()
    local child = process.run([[
      local decnet = require "decnet"
      decnet.worker { name = "stubborn", stop_timeout = math.huge, run = function(self)
        local guard <close> = setmetatable({}, { __close = function()
          self.log:info "closed"
        end })
        self.log:info "up"
        while true do pcall(decnet.sleep, 0.01) end
      end }
    ]], { "--shutdown-timeout=0.05" })
    child:says "worker=stubborn msg=up"
    child:stop("sigterm", 0)
    child:says "worker=stubborn msg=closed"
    child:says "killing the rest"
  end)

  it("is 1 when an essential worker is given up, whatever ignores that the host stops", function()
    local child = process.run([[
      local decnet = require "decnet"
      decnet.worker { name = "stubborn", stop_timeout = math.huge, run = function()
        while true do pcall(decnet.sleep, 0.01) end
      end }
      decnet.worker { name = "vital", essential = true, run = function() decnet.fatal "gone" end }
    ]], { "--shutdown-timeout=0.05" })
    child:ends(1)
    child:says "killing the rest"
  end)

  it("is 3 for a worker that gives up neither the CPU nor the host; it is named (F13)", function()
    stuck.in_a_loop:ends(3)
    stuck.in_a_loop:says "\ndecnet%-host: worker spinner would not stop: it did not give up the CPU"
  end)

  it("is 3 where nobody reads stderr and the log blocks the host", function()
    local dir = process.dir()
    process.write(dir .. "/workers.lua", [[
      require "decnet".worker("talker", function(self)
        io.stdout:write "up\n"
        io.stdout:flush()
        while true do
          self.log:info(("x"):rep(200))
        end
      end)
    ]])
    -- The pipe has room for a page when the host starts: nobody can tell when it would have
    -- filled it all.
    local script = 'mkfifo pipe && exec 3<>pipe && head -c 61440 /dev/zero >&3 '
      .. '&& exec "$0" workers.lua 2>&3'
    local child = process.start("/bin/sh", { "-c", script, process.host }, { cwd = dir })
    child:says "up"
    child:kill "sigterm"
    child:kill "sigint"
    child:ends(3)
  end)

  it("is what os.exit says inside a test with open handles", function()
    local dir = process.dir()
    process.write(dir .. "/exit.lua", [[
      local decnet = require "decnet"
      local uv = require "luv"
      require "decnet.testing".run(function(t)
        decnet.worker("w", function()
          uv.new_timer():start(1000, 0, function() end)
          decnet.sleep(100)
        end)
        t:advance(1)
        os.exit(7, true)
      end)
    ]])
    process.start(process.host, { "lua", "exit.lua" }, { cwd = dir }):ends(7)
  end)

  it("is 0 for an endless loop: it is preempted, cancelled, and killed", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker { name = "spinner", stop_timeout = 0.05, run = function(self)
        local _ <close> = setmetatable({}, { __close = function() self.log:info "closed" end })
        self.log:info "up"
        while true do
          pcall(function() while true do end end)
        end
      end }
    ]]
    child:says "worker=spinner msg=up"
    child:stop("sigterm", 0)
    child:says "worker=spinner msg=closed"
  end)

  it("is 3 for a cleanup that never ends; the worker is named (F13)", function()
    stuck.in_close:ends(3)
    stuck.in_close:says "clinger would not stop"
  end)

  it("is 3 after one signal, too, where --shutdown-timeout sets a limit (F13)", function()
    stuck.with_a_limit:ends(3)
    stuck.with_a_limit:says "worker spinner would not stop"
  end)
end)

describe("a closed standard stream", function()
  lazy_teardown(process.cleanup)

  local CHATTY = [[
    local decnet = require "decnet"
    local uv = require "luv"
    decnet.worker("chatty", function(self)
      local file = assert(io.open("out.txt", "w"))
      for i = 1, 200 do
        print("line", i)
        self.log:info("line", { number = i })
      end
      file:write "done"
      file:close()
    end)
  ]]

  local function run(redirections)
    local dir = process.dir()
    process.write(dir .. "/workers.lua", CHATTY)
    local command = ("%s workers.lua %s; echo $? >code"):format(process.host, redirections)
    process.start("/bin/sh", { "-c", command }, { cwd = dir }):ends(0)
    return process.read(dir .. "/code"), process.read(dir .. "/out.txt")
  end

  for _, redirections in ipairs { "<&-", ">&-", "2>&-", "<&- >&- 2>&-" } do
    it("does no harm, and no file takes its place: " .. redirections, function()
      local code, text = run(redirections)
      assert.equal("0\n", code)
      assert.equal("done", text)
    end)
  end

  it("does no harm when it is a pipe that nobody reads any more", function()
    local dir = process.dir()
    process.write(dir .. "/workers.lua", CHATTY)
    -- Both streams end in a pipe whose reader has left before the first word.
    local command = ("mkfifo p; (: <p) & exec 3>p; wait; %s workers.lua >&3 2>&3; echo $? >code")
      :format(process.host)
    process.start("/bin/sh", { "-c", command }, { cwd = dir }):ends(0)
    assert.equal("0\n", process.read(dir .. "/code"))
    assert.equal("done", process.read(dir .. "/out.txt"))
  end)
end)
