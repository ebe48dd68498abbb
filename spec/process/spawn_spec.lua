-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local real = require "spec.support.real"

describe("decnet.uv.spawn, cancelled", function()
  it("kills a child that ignores SIGTERM for 5 seconds", function()
    local dir, remove = real.temp_dir()
    real.worker(function(self)
      local pid
      local task = decnet.spawn(decnet.uv.spawn, "sh", { args = { "-c",
        ("trap '' TERM; echo $$ > %s/pid; while :; do sleep 0.1; done"):format(dir) } })
      real.wait(function()
        local f = io.open(dir .. "/pid")
        pid = f and f:read "n"
        return f and f:close() and pid
      end)
      task:cancel()
      assert.same({ nil, "cancelled" }, { task:join() })
      assert.is_true(real.is_alive(pid))
      real.wait(function() return not real.is_alive(pid) end)
      real.wait(function() return decnet.get(self.name):status().handles == 0 end)
    end)
    remove()
  end)
end)
