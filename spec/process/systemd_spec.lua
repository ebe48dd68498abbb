-- SPDX-License-Identifier: AGPL-3.0-or-later
-- examples/systemd, read by systemd itself.
local process = require "spec.process.process"

local UNIT = "decnet-host@.service"

describe("the unit in examples/systemd", function()
  lazy_teardown(process.cleanup)

  local text = process.read(process.tree("examples/systemd/" .. UNIT))

  it("is what systemd-analyze takes without a word", function()
    if not process.has "systemd-analyze" then
      return pending "systemd-analyze (Debian: systemd) is not installed"
    end
    local dir = process.dir()
    local unit, count = text:gsub("/usr/bin/decnet%-host", process.host)
    assert.equal(1, count)
    for _, name in ipairs { UNIT, (UNIT:gsub("@", "@app")) } do
      process.write(dir .. "/" .. name, unit)
      local child = process.start("systemd-analyze", { "verify", "--man=no", name }, { cwd = dir })
      child:ends(0)
      assert.equal("", child:stdout() .. child:stderr())
    end
    -- it can say no
    process.write(dir .. "/bad.service", (unit:gsub("WatchdogSec=", "WatchdogSecs=")))
    local child = process.start("systemd-analyze", { "verify", "--man=no", "bad.service" },
      { cwd = dir })
    child:says "WatchdogSecs"
  end)

  it("leaves a worker little that it could harm", function()
    if not process.has "systemd-analyze" then
      return pending "systemd-analyze (Debian: systemd) is not installed"
    end
    local dir = process.dir()
    process.write(dir .. "/app.service", text)
    local child = process.start("systemd-analyze", { "security", "--offline=true", "--no-pager",
      "--threshold=20", "app.service" }, { cwd = dir }) -- of 100, less is better
    child:ends(0)
  end)
end)
