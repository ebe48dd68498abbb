-- SPDX-License-Identifier: AGPL-3.0-or-later
-- That the runner of the benchmarks works; what they measure is not judged here.
local process = require "spec.process.process"

local function bench(args, env)
  env = env or {}
  env.DECNET_HOST = process.host
  return process.start(process.host, { "lua", process.tree "bench/run.lua", table.unpack(args) },
    { env = env })
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

  it("refuse what they do not know", function()
    assert.truthy(bench({ "yeild" }):ends(2):stderr():find "no benchmark 'yeild'")
    assert.truthy(bench({ "--peers=nodde", "yield" }):ends(2):stderr():find "no peer 'nodde'")
    assert.truthy(bench({ "--rounds", "0" }):ends(2):stderr():find "above 0")
  end)
end)
