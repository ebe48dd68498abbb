-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What ./dev starve found, each by the points that found it. All points: ./dev starve.
local process = require "spec.process.process"
local drive = require "spec.starve.drive"
local uv = require "luv"

local program = process.host:gsub("[^/]+$", "decnet-starved")

-- Every `stride`-th point of a mode, in hosts that are one process each.
local function explore(name, mode, stride)
  if not uv.fs_stat(program) then
    return pending "decnet-starved is not part of a sanitised build"
  end
  for _, scenario in ipairs(drive.scenarios) do
    if scenario.name == name then
      local count, findings = drive.explore({
        program = program, root = process.dir(), jobs = 2, stride = stride or 1, first = 1,
      }, scenario, mode)
      assert.is_true(count > 0)
      for _, finding in ipairs(findings) do
        error(("%s: %s: %s"):format(name, finding.plans[1], finding.what))
      end
    end
  end
end

describe("starvation", function()
  lazy_teardown(process.cleanup)

  for _, canary in ipairs(drive.canaries) do
    it(("finds %s"):format(canary.name), function()
      if not uv.fs_stat(program) then
        return pending "decnet-starved is not part of a sanitised build"
      end
      local _, findings = drive.explore({
        program = program, root = process.dir(), jobs = 1, stride = 1000, first = 1,
      }, canary, "memory on")
      assert.equal(1, #findings)
      assert.matches(canary.finds, findings[1].what)
    end)
  end
end)

describe("a host without memory", function()
  lazy_teardown(process.cleanup)

  it("does not abort when a run ends", function()
    explore("stop", "memory once")
  end)

  it("closes what a run has open, later if need be, and starts it again", function()
    explore("crash", "memory on")
  end)

  it("ends although a hook could not be called", function()
    explore("crash", "memory twice")
  end)

  it("shuts down", function()
    explore("shutdown", "memory on")
  end)

  it("restarts", function()
    explore("restart", "memory ceiling")
  end)

  it("can be reloaded later", function()
    explore("reload", "memory on", 61)
  end)

  it("refuses to start, by a message and an exit code", function()
    explore("boot", "memory on", 97)
    explore("start", "memory on", 7)
  end)

  it("tells a worker that uses luv that there is none", function()
    explore("uv", "memory once", 29)
  end)

  it("answers by the control plane, or does not, but lives", function()
    explore("control", "memory on", 23)
  end)
end)
