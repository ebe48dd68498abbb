-- SPDX-License-Identifier: AGPL-3.0-or-later
-- examples/hostile.lua: the gallery, and its canaries, which it must not survive.
local process = require "spec.process.process"

local function start(...)
  return process.start(process.host, { "--log-level", "error", process.tree "examples/hostile.lua",
    ... })
end

describe("the hostile gallery", function()
  local gallery, canaries = nil, {}

  lazy_setup(function()
    gallery = start("--for", "0.1", "--limit", "60") -- how late is measured by hand
    for name, args in pairs {
      ["hurts the victim"] = { "--limit", "0.2" },
      ["restarts the victim"] = {},
      ["leaks"] = {},
      ["is harmless"] = {},
    } do
      args[#args + 1] = "canary: " .. name
      canaries[name] = start("--for", "0.1", table.unpack(args))
    end
  end)

  lazy_teardown(process.cleanup)

  it("hurts nobody, and leaves nothing", function()
    print(gallery:ends(0, 200):stdout():match "([^\n]*\n[^\n]*)\n$")
  end)

  -- How it must be noticed.
  for name, remark in pairs {
    ["hurts the victim"] = "WRONG: the victim was late by more than 0.2 s",
    ["restarts the victim"] = "WRONG: the victim is in state running, run 2",
    ["leaks"] = "1 handles, %d references +WRONG: it left something behind",
    ["is harmless"] = "WRONG: expected: crashed, stopped",
  } do
    it("fails when a row " .. name, function()
      assert.matches(remark, canaries[name]:ends(1):stdout())
    end)
  end

  it("refuses a row that is not there", function()
    assert.matches('there is no row "nothing"; the names are', start("nothing"):ends(2):stderr())
    assert.matches('there is no row "endles loop"; did you mean "endless loop"?',
      start("endles loop"):ends(2):stderr())
  end)
end)
