-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Loading a changed script while its workers run.

local decnet = require "decnet"
local reload = require "decnet.reload"
local run = require "spec.support.run"
local testing = require "decnet.testing"
local uv = require "luv"

local scratch

local function write(name, text)
  local path = scratch .. "/" .. name
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

local HEAD = [[local decnet = require "decnet"; local park = decnet.park; ]]

-- A script of workers, each `name = body`, in this order.
local function script(list, head)
  local out = { HEAD, head or "" }
  for _, item in ipairs(list) do
    out[#out + 1] = ("decnet.worker { name = %q, run = function(self) %s end, %s }"):format(item[1],
      item[2] or "park()", item[3] or "")
  end
  return write("workers.lua", table.concat(out, "\n"))
end

-- Runs fn(t) with the script loaded and running for a second.
local function host(path, fn, options)
  testing.run(function(t)
    t:load(path)
    t:advance(1)
    fn(t)
  end, options)
end

-- "a=running/2 b=stopped/1": state and run of each worker, in order of declaration.
local function states(t)
  local out = {}
  for i, handle in ipairs(t.host:workers()) do
    local status = handle:status()
    out[i] = ("%s=%s/%d"):format(handle.name, status.state, status.run)
  end
  return table.concat(out, " ")
end

local function accepted(t)
  local ok, message = t:reload()
  assert.is_true(ok, message)
  return message:match ": (.*)"
end

local function refused(t)
  local before = states(t)
  local ok, message = t:reload()
  assert.is_false(ok)
  assert.equal(before, states(t))
  return message:match "all goes on as before: (.*)"
end

