-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The entry for people who work on the tree.
local process = require "spec.process.process"

local function dev(words)
  local args = {}
  for word in words:gmatch "%S+" do
    args[#args + 1] = word
  end
  return process.start(process.tree "dev", args)
end

describe("./dev", function()
  lazy_teardown(process.cleanup)

  it("says what it knows when it is asked for something else, exit 2", function()
    local child = process.start(process.tree "dev", { "frob" }):ends(2)
    assert.matches("^%./dev run .*\n%./dev test .*\ndev: no such command: frob\n$", child:stderr())
    assert.equal("", child:stdout())
    assert.matches("^%./dev run ", process.start(process.tree "dev", { "help" }):ends(0):stdout())
  end)

  it("says in a line what it does not take", function()
    for words, message in pairs {
      ["build asan clang"] = "too many arguments",
      ["test --frob"] = "does not take '%-%-frob'",
      ["storm abc"] = "seed: a whole number expected",
      ["proof --frob"] = "seed: a whole number expected",
      ["proof 1 2"] = "too many arguments",
      ["soak x"] = "minutes: a whole number expected",
      ["soak 0"] = "minutes: a number above 0 expected",
      ["soak 1 x"] = "seed: a whole number expected",
      ["fuzz nobody"] = "no fuzzer 'nobody': client control",
      ["fuzz --canary nobody"] = "no fuzzer 'nobody'",
      ["fuzz 5x"] = "seconds: a whole number expected",
      ["coverage --frob"] = "does not take",
      ["canaries x"] = "too many arguments",
    } do
      local said = dev(words):ends(2):stderr()
      assert.matches(message, said)
      assert.equal(1, select(2, said:gsub("\n", "")))
    end
  end)

  it("tells what one command does", function()
    local child = dev "soak --help"
    assert.matches("^%./dev soak %[MINUTES%]", child:ends(0):stdout())
    assert.equal(1, select(2, child:stdout():gsub("%./dev ", "")))
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
