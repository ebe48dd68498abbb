-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Finalizers run on whoever allocates: what they do is nobody's fault.

local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function finalized(fn)
  setmetatable({}, { __gc = fn })
end

describe("an error in a finalizer #host", function()
  it("is logged, and ends nobody", function()
    local text = run.logged(function(t)
      decnet.worker("victim", function()
        finalized(function() error "in the finalizer" end)
        collectgarbage()
        for i = 1, 100000 do
          local _ = { i }
        end
        decnet.park()
      end)
      t:advance(1)
      assert.equal("running", t:status "victim".state)
      assert.equal(0, t:status "victim".restarts)
    end, "warn")
    local _, count = text:gsub("in the finalizer", "")
    assert.equal(1, count)
    assert(text:find("level=warn", 1, true))
    assert(text:find("error in __gc", 1, true))
    assert.is_nil(text:find("worker=", 1, true))
  end)

  it("does not flood the log", function()
    local text = run.logged(function(t)
      decnet.worker("many", function()
        for _ = 1, 1000 do
          finalized(function() error "again" end)
        end
        collectgarbage()
        decnet.park()
      end)
      t:advance(1)
    end, "warn")
    local _, count = text:gsub("again", "")
    assert(count > 0 and count <= 10, count)
  end)

  it("is what an await in one is", function()
    local text = run.logged(function(t)
      decnet.worker("victim", function()
        finalized(function() decnet.sleep(1) end)
        collectgarbage()
        decnet.park()
      end)
      t:advance(1)
      assert.equal("running", t:status "victim".state)
    end, "warn")
    assert(text:find("sleep: ", 1, true), text)
  end)
end)

describe("a worker's warn() #host", function()
  it("is off until it is turned on, and then names the worker", function()
    local text = run.logged(function(t)
      decnet.worker("warns", function()
        warn "unseen"
        warn "@on"
        warn("two ", "pieces")
        warn "@off"
        warn "unseen"
      end)
      t:advance(0)
    end, "warn")
    assert(text:find('worker=warns msg="two pieces"', 1, true), text)
    assert.is_nil(text:find("unseen", 1, true))
  end)
end)

describe("a finalizer that allocates much #host", function()
  it("raises no memory error in a run with a cap", function()
    testing.run(function(t)
      local result
      decnet.worker { name = "capped", max_memory = "256K", restart = "never", run = function()
        finalized(function() result = #("x"):rep(400000) end)
        collectgarbage()
        for i = 1, 20000 do
          local _ = { i }
        end
        decnet.sleep(0.1)
      end }
      t:advance(1)
      assert.equal("done", t:status "capped".state)
      assert.equal(400000, result)
    end)
  end)
end)
