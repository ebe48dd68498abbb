-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a reload is about to change may be gone, or have become something else, since it looked: the
-- host's methods, which lua/decnet/reload.lua calls, by themselves.
local core = require "decnet.core"
local decnet = require "decnet"
local testing = require "decnet.testing"

-- What a declaration with these options is to the host.
local function policy_of(handle, options)
  local policy = handle:options()
  policy.max_memory = policy.max_memory or nil
  for name, value in pairs(options or {}) do
    policy[name] = value
  end
  return policy
end

describe("a worker that has been removed", function()
  it("is in no version, and nothing can be done to it", function()
    testing.run(function(t)
      local host = t.host
      local handle = decnet.worker("w", decnet.park)
      t:advance(1)
      local run, hash, script = host:version(handle)
      local policy = policy_of(handle)
      assert.is_true(host:is_same(handle, policy))
      handle:remove()
      t:advance(1)
      assert.is_nil(host:version(handle))
      assert.is_false(host:is_same(handle, policy))
      assert.is_false(host:is_removing(handle))
      assert.same({ nil, "the worker has been removed" },
        { host:change(handle, run, policy, hash, script, false) })
      host:remove(handle)
      host:move_last(handle)
      t:advance(1)
      assert.same({}, host:workers())
    end)
  end)
end)

describe("a declaration", function()
  it("is the same only if it names the same group and the same dependencies", function()
    testing.run(function(t)
      decnet.group("pair", {})
      decnet.worker("a1", decnet.park)
      decnet.worker("a2", decnet.park)
      local alone = decnet.worker { name = "alone", after = { "a1" }, run = decnet.park }
      local member = decnet.worker { name = "member", group = "pair", run = decnet.park }
      assert.is_true(t.host:is_same(alone, policy_of(alone)))
      assert.is_false(t.host:is_same(alone, policy_of(alone, { after = { "a2" } })))
      assert.is_false(t.host:is_same(alone, policy_of(alone, { after = { "longer" } })))
      assert.is_false(t.host:is_same(alone, policy_of(alone, { group = "pair" })))
      assert.is_true(t.host:is_same(member, policy_of(member)))
      assert.is_false(t.host:is_same(member, policy_of(member, { group = "tree" })))
      assert.is_false(t.host:is_same(member, policy_of(member, { group = false })))
    end)
  end)

  it("with a group that is not there is refused, and the worker stays as it was", function()
    testing.run(function(t)
      local handle = decnet.worker("w", decnet.park)
      local run, hash, script = t.host:version(handle)
      local policy = policy_of(handle, { group = "nobody" })
      local ok, message = t.host:change(handle, run, policy, hash, script, false)
      assert.is_nil(ok)
      assert.matches('no group is named "nobody"', message)
      assert.equal(false, handle:options().group)
      local load <close> = setmetatable({ load = t.host:load() }, { __close = function(self)
        self.load:drop()
      end })
      local other = load.load:declare("other", decnet.park, policy_of(handle))
      ok, message = t.host:adopt(other, policy, 0, 1)
      assert.is_nil(ok)
      assert.matches('no group is named "nobody"', message)
      assert.has_error(function() t.host:adopt(handle, policy, 0, 1) end)
    end)
  end)

  it("cannot name a group that was dropped, and one that is not there can be dropped", function()
    testing.run(function(t)
      t.host:drop_group("nobody")
      decnet.group("pair", {})
      t.host:drop_group("pair")
      assert.has_error(function()
        decnet.worker { name = "member", group = "pair", run = decnet.park }
      end)
    end)
  end)
end)

describe("a wait for another worker to settle", function()
  it("is cancelled at once in a run that is", function()
    testing.run(function(t)
      local first, second
      local other = decnet.worker { name = "other", stop_timeout = math.huge, run = function(self)
        self:defer(function() decnet.shield(1000, decnet.park) end)
        decnet.park()
      end }
      decnet.worker("w", function()
        first = select(2, pcall(decnet.park))
        second = select(2, pcall(core.settle, other))
      end)
      t:advance(1)
      other:stop()
      decnet.get "w":stop()
      t:advance(1)
      assert.equal(decnet.cancelled, first)
      assert.equal(decnet.cancelled, second)
    end)
  end)
end)

describe("the module", function()
  it("has one host, whoever loads it again", function()
    testing.run(function(t)
      local before = package.loaded["decnet.core"]
      package.loaded["decnet.core"] = nil
      local again = require "decnet.core"
      package.loaded["decnet.core"] = before
      assert.equal(t.host, again.current_host())
    end)
  end)
end)

describe("a host", function()
  it("runs once", function()
    testing.run(function(t)
      assert.has_error(function() t.host:run() end, "this host is running already")
    end)
  end)

  it("takes a time beyond all clocks for the end of them", function()
    testing.run(function(t)
      assert.equal(math.maxinteger, t.host:after(math.huge))
      assert.equal(math.maxinteger, t.host:after(1e18))
    end)
  end)

  it("closes with more tasks of its own than are ended at a time", function()
    local closed = 0
    testing.run(function(t)
      for _ = 1, 300 do
        t.host:spawn(function()
          local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
          decnet.park()
        end)
      end
      t:advance(1)
    end)
    assert.equal(300, closed)
  end)

  it("leaves generators of its own tasks to the collector", function()
    testing.run(function(t)
      local generator
      t.host:spawn(function()
        generator = coroutine.wrap(function()
          local _ <close> = setmetatable({}, { __close = function() end })
          coroutine.yield "one"
          return "two"
        end)
        assert.equal("one", generator())
      end)
      t:advance(1)
      assert.equal("two", generator())
    end)
  end)

  it("cannot be closed from inside", function()
    testing.run(function(t)
      local ok, message
      decnet.worker("w", function() ok, message = pcall(t.host.close, t.host) end)
      t:advance(1)
      assert.is_false(ok)
      assert.equal("a host cannot be closed from inside", message)
    end)
  end)
end)
