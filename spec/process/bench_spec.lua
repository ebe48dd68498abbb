-- SPDX-License-Identifier: AGPL-3.0-or-later
-- That the runner of the benchmarks works; what they measure is not judged here.
local process = require "spec.process.process"

local function bench(args, env, dir)
  env = env or {}
  env.DECNET_HOST = process.host
  return process.start(process.host, { "lua", process.tree "bench/run.lua", table.unpack(args) },
    { env = env, cwd = dir })
end

describe("the benchmarks", function()
  lazy_teardown(process.cleanup)

  it("measure each of our programs that ends by itself", function()
    local child = bench { "--rounds", "1", "--scale", "0.01", "idle", "crash", "timers", "yield",
      "pingpong", "fanin", "shutdown", "cold" }
    local text = child:ends(0, 60):stdout()
    for _, name in ipairs { "idle", "crash", "timers", "yield", "pingpong", "fanin", "shutdown",
      "cold" } do
      local row = text:match("`" .. name .. "`.-(%*%*decnet%-host%*%*[^\n]+)")
      assert.truthy(row, name)
      assert.truthy(row:find "|%s*[%d,.]+", row)
    end
  end)

  it("say which package brings a peer that is missing, and measure the rest", function()
    local dir = process.dir()
    assert(os.execute(("ln -s $(command -v taskset) $(command -v setpriv) %s"):format(dir)))
    local child = bench({ "--rounds", "1", "--scale", "0.01", "--peers=node", "yield" },
      { PATH = dir })
    local text = child:ends(0, 60):stdout()
    assert.truthy(child:stderr():find(
      "Node is left out: node is missing; Debian's package is nodejs", 1, true))
    assert.truthy(text:find("**decnet-host**", 1, true))
    assert.falsy(text:find "| Node")
  end)

  it("refuse what they do not know, and what does not go together", function()
    for args, message in pairs {
      ["yeild"] = "no benchmark 'yeild'",
      ["--peers=nodde yield"] = "no peer 'nodde'",
      ["--peers="] = "unknown option",
      ["--peersnode"] = "unknown option",
      ["--rounds 0"] = "whole number above 0",
      ["--rounds=1.5"] = "whole number above 0",
      ["--rounds"] = "a value expected",
      ["--scale=-1"] = "above 0",
      ["--cores 4096"] = "CPUs of this machine",
      ["--counts yield"] = "no names",
      ["--counts --growth"] = "one at a time",
      ["--renew"] = "goes with %-%-counts",
    } do
      local words = {}
      for word in args:gmatch "%S+" do
        words[#words + 1] = word
      end
      local said = bench(words):ends(2):stderr()
      assert.truthy(said:find(message), args .. ": " .. said)
      assert.equal(1, select(2, said:gsub("\n", "")))
    end
  end)

  it("write between two lines of a file, and look at once whether they can", function()
    local dir = process.dir()
    local function into(text)
      if text then
        process.write(dir .. "/tables.md", text)
      end
      return bench({ "--rounds", "1", "--scale=0.01", "--into", "tables.md", "yield" }, nil, dir)
    end
    assert.truthy(into():ends(2):stderr():find "No such file")
    local child = into "no such lines\n"
    assert.truthy(child:ends(2):stderr():find "has no lines <!%-%- bench %-%-> and <!%-%- end")
    assert.falsy(child:stderr():find "switches")
    into("before\n<!-- bench -->\nold\n<!-- end -->\nafter\n"):ends(0, 60)
    local text = process.read(dir .. "/tables.md")
    assert.matches("^before\n<!%-%- bench %-%->\n\ndecnet%-host ", text)
    assert.matches("\n<!%-%- end %-%->\nafter\n$", text)
    assert.falsy(text:find "old")
  end)

  it("say which packages they need", function()
    local child = bench { "--packages", "--peers=luv,cqueues" }
    assert.equal("lua5.4\nlua-luv\nlua-cqueues\n", child:ends(0):stdout())
  end)
end)
