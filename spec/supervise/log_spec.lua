-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What somebody who has nothing but the log, at its usual level, learns of what the host decides.

local decnet = require "decnet"
local run = require "spec.support.run"

local forever = run.forever

-- The lines of `text` that contain all of the parts.
local function lines(text, ...)
  local found = {}
  for line in text:gmatch "[^\n]+" do
    local has_all = true
    for _, part in ipairs { ... } do
      has_all = has_all and line:find(part, 1, true)
    end
    found[#found + 1] = has_all and line or nil
  end
  return found
end

local function one(text, ...)
  local found = lines(text, ...)
  if #found ~= 1 then
    error(("%d lines with %s in:\n%s"):format(#found, table.concat({ ... }, ", "), text), 2)
  end
  return found[1]
end

local function in_order(text, ...)
  local at = 0
  for _, part in ipairs { ... } do
    at = text:find(part, at + 1, true)
      or error(("no %q behind the one before in:\n%s"):format(part, text), 2)
  end
end

describe("the log, at level info", function()
  it("tells who was killed, and why", function()
    local text = run.logged(function(t)
      local handle = decnet.worker { name = "w", stop_timeout = 3, run = run.stubborn }
      t:advance(1)
      handle:stop()
      t:advance(10)
      assert.equal("killed", t:status("w").endings[1].ended)
    end)
    run.contains(one(text, "worker=w", "killed"), "level=warn")
    in_order(text, "t=4.0", "killed", "run=1", "stop_timeout of 3 s", "msg=stopped")
  end)

  it("tells whose cleanup was killed, for all ways to end", function()
    for _, fn in ipairs { forever, error, function() end } do
      local text = run.logged(function(t)
        local handle = decnet.worker { name = "w", stop_timeout = 3, restart = "never",
          run = function(self)
            self:defer(forever)
            decnet.spawn(run.stubborn)
            fn()
          end }
        t:advance(1)
        handle:stop()
        t:advance(10)
      end)
      run.contains(one(text, "worker=w", "msg=killed"), "level=warn")
      run.contains(text, 'reason="its cleanup has not ended within its stop_timeout of 3 s"')
    end
  end)

  it("tells nothing of a kill that was to be", function()
    local text = run.logged(function(t)
      local handle = decnet.worker { name = "w", stop_timeout = 0, run = forever }
      t:advance(1)
      handle:stop()
      t:advance(1)
    end)
    assert.equal(0, #lines(text, "killed"))
    one(text, "worker=w", "msg=stopped")
  end)

  -- Members a b c, of which `fails` raises a second after each start.
  local function grouped(options, fails, seconds)
    return run.logged(function(t)
      decnet.group("g", options)
      for name in ("abc"):gmatch "." do
        decnet.worker { name = name, group = "g", run = function()
          decnet.sleep(name == fails and 1 or math.huge)
          error("boom in " .. name)
        end }
      end
      t:advance(seconds)
    end)
  end

  it("tells of a group's restart, because of whom, and who stops for it", function()
    local text = grouped({ strategy = "rest_for_one" }, "b", 1.5)
    in_order(text, "worker=b msg=crashed", "restart_in=1",
      'level=info worker=b msg="its group g restarts" run=1 strategy=rest_for_one stops=c')
    text = grouped({ strategy = "one_for_all" }, "b", 1.5)
    one(text, 'worker=b msg="its group g restarts"', 'stops="a, c"')
    assert.equal(0, #lines(grouped({ strategy = "one_for_one" }, "b", 1.5), "its group"))
  end)

  it("of a group in a crash loop is bounded as that of its crashes is", function()
    local text = run.logged(function(t)
      decnet.group("g", { strategy = "one_for_all" })
      decnet.worker { name = "a", group = "g", run = forever }
      decnet.worker { name = "b", group = "g", max_backoff = 0.01, run = error }
      t:advance(600)
      assert.is_true(t:status("b").run > 10000)
    end)
    local _, count = text:gsub("\n", "\n")
    assert.is_true(count < 250, count .. " lines")
    assert.is_true(#lines(text, "its group g restarts") > 5)
  end)

  it("says nothing of a group whose member returns and starts again, unless asked", function()
    local function text_at(level)
      return run.logged(function(t)
        decnet.group("g", { strategy = "one_for_all" })
        decnet.worker { name = "a", group = "g", run = forever }
        decnet.worker { name = "b", group = "g", restart = "always", run = function()
          if decnet.now() < 1 then
            error "boom"
          end
          decnet.sleep(1)
        end }
        t:advance(10)
      end, level)
    end
    one(text_at "info", "its group g restarts")
    assert.equal(6, #lines(text_at "debug", "its group g restarts"))
  end)

  it("tells that a group has failed, and who stops with it", function()
    local text = grouped({ strategy = "one_for_all", max_restarts = 1 }, "b", 20)
    in_order(text, 'worker=b msg="crashed, not restarted"',
      'level=warn worker=b msg="given up: it will not be restarted"', "more than 1 restart",
      'level=warn worker=b msg="its group g has failed: the others in it stop"')
    for _, name in ipairs { "a", "c" } do
      one(text, "worker=" .. name, "msg=stopped", 'reason="its group g has failed"')
    end
  end)

  it("does not blame the group for what was ordered after it had failed", function()
    local text = run.logged(function(t)
      decnet.group("g", { max_restarts = 0 })
      decnet.worker { name = "a", group = "g", run = forever }
      decnet.worker { name = "b", group = "g", run = function() error "boom" end }
      t:advance(1)
      decnet.get("a"):start()
      t:advance(1)
      decnet.get("a"):stop()
      t:advance(1)
    end)
    assert.equal(2, #lines(text, "worker=a", "msg=stopped"))
    one(text, "worker=a", "msg=stopped", "has failed")
  end)

  it("warns each dependant once that what it waits for will not come by itself", function()
    local text = run.logged(function(t)
      decnet.worker { name = "db", max_restarts = 1, notify = true, run = function()
        decnet.sleep(1)
        error "boom"
      end }
      decnet.worker { name = "web", after = { "db" }, run = forever }
      decnet.worker { name = "mail", after = { "web", "db" }, run = forever }
      decnet.worker { name = "up", run = forever }
      t:advance(1000)
      assert.equal("web, db (failed)", t:status("mail").waiting_for)
    end)
    one(text, 'level=warn worker=web msg="waits for db (failed): nothing will start it until '
      .. 'somebody starts that"')
    one(text, 'level=warn worker=mail msg="waits for web, db (failed): ')
    assert.equal(0, #lines(text, "worker=up", "waits"))
  end)

  it("warns who comes to wait later, and again when it waits again", function()
    local text = run.logged(function(t)
      local fail = true
      decnet.worker { name = "db", restart = "never", run = function()
        decnet.sleep(1)
        if fail then
          error "boom"
        end
        forever()
      end }
      decnet.worker { name = "web", after = { "db" }, run = function()
        decnet.sleep(5)
        error "no db"
      end }
      t:advance(20)
      assert.equal("waiting", t:status("web").state)
      fail = false
      decnet.get("db"):start()
      t:advance(20)
      assert.is_true(t:status("web").run > 1)
      decnet.get("db"):stop()
      t:advance(60)
    end)
    in_order(text, "waits for db (failed)", "waits for db (stopped)")
    assert.equal(2, #lines(text, "waits for"))
  end)

  it("does not warn where the host stops, nor where the dependency only starts anew", function()
    local text = run.logged(function(t)
      decnet.worker { name = "db", notify = true, run = function(self)
        decnet.sleep(1)
        self:ready()
        forever()
      end }
      decnet.worker { name = "web", after = { "db" }, run = forever }
      t:advance(0.5)
      decnet.get("db"):restart()
      t:advance(0.5)
      t:stop()
    end)
    assert.equal(0, #lines(text, "waits for"))
  end)
end)

describe("the traceback of a crash", function()
  -- `worker` crashes in a loop, each time as `way(run)` does.
  local function tracebacks(way, seconds)
    local text = run.logged(function(t)
      decnet.worker { name = "w", min_backoff = 1, max_backoff = 1, run = function(self)
        way(self.run)
      end }
      t:advance(seconds)
    end)
    return #lines(text, "traceback="), #lines(text, "msg=crashed")
  end

  local function fails() error("boom", 0) end
  local function one_way() fails() return 1 end
  local function another() fails() return 2 end

  it("is logged once while the same crash repeats", function()
    assert.same({ 1, 5 }, { tracebacks(one_way, 4.5) })
  end)

  it("is logged again when the same error came another way", function()
    assert.same({ 2, 6 }, { tracebacks(function(n)
      if n < 4 then one_way() else another() end
    end, 5.5) })
  end)

  it("that differs each time is bounded", function()
    local nest
    function nest(n) if n > 0 then nest(n - 1) return 1 end fails() end
    local full, all = tracebacks(nest, 9.5)
    assert.same({ 5, 10 }, { full, all })
  end)

  -- The log read keys and texts that the collector had taken: found while the fuzzers were written.
  it("keeps the fields that a __tostring takes out of their table", function()
    local text = run.logged(function(t)
      decnet.worker("w", function(self)
        local fields = {}
        for i = 1, 8 do
          fields["a" .. i] = ("x"):rep(100) .. i
        end
        fields.z = setmetatable({}, { __tostring = function()
          for i = 1, 8 do
            fields["a" .. i] = nil
          end
          collectgarbage()
          local other = {}
          for i = 1, 100 do
            other[i] = ("y"):rep(100) .. i
          end
          return #other > 0 and "z"
        end })
        self.log:info("m", fields)
      end)
      t:advance(1)
    end)
    assert.falsy(text:find("y", 1, true))
    run.contains(text, "msg=m", "z=z")
  end)
end)
