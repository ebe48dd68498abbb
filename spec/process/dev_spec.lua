-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The entry for people who work on the tree.
local process = require "spec.process.process"

describe("./dev", function()
  lazy_teardown(process.cleanup)

  it("says what it knows when it is asked for something else, exit 2", function()
    local child = process.start(process.tree "dev", { "frob" }):ends(2)
    assert.matches("^%./dev run .*\n%./dev test .*\ndev: no such command: frob\n$", child:stderr())
    assert.equal("", child:stdout())
    assert.matches("^%./dev run ", process.start(process.tree "dev", { "help" }):ends(0):stdout())
  end)
end)
