-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a worker does without libuv: each thing by itself, so that one that is refused memory does
-- not keep the next one from being tried.
local scenario = require "spec.starve.common"
local decnet = require "decnet"

local self_of_actor

local function ends_soon(fn, ...)
  return decnet.timeout(0.2, fn, ...)
end

local steps = {
  function()
    local ch = decnet.channel(0)
    decnet.spawn(function() ch:send("x", 0.1) end)
    ch:recv(0.1)
    for i = 1, 3 do
      ch:try_send(i)
    end
    ch:close()
  end,
  function()
    local event = decnet.event()
    decnet.spawn(function() event:set() end)
    event:wait(0.1)
  end,
  function() decnet.spawn(function() error { code = 1, why = "boom" } end):cancel() end,
  function() decnet.timeout(0.001, decnet.park) end,
  function() decnet.shield(0.1, decnet.yield) end,
  function()
    local values = coroutine.wrap(function(a)
      decnet.sleep(0.0001)
      coroutine.yield(a, 2)
      error(setmetatable({}, { __tostring = function() return "boom" .. a end }))
    end)
    values "x"
    pcall(values)
  end,
  function()
    local co = coroutine.create(function() coroutine.yield() end)
    coroutine.resume(co)
    coroutine.close(co)
  end,
  function()
    ends_soon(decnet.offload, function(n, list) return { n, list, "x" .. n } end, 1, { a = 1 })
  end,
  function() ends_soon(decnet.offload, function() error "boom" end) end,
  function() ends_soon(decnet.offload, function() error { boom = "boom" } end) end,
  function()
    decnet.offload(function() return string.rep end) -- what cannot be copied
  end,
  function() print("a line", 1, nil) end,
  function()
    io.write "begun"
    io.write(("x"):rep(300))
    io.stderr:write "harmless\n"
    io.write "\n"
  end,
  function() self_of_actor.log:info("line", { run = 1, text = "x", list = { 1 } }) end,
  function() self_of_actor:defer(function() end) end,
  function() pcall(error, "boom") end,
  function() pcall(decnet.retry_after, 1, "boom") end,
  function() xpcall(error, debug.traceback, "boom") end,
  function()
    local count = 0
    debug.sethook(function() count = count + 1 end, "", 10)
    for _ = 1, 100 do
      count = count + 0
    end
    debug.gethook()
    debug.sethook()
  end,
  function()
    collectgarbage "step"
    collectgarbage("incremental", 100, 100, 10)
    collectgarbage "count"
  end,
  function() warn("a ", "warning") end,
  function()
    setmetatable({}, { __gc = function() error "boom in __gc" end })
    collectgarbage()
  end,
  function()
    local file <close> = io.open("/dev/null", "w")
    if file then
      file:write("x", 1)
      io.output(file)
      io.output(io.stdout)
    end
  end,
  function()
    local line = io.lines "/dev/null"
    line()
  end,
  function()
    local pipe = io.popen "echo x"
    if pipe then
      ends_soon(pipe.read, pipe, "a")
      ends_soon(pipe.close, pipe)
    end
  end,
  function() decnet.status() end,
  function() decnet.get "calm":status() end,
  function()
    local extra = decnet.worker { name = "extra", max_memory = "64M", run = function()
      io.write "begun"
      print(("x"):rep(5000))
      decnet.park()
    end }
    decnet.sleep(0.001)
    ends_soon(extra.remove, extra)
  end,
  function() decnet.group("group", { strategy = "one_for_all" }) end,
  function() decnet.shared(function() return io.open "/dev/null" end) end,
  function() decnet.await(function(resume) resume(1) end, 0.1) end,
  function() decnet.await(function() return function() end end, 0.001) end,
  function()
    local parked
    decnet.spawn(function()
      parked = coroutine.running()
      coroutine.yield()
    end)
    decnet.yield()
    if parked then -- it had memory to get there
      coroutine.resume(parked, 1, 2, 3)
    end
    decnet.yield()
  end,
  function() coroutine.wrap(function() error "boom" end)() end,
  function()
    local co = coroutine.create(function() end)
    debug.sethook(co, function() end, "l")
    debug.gethook(co)
  end,
  function()
    local generators = {}
    for i = 1, 3 do
      generators[i] = coroutine.wrap(function()
        local _ <close> = setmetatable({}, { __close = function() end })
        coroutine.yield()
      end)
      generators[i]()
    end
  end,
  function() decnet.atomic(function() return 1 end) end,
  function() decnet.on("ready", function() end) end,
}

scenario.try_each(steps, { "cannot be copied", "stack", "too many C levels", "too many arguments",
  "too many results" }, function(self)
  self_of_actor = self
end)
