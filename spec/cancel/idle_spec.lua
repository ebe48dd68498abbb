-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Coroutines that a run left suspended: their <close> variables.

local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function closing(fn)
  return setmetatable({}, { __close = fn })
end

-- A generator that holds a <close> variable, after its first value.
local function stopped(fn)
  local generator = coroutine.create(function()
    local _ <close> = closing(fn)
    for i = 1, math.huge do
      coroutine.yield(i)
    end
  end)
  assert(coroutine.resume(generator))
  return generator
end

-- Runs `fn(self, log)` as a worker, which is then stopped. Returns the log, the status and the
-- crashes.
local function log_of(fn, options)
  local log, status, crashes = {}, nil, nil
  testing.run(function(t)
    options = options or {}
    options.name, options.restart = "w", "never"
    options.run = function(self) return fn(self, log, t) end
    decnet.worker(options)
    t:advance(0.3)
    t:stop()
    status, crashes = t:status "w", run.events(t, "crash")
  end)
  return log, status, crashes
end

describe("a generator that was left in the middle", function()
  it("is closed when the run ends, in any way, newest first, before what was deferred", function()
    for what, ending in pairs {
      returned = function() end,
      raised = function() error "boom" end,
      cancelled = run.forever,
      killed = run.stubborn,
      ["cpu-bound"] = function() while true do end end,
      ["crashed in a task"] = function() decnet.spawn(error, "boom") run.forever() end,
    } do
      for _, stop_timeout in ipairs { 0, 0.1 } do
        local kept = {}
        local log, status = log_of(function(self, l)
          self:defer(function() l[#l + 1] = "deferred" end)
          for i = 1, 3 do
            for value in coroutine.wrap(function()
              kept[#kept + 1] = coroutine.running()
              local _ <close> = closing(function(_, err) l[#l + 1] = err == nil and i end)
              coroutine.yield(1)
              coroutine.yield(2)
              l[#l + 1] = "went on"
            end) do
              if value == 2 then
                break
              end
            end
          end
          ending()
        end, { stop_timeout = stop_timeout })
        assert.same({ 3, 2, 1, "deferred" }, log, what)
        assert.same({ 0, 0 }, { status.tasks, status.handles }, what)
        for _, co in ipairs(kept) do
          assert.equal("dead", coroutine.status(co))
        end
      end
    end
  end)

  it("is closed though the collector comes between the end of the run and its cleanup", function()
    local log = log_of(function(_, l)
      decnet.worker("collector", function()
        for _ = 1, 10 do
          decnet.atomic(collectgarbage)
          decnet.yield()
        end
      end)
      decnet.yield()
      local kept = {}
      for i = 1, 3 do
        kept[i] = stopped(function() l[#l + 1] = i end)
      end
      assert.equal(3, #kept)
    end)
    assert.same({ 3, 2, 1 }, log)
  end)

  it("is closed wherever its <close> stands: a call, a for loop, a task, a generator", function()
    local kept = {}
    local log = log_of(function(_, l)
      local function note(what)
        return closing(function() l[#l + 1] = what end)
      end
      local function keep(fn)
        kept[#kept + 1] = coroutine.create(fn)
        assert(coroutine.resume(kept[#kept]))
      end
      keep(function()
        local function deep(n)
          local _ <close> = n == 20 and note "deep" or nil
          return n == 0 and coroutine.yield() or deep(n - 1), n
        end
        deep(20)
      end)
      keep(function()
        for _ in next, { 1 }, nil, note "for" do
          coroutine.yield()
        end
      end)
      decnet.spawn(keep, function()
        local _ <close> = note "task"
        pcall(coroutine.yield)
      end):join()
      keep(function()
        local _ <close> = note "outer"
        keep(function()
          local _ <close> = note "inner"
          coroutine.yield()
        end)
        coroutine.yield()
      end)
    end)
    assert.same({ "outer", "inner", "task", "for", "deep" }, log)
  end)

  it("is closed though it waited in a host call before", function()
    local kept
    local log = log_of(function(_, l)
      kept = coroutine.wrap(function()
        local _ <close> = closing(function() l[#l + 1] = "closed" end)
        decnet.sleep(0.1)
        coroutine.yield(1)
        decnet.sleep(0.1)
        coroutine.yield(2)
      end)
      assert(kept() == 1)
      assert(kept() == 2)
    end)
    assert.same({ "closed" }, log)
  end)

  it("is left alone when it has nothing to close, has ended, or was closed", function()
    local plain, ended, closed
    local log = log_of(function(_, l)
      plain = coroutine.wrap(function()
        for i = 1, math.huge do
          coroutine.yield(i)
        end
      end)
      assert(plain() == 1)
      ended = coroutine.wrap(function()
        local _ <close> = closing(function() l[#l + 1] = "ended" end)
        coroutine.yield()
      end)
      ended()
      ended()
      closed = stopped(function() l[#l + 1] = "closed" end)
      assert(coroutine.close(closed))
    end)
    assert.same({ "ended", "closed" }, log)
    assert.equal(2, plain()) -- whoever shares it goes on
  end)

  it("is left alone when it is the script's, or was left inside decnet.shared", function()
    local scripts = coroutine.wrap(function()
      local _ <close> = closing(function() end)
      for i = 1, math.huge do
        coroutine.yield(i)
      end
    end)
    local shared
    log_of(function()
      assert(scripts() == 1)
      shared = decnet.shared(stopped, function() end)
    end)
    assert.equal(2, scripts())
    assert.equal("suspended", coroutine.status(shared))
  end)

  it("is left alone while another run uses it", function()
    local log = {}
    testing.run(function(t)
      local generator
      decnet.worker("owner", function()
        generator = coroutine.wrap(function()
          local _ <close> = closing(function() log[#log + 1] = "closed" end)
          coroutine.yield(1)
          decnet.sleep(10)
          log[#log + 1] = "slept"
        end)
        generator()
        decnet.sleep(2)
      end)
      decnet.worker("user", function()
        decnet.sleep(1)
        generator()
        log[#log + 1] = "used"
      end)
      t:advance(20)
      assert.equal("done", t:status("owner").state)
    end)
    assert.same({ "slept", "closed", "used" }, log)
  end)

  it("belongs to the run that goes on with it once its own has ended", function()
    local log = {}
    testing.run(function(t)
      local generator
      decnet.worker("owner", function()
        generator = coroutine.wrap(function()
          coroutine.yield(1)
          local _ <close> = closing(function() log[#log + 1] = "closed" end)
          coroutine.yield(2)
        end)
        generator()
      end)
      decnet.worker { name = "user", after = { "owner" }, run = function()
        decnet.sleep(1)
        assert.equal(2, generator())
        log[#log + 1] = "used"
      end }
      t:advance(5)
    end)
    assert.same({ "used", "closed" }, log)
  end)

  it("cannot wait in its <close>; what it raises is reported and hurts no other", function()
    local kept = {} -- luacheck: ignore 241 331
    local log, status, crashes = log_of(function(_, l)
      kept[1] = stopped(function() l[#l + 1] = "first" end)
      kept[2] = stopped(function() error "in __close" end)
      kept[3] = stopped(function() l[#l + 1] = select(2, pcall(decnet.sleep, 1)) end)
    end)
    run.contains(log[1], "sleep: cannot wait inside")
    assert.equal("first", log[2])
    assert.same({ "done", 0 }, { status.state, #crashes })
  end)

  it("that died of an error is closed without a word, unless that raises", function()
    local kept = {} -- luacheck: ignore 241 331
    local closed = {}
    local text = run.logged(function(t)
      decnet.worker("w", function()
        for i, at_close in ipairs { function() closed[#closed + 1] = "quietly" end,
          function() closed[#closed + 1] = "raised" error "in __close" end } do
          kept[i] = coroutine.create(function()
            local _ <close> = closing(at_close)
            error "boom"
          end)
          assert.is_false((coroutine.resume(kept[i])))
        end
      end)
      t:advance(1)
    end, "warn")
    assert.same({ "raised", "quietly" }, closed)
    assert.is_nil(text:find("boom", 1, true))
    run.contains(text, "in __close")
  end)

  it("can send what a channel has room for, though it can wait no more", function()
    local kept = {} -- luacheck: ignore 241 331
    local log = log_of(function(_, l)
      local channel = decnet.channel(1)
      kept[1] = stopped(function()
        l[#l + 1] = channel:send "last words"
      end)
      run.forever()
    end)
    assert.same({ true }, log)
  end)

  it("is left alone when another one has closed it meanwhile", function()
    local kept = {}
    local log = log_of(function(_, l)
      kept[1] = stopped(function() l[#l + 1] = "first" end)
      kept[2] = stopped(function()
        local is_closed = coroutine.close(kept[1])
        l[#l + 1] = is_closed
      end)
    end)
    assert.same({ "first", true }, log)
  end)

  it("may leave others behind, which are closed too", function()
    local kept = {}
    local log = log_of(function(self, l)
      local function leave(n)
        kept[#kept + 1] = stopped(function()
          l[#l + 1] = n
          if n > 1 then
            leave(n - 1)
          end
        end)
      end
      leave(3)
      self:defer(function()
        l[#l + 1] = "deferred"
        leave(5)
      end)
    end)
    assert.same({ 3, 2, 1, "deferred", 5, 4, 3, 2, 1 }, log)
  end)

  it("whose <close> never ends is broken off, and the others are closed", function()
    local kept = {} -- luacheck: ignore 241 331
    local log, status = log_of(function(_, l)
      kept[1] = stopped(function() l[#l + 1] = "first" end)
      kept[2] = stopped(function() while true do end end)
      kept[3] = stopped(function() l[#l + 1] = "last" end)
    end, { hang_timeout = 0.05 })
    assert.same({ "last", "first" }, log)
    assert.equal("done", status.state)
  end)

  it("whose <close> leaves another for ever is given up after the kill", function()
    for _, stop_timeout in ipairs { 0, 0.2 } do
      local kept -- luacheck: ignore 231 331
      local _, status = log_of(function()
        local function leave()
          kept = stopped(leave)
        end
        leave()
        run.forever()
      end, { stop_timeout = stop_timeout, hang_timeout = 0.05 })
      assert.equal("stopped", status.state)
    end
  end)

  it("costs nothing when it is collected, nor when it has ended #measures", function()
    local bytes
    testing.run(function(t)
      decnet.worker("w", function()
        local function some()
          for _ = 1, 5000 do
            local generator = coroutine.wrap(function() coroutine.yield() end)
            generator()
          end
          collectgarbage()
          collectgarbage()
        end
        some()
        local before = collectgarbage "count"
        some()
        some()
        bytes = (collectgarbage "count" - before) * 1024
      end)
      t:advance(1)
    end)
    assert.is_true(bytes < 100000, bytes) -- the table of 5,000 weak keys may be of any size
  end)
end)

describe("a coroutine that died of an error", function()
  it("has its <close> run at the end, if it was never closed", function()
    local kept
    local log = log_of(function(_, l)
      kept = coroutine.create(function()
        local _ <close> = closing(function(_, err) l[#l + 1] = err end)
        error("boom", 0)
      end)
      local ok, err = coroutine.resume(kept)
      l[#l + 1] = not ok and "raised " .. err
    end)
    assert.same({ "raised boom", "boom" }, log)
  end)
end)

describe("coroutine.close", function()
  it("called from the <close> of what it closes, time and again, is harmless #measures", function()
    local depth = 0
    local function open()
      local co = coroutine.create(function()
        local _ <close> = closing(function()
          depth = depth + 1
          local ok, err = coroutine.close(open())
          if not ok then
            error(err, 0)
          end
        end)
        coroutine.yield()
      end)
      coroutine.resume(co)
      return co
    end
    local ok, err
    log_of(function()
      ok, err = coroutine.close(open())
    end)
    assert.is_false(ok)
    run.contains(err, "C stack overflow")
    assert.is_true(depth > 10)
  end)
end)
