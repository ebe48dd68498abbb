-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a soak hosts: workers.lua SCENE EPOCH [LEAK]
--
-- SCENE is what spec/soak/scene.c printed, EPOCH a file with a number; when that has grown by one
-- and the script is loaded again, one worker in spec.soak.share.CHANGED is another one. LEAK is
-- what the canaries leave behind: "memory", "files" or "children".
--
-- Each run tells the log when it begins, by what it ends, and when its cleanup is over.

local decnet = require "decnet"
local uv = require "luv"
local share = require "spec.soak.share"

local SCENE, EPOCH, LEAK = arg[1], arg[2], arg[3]

-- ---- what a run does to its neighbours ---------------------------------------------------------

local function open_timers()
  local fired = 0
  for i = 1, 20 do
    uv.new_timer():start(i * 5, 50 * i, function() fired = fired + 1 end)
  end
end

local function open_files(self)
  local path = ("%s.%s"):format(EPOCH, self.name)
  for _ = 1, 4 do
    local file = assert(io.open(path, "w"))
    file:write("never flushed")
    assert(uv.fs_open(path, "r", 0))
  end
end

local function open_sockets()
  local server, client = uv.new_tcp(), uv.new_tcp()
  server:bind("127.0.0.1", 0)
  server:listen(8, function()
    local peer = uv.new_tcp()
    server:accept(peer)
    peer:read_start(function(_, data)
      if data then
        peer:write(data)
      end
    end)
  end)
  client:connect("127.0.0.1", server:getsockname().port, function(err)
    if not err then
      client:read_start(function() end)
      client:write(("x"):rep(10000))
    end
  end)
end

local function open_child(script)
  uv.spawn("/bin/sh", { args = { "-c", script } }, function() end)
end

local function print_much(self)
  for i = 1, 500 do
    print(self.name, self.run, i)
  end
end

