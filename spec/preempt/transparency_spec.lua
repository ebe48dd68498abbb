-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Preemption cannot be seen: not by any language feature, wherever it strikes.

local corpus = require "spec.preempt.corpus"
local decnet = require "decnet"
local testing = require "decnet.testing"

-- What the corpus says in a worker that is preempted after every k instructions, and how often that
-- was.
local function run(k)
  local result, preemptions
  testing.run(function(t)
    decnet.worker("subject", function() result = corpus() end)
    t:run_until(function() return result end)
    assert.is_nil(t:status("subject").last_error)
    preemptions = t:status("subject").preemptions
  end, { preempt_every = k })
  return result, preemptions
end

describe("preemption", function()
  local expected = corpus():gsub("\nfalse\n", "\ntrue\n", 1) -- isyieldable: true in a worker

  it("gives the same result without any", function()
    assert.equal(expected, (run(0)))
  end)

  it("gives the same result after every k instructions, for every k from 1 to 97", function()
    for k = 1, 97 do
      local result, preemptions = run(k)
      assert.equal(expected, result, "k = " .. k)
      assert.is_true(preemptions > 1000 / k, "k = " .. k)
    end
  end)

  it("is noticed by a corpus that reads something else each time (canary)", function()
    local seen = {}
    testing.run(function(t)
      decnet.worker("subject", function() for i = 1, 100 do seen[i] = decnet.now() end end)
      t:run_until(function() return t:status("subject").state == "done" end)
    end, { preempt_every = 3 })
    assert.is_true(seen[100] > seen[1])
  end)
end)
