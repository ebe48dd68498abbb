-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The gallery: what one worker may do to hurt the others. docs/isolation.md says of each row why it
-- cannot.
--
--   name       of the row, and its entry in docs/isolation.md
--   run        the worker: called with self and a table `note`, the same in each run of the row
--   expect     what must have become of it: crashed, preempted; in the end done, failed, stopped
--              (politely) or killed (it did not end within its stop_timeout)
--   error      a pattern that the error of its crash must match
--   check      called with the note when it is gone; raises if something is wrong
--   late       seconds that the victim may be late meanwhile, where that is more than elsewhere
--   copies     so many workers do it at once (1)
--   options    of workers, beside DEFAULTS

local decnet = require "decnet"
local count = require "hostile.count"
local uv = require "luv"

local M = {}

--- What holds for those that have no options of their own.
M.DEFAULTS = { min_backoff = 0.02, max_backoff = 0.05 }

---@class hostile.Row
local rows = {}
M.rows = rows

local function row(name)
  return function(new)
    new.name = name
    rows[#rows + 1] = new
  end
end

local function endless()
  while true do end
end

local function nothing() end

local function with_close(fn)
  return setmetatable({}, { __close = fn })
end

-- ---- the CPU -----------------------------------------------------------------------------------

row "endless loop" { expect = "preempted, stopped", run = endless }

row "hundred endless loops" { copies = 100, expect = "preempted, stopped", run = endless }

row "endless loop in coroutines" {
  expect = "preempted, stopped",
  run = function()
    coroutine.wrap(function()
      coroutine.wrap(endless)()
    end)()
  end,
}

row "endless loop in a metamethod" {
  expect = "preempted, stopped",
  run = function()
    return setmetatable({}, { __index = endless }).x
  end,
}

row "endless loop in an iterator" {
  expect = "preempted, stopped",
  run = function()
    for _ in endless do end
  end,
}

row "endless loop in a callback" {
  expect = "preempted, stopped",
  run = function()
    uv.new_timer():start(1, 0, endless)
    decnet.park()
  end,
}

row "loop that swallows errors" {
  options = { stop_timeout = 0.2 }, expect = "preempted, killed",
  run = function()
    while true do
      pcall(endless)
    end
  end,
}

row "loop that swallows cancellation" {
  options = { stop_timeout = 0.2 }, expect = "killed",
  run = function()
    while true do
      pcall(decnet.sleep, 1)
    end
  end,
}

row "yields without end" {
  expect = "stopped",
  run = function()
    while true do
      decnet.yield()
      decnet.sleep(0)
    end
  end,
}

row "endless sort comparator" {
  options = { hang_timeout = 0.2 },
  expect = "crashed, stopped", error = "hang_timeout", late = 0.25,
  run = function()
    table.sort({ 1, 2, 3 }, endless)
  end,
}

row "endless gsub callback" {
  options = { hang_timeout = 0.2 },
  expect = "crashed, stopped", error = "hang_timeout", late = 0.25,
  run = function()
    string.gsub("text", ".", endless)
  end,
}

row "endless atomic" {
  options = { hang_timeout = 0.2 },
  expect = "crashed, stopped", error = "hang_timeout", late = 0.25,
  run = function()
    decnet.atomic(endless)
  end,
}

row "will not be preempted" {
  options = { preempt = false, hang_timeout = 0.2 },
  expect = "crashed, stopped", error = "hang_timeout", late = 0.25, run = endless,
}

row "endless __close" {
  options = { stop_timeout = 0.2, hang_timeout = 0.2 }, expect = "preempted, killed", late = 0.25,
  run = function()
    local _ <close> = with_close(endless)
    decnet.park()
  end,
}

row "slow __gc" {
  expect = "stopped", late = 0.06,
  run = function()
    while true do
      setmetatable({}, { __gc = function()
        local until_then = os.clock() + 0.05
        while os.clock() < until_then do end
      end })
      collectgarbage()
      decnet.sleep(0.1)
    end
  end,
}

row "pathological pattern" {
  expect = "preempted, stopped", late = 0.25,
  run = function()
    local text, pattern = ("a"):rep(35), (".-"):rep(4) .. "b"
    while true do
      text:find(pattern)
    end
  end,
}

row "blocks in C" {
  expect = "stopped", late = 0.15,
  run = function()
    while true do
      os.execute "sleep 0.1"
      decnet.sleep(0.1)
    end
  end,
}

row "endless offload" {
  expect = "stopped",
  run = function()
    decnet.offload(function()
      while true do end
    end)
  end,
}

-- ---- errors ------------------------------------------------------------------------------------

row "crash loop without backoff" {
  options = { min_backoff = 0, max_backoff = 0 }, expect = "crashed, stopped", error = "boom",
  run = function()
    error "boom"
  end,
}

row "error(nil)" {
  expect = "crashed, stopped",
  run = function()
    error(nil)
  end,
}

row "error with an evil __tostring" {
  expect = "crashed, stopped",
  run = function()
    error(setmetatable({}, { __tostring = error, __name = {}, __index = error, __close = error }))
  end,
}

row "error with an endless __tostring" {
  options = { hang_timeout = 0.2 }, expect = "crashed, stopped", late = 0.25,
  run = function()
    error(setmetatable({}, { __tostring = endless }))
  end,
}

row "error of 10 MB" {
  expect = "crashed, stopped", error = "^x+", late = 0.05,
  run = function()
    error(("x"):rep(1000):rep(10000), 0)
  end,
}

row "error in a callback" {
  expect = "crashed, stopped", error = "boom",
  run = function()
    uv.new_timer():start(1, 0, function()
      error "boom"
    end)
    decnet.park()
  end,
}

row "error in a message handler" {
  expect = "crashed, stopped",
  run = function()
    error(select(2, xpcall(error, function(err)
      error(err)
    end, "boom")))
  end,
}

row "error in __gc" {
  expect = "stopped",
  run = function()
    while true do
      for _ = 1, 100 do
        setmetatable({}, { __gc = error })
      end
      collectgarbage "step"
      decnet.sleep(0.01)
    end
  end,
}

row "deep recursion" {
  expect = "crashed, stopped", error = "stack overflow", late = 0.2,
  run = function()
    local function deeper()
      return 1 + deeper()
    end
    deeper()
  end,
}

row "deep recursion in C" {
  expect = "crashed, stopped",
  run = function()
    local function deeper()
      coroutine.wrap(deeper)()
    end
    deeper()
  end,
}

row "os.exit" {
  expect = "crashed, stopped", error = "os.exit",
  run = function()
    os.exit(7)
  end,
}

-- ---- what it leaves behind ---------------------------------------------------------------------

row "leaves timers" {
  expect = "crashed, stopped", error = "boom",
  run = function()
    for i = 1, 1000 do
      uv.new_timer():start(i, 1, nothing)
    end
    error "boom"
  end,
}

row "leaves its port taken" {
  expect = "crashed, stopped", error = "boom",
  run = function(_, note)
    local server, client = uv.new_tcp(), uv.new_tcp()
    assert(server:bind("127.0.0.1", note.port or 0))
    assert(server:listen(8, function()
      server:accept(uv.new_tcp())
    end))
    note.port = server:getsockname().port -- each run wants the same one
    assert(decnet.uv.tcp_connect(client, "127.0.0.1", note.port))
    error "boom"
  end,
}

row "leaves files open" {
  expect = "crashed, stopped", error = "boom",
  run = function()
    for _ = 1, 50 do
      assert(uv.fs_open("/dev/null", "r", 0))
      assert(decnet.uv.fs_open("/dev/null", "r", 0))
      assert(io.open "/dev/null")
    end
    error "boom"
  end,
}

row "leaves children that ignore SIGTERM" {
  options = { stop_timeout = 0 }, expect = "killed",
  run = function(_, note)
    note.pids = {}
    for i = 1, 5 do
      local _, pid = uv.spawn("sh", { args = { "-c", "trap '' TERM; exec sleep 1000" } }, nothing)
      note.pids[i] = pid
    end
    decnet.park()
  end,
  check = function(note)
    for _, pid in ipairs(note.pids) do
      assert(uv.kill(pid, 0) ~= 0, "a child lives")
    end
  end,
}

row "leaves a child behind io.popen" {
  expect = "crashed, stopped", error = "boom",
  run = function()
    assert(io.popen("exec sleep 1000"))
    error "boom"
  end,
}

row "leaves generators suspended" {
  options = { restart = "never" }, expect = "done",
  run = function(_, note)
    note.closed = 0
    local generators = {}
    for i = 1, 1000 do
      generators[i] = coroutine.wrap(function()
        local _ <close> = with_close(function()
          note.closed = note.closed + 1
        end)
        coroutine.yield(1)
      end)
      generators[i]() -- and never again
    end
  end,
  check = function(note)
    assert(note.closed == 1000, note.closed .. " were closed")
  end,
}

row "leaves tasks that ignore their end" {
  options = { stop_timeout = 0.2 }, expect = "killed",
  run = function()
    for _ = 1, 100 do
      decnet.spawn(function()
        while true do
          pcall(decnet.park)
        end
      end)
    end
    decnet.park()
  end,
}

row "will not stop cleaning up" {
  options = { stop_timeout = 0.2 }, expect = "killed",
  run = function(self)
    self:defer(function()
      decnet.shield(60, decnet.sleep, 60)
    end)
    decnet.park()
  end,
}

-- ---- floods ------------------------------------------------------------------------------------

row "fork bomb of tasks" {
  options = { max_memory = "32M" },
  expect = "crashed, stopped", error = "not enough memory", late = 0.02,
  run = function()
    local function bomb()
      while true do
        decnet.spawn(bomb)
        decnet.yield()
      end
    end
    bomb()
  end,
}

row "flood of workers" {
  expect = "done",
  run = function(self)
    for i = 1, 1000 do
      local worker = decnet.worker(self.name .. " " .. i, decnet.park)
      worker:remove()
    end
  end,
}

row "flood of callbacks" {
  expect = "stopped",
  run = function()
    local async
    async = uv.new_async(function()
      async:send()
    end)
    async:send()
    uv.new_idle():start(nothing)
    uv.new_prepare():start(nothing)
    uv.new_check():start(nothing)
    for _ = 1, 10 do
      local timer = uv.new_timer()
      timer:start(0, 0, function()
        timer:again()
      end)
      timer:set_repeat(0)
      uv.new_timer():start(0, 1, nothing)
    end
    local again = uv.new_timer()
    local function rearm()
      again:start(0, 0, rearm)
    end
    rearm()
    decnet.park()
  end,
}

row "callbacks that never end" {
  expect = "stopped",
  run = function()
    uv.new_timer():start(0, 1, decnet.park)
    decnet.park()
  end,
}

row "flood of children" {
  expect = "stopped",
  run = function()
    while true do
      local child
      child = assert(uv.spawn("true", {}, function()
        child:close()
      end))
    end
  end,
}

row "flood of file requests" {
  expect = "stopped",
  run = function()
    for _ = 1, 10000 do
      uv.fs_stat("/proc/self", nothing)
    end
    decnet.park()
  end,
}

row "flood of name requests" {
  expect = "stopped",
  run = function()
    for _ = 1, 1000 do
      uv.getaddrinfo("localhost", nil, nil, nothing)
    end
    decnet.park()
  end,
}

row "flood of values" {
  expect = "stopped",
  run = function()
    local channel = decnet.channel(1000)
    while true do
      channel:send { ("x"):rep(1000) } -- nobody receives
    end
  end,
}

row "flood of log lines" {
  expect = "stopped",
  run = function(self)
    for i = 1, 500 do
      self.log:info(("x"):rep(10000), { i = i })
    end
    decnet.park()
  end,
}

row "opens files until there are no more" {
  expect = "stopped",
  run = function()
    repeat
      local pipe = uv.pipe { nonblock = true }
    until not pipe or not uv.new_pipe(false):open(pipe.read)
    decnet.park()
  end,
}

-- ---- memory ------------------------------------------------------------------------------------

row "memory hog" {
  options = { max_memory = "16M" }, expect = "crashed, stopped", error = "max_memory",
  run = function()
    local hoard = {}
    while true do
      hoard[#hoard + 1] = ("x"):rep(1000)
    end
  end,
}

row "memory hog that catches the error" {
  options = { max_memory = "16M" }, expect = "crashed, stopped", error = "max_memory",
  run = function()
    local hoard = {}
    while true do
      pcall(function()
        while true do
          hoard[#hoard + 1] = ("x"):rep(1000)
        end
      end)
    end
  end,
}

row "slow leak" {
  options = { max_memory = "4M" }, expect = "crashed, stopped", error = "max_memory",
  run = function()
    local hoard = {}
    while true do
      for _ = 1, 100 do
        hoard[#hoard + 1] = ("x"):rep(1000)
      end
      decnet.sleep(0.001)
    end
  end,
}

row "a string of gigabytes" {
  options = { max_memory = "16M" }, expect = "crashed, stopped", error = "not enough memory",
  late = 0.01, -- the first megabyte, letter by letter, is one call in C
  run = function()
    assert(not pcall(string.rep, "x", 10000000000)) -- more than Lua itself allows
    return ("x"):rep(1 << 20):rep(1000)
  end,
}

row "a table of a million" {
  expect = "stopped", late = 0.2,
  run = function()
    while true do
      local big = {}
      for i = 1, 1000000 do
        table.insert(big, i)
      end
    end
  end,
}

row "stops the collector" {
  expect = "stopped",
  run = function()
    collectgarbage "stop"
    while true do
      for _ = 1, 1000 do
        local _ = {}
      end
      decnet.yield()
    end
  end,
  check = function()
    assert(collectgarbage "isrunning", "the collector stands still")
  end,
}

row "collects without end" {
  expect = "stopped", late = 0.1,
  run = function()
    while true do
      collectgarbage()
    end
  end,
}

-- ---- what belongs to others --------------------------------------------------------------------

row "stops and closes the loop" {
  expect = "stopped",
  run = function()
    while true do
      pcall(uv.stop)
      pcall(uv.run, "nowait")
      pcall(uv.loop_close)
      decnet.sleep(0.01)
    end
  end,
}

row "closes whatever uv.walk finds" {
  options = { restart = "never" }, expect = "done",
  run = function(_, note)
    uv.new_timer()
    note.found = 0
    uv.walk(function(handle)
      note.found = note.found + 1
      handle:close()
    end)
  end,
  check = function(note)
    assert(note.found == 1, "it saw more than its own")
  end,
}

row "takes the signals of the host" {
  expect = "stopped",
  run = function()
    for _, name in ipairs { "sigterm", "sigint", "sighup", "sigchld", "sigurg" } do
      pcall(function()
        uv.new_signal():start(name, nothing)
      end)
    end
    decnet.park()
  end,
}

row "reads from stdin" {
  expect = "crashed, stopped", error = "stdin",
  run = function()
    io.read()
  end,
}

row "closes and redirects stdout" {
  expect = "stopped",
  run = function()
    pcall(io.output, "/dev/null")
    pcall(io.stdout.close, io.stdout)
    pcall(io.stderr.close, io.stderr)
    decnet.park()
  end,
  check = function()
    assert(io.output() == io.stdout and io.stdout:write "" and io.stderr:write "")
  end,
}

row "writes to who has gone" {
  expect = "stopped",
  run = function()
    local pipe = assert(io.popen("exec true", "w"))
    decnet.sleep(0.02)
    for _ = 1, 10 do
      pipe:write(("x"):rep(100000))
      pipe:flush()
    end
    decnet.park()
  end,
}

row "resumes the coroutines of others" {
  options = { restart = "never" }, expect = "done",
  run = function()
    local mine = coroutine.running()
    count.each(function(object, kind)
      if kind == "thread" and object ~= mine then
        pcall(coroutine.resume, object, "surprise")
        pcall(coroutine.close, object)
      end
    end)
  end,
}

row "hooks the coroutines of others" {
  options = { restart = "never" }, expect = "done",
  run = function()
    local mine = coroutine.running()
    count.each(function(object, kind)
      if kind == "thread" and object ~= mine then
        pcall(debug.sethook, object, function() error "hooked" end, "crl", 1)
      end
    end)
  end,
}

row "hooks itself" {
  expect = "preempted, stopped",
  run = function()
    debug.sethook(nothing, "crl", 1)
    endless()
  end,
}

row "overwrites globals" {
  options = { restart = "never" }, expect = "crashed, failed", error = "boom",
  run = function()
    local fail, globals, each = error, _G, next
    for _, library in ipairs { string, table, math, os, io, coroutine, debug, utf8 } do
      for name in each, library do
        library[name] = fail
      end
    end
    for name in each, globals do
      globals[name] = nil
    end
    fail "boom"
  end,
}

row "poisons the metatable of strings" {
  expect = "crashed, stopped",
  run = function()
    local meta = getmetatable ""
    meta.__index, meta.__concat, meta.__lt = error, error, error
    error "boom"
  end,
}

row "stops itself" {
  expect = "stopped",
  run = function(self)
    decnet.get(self.name):stop()
    decnet.park()
  end,
}

-- ---- canaries ----------------------------------------------------------------------------------

--- What the gallery must notice. Not part of it: named on the command line, they make it fail.
---@type table<string, hostile.Row>
M.canaries = {
  ["canary: hurts the victim"] = {
    options = { preempt = false, hang_timeout = 60 }, expect = "stopped",
    run = function()
      local until_then = decnet.now() + 0.5
      while decnet.now() < until_then do end
      decnet.park()
    end,
  },
  ["canary: restarts the victim"] = {
    expect = "stopped",
    run = function()
      decnet.get "victim":restart()
      decnet.park()
    end,
  },
  ["canary: leaks"] = {
    expect = "stopped",
    run = function()
      decnet.shared(uv.new_timer) -- the host's, so that it stays
      decnet.park()
    end,
  },
  ["canary: is harmless"] = { expect = "crashed, stopped", run = decnet.park },
}
for name, canary in pairs(M.canaries) do
  canary.name = name
end

return M