-- Half of max_memory, or all of it and more.
local function hold_memory(self)
  local held = {}
  repeat
    held[#held + 1] = ("x"):rep(4000) .. #held
  until self.run % 2 == 1 and #held * 4000 > share.MAX_MEMORY / 2
  self:defer(function() held[1] = nil end)
end

local function spin()
  local over = decnet.now() + 0.3
  repeat until decnet.now() > over
end

-- Where it cannot be preempted, until hang_timeout.
local function be_deaf()
  table.sort({ 3, 2, 1 }, function() while true do end end)
end

-- Answers that come when the run is over.
local function ask_late()
  for _ = 1, 4 do
    uv.fs_stat(".", function() end)
    uv.getaddrinfo("localhost", nil, {}, function() end)
  end
  decnet.spawn(function()
    decnet.offload(function()
      local began = os.clock()
      repeat until os.clock() - began > 0.05
    end)
  end)
end

local function work(self, kind)
  if kind == "timers" then
    open_timers()
  elseif kind == "files" then
    open_files(self)
  elseif kind == "sockets" then
    open_sockets()
  elseif kind == "child" then
    open_child "exec sleep 600"
  elseif kind == "stubborn_child" then
    open_child "trap '' TERM; exec sleep 600"
  elseif kind == "print" then
    print_much(self)
  elseif kind == "memory" then
    hold_memory(self)
  elseif kind == "spin" then
    spin()
  elseif kind == "deaf" then
    be_deaf()
  elseif kind == "late" then
    ask_late()
  end
end

-- ---- canaries ----------------------------------------------------------------------------------

-- What the host owns is nobody's to close; and nobody captures the registry.
local function leak()
  if LEAK == "memory" then
    table.insert(debug.getregistry(), ("x"):rep(100000))
  elseif LEAK == "files" then
    decnet.shared(uv.fs_open, "/dev/null", "r", 0)
  elseif LEAK == "children" then
    decnet.shared(open_child, "exec sleep 600")
  end
end

-- ---- a run -------------------------------------------------------------------------------------

local function meddle(self, whom)
  local verb = self.run % 3 == 0 and "stop" or self.run % 3 == 1 and "restart" or "reset"
  local handle = decnet.get(whom)
  if handle then
    self.log:info("meddles", { run = self.run, whom = whom, verb = verb })
    decnet.spawn(function() handle[verb](handle) end)
  end
end

-- Until its end has come, with beats.
local function live(self, habits, neighbour, notifies)
  if notifies and habits.ready_in < math.huge then
    decnet.spawn(function()
      decnet.sleep(habits.ready_in)
      self:ready()
    end)
  end
  if habits.meddles then
    meddle(self, neighbour)
  end
  work(self, habits.work)
  local now = decnet.now()
  local over = now + habits.end_in
  if habits.end_in == math.huge and habits.beat_every == math.huge then
    decnet.park()
  end
  while now < over do
    decnet.sleep(math.min(habits.beat_every, over - now))
    self:beat()
    now = decnet.now()
  end
end

local function raise(habits)
  if habits.fatal then
    decnet.fatal "told to be fatal"
  elseif habits.retry_after < math.huge then
    decnet.retry_after(habits.retry_after, "told to retry")
  end
  error "told to crash"
end

-- It was cancelled: how it goes.
local function leave(habits)
  while habits.stop_in == math.huge do
    pcall(decnet.sleep, 1)
  end
  if habits.stop_in > 0 then
    decnet.shield(habits.stop_in + 1, decnet.sleep, habits.stop_in)
  end
  if habits.stop_ending == "raise" then
    error "told to crash while it stops"
  end
end

local function body(self, runs, neighbour, notifies, version)
  local habits = runs[(self.run - 1) % #runs + 1]
  self:defer(function() self.log:info("end", { run = self.run }) end)
  self.log:info("begin", { run = self.run, work = habits.work, version = version })
  if habits.close_in > 0 then
    self:defer(function() pcall(decnet.sleep, habits.close_in) end)
  end
  leak()
  local ok, err = pcall(live, self, habits, neighbour, notifies)
  if decnet.is_cancelled(err) then
    self.log:info("cancelled", { run = self.run })
    leave(habits)
    error(err, 0)
  elseif ok and habits.ending == "return" then
    self.log:info("returns", { run = self.run })
    return
  elseif not ok then
    self.log:info("raises", { run = self.run })
    error(err, 0)
  end
  local retry_after = not habits.fatal and habits.retry_after < math.huge and habits.retry_after
  self.log:info("raises", { run = self.run, retry_after = retry_after or nil })
  raise(habits)
end

-- ---- who there is ------------------------------------------------------------------------------

local function declare(worker, neighbour, version)
  local runs, notifies = worker.runs, worker.options.notify
  worker.options.name = worker.name
  worker.options.hang_timeout = 0.1
  worker.options.max_memory = share.MAX_MEMORY
  worker.options.run = function(self)
    return body(self, runs, neighbour, notifies, version)
  end
  decnet.worker(worker.options)
end

-- A quantile of sorted numbers.
local function at(list, q)
  return list[math.ceil(#list * q)]
end

-- Nobody gives it an order, and it does no harm: how late is it?
decnet.worker("ticker", function(self)
  while true do
    local late = {}
    for i = 1, 100 do
      local due = decnet.now() + 0.01
      decnet.sleep(0.01)
      late[i] = decnet.now() - due
    end
    table.sort(late)
    self.log:info("lateness", { median = at(late, 0.5), p99 = at(late, 0.99), max = late[#late] })
  end
end)

local scene = share.scene(SCENE)
local epoch = tonumber(share.read(EPOCH))
for _, group in ipairs(scene.groups) do
  decnet.group(group.name, group.options)
end
for i, worker in ipairs(scene.workers) do
  local neighbour = scene.workers[i % #scene.workers + 1].name
  declare(worker, neighbour, share.version(i, epoch))
end
