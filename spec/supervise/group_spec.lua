-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local forever = run.forever

-- Members a, b, c of the group "g" in this order; `crash(name)` makes one of them raise. `log` is
-- what they did: "+a" started, "-a" ended.
local function three(group, member)
  decnet.group("g", group)
  local world = { log = {}, crash = {} }
  for name in ("abc"):gmatch "." do
    local options = { name = name, group = "g" }
    for key, value in pairs(member or {}) do
      options[key] = value
    end
    options.run = function()
      local flag = decnet.event()
      world.crash[name] = function() flag:set() end
      world.log[#world.log + 1] = "+" .. name
      local _ <close> = setmetatable({}, { __close = function()
        world.log[#world.log + 1] = "-" .. name
      end })
      flag:wait()
      error("boom in " .. name)
    end
    decnet.worker(options)
  end
  return world
end

local function happened(world)
  local text = table.concat(world.log, " ")
  world.log = {}
  return text
end

local function states(t)
  local list = {}
  for name in ("abc"):gmatch "." do
    local status = t:status(name)
    list[#list + 1] = ("%s %d"):format(status.state, status.run)
  end
  return table.concat(list, ", ")
end

describe("a group", function()
  it("E01 one_for_one: siblings keep their run", function()
    testing.run(function(t)
      local world = three {}
      t:advance(0.1)
      world.crash.b()
      t:advance(0.1)
      assert.equal("running 1, backoff 1, running 1", states(t))
      t:advance(1)
      assert.equal("running 1, running 2, running 1", states(t))
    end)
  end)

  it("E02 one_for_all: all stop at once, and start in order after the delay", function()
    testing.run(function(t)
      local world = three { strategy = "one_for_all" }
      t:advance(0.1)
      assert.equal("+a +b +c", happened(world))
      world.crash.b()
      t:advance(0.1)
      assert.equal("-b -c -a", happened(world))
      assert.equal("waiting 1, backoff 1, waiting 1", states(t))
      assert.equal("group g", t:status("a").waiting_for)
      t:advance(1)
      assert.equal("+a +b +c", happened(world))
      assert.equal("running 2, running 2, running 2", states(t))
      local restart = run.events(t, "group_restart")
      assert.same({ 1, "g", "b" }, { #restart, restart[1].group, restart[1].worker })
      assert.equal(1, #run.events(t, "crash"))
    end)
  end)

  it("E02 nobody starts before the slowest is closed", function()
    testing.run(function(t)
      decnet.group("g", { strategy = "one_for_all" })
      local flag = decnet.event()
      decnet.worker { name = "a", group = "g", run = function(self)
        self:defer(function() decnet.sleep(5) end)
        forever()
      end }
      decnet.worker { name = "b", group = "g", run = function(self)
        if self.run == 1 then
          flag:wait()
          error "boom"
        end
        forever()
      end }
      t:advance(0.1)
      flag:set()
      t:advance(4.8)
      assert.same({ "closing", "backoff", 0 },
        { t:status("a").state, t:status("b").state, t:status("b").next_retry_in })
      t:advance(0.3)
      assert.same({ 2, 2 }, { t:status("a").run, t:status("b").run })
    end)
  end)

  it("E03 rest_for_one: earlier ones keep their run, later ones are replaced", function()
    testing.run(function(t)
      local world = three { strategy = "rest_for_one" }
      t:advance(0.1)
      world.crash.b()
      t:advance(0.1)
      assert.equal("running 1, backoff 1, waiting 1", states(t))
      t:advance(1)
      assert.equal("running 1, running 2, running 2", states(t))
      assert.equal("+a +b +c -b -c +b +c", happened(world))
    end)
  end)

  for _, strategy in ipairs { "one_for_one", "one_for_all", "rest_for_one" } do
    it("E04 E05 E06 fails at its limit, and its members stop: " .. strategy, function()
      testing.run(function(t)
        local world = three({ strategy = strategy, max_restarts = 1, within = 60 },
          { max_backoff = 0.5 })
        t:advance(0.1)
        world.crash.a()
        t:advance(1)
        world.crash.b()
        t:advance(1)
        assert.same({ "stopped", "failed", "stopped" },
          { t:status("a").state, t:status("b").state, t:status("c").state })
        local give_up = run.events(t, "give_up")
        assert.equal(1, #give_up)
        assert.equal("group g: more than 1 restart within 60 s", give_up[1].reason)
        assert.equal(1, #run.events(t, "group_failed"))
        t:advance(1e6)
        assert.equal(1, #run.events(t, "give_up"))
      end)
    end)
  end

  it("that has failed has another chance by an order, which concerns its member alone", function()
    testing.run(function(t)
      local world = three { strategy = "one_for_all", max_restarts = 1, within = 60 }
      for _ = 1, 2 do
        t:advance(2)
        world.crash.b()
      end
      t:advance(2)
      assert.equal("stopped 2, failed 2, stopped 2", states(t))
      decnet.get("b"):start()
      t:advance(1)
      assert.equal("stopped 2, running 3, stopped 2", states(t))
      world.crash.b() -- the limit counts from nothing again, and revives nobody
      t:advance(2)
      assert.equal("stopped 2, running 4, stopped 2", states(t))
      for name in ("ac"):gmatch "." do
        decnet.get(name):start()
      end
      t:advance(1)
      assert.equal("running 3, running 4, running 3", states(t))
      world.crash.c()
      t:advance(2)
      assert.equal("stopped 3, stopped 4, failed 3", states(t))
    end)
  end)

  it("E10 stops later ones first and starts in order", function()
    testing.run(function(t)
      local world = three { strategy = "one_for_all" }
      t:advance(0.1)
      world.crash.a()
      t:advance(2)
      assert.equal("+a +b +c -a -c -b +a +b +c", happened(world))
    end)
  end)

  it("E12 shows the earlier run, the one that retries and the later wait", function()
    testing.run(function(t)
      local world = three({ strategy = "rest_for_one" }, { min_backoff = 10 })
      t:advance(0.1)
      world.crash.b()
      t:advance(1)
      assert.equal("running 1, backoff 1, waiting 1", states(t))
      run.near(9, t:status("b").next_retry_in, 0.1)
      assert.equal("group g", t:status("c").waiting_for)
    end)
  end)

  it("restarts once when two members fail in one turn", function()
    testing.run(function(t)
      local world = three({ strategy = "one_for_all", max_restarts = 1, within = 60 })
      t:advance(0.1)
      world.crash.a()
      world.crash.c()
      t:advance(2)
      assert.equal("running 2, running 2, running 2", states(t))
      assert.equal(1, #run.events(t, "group_restart"))
    end)
  end)

  it("does not revive who is done, was stopped or is never restarted", function()
    testing.run(function(t)
      decnet.group("g", { strategy = "one_for_all" })
      local flag = decnet.event()
      decnet.worker { name = "done", group = "g", run = function() end }
      decnet.worker { name = "stopped", group = "g", run = forever }
      decnet.worker { name = "never", group = "g", restart = "never", run = forever }
      decnet.worker { name = "crasher", group = "g", run = function()
        flag:wait()
        error "boom"
      end }
      t:advance(0.1)
      decnet.get("stopped"):stop()
      t:advance(0.1)
      flag:set()
      t:advance(0.5)
      flag:clear()
      t:advance(1)
      local function state(name) return t:status(name).state .. t:status(name).run end
      assert.same({ "done1", "stopped1", "running2" },
        { state "done", state "stopped", state "crasher" })
      assert.equal(1, t:status("never").run)
      assert.is_true(t:status("never").state ~= "running")
    end)
  end)

  it("D08 a stop by the strategy counts for nobody's limit but that of who failed", function()
    testing.run(function(t)
      local world = three({ strategy = "one_for_all" }, { max_restarts = 4 })
      for _ = 1, 4 do
        t:advance(20)
        world.crash.b()
        t:advance(20)
      end
      assert.equal("running 5, running 5, running 5", states(t))
      assert.same({ 0, 0, 4 },
        { t:status("a").streak, t:status("c").streak, t:status("b").restarts })
      for _ = 1, 4 do
        world.crash.a() -- has all of its four left
        t:advance(20)
      end
      assert.equal("running 9, running 9, running 9", states(t))
    end)
  end)

  it("waits again when a member fails while the group restarts", function()
    testing.run(function(t)
      decnet.group("g", { strategy = "one_for_all" })
      decnet.worker { name = "a", group = "g", max_backoff = 1, run = function(self)
        if self.run <= 2 then
          decnet.sleep(self.run == 1 and 1 or 0)
          error "boom"
        end
        forever()
      end }
      decnet.worker { name = "b", group = "g", run = forever }
      t:advance(10)
      assert.same({ "running", 3 }, { t:status("a").state, t:status("a").run })
      assert.equal("running", t:status("b").state)
      assert.equal(2, #run.events(t, "crash"))
    end)
  end)

  it("is an option that reads back", function()
    testing.run(function()
      decnet.group("g")
      local worker = decnet.worker { name = "w", group = "g", run = forever }
      local options = worker:options()
      assert.same({ "g", 5, true }, { options.group, options.hang_timeout, options.preempt })
      assert.is_false(decnet.worker("x", forever):options().group)
    end)
  end)

  it("is taken from decnet.defaults, and can be declined", function()
    testing.run(function()
      decnet.group("g")
      decnet.defaults { group = "g" }
      assert.equal("g", decnet.worker("a", forever):options().group)
      assert.is_false(decnet.worker { name = "b", group = false, run = forever }:options().group)
      decnet.group("false")
      assert.equal("false",
        decnet.worker { name = "c", group = "false", run = forever }:options().group)
    end)
  end)
end)

describe("decnet.group refuses", function()
  local function refused(text, fn)
    testing.run(function()
      local ok, message = pcall(fn)
      assert.is_false(ok)
      run.contains(message, text)
      run.contains(message, "group_spec.lua:")
    end)
  end

  it("a group declared after its member", function()
    refused('worker "w": group: no group is named "late"; declare it before its members',
      function() decnet.worker { name = "w", group = "late", run = forever } end)
  end)

  it("a name that is taken", function()
    refused('decnet.group: group "g" is already declared', function()
      decnet.group "g"
      decnet.group "g"
    end)
  end)

  it("bad options, with their path", function()
    refused('decnet.group "g": strategy: expected', function()
      decnet.group("g", { strategy = "all" })
    end)
    refused("decnet.group: name: expected a name", function() decnet.group() end)
  end)
end)
