-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Random programs of tasks, waits, coroutines, errors, cancellations and kills. Whatever they do,
-- every <close> variable is closed once, every deferred function runs once, and nothing is left.
local decnet = require "decnet"
local testing = require "decnet.testing"

local SEEDS = tonumber(os.getenv "DECNET_SEEDS") or 200

-- A generator of our own (xorshift): the same seed gives the same program in every Lua.
local function new_random(seed)
  local state = seed * 2654435761 % 4294967296 + 1
  return function(n)
    state = state ~ (state << 13) & 0xffffffff
    state = state ~ (state >> 17)
    state = state ~ (state << 5) & 0xffffffff
    return state % n + 1
  end
end

local function new_world(seed)
  local world = {
    random = new_random(seed), opened = 0, closed = 0, deferred = 0, ran = 0, steps = 0, fault = 0,
    channels = { decnet.channel(), decnet.channel(2) }, event = decnet.event(),
  }
  function world.scope()
    world.opened = world.opened + 1
    local is_open = true
    return setmetatable({}, { __close = function()
      assert(is_open, "closed twice")
      is_open = false
      world.closed = world.closed + 1
      local r = world.random(8)
      if r == 1 then
        pcall(decnet.sleep, 0.1)
      elseif r == 2 then
        pcall(decnet.shield, 1, decnet.sleep, 0.1)
      elseif r == 3 then
        for _ in coroutine.wrap(function() coroutine.yield(1) end) do end -- luacheck: ignore 542
      elseif r == 4 then
        error "in __close"
      end
    end })
  end
  return world
end

local actions = {}

local function program(world, depth)
  local _ <close> = world.scope()
  for _ = 1, world.random(4) do
    world.steps = world.steps + 1
    actions[world.random(#actions)](world, depth + 1)
  end
  return depth
end

local function sub(world, depth)
  if depth < 6 and world.steps < 2000 then
    return program(world, depth)
  end
end

local function seconds(world)
  return world.random(20) / 10
end

local function add(action)
  actions[#actions + 1] = action
end

add(function(world) decnet.sleep(seconds(world)) end)
add(function() decnet.yield() end)
add(function() decnet.sleep(0) end)
add(function(world, depth) pcall(sub, world, depth) end)
add(function(world, depth) pcall(decnet.timeout, seconds(world), sub, world, depth) end)
add(function(world, depth) decnet.timeout(seconds(world), sub, world, depth) end)
add(function(world, depth) decnet.shield(seconds(world), sub, world, depth) end)
add(function(world, depth) decnet.shared(sub, world, depth) end)
add(function(world, depth) coroutine.wrap(sub)(world, depth) end)
add(function(world, depth)
  coroutine.wrap(function()
    local inner = coroutine.wrap(sub)
    coroutine.wrap(function() inner(world, depth) end)()
  end)()
end)
add(function(world, depth)
  local task = decnet.spawn(sub, world, depth)
  local r = world.random(4)
  if r == 1 then
    task:join(seconds(world))
  elseif r == 2 then
    decnet.sleep(seconds(world))
    task:cancel()
  elseif r == 3 then
    task:cancel()
    task:join()
  end
end)
add(function(world)
  local ch = world.channels[world.random(2)]
  if world.random(2) == 1 then
    ch:send({}, seconds(world))
  else
    ch:recv(seconds(world))
  end
end)
add(function(world)
  if world.random(2) == 1 then
    world.event:set()
  else
    world.event:wait(seconds(world))
    world.event:clear()
  end
end)
add(function(world)
  decnet.await(function(resume)
    local r = world.random(3)
    if r == 1 then
      resume(1)
    elseif r == 2 then
      decnet.spawn(function()
        decnet.sleep(seconds(world))
        resume(2)
      end)
    end
    return function() world.ran = world.ran end
  end, seconds(world))
end)
add(function(world) decnet.timeout(seconds(world), decnet.park) end)
add(function(world)
  pcall(table.sort, { 1, 2 }, function() decnet.sleep(1) end)
  if world.random(10) == 1 then
    collectgarbage "step"
  end
end)
add(function(world)
  world.deferred = world.deferred + 1
  decnet.current():defer(function()
    world.ran = world.ran + 1
    if world.random(3) == 1 then
      decnet.sleep(seconds(world))
    elseif world.random(3) == 1 then
      error "in a deferred function"
    end
  end)
end)
add(function(world)
  if world.random(6) == 1 then
    error "a random error"
  end
end)
add(function(world)
  -- left suspended in a timeout: must disturb nobody
  local co = coroutine.create(function() decnet.timeout(0.1, function() coroutine.yield() end) end)
  coroutine.resume(co)
  if world.random(2) == 1 then
    coroutine.close(co)
  end
end)

-- Runs the program of the seed; returns the world when all has ended.
local function play(seed)
  local world = new_world(seed)
  testing.run(function(t)
    local random = world.random
    for i = 1, 4 do
      decnet.worker { name = "w" .. i, max_backoff = 0.5, restart = "always",
        stop_timeout = ({ 0, 0.5, 5, math.huge })[i],
        run = function() program(world, 1) end }
    end
    for _ = 1, 30 do
      t:advance(random(10) / 10)
      local handle = decnet.get("w" .. random(4))
      local verb = ({ "restart", "stop", "start", "retry", "reset" })[random(5)]
      handle[verb](handle)
    end
    assert.equal(0, t:stop())
    for _, status in ipairs(decnet.status()) do
      assert.equal("stopped", status.state)
      assert.same({ 0, 0 }, { status.tasks, status.handles })
    end
  end)
  return world
end

local function check(world)
  assert.equal(world.opened, world.closed)
  assert.equal(world.deferred, world.ran)
end

describe("random programs", function()
  it("close what they opened, once, and leave nothing behind", function()
    local steps = 0
    for seed = 1, SEEDS do
      local ok, err = pcall(function()
        local world = play(seed)
        check(world)
        steps = steps + world.steps
      end)
      assert(ok, ("seed %d: %s"):format(seed, tostring(err)))
    end
    assert.is_true(steps > SEEDS * 100, steps .. " steps")
  end)

  it("do the same each time with the same seed", function()
    local first, second = play(5), play(5)
    assert.same({ first.steps, first.opened, first.ran }, { second.steps, second.opened,
      second.ran })
  end)

  it("have a canary: one variable that is not closed fails the check", function()
    local world = play(3)
    world.opened = world.opened + 1
    assert.is_false((pcall(check, world)))
    world.closed, world.ran = world.opened, world.ran - 1
    assert.is_false((pcall(check, world)))
  end)
end)
