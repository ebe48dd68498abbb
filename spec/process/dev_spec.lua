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

  -- The programs behind the verbs, as ./dev would build first.
  local function refuses(program, args, message)
    local child = process.start("/bin/sh", {
      "-c", 'cd "$1" && shift && exec "$@"', "sh", process.tree ".", process.host, "lua", program,
      table.unpack(args),
    }):ends(2)
    assert.equal("", child:stdout())
    assert.matches(message, child:stderr())
  end

  it("starve: refuses what it does not know, says what there is, exit 2", function()
    local program = "spec/starve/run.lua"
    refuses(program, { "frob" }, "^starve: there is no scenario 'frob': boot, [%l, ]+\n$")
    refuses(program, { "--mode", "frob" },
      "^starve: there is no mode 'frob': memory once, [^\n]+\n$")
    refuses(program, { "--stride", "0" }, "^starve: %-%-stride: a whole number above 0 expected\n$")
    refuses(program, { "--stride" }, "^starve: %-%-stride: a value expected\n$")
    refuses(program, { "--frob" }, "^starve: unknown option '%-%-frob': %-%-stride N, [^\n]+\n$")
  end)

  it("mutate: refuses a file that it has no mutants of, exit 2", function()
    refuses("spec/mutants/run.lua", { process.dir(), "src/core/frob.c" },
      "^mutate: there is no 'src/core/frob.c': backoff, [%l, ]+\n$")
  end)
end)
