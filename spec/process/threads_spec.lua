-- SPDX-License-Identifier: AGPL-3.0-or-later
-- All threads at once: loop, monitor, offload, libuv's pool. In a build with the thread sanitizer
-- (./dev tsan) any race is a complaint on stderr and exit code 66.
--
-- That sanitizer keeps signals back until the thread calls something that it watches; a pure Lua
-- loop never does. Reading a clock does, so these loops do that.
local process = require "spec.process.process"

describe("the threads", function()
  lazy_teardown(process.cleanup)

  it("share nothing without saying so", function()
    local child = process.run [[
      local decnet = require "decnet"
      local uv = require "luv"
      for i = 1, 3 do
        decnet.worker("loop" .. i, function() while true do decnet.now() end end)
      end
      decnet.worker("ticker", function() while true do decnet.sleep(0.005) end end)
      decnet.worker("requests", function()
        for i = 1, 30 do
          assert(decnet.uv.fs_stat "/")
          assert(decnet.offload(function(n) return n + 1 end, i) == i + 1)
        end
      end)
      decnet.worker("reader", function()
        while true do
          decnet.sleep(0.02)
          for _, status in ipairs(decnet.status()) do assert(status.cpu_s) end
        end
      end)
      decnet.worker { "crasher", min_backoff = 0.05, run = function()
        decnet.sleep(0.01)
        error "boom"
      end }
      decnet.worker("holder", function()
        decnet.sleep(0.5)
        uv.sleep(1500)
        for i = 1, 3 do
          print(decnet.get("loop" .. i):status().preemptions > 0)
        end
        decnet.stop()
      end)
    ]]
    child:ends(0)
    assert.equal(("true\n"):rep(3), child:stdout())
    child:says "worker=requests msg=done"
    child:says 'worker=holder msg="has held the CPU for 1%.%d s'
    assert.equal(0, child:count "Sanitizer")
  end)
end)