-- The starts and stops since event number `from`.
local function history(t, from)
  local out = {}
  local events = t:events()
  for i = from + 1, #events do
    local event = events[i]
    if event.event == "start" or event.event == "stop" then
      out[#out + 1] = event.event .. " " .. event.worker
    end
  end
  return table.concat(out, ", ")
end

describe("a reload #reload", function()
  lazy_setup(function()
    scratch = assert(uv.fs_mkdtemp "/tmp/decnet-reload-XXXXXX")
  end)

  lazy_teardown(function()
    os.execute("rm -r " .. scratch)
  end)

  after_each(function()
    _G.shared_count, _G.helper, _G.seen = nil, nil, nil
    reload.LIMIT = 10
  end)

  describe("restarts", function()
    it("nobody when nothing has changed, or only comments and lines", function()
      local path = script { { "a" }, { "b" } }
      host(path, function(t)
        assert.equal("nothing changed, 2 unchanged", accepted(t))
        local text = io.open(path):read "a"
        text = text:gsub("run =", "--\nrun =")
        write("workers.lua", "-- a comment\n\nlocal unused = 1\n" .. text)
        assert.equal("nothing changed, 2 unchanged", accepted(t))
        assert.equal("a=running/1 b=running/1", states(t))
      end)
    end)

    it("a worker whose code has changed, and no other", function()
      host(script { { "a" }, { "b" }, { "c" } }, function(t)
        script { { "a" }, { "b", "self:ready() park()" }, { "c" } }
        assert.equal("1 restarted (b), 2 unchanged", accepted(t))
        assert.equal("a=running/1 b=running/2 c=running/1", states(t))
      end)
    end)

    it("a worker whose captured values have changed, however deep", function()
      local head = "local config = { db = { port = %d } } local other = 1"
      local list = { { "a", "park(config.db)" }, { "b", "park(other)" } }
      host(script(list, head:format(1)), function(t)
        script(list, head:format(2))
        assert.equal("1 restarted (a), 1 unchanged", accepted(t))
      end)
    end)

    it("a worker whose values have changed while it ran only if the script did", function()
      local head = "local seen = { count = %d }"
      local list = { { "a", "seen.count = seen.count + 1 park()" } }
      host(script(list, head:format(0)), function(t)
        assert.equal("nothing changed, 1 unchanged", accepted(t))
        script(list, head:format(1))
        assert.equal("1 restarted (a)", accepted(t))
      end)
    end)

    it("a worker whose options have changed", function()
      host(script { { "a" }, { "b" }, { "c" } }, function(t)
        script { { "a", nil, "max_backoff = 5" }, { "b", nil, "after = { 'a' }" }, { "c" } }
        assert.equal("2 restarted (a, b), 1 unchanged", accepted(t))
        assert.equal(5, t.host:get("a"):options().max_backoff)
        assert.same({ "a" }, t.host:get("b"):options().after)
      end)
    end)

    it("all whose defaults have changed, and none that say the same in another way", function()
      host(script({ { "a" }, { "b", nil, "max_backoff = 7" } }), function(t)
        script({ { "a", nil, "max_backoff = 30" }, { "b" } }, "decnet.defaults { max_backoff = 7 }")
        assert.equal("nothing changed, 2 unchanged", accepted(t))
        script({ { "a" }, { "b" } }, "decnet.defaults { max_backoff = 7 }")
        assert.equal("1 restarted (a), 1 unchanged", accepted(t))
      end)
    end)

    it("who shares a captured table with a changed worker, and who shares with him", function()
      local head = "local x, y, z = {}, {}, {} local function f() return x end"
      local list = { { "a", "f() park(1)" }, { "b", "park(x, y)" }, { "c", "park(y)" },
        { "d", "park(z)" } }
      host(script(list, head), function(t)
        list[1][2] = "f() park(2)"
        script(list, head)
        assert.equal("3 restarted (a, b, c), 1 unchanged", accepted(t))
      end)
    end)

    it("who shares with a new worker", function()
      local head = "local ch = decnet.channel(1)"
      host(script({ { "a", "ch:recv()" }, { "b" } }, head), function(t)
        script({ { "a", "ch:recv()" }, { "b" }, { "c", "ch:send(1) park()" } }, head)
        assert.equal("1 restarted (a), 1 added (c), 1 unchanged", accepted(t))
        t:advance(1)
        assert.equal("a=done/2 b=running/1 c=running/1", states(t))
      end)
    end)

    it("who shares a variable that one of them assigns", function()
      local head = "local count, limit = 0, 9"
      local list = { { "a", "count = count + 1 park(1)" }, { "b", "park(count)" },
        { "c", "park(limit)" }, { "d", "park(limit, 1)" } }
      host(script(list, head), function(t)
        list[1][2], list[3][2] = "count = count + 1 park(2)", "park(limit, 2)"
        script(list, head)
        assert.equal("3 restarted (a, b, c), 1 unchanged", accepted(t))
      end)
    end)

    it("a worker of which a global that it names has changed", function()
      local list = { { "a", "helper() park()" }, { "b" } }
      host(script(list, "function helper() return 1 end"), function(t)
        script(list, "function helper() return 2 end")
        assert.equal("1 restarted (a), 1 unchanged", accepted(t))
        assert.equal(2, _G.helper())
        script { { "a" }, { "b" } }
        assert.equal("1 restarted (a), 1 unchanged", accepted(t))
        assert.is_nil(_G.helper)
      end)
    end)

    it("does not see what the script made of globals when it was loaded before", function()
      local before <const> = print
      finally(function()
        _G.loaded, _G.times, _G.made, _G.print = nil, nil, nil, before
      end)
      local workers = { { "a", "park(times, made, print)" } }
      local head = [[
        if loaded then return end
        loaded, times, print = true, (times or 0) + 1, { print }
        made = { rawget(_G, "made"), _G.made, _ENV.made, load "return made" () }
      ]]
      host(script(workers, head), function(t)
        for _ = 1, 2 do
          assert.equal("nothing changed, 1 unchanged", accepted(t))
        end
        for _ = 1, 2 do
          head = head .. "times = times + 1 "
          script(workers, head)
          assert.equal("1 restarted (a)", accepted(t))
        end
        assert.equal(3, _G.times)
        assert.same({}, _G.made)
        assert.equal(before, _G.print[1])
      end)
    end)

    it("sees what was there before it, and what workers made", function()
      finally(function()
        _G.early, _G.late, _G.both = nil, nil, nil
      end)
      rawset(_G, "early", 1)
      local workers = { { "a", "late = 2 park(both)" } }
      host(script(workers, "both = { early, late }"), function(t)
        assert.equal("1 restarted (a)", accepted(t))
        assert.same({ 1, 2 }, _G.both)
      end)
    end)

    it("keeps what unchanged workers made of globals", function()
      local list = { { "a", "shared_count = shared_count + 1 park()" }, { "b" } }
      host(script(list, "shared_count = 5"), function(t)
        list[2][2] = "park(1)"
        script(list, "shared_count = 5")
        assert.equal("1 restarted (b), 1 unchanged", accepted(t))
        assert.equal(6, _G.shared_count)
      end)
    end)
  end)

  describe("loads modules afresh", function()
    local BESIDE = "local config = require 'reload_config' "

    before_each(function()
      package.loaded.reload_config, package.loaded.reload_util = nil, nil
    end)

    after_each(function()
      package.loaded.reload_config, package.loaded.reload_util = nil, nil
    end)

    it("and restarts who uses a changed one", function()
      write("reload_config.lua", "return { port = 1 }")
      local list = { { "a", "seen = config.port park()" }, { "b" } }
      host(script(list, BESIDE), function(t)
        assert.equal("nothing changed, 2 unchanged", accepted(t))
        local old = package.loaded.reload_config
        write("reload_config.lua", "return { port = 2 }")
        assert.equal("1 restarted (a), 1 unchanged", accepted(t))
        assert.equal(2, _G.seen)
        assert.not_equal(old, package.loaded.reload_config)
        assert.equal(2, package.loaded.reload_config.port)
      end)
    end)

    it("also where another module requires it", function()
      write("reload_config.lua", "return { util = require 'reload_util' }")
      write("reload_util.lua", "local M = {} function M.f() return 1 end return M")
      local list = { { "a", "config.util.f() park()" }, { "b" } }
      host(script(list, BESIDE), function(t)
        write("reload_util.lua", "local M = {} function M.f() return 2 end return M")
        assert.equal("1 restarted (a), 1 unchanged", accepted(t))
      end)
    end)

    it("and one of mere code ties nobody together, unless somebody wrote to it", function()
      write("reload_config.lua", "local M = { n = 1 } function M.f() return M end return M")
      local list = { { "a", "config.f() park()" }, { "b", "config.f() park()" } }
      host(script(list, BESIDE), function(t)
        list[1][2] = "config.f() park(1)"
        script(list, BESIDE)
        assert.equal("1 restarted (a), 1 unchanged", accepted(t))
        package.loaded.reload_config.n = 2
        list[1][2] = "config.f() park(2)"
        script(list, BESIDE)
        assert.equal("2 restarted (a, b)", accepted(t))
      end)
    end)

    it("and takes one that puts itself among the loaded ones", function()
      write("reload_config.lua", "package.loaded.reload_config = { port = 1 }")
      host(script({ { "a", "seen = config.port park()" } }, BESIDE), function(t)
        write("reload_config.lua", "package.loaded.reload_config = { port = 2 }")
        assert.equal("1 restarted (a)", accepted(t))
        assert.equal(2, _G.seen)
        assert.equal(2, package.loaded.reload_config.port)
      end)
    end)

    it("and refuses one that does not parse, or that requires itself", function()
      write("reload_config.lua", "return { port = 1 }")
      host(script({ { "a", "park(config)" } }, BESIDE), function(t)
        write("reload_config.lua", "return {")
        assert.matches("error loading module 'reload_config':", refused(t), 1, true)
        write("reload_config.lua", "return require 'reload_config'")
        assert.matches("loop: module 'reload_config' requires itself", refused(t), 1, true)
        assert.equal(1, package.loaded.reload_config.port)
      end)
    end)

    it("and again after one could not be loaded", function()
      finally(function() _G.ready = nil end)
      local head = "ready = true " .. BESIDE
      write("reload_config.lua", "return { port = 1 }")
      host(script({ { "a", "park(config)" } }, head), function(t)
        write("reload_config.lua", "if not ready then error 'too soon' end return { port = 2 }")
        script({ { "a", "park(config)" } },
          "ready = false local ok, why = pcall(require, 'reload_config') "
          .. "if ok or not why:find 'reload_config.lua:1: too soon$' then error(why) end " .. head)
        assert.equal("1 restarted (a)", accepted(t))
        assert.equal(2, package.loaded.reload_config.port)
      end)
    end)

    it("and puts the old ones back when it is refused", function()
      write("reload_config.lua", "return { port = 1 }")
      host(script({ { "a", "park(config)" } }, BESIDE), function(t)
        local old, path = package.loaded.reload_config, package.path
        write("reload_config.lua", "return { port = 2 }")
        write("workers.lua", BESIDE .. "package.path = 'x' helper = config error 'no'")
        assert.matches("workers.lua:1: no", refused(t))
        assert.equal(old, package.loaded.reload_config)
        assert.equal(path, package.path)
        assert.is_nil(_G.helper)
      end)
    end)
  end)

  describe("changes the set of workers", function()
    it("in dependency order", function()
      host(script { { "db", nil, "stop_timeout = 20" }, { "web", nil, "after = { 'db' }" },
        { "old", nil, "after = { 'web' }" }, { "bystander" } }, function(t)
        local from = #t:events()
        script { { "new", nil, "after = { 'web' }" }, { "db", "park(1)" },
          { "web", "park(1)", "after = { 'db' }" }, { "bystander" } }
        assert.equal("2 restarted (db, web), 1 added (new), 1 removed (old), 1 unchanged",
          accepted(t))
        t:advance(1)
        assert.equal("stop old, start db, start web, start new", history(t, from))
        assert.equal("new=running/1 db=running/2 web=running/2 bystander=running/1", states(t))
      end)
    end)

    it("and exchanges who waits for whom", function()
      host(script { { "a", nil, "after = { 'b' }" }, { "b" } }, function(t)
        script { { "a" }, { "b", nil, "after = { 'a' }" } }
        assert.equal("2 restarted (a, b)", accepted(t))
        assert.equal("a=running/2 b=running/2", states(t))
        assert.equal(0, t:stop())
      end)
    end)

    it("and brings a removed name back while the old one still stops", function()
      host(script { { "a" }, { "slow", [[
        local _ <close> = setmetatable({}, { __close = function()
          decnet.shield(9, function() decnet.sleep(5) end)
        end })
        park()]] } }, function(t)
        script { { "a" } }
        local answers = {}
        local function note(ok, message)
          answers[#answers + 1] = ok and message:match ": (.*)"
        end
        reload.request(t.host, note)
        t:advance(1)
        assert.equal("a=running/1 slow=stopping/1", states(t))
        script { { "a" }, { "slow" } }
        reload.request(t.host, note)
        t:advance(1)
        assert.same({}, answers)
        t:advance(10)
        assert.same({ "1 removed (slow), 1 unchanged", "1 added (slow), 1 unchanged" }, answers)
        assert.equal("a=running/1 slow=running/1", states(t))
      end)
    end)

    it("and leaves those alone that a worker declared while it ran", function()
      host(script { { "a", "decnet.worker { name = 'child', after = { 'a' }, run = park } park()" },
        { "b" } }, function(t)
        script { { "a", "park()" }, { "b", nil, "after = { 'child' }" } }
        assert.equal("2 restarted (a, b)", accepted(t))
        assert.equal("a=running/2 b=running/2 child=running/1", states(t))
      end)
    end)

    it("through a returned list, too", function()
      host(write("workers.lua", HEAD .. "return { { 'a', park }, { 'b', function() park() end } }"),
        function(t)
          write("workers.lua", HEAD .. "return { { 'a', park }, { 'c', function() park() end } }")
          assert.equal("1 added (c), 1 removed (b), 1 unchanged", accepted(t))
        end)
    end)

    it("and gives the script the handles of those that are there", function()
      local head = "local a = decnet.worker('a', function() park() end) "
      host(script({ { "b", "helper = a park()" } }, head), function(t)
        local before = _G.helper
        script({ { "b", "helper = a park(1)" } }, head)
        assert.equal("1 restarted (b), 1 unchanged", accepted(t))
        assert.equal(before, _G.helper)
        head = head .. "local n = decnet.worker('n', function() park() end) "
        script({ { "b", "helper = n park(2)" } }, head)
        assert.equal("1 restarted (b), 1 added (n), 1 unchanged", accepted(t))
        assert.equal("running", _G.helper:status().state)
      end)
    end)

    it("and its groups", function()
      local list = { { "a", nil, "group = 'g'" }, { "b", nil, "group = 'g'" } }
      host(script(list, "decnet.group('g') decnet.group('gone')"), function(t)
        script(list, "decnet.group('g', { strategy = 'one_for_all' })")
        assert.equal("no worker changed, 2 unchanged", accepted(t))
        script({ { "a", nil, "group = 'new'" }, { "b", nil, "group = 'new'" } },
          "decnet.group('new', { strategy = 'one_for_all' })")
        assert.equal("2 restarted (a, b)", accepted(t))
        assert.equal("new", t.host:get("a"):options().group)
        script({ { "a", nil, "group = 'new'" }, { "b", nil, "group = 'new'" } },
          "decnet.group('gone') decnet.group('new', { strategy = 'one_for_all' })")
        assert.equal("no worker changed, 2 unchanged", accepted(t))
      end)
    end)

    it("and its hooks, but not those that a worker gave", function()
      local head = "decnet.on('start', function(e) seen = (seen or '') .. '%s' .. e.worker end) "
      local list = { { "a", "decnet.on('start', function() seen = seen .. '+' end) park()" },
        { "b" } }
      host(script(list, head:format "1"), function(t)
        assert.equal("1a1b", _G.seen)
        _G.seen = ""
        script(list, head:format "2")
        assert.equal("no worker changed, 2 unchanged", accepted(t))
        t.host:get("b"):restart()
        t:advance(1)
        assert.equal("+2b", _G.seen)
      end)
    end)
  end)

  describe("respects", function()
    it("what a user stopped: it stays so, and starts as the new version", function()
      host(script { { "a" }, { "b" } }, function(t)
        t.host:get("a"):stop()
        t:advance(1)
        script { { "a", "seen = 'new' park()" }, { "b" } }
        assert.equal("1 changed but stopped (a), 1 unchanged", accepted(t))
        t:advance(1000)
        assert.equal("a=stopped/1 b=running/1", states(t))
        t.host:get("a"):start()
        t:advance(1)
        assert.equal("new", _G.seen)
      end)
    end)

    it("what is done; a changed one starts again", function()
      host(script { { "a", "" }, { "b", "" } }, function(t)
        script { { "a", "" }, { "b", "decnet.sleep(1)" } }
        assert.equal("1 restarted (b), 1 unchanged", accepted(t))
        assert.equal("a=done/1 b=running/2", states(t))
      end)
    end)

    it("counters (D11)", function()
      host(script { { "a", "if self.run < 3 then error 'x' end park()" } }, function(t)
        t:advance(10)
        assert.equal(2, t:status("a").restarts)
        script { { "a", "park()" } }
        accepted(t)
        assert.equal(2, t:status("a").restarts)
        assert.equal(0, t:status("a").streak)
        assert.equal(4, t:status("a").run)
      end)
    end)

    it("who has failed: mended, it starts", function()
      host(script { { "a", "error 'x'", "restart = 'never'" } }, function(t)
        assert.equal("a=failed/1", states(t))
        script { { "a", "park()", "restart = 'never'" } }
        accepted(t)
        assert.equal("a=running/2", states(t))
      end)
    end)

    it("a host that stops", function()
      host(script { { "a" } }, function(t)
        script { { "a", "park(1)" } }
        reload.request(t.host)
        assert.equal(0, t:stop())
        assert.equal("a=stopped/1", states(t))
      end)
    end)
  end)

  it("lets a worker at rest wait for one that is new, and for one that is not", function()
    host(script { { "db" }, { "web" } }, function(t)
      decnet.get("web"):stop()
      t:advance(1)
      script { { "db" }, { "web", nil, "after = { 'cache', 'db' }" }, { "cache" } }
      assert.equal("1 changed but stopped (web), 1 added (cache), 1 unchanged", accepted(t))
      decnet.get("web"):start()
      t:advance(1)
      assert.equal("db=running/1 web=running/2 cache=running/1", states(t))
    end)
  end)

  describe("takes for a part of the script", function()
    local ways = {
      ["what it compiles with load"] = "local get = load 'return helper' ",
      ["what it compiles with loadfile"] = "local get = loadfile(PART) ",
      ["what dofile returns"] = "local get = dofile(PART) ",
    }
    for name, way in pairs(ways) do
      it(name, function()
        local part = name:find "dofile" and "return function() return helper end" or "return helper"
        local head = way:gsub("PART", ("%q"):format(write("part.lua", part)))
        local body = { "a", "seen = get() park()" }
        host(script({ body }, "helper = 1 " .. head), function(t)
          assert.equal(1, _G.seen)
          script({ body }, "helper = 2 " .. head .. "assert(get() == 2) ")
          assert.equal("1 restarted (a)", accepted(t))
          assert.equal(2, _G.seen)
          script({ body }, "helper = 3 " .. head .. "assert(get() == 3) error 'no'")
          assert.matches("no$", refused(t))
          assert.equal(2, _G.helper)
        end)
      end)
    end

    it("not what is compiled for another environment", function()
      local head = "local get = load('return helper', 'x', 't', { helper = 7 }) "
        .. ("local of_file = loadfile(%q, 't', { helper = 8 }) "):format(
          write("part.lua", "return helper"))
      host(script({ { "a", "seen = get() + of_file() park()" } }, head), function(t)
        script({ { "a", "seen = get() * of_file() park()" } }, head)
        assert.equal("1 restarted (a)", accepted(t))
        assert.equal(56, _G.seen)
      end)
    end)
  end)

  describe("refuses whole", function()
    local FAULTS = {
      ["a missing part"] = { "dofile 'no/such/part.lua'", "cannot open no/such/part.lua" },
      ["what does not parse"] = { "decnet.worker(", "workers.lua:1: unexpected symbol" },
      ["what raises"] = { "\nerror 'no'", "workers.lua:2: no$" },
      ["what raises no text"] = { "error {}", "workers.lua:1: .*raised a table" },
      ["a bad option"] = { "\n\ndecnet.worker { name = 'x', run = park, jitter = 2 }",
        'workers.lua:3: worker "x": jitter' },
      ["a name twice"] = { "decnet.worker('a', park)\ndecnet.worker('a', park)",
        'workers.lua:2: worker "a" is already declared' },
      ["an unknown dependency"] = { "decnet.worker{ 'a', park, after = { 'nobody' } }",
        'workers.lua:1: worker "a": after%[1%]: no worker "nobody"' },
      ["a dependency on what it removes"] = { "decnet.worker{ 'c', park, after = { 'a' } }",
        'worker "c": after%[1%]: no worker "a"' },
      ["a cycle"] = { "decnet.worker{ 'a', park, after = { 'b' } } "
        .. "decnet.worker{ 'b', park, after = { 'a' } }",
        "workers.lua:1: dependency cycle: a %-> b %-> a" },
      ["an unknown group"] = { "decnet.worker{ 'a', park, group = 'g' }",
        'workers.lua:1: worker "a": group: no group' },
      ["a bad list"] = { "return { { 'a' } }", "workers.lua: return value%[1%]" },
      ["a hook that is none"] = { "decnet.on('crash', 1)", "decnet.on: fn: expected a function" },
      ["an unknown module"] = { "require 'no.such.module'",
        "^[^\n]*workers.lua:1: module 'no.such.module' not found" },
      ["a wait"] = { "decnet.sleep(1)", "sleep: only a worker can wait: call it inside one" },
      ["a task"] = { "decnet.spawn(park)", "spawn: only a worker has tasks" },
      ["an order"] = { "\ndecnet.get('a'):restart()", "workers.lua:2: .*gives no orders" },
      ["the host's stop"] = { "\ndecnet.stop 'now'", "workers.lua:2: .*gives no orders" },
      ["a worker that it awaits"] = { "\ndecnet.supervise('a2', park)",
        "workers.lua:2: .*gives no orders" },
      ["the end of the process"] = { "os.exit(7)", "os.exit: a worker cannot end the host" },
    }
    for name, fault in pairs(FAULTS) do
      it(name, function()
        host(script { { "a" }, { "b" } }, function(t)
          write("workers.lua", HEAD .. fault[1])
          assert.matches(fault[2], refused(t))
          write("workers.lua", HEAD .. "decnet.worker('ghost', park) " .. fault[1])
          refused(t)
          assert.is_nil(t.host:get "ghost")
          t:advance(100)
          assert.equal("a=running/1 b=running/1", states(t))
        end)
      end)
    end

    it("an order, whichever it is, whoever gives it", function()
      host(script { { "a" }, { "b" } }, function(t)
        for _, verb in ipairs { "start", "stop", "restart", "retry", "reset", "remove" } do
          write("workers.lua", HEAD .. "decnet.worker('a', park)\nlocal function go(h) h:" .. verb
            .. "() end\ngo(decnet.get 'b')")
          assert.matches("workers.lua:2: .*gives no orders", refused(t))
        end
        script { { "a" }, { "b" } }
        assert.equal("nothing changed, 2 unchanged", accepted(t))
      end)
    end)

    it("a file without workers, as while an editor writes it", function()
      host(script { { "a" } }, function(t)
        for _, text in ipairs { "", HEAD, "-- half a line" } do
          write("workers.lua", text)
          assert.matches("workers.lua: declares no workers", refused(t))
        end
        assert.equal("a=running/1", states(t))
      end)
    end)

    it("a file that is gone", function()
      local path = script { { "a" } }
      host(path, function(t)
        os.remove(path)
        assert.matches("no such file", refused(t))
      end)
    end)

    it("an endless script, while the workers go on #host", function()
      reload.LIMIT = 0.05
      host(script { { "a", "while true do decnet.sleep(0.01) seen = (seen or 0) + 1 end" } },
        function(t)
          write("workers.lua", "while true do end")
          local before = _G.seen
          assert.matches("workers.lua: loading it took longer than 0.05 s", refused(t))
          assert.is_true(_G.seen > before)
        end, { slice = 0.002 })
    end)

    it("and closes what the script had opened", function()
      host(script { { "a" } }, function(t)
        local before = require "decnet.core".count_handles()
        write("workers.lua", "local uv = require 'luv' local timer = uv.new_timer() "
          .. "timer:start(0, 1, function() seen = true end) uv.new_tcp() error 'no'")
        for _ = 1, 10 do
          refused(t)
        end
        t:advance(1)
        assert.equal(before, require "decnet.core".count_handles())
      end)
    end)
  end)

  describe("goes back", function()
    it("at once when a changed worker crashes soon, whatever its policy says", function()
      host(script { { "a", "park()", "essential = true" } }, function(t)
        script { { "a", "decnet.sleep(3) decnet.fatal 'boom'",
          "essential = true, restart = 'never'" } }
        assert.equal("1 restarted (a)", accepted(t))
        t:advance(2)
        assert.equal("a=running/2", states(t))
        t:advance(1.1)
        assert.equal("a=running/3", states(t))
        assert.equal("on-failure", t.host:get("a"):options().restart)
        assert.equal("boom", t:status("a").last_error.message:match "boom")
        t:advance(1000)
        assert.equal("a=running/3", states(t))
        -- what runs is what the next reload compares with
        assert.equal("1 restarted (a)", accepted(t))
        script { { "a", "park()", "essential = true" } }
        assert.equal("1 restarted (a)", accepted(t))
        assert.equal("nothing changed, 1 unchanged", accepted(t))
      end)
    end)

    it("and tells who asked for it, if that is before it is ready", function()
      host(script { { "a", "seen = 1 park()" }, { "b" } }, function(t)
        for _, faulty in ipairs { "error 'boom'", "seen = 2 self:ready(error 'boom')" } do
          script { { "a", faulty }, { "b", "park(2)" } }
          local ok, message = t:reload()
          assert.is_false(ok)
          assert.matches("2 restarted %(a, b%); back to the version that worked %(a%): worker "
            .. '"a": [^ ]*workers.lua:%d+: boom$', message)
          t:advance(1)
          assert.equal(1, _G.seen)
          script { { "a", "seen = 1 park()" }, { "b" } }
          accepted(t)
        end
        script { { "a", "decnet.sleep(5) error 'late'", "notify = true" }, { "b" } }
        local ok, message = t:reload()
        assert.is_false(ok)
        assert.matches("late$", message)
        -- who waits for another is seen when that one is ready
        script { { "a", "error 'boom'", "after = { 'b' }" },
          { "b", "decnet.sleep(1) self:ready() park()", "notify = true" } }
        ok, message = t:reload()
        assert.is_false(ok)
        assert.matches("back to the version that worked %(a%): worker \"a\": ", message)
        script { { "a" }, { "b" } }
        accepted(t)
        -- nobody waits for those who take longer, or wait for others
        script { { "a", "park()", "notify = true" }, { "b", "", "after = { 'a' }" } }
        local before = t:now()
        assert.equal("2 restarted (a, b)", accepted(t))
        run.near(reload.PATIENCE, t:now() - before, 0.01)
        assert.matches("^a=running/%d+ b=waiting/%d+$", states(t))
      end)
    end)

    it("and the log says so at the crash, not that it restarts as it is", function()
      local text = run.logged(function(t)
        t:load(script { { "a" } })
        t:advance(1)
        script { { "a", "decnet.sleep(3) error 'boom'" } }
        accepted(t)
        t:advance(10)
      end)
      local crash = text:match "[^\n]*boom[^\n]*"
      run.contains(crash, 'worker=a msg="crashed, goes back to the version that worked" error=')
      assert.is_nil(crash:find "restart_in")
      run.contains(text, "crashed after 3 s: back to the version that worked; mend the script")
    end)

    it("not when it lasted, and then a crash is a crash", function()
      host(script { { "a" } }, function(t)
        script { { "a", "decnet.sleep(61) error 'boom'" } }
        accepted(t)
        t:advance(61.5)
        assert.equal("a=backoff/2", states(t))
        t:advance(1)
        assert.equal("a=running/3", states(t))
      end)
    end)

    it("together with whom it shares", function()
      local head = "local t = { version = %d } "
      local list = { { "a", "seen = t.version park()" }, { "b", "park(t)" }, { "c" } }
      host(script(list, head:format(1)), function(t)
        script({ { "a", "seen = t.version park()" },
          { "b", "decnet.sleep(1) error(t.version)" }, { "c" } }, head:format(2))
        assert.equal("2 restarted (a, b), 1 unchanged", accepted(t))
        assert.equal(2, _G.seen)
        t:advance(2)
        assert.equal("a=running/3 b=running/3 c=running/1", states(t))
        assert.equal(1, _G.seen)
      end)
    end)

    it("together to the version in which all of them worked, so that they share again", function()
      local head = "local t = { version = %d } seen = {} "
      local a = { "a", "seen.a = t park()", "reset_after = 1" }
      host(script({ a, { "b", "seen.b = t park()" } }, head:format(1)), function(t)
        t:advance(60)
        script({ a, { "b", "seen.b = t park()" } }, head:format(2))
        assert.equal("2 restarted (a, b)", accepted(t))
        t:advance(2) -- a has proved itself, b has not
        script({ a, { "b", "error(t.version)" } }, head:format(3))
        t:reload()
        t:advance(1)
        assert.equal(1, _G.seen.b.version)
        assert.equal(_G.seen.b, _G.seen.a)
      end)
    end)

    for _, verb in ipairs { "stop", "remove" } do
      it("to a version that all of them proved but one who was told to " .. verb, function()
        local head = "local t = { version = %d } seen = {} "
        local a = { "a", "seen.a = t park()" }
        local b = { "b", "seen.b = t park()", "reset_after = 1" }
        host(script({ a, b }, head:format(1)), function(t)
          t:advance(60)
          script({ a, b }, head:format(2))
          assert.equal("2 restarted (a, b)", accepted(t))
          t:advance(2)
          local handle = t.host:get "a"
          handle[verb](handle)
          t:advance(2)
          script({ a, { "b", "error(t.version)", "reset_after = 1" } }, head:format(3))
          t:reload()
          t:advance(1)
          assert.equal(2, _G.seen.b.version)
        end)
      end)
    end

    it("to the last version that worked, not to one that was never proven", function()
      host(script { { "a", "seen = 1 park()" } }, function(t)
        script { { "a", "seen = 2 park()" } }
        accepted(t)
        t:advance(1)
        script { { "a", "decnet.sleep(1) error 'boom'" } }
        accepted(t)
        t:advance(2)
        assert.equal(1, _G.seen)
      end)
    end)

    it("not where the version before did not work either", function()
      host(script { { "a", "error 'old'" } }, function(t)
        script { { "a", "error 'new'" } }
        accepted(t)
        t:advance(0.5)
        assert.equal("backoff", t:status("a").state)
        assert.matches("new", t:status("a").last_error.message)
      end)
    end)
  end)

  it("asked for many times at once is done once more after the one under way", function()
    host(script { { "a" } }, function(t)
      local answers = 0
      for i = 1, 50 do
        script { { "a", ("park(%d)"):format(i) } }
        reload.request(t.host, function() answers = answers + 1 end)
      end
      t:advance(1)
      assert.equal(50, answers)
      assert.is_true(t:status("a").run <= 3)
      assert.equal("nothing changed, 1 unchanged", accepted(t))
    end)
  end)

  it("can be asked for and awaited in a task", function()
    host(script { { "a" } }, function(t)
      local answer
      decnet.worker("admin", function()
        answer = table.pack(reload.reload(t.host))
        decnet.park()
      end)
      t:advance(1)
      assert.same({ n = 2, true, answer[2] }, answer)
      assert.matches("nothing changed, 1 unchanged$", answer[2])
    end)
  end)

  -- Of the last instructions of a reload three in a row forgot who asked meanwhile.
  it("hears who asks at whatever instruction of the one before", function()
    local path = script { { "a" } }
    local function turns(t, limit, pred)
      local n = 0
      while n < limit and not pred() do
        t.host:step(t.host:after(0))
        n = n + 1
      end
      return n
    end
    testing.run(function(t)
      t:load(path)
      t:advance(1)
      local answers = 0
      local function ask() reload.request(t.host, function() answers = answers + 1 end) end
      ask()
      local length = turns(t, 1e6, function() return answers == 1 end)
      for left = 0, 240, 3 do
        answers = 0
        ask()
        turns(t, length - left, function() return false end)
        ask()
        turns(t, 3 * length, function() return answers == 2 end)
        assert.equal(2, answers, ("asked %d instructions before the answer"):format(left))
      end
    end, { preempt_every = 1 })
  end)

  it("asks no metamethod of the globals", function()
    host(script { { "a" }, { "b" } }, function(t)
      setmetatable(_G, { __newindex = function() error "strict" end })
      script({ { "a", "self:ready() park()" }, { "b" } }, "helper = 1 ")
      local ok, outcome = pcall(accepted, t)
      setmetatable(_G, nil)
      assert(ok, outcome)
      assert.equal("1 restarted (a), 1 unchanged", outcome:gsub("globals.-, ", ""))
      assert.equal(1, rawget(_G, "helper"))
    end)
  end)

  it("goes on or does nothing when a changed worker is removed at whatever instruction", function()
    for turns = 130, 210, 2 do -- the commit is at some 170
      local janitor = { "janitor", ([[
        for _ = 1, %d do
          decnet.yield()
        end
        local x = decnet.get "x"
        if x then
          x:remove()
        end
        park()
      ]]):format(turns) }
      testing.run(function(t)
        t:load(script { { "x", "return 1" }, { "y" }, janitor })
        t:advance(0)
        script { { "x", "return 2" }, { "y", "park() return 5" }, janitor }
        local _, message = t:reload()
        assert.is_nil(message:find "reload failed", message)
      end, { preempt_every = 50 })
    end
  end)

  it("forgets what it replaced", function()
    local head = "local big = { version = %d } for i = 1, 20000 do big[i] = { i } end"
    local list = { { "a", "park(big)", "reset_after = 1" } }
    host(script(list, head:format(0)), function(t)
      local function used()
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      local before
      for i = 1, 12 do
        script(list, head:format(i))
        accepted(t)
        t:advance(5)
        before = before or used()
      end
      assert.is_true(used() < before * 1.3, ("%.0f -> %.0f KB"):format(before, used()))
    end)
  end)
end)
