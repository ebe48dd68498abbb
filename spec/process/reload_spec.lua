-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"

-- Replaces the script in one go, as a deployment should.
local function put(child, text)
  process.write(child.dir .. "/workers.new", text)
  assert(os.rename(child.dir .. "/workers.new", child.dir .. "/workers.lua"))
end

local SCRIPT = [[
  local decnet = require "decnet"
  decnet.worker("steady", function(self)
    self.log:info("steady", { run = self.run })
    decnet.park()
  end)
  decnet.worker("changing", function(self)
    self.log:info("version", { number = VERSION })
    decnet.park()
  end)
]]

local function version(number)
  return (SCRIPT:gsub("VERSION", number))
end

describe("SIGHUP", function()
  lazy_teardown(process.cleanup)

  it("loads the script again, and restarts what has changed", function()
    local child = process.run(version(1))
    child:says "number=1"
    put(child, version(2))
    child:kill "sighup"
    child:says "number=2"
    child:says 'level=info msg="reloaded workers.lua: 1 restarted %(changing%), 1 unchanged"'
    child:kill "sighup"
    child:says "nothing changed, 2 unchanged"
    child:stop "sigterm"
    assert.equal(1, child:count "worker=steady msg=steady")
  end)

  it("with a faulty script changes nothing and says what to mend", function()
    local child = process.run(version(1))
    child:says "number=1"
    put(child, "\n\nlocal decnet = require 'decnet'\ndecnet.worker('x', 1)\n")
    child:kill "sighup"
    child:says 'level=error msg="not reloaded, all goes on as before: workers.lua:4: .*run'
    put(child, version(3))
    child:kill "sighup"
    child:says "number=3"
    child:stop "sigterm"
  end)

  it("gives a script up that does not end, and nobody notices", function()
    local child = process.run([[
      local decnet = require "decnet"
      require "decnet.reload".LIMIT = 0.5
      decnet.worker("ticker", function(self)
        while true do
          decnet.sleep(0.01)
          if os.rename("go", "gone") then
            self.log:info "ticking"
          end
        end
      end)
      decnet.worker("up", function(self) self.log:info "up" decnet.park() end)
    ]])
    child:says "worker=up msg=up"
    put(child, "io.open('go', 'w'):close() while true do end")
    child:kill "sighup"
    child:says "ticking.*not reloaded.*longer than 0.5 s"
    child:stop "sigterm"
  end)

  it("under run_group says that there is no script", function()
    local dir = process.dir()
    process.write(dir .. "/group.lua", [[
      require "decnet".run_group { { "a", function(self)
        self.log:info "up"
        require "decnet".park()
      end } }
    ]])
    local child = process.start(process.host, { "lua", "group.lua" }, { cwd = dir })
    child:says "up"
    child:kill "sighup"
    child:says "SIGHUP is ignored: there is no script"
    child:stop "sigterm"
  end)

  it("in a storm, while the script changes, ends with what the script says", function()
    local child = process.run(version(1))
    child:says "number=1"
    for i = 2, 30 do
      put(child, version(i))
      for _ = 1, 100 do
        child:kill "sighup"
      end
    end
    child:says "number=30"
    child:kill "sighup"
    child:says "number=30.*nothing changed, 2 unchanged"
    child:stop "sigterm"
    assert.equal(1, child:count "worker=steady msg=steady")
    assert.equal(0, child:count "level=error")
  end)

  it("a hundred times under load leaves memory and descriptors as they were", function()
    local script = [[
      local decnet = require "decnet"
      local uv = require "luv"
      local data = { version = VERSION }
      for i = 1, 2000 do data[i] = { i } end
      for i = 1, 50 do
        decnet.worker { name = "server" .. i, reset_after = 0.01, run = function()
          local timer, socket = uv.new_timer(), uv.new_tcp()
          socket:bind("127.0.0.1", 0)
          socket:listen(1, function() end)
          timer:start(1, 1, function() data.tick = true end)
          decnet.park()
        end }
      end
      decnet.worker("load", function()
        while true do
          local t = {}
          for i = 1, 1000 do t[i] = { i } end
          decnet.yield()
        end
      end)
      decnet.worker("report", function(self)
        -- at one moment: collectgarbage would wait for a cycle, in which "load" makes garbage
        local function held()
          collectgarbage()
          collectgarbage()
          return collectgarbage "count" // 1
        end
        local function figures()
          local fds = 0
          for _ in function(r) return uv.fs_scandir_next(r) end, uv.fs_scandir "/proc/self/fd" do
            fds = fds + 1
          end
          return fds, decnet.atomic(held)
        end
        decnet.sleep(0.2)
        local fds, kilobytes = figures()
        self.log:info("figures", { version = VERSION, fds = fds, kilobytes = kilobytes })
        data.report = true
        decnet.park()
      end)
    ]]
    local child = process.run((script:gsub("VERSION", 0)))
    child:says "version=0"
    local first
    for i = 1, 100 do
      put(child, (script:gsub("VERSION", i)))
      child:kill "sighup"
      if i == 10 or i == 100 then
        local fds, kilobytes = child:says(("fds=(%%d+) kilobytes=(%%d+) version=%d"):format(i))
        fds, kilobytes = tonumber(fds), tonumber(kilobytes)
        first = first or { fds = fds, kilobytes = kilobytes }
        assert.is_true(fds <= first.fds + 5, ("%d -> %d descriptors"):format(first.fds, fds))
        assert.is_true(kilobytes <= first.kilobytes * 1.5,
          ("%d -> %d KB"):format(first.kilobytes, kilobytes))
      else
        assert(process.wait(function()
          return child:count "msg=\"reloaded" >= i or child.code
        end))
      end
    end
    child:stop "sigterm"
    assert.equal(0, child:count "level=error")
  end)
end)
