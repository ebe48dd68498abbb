-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Awaits pass through the user's coroutines unseen: what a script prints does not depend on whether
-- its generators wait in between.
local decnet = require "decnet"
local run = require "spec.support.run"

-- Each gets `pause`, which waits or does nothing, and `out`, which takes what can be seen.
local corpus = {
  generator = function(pause, out)
    local function numbers(n)
      return coroutine.wrap(function()
        for i = 1, n do
          pause()
          out("in", coroutine.yield(i, i * i))
          pause()
        end
        return "end"
      end)
    end
    local g = numbers(3)
    for i = 1, 4 do
      out(g(i))
    end
    out(pcall(g))
  end,

  permutations = function(pause, out)
    local function permgen(a, n)
      pause()
      if n <= 1 then
        coroutine.yield(a)
        return
      end
      for i = 1, n do
        a[n], a[i] = a[i], a[n]
        permgen(a, n - 1)
        a[n], a[i] = a[i], a[n]
      end
    end
    for p in coroutine.wrap(function() permgen({ 1, 2, 3, 4 }, 4) end) do
      out(table.concat(p, " "))
    end
  end,

  sieve = function(pause, out)
    local function filter(p, g)
      return coroutine.wrap(function()
        for n in g do
          pause()
          if n % p ~= 0 then
            coroutine.yield(n)
          end
        end
      end)
    end
    local x = coroutine.wrap(function()
      for n = 2, 60 do
        pause()
        coroutine.yield(n)
      end
    end)
    while true do
      local p = x()
      if not p then
        break
      end
      out(p)
      x = filter(p, x)
    end
  end,

  errors = function(pause, out)
    local co = coroutine.create(function(...)
      out(select("#", ...), ...)
      pause()
      out(pcall(coroutine.yield, 1))
      out(pcall(error, { "caught" }))
      pause()
      error "out of it"
    end)
    out(coroutine.resume(co, nil, nil))
    out(coroutine.status(co))
    out(coroutine.resume(co, "x"))
    out(coroutine.status(co), coroutine.resume(co))
    out(coroutine.close(co))
    out(pcall(coroutine.wrap(function()
      pause()
      error("plain", 0)
    end)))
    out(pcall(coroutine.wrap(function()
      pause()
      error(setmetatable({}, { __name = "E" }))
    end)))
    out(select(2, pcall(coroutine.wrap(function()
      pause()
      return nil + 1
    end))))
  end,

  states = function(pause, out)
    local co
    co = coroutine.create(function()
      pause()
      out(coroutine.status(co), coroutine.running() == co, coroutine.isyieldable())
      local inner = coroutine.create(function()
        pause()
        out(coroutine.status(co), coroutine.resume(co))
        out(pcall(coroutine.close, co))
        out(pcall(coroutine.close, coroutine.running()))
        coroutine.yield()
      end)
      out(coroutine.resume(inner))
      pause()
      out(coroutine.status(inner), coroutine.close(inner), coroutine.status(inner))
      out(coroutine.resume(co))
    end)
    out(coroutine.status(co))
    out(coroutine.resume(co))
    out(coroutine.status(co), coroutine.close(co), coroutine.close(co))
  end,

  closing = function(pause, out)
    local function scope(name)
      return setmetatable({}, { __close = function(_, err) out("close", name, err) end })
    end
    local co = coroutine.create(function()
      local _ <close> = scope "outer"
      pause()
      do
        local _ <close> = scope "inner"
        pause()
      end
      local _ <close> = scope "second"
      coroutine.yield "suspended"
      pause()
      error "never"
    end)
    out(coroutine.resume(co))
    out(coroutine.close(co), coroutine.status(co))
    out(pcall(coroutine.wrap(function()
      local _ <close> = scope "dying"
      pause()
      error("dies", 0)
    end)))
    co = coroutine.create(function()
      local _ <close> = setmetatable({}, { __close = function() error("in close", 0) end })
      pause()
      coroutine.yield()
    end)
    coroutine.resume(co)
    out(coroutine.close(co))
    for i in coroutine.wrap(function()
      local _ <close> = scope "loop"
      for i = 1, 2 do
        pause()
        coroutine.yield(i)
      end
    end) do
      out(i)
    end
  end,

  metamethods = function(pause, out)
    local mt = {
      __index = function(_, key)
        pause()
        return coroutine.yield(key)
      end,
      __add = function(a, b)
        pause()
        return coroutine.yield(type(a), type(b))
      end,
      __lt = function()
        pause()
        return coroutine.yield "lt"
      end,
      __concat = function()
        pause()
        return coroutine.yield "concat"
      end,
      __call = function(_, ...)
        pause()
        return coroutine.yield(...)
      end,
      __len = function()
        pause()
        return coroutine.yield "len"
      end,
      __eq = function()
        pause()
        return coroutine.yield "eq"
      end,
    }
    local co = coroutine.create(function()
      local a, b = setmetatable({}, mt), setmetatable({}, mt)
      out(a.x, a + 1, a < b, a .. "s", a(1, 2), #a, a == b)
      return "done"
    end)
    local results = table.pack(coroutine.resume(co))
    local i = 0
    while coroutine.status(co) == "suspended" do
      out(table.unpack(results, 1, results.n))
      i = i + 1
      results = table.pack(coroutine.resume(co, i))
    end
    out(table.unpack(results, 1, results.n))
  end,

  deep = function(pause, out)
    local function nest(depth)
      return coroutine.wrap(function(...)
        pause()
        local got = depth > 0 and nest(depth - 1)(...) or ...
        pause()
        got = coroutine.yield(got, depth)
        pause()
        return got, depth
      end)
    end
    local g = nest(30)
    out(g("a"))
    out(g("b"))
    out(pcall(g))
  end,

  varargs = function(pause, out)
    local co = coroutine.wrap(function(...)
      local n = select("#", ...)
      while true do
        pause()
        n = n + select("#", coroutine.yield(n, ...))
      end
    end)
    out(select("#", co(table.unpack({}, 1, 50))))
    out(select("#", co(table.unpack({}, 1, 100))))
    out((co()))
    out(pcall(coroutine.wrap(function() return table.unpack({}, 1, 1e6) end)))
    out(select("#", coroutine.resume(coroutine.create(function()
      pause()
      return table.unpack({}, 1, 5000)
    end))))
  end,

  boundaries = function(pause, out)
    out(pcall(table.sort, { 3, 2, 1 }, function(a, b)
      local g = coroutine.wrap(function() coroutine.yield(a < b) end)
      return g()
    end))
    out(coroutine.wrap(function()
      pause()
      return pcall(table.sort, { 3, 2, 1 }, function() coroutine.yield() end)
    end)())
    out(string.gsub("abc", "%w", function(c)
      return coroutine.wrap(function() coroutine.yield(c .. c) end)()
    end))
    out(pcall(string.gsub, "abc", "%w", coroutine.wrap(function(c)
      while true do
        c = coroutine.yield(c:upper())
      end
    end)))
    pause()
  end,

  symmetric = function(pause, out)
    -- producer and consumer that hand the CPU to each other through a scheduler
    local tasks, log = {}, {}
    for i = 1, 4 do
      tasks[i] = coroutine.create(function()
        for step = 1, i do
          pause()
          log[#log + 1] = i .. ":" .. step
          coroutine.yield()
        end
      end)
    end
    while #tasks > 0 do
      for i = #tasks, 1, -1 do
        assert(coroutine.resume(tasks[i]))
        if coroutine.status(tasks[i]) == "dead" then
          table.remove(tasks, i)
        end
      end
    end
    out(table.concat(log, " "))
  end,

  tracebacks = function(pause, out)
    local co = coroutine.create(function()
      local function inner()
        pause()
        coroutine.yield()
      end
      inner()
    end)
    coroutine.resume(co)
    out((debug.traceback(co):gsub("0x%x+", "")))
    out(debug.getinfo(co, 1, "l") and true)
    out(debug.traceback(coroutine.create(print)))
  end,

  gc = function(pause, out)
    local weak = setmetatable({}, { __mode = "k" })
    for _ = 1, 10 do
      local co = coroutine.create(function()
        pause()
        coroutine.yield()
      end)
      coroutine.resume(co)
      weak[co] = true
    end
    collectgarbage()
    collectgarbage()
    out(next(weak))
  end,
}

-- Everything `script` shows, as text without addresses.
local function show(script, pause)
  local lines = {}
  script(pause, function(...)
    local line = table.pack(...)
    for i = 1, line.n do
      line[i] = tostring(line[i]):gsub("0x%x+", "ADDRESS")
    end
    lines[#lines + 1] = table.concat(line, "\t", 1, line.n)
  end)
  return lines
end

local function nothing() end

for name, script in pairs(corpus) do
  describe("the script " .. name, function()
    local stock = show(script, nothing)

    it("shows the same in a worker as outside", function()
      run.worker(function() assert.same(stock, show(script, nothing)) end)
    end)

    for what, pause in pairs {
      sleep = function() decnet.sleep(0.001) end,
      yield = decnet.yield,
      await = function() decnet.await(function(resume) decnet.spawn(resume) end) end,
    } do
      it("shows the same when its coroutines wait in " .. what, function()
        run.worker(function() assert.same(stock, show(script, pause)) end)
      end)
    end

    it("shows the same inside another coroutine", function()
      run.worker(function()
        local lines
        coroutine.wrap(function()
          lines = show(script, function() decnet.sleep(0.001) end)
        end)()
        assert.same(stock, lines)
      end)
    end)

    it("shows the same in ten tasks at once", function()
      run.worker(function()
        local tasks = {}
        for i = 1, 10 do
          tasks[i] = decnet.spawn(show, script, decnet.yield)
        end
        for i = 1, 10 do
          assert.same(stock, tasks[i]:join())
        end
      end)
    end)
  end)
end

it("the corpus has a canary: a script that sees its waits shows something else", function()
  local function seeing(pause, out)
    local from = decnet.now()
    pause()
    out(decnet.now() == from)
  end
  run.worker(function()
    assert.not_same(show(seeing, nothing), show(seeing, function() decnet.sleep(1) end))
  end)
end)
