-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a script keeps of a run, a worker or a host when they are over.
local core = require "decnet.core"
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

-- 'self' of a run that has ended.
local function is_mute(kept)
  kept:ready()
  kept:beat()
  kept:healthy()
  kept.log:info "nobody hears it"
  local ok, err = pcall(kept.defer, kept, print)
  assert.is_false(ok)
  run.contains(err, "defer: this run has ended")
end

describe("what is kept", function()
  it("of a run that has ended does nothing, or says so", function()
    local kept
    testing.run(function(t)
      decnet.worker("w", function(self) kept = self end)
      t:advance(1)
      assert.equal("w", kept.name)
      assert.equal(1, kept.run)
      assert.is_nil(kept[nil])
      assert.is_nil(kept[{}])
      is_mute(kept)
    end)
    is_mute(kept) -- nor of a host that is no more
  end)

  it("of a worker that is gone is its name", function()
    local handle
    testing.run(function(t)
      handle = decnet.worker("w", function() decnet.park() end)
      t:advance(1)
      assert.equal("worker w", tostring(handle))
      assert.is_nil(handle[{}])
      handle:remove()
      t:advance(1)
      assert.equal("worker w (gone)", tostring(handle))
      assert.equal("w", handle.name)
    end)
    assert.equal("worker w (gone)", tostring(handle))
  end)

  it("of a host that is closed is nothing", function()
    local host = core.host { virtual = true, log = false }
    assert.has_error(function() core.host { virtual = true, log = false } end,
      "a host is running already: there can be one at a time")
    assert.has_error(function() host:run() end, "this host is running already")
    assert.has_error(function() host:log("loud", "x") end)
    host:log("info", "x")
    host:close()
    host:close()
    assert.has_error(function() host:step(1) end, "this host is closed")
    for field, value in pairs { log_level = "loud", log_format = "fancy" } do
      assert.has_error(function() core.host { virtual = true, [field] = value } end)
    end
    host = core.host { log = false, monitor = false }
    assert.has_error(function() host:step(1) end)
    host:close()
    host = core.host { virtual = true, log = false, monitor = true }
    host:close()
    host = core.host { virtual = true } -- its log is stderr
    host:close()
  end)

  it("is not run where it could not start", function()
    local host = core.host { log = false, monitor = false }
    decnet.worker { name = "w", after = { "nobody" }, run = decnet.park }
    local code, message = host:run()
    host:close()
    assert.equal(2, code)
    assert.matches("nobody", message)
  end)
end)

describe("a cancelled run", function()
  it("is told so by each await that takes a thread, a child or another worker", function()
    local uv = require "luv"
    for what, wait in pairs {
      offload = function() decnet.offload(function() while true do end end) end,
      ["uv.run"] = function()
        local timer = uv.new_timer()
        timer:start(1000000, 0, function() end)
        uv.run()
      end,
      ["handle:stop"] = function() decnet.get("stays"):stop() end,
      popen = function() io.popen("exec sleep 100"):close() end,
      await = function() decnet.await(function() end) end,
    } do
      testing.run(function(t)
        local caught = {}
        decnet.worker { name = "stays", stop_timeout = 1000, run = function()
          decnet.shield(1000, decnet.sleep, 500)
        end }
        decnet.worker("w", function()
          for i = 1, 3 do
            caught[i] = select(2, pcall(wait))
          end
        end)
        t:advance(0.01)
        assert.same({}, caught, what)
        decnet.get("w"):stop()
        t:run_until(function() return caught[3] ~= nil end, 100)
        for i = 1, 3 do
          assert.is_true(decnet.is_cancelled(caught[i]), ("%s: %s"):format(what,
            tostring(caught[i])))
        end
      end)
    end
  end)
end)
