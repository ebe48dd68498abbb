-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What the control plane does when it, or the loop, is not left in peace.
local http = require "spec.process.http"
local plane = require "spec.process.plane"
local process = require "spec.process.process"
local uv = require "luv"

local TICKER = [[
  local decnet = require "decnet"
  decnet.worker("ticker", function(self)
    for i = 1, math.huge do
      self.log:info("tick", { number = i })
      decnet.sleep(0.02)
    end
  end)
]]

local function ask_raw(path, text)
  local connection = http.open(path, text)
  process.wait(function() return connection.over or http.parse(connection.data) end)
  connection.close()
  return tonumber(connection.data:match "^HTTP/1.1 (%d+)")
end

local function open_files(pid)
  local n = 0
  for _ in function(request) return uv.fs_scandir_next(request) end,
    assert(uv.fs_scandir(("/proc/%d/fd"):format(pid))) do
    n = n + 1
  end
  return n
end

--- How many of them get the answer 200, each in time.
local function answered(connections)
  local n
  process.wait(function()
    n = 0
    for _, connection in ipairs(connections) do
      local answer = http.parse(connection.data)
      n = n + (answer and answer.status == 200 and 1 or 0)
    end
    return n == #connections
  end)
  for _, connection in ipairs(connections) do
    connection.close()
  end
  return n
end

local function is_alive(path)
  return plane.get(path, "/livez") == 200
end

describe("the control plane", function()
  lazy_teardown(process.cleanup)

  describe("while the loop is stuck in one C call", function()
    local path, child
    lazy_setup(function()
      child, path = plane.start_stuck()
    end)

    it("names who holds it, since when and where", function()
      local reply
      process.wait(function()
        reply = select(2, plane.get(path, "/v1/workers"))
        return reply.holder ~= http.null and reply.holder.line ~= http.null
      end)
      assert.equal("stuck", reply.holder.worker)
      assert.equal("workers.lua:7", reply.holder.line)
      assert.equal(1, reply.holder.run)
      assert.is_true(reply.holder.since < reply.host.now)
      assert.is_true(reply.host.silent_s > 0)
      assert.equal("running", plane.worker_of(reply, "victim").state)
    end)

    -- The best of a few: a busy machine may be late with any of them.
    it("answers within 100 ms", function()
      local best = math.huge
      for _ = 1, 10 do
        local began = uv.hrtime()
        assert.equal(200, (plane.get(path, "/v1/workers")))
        best = math.min(best, (uv.hrtime() - began) / 1e9)
      end
      assert.is_true(best < 0.1, best)
    end)

    it("says that it is not live", function()
      local status, reply
      process.wait(function()
        status, reply = plane.get(path, "/livez?within=0.5")
        return status == 503
      end)
      assert.equal(503, status)
      assert.is_false(reply.live)
      assert.equal("stuck", reply.holder.worker)
      assert.equal(200, (plane.get(path, "/livez?within=10000")))
    end)

    it("tells what it knows of a worker, and that an order waits", function()
      local status, worker = plane.get(path, "/v1/workers/stuck")
      assert.equal(200, status)
      assert.equal(http.null, worker.endings)
      local reply
      status, reply = plane.post(path, "/v1/workers/stuck/stop?wait=0.1")
      assert.equal(202, status)
      assert.is_false(reply.done)
      assert.equal("stuck", reply.holder.worker)
      assert.equal(404, (plane.get(path, "/v1/workers/nobody")))
    end)

    it("has metrics", function()
      local text = http.ask(path, "GET", "/metrics").body
      assert.is_true(tonumber(text:match "\ndecnet_host_held_seconds (%S+)") > 0)
    end)

    it("keeps a thousand orders for later, and refuses the next ones", function()
      local own, own_path = plane.start [[
        local decnet = require "decnet"
        decnet.worker("idle", function() decnet.park() end)
        decnet.worker { name = "stuck", restart = "never", run = function()
          decnet.sleep(0.2)
          print "in"
          return (("a"):rep(200)):find(("a*"):rep(20) .. "b")
        end }
      ]]
      own:says "in"
      local connections = {}
      for i = 1, 60 do
        connections[i] = http.open(own_path,
          ("POST /v1/workers/idle/reset?wait=0 HTTP/1.1\r\nHost: x\r\n\r\n"):rep(20))
      end
      local taken, refused
      process.wait(function()
        taken, refused = 0, 0
        for _, connection in ipairs(connections) do
          taken = taken + select(2, connection.data:gsub("HTTP/1.1 202 ", ""))
          refused = refused + select(2, connection.data:gsub("1024 orders are under way", ""))
        end
        return taken + refused == 1200
      end, 30)
      assert.equal(1024, taken)
      assert.equal(176, refused)
      for _, connection in ipairs(connections) do
        connection.close()
      end
      own:kill(process.KILL)
    end)

    it("is shut down as by signals, which do not need the loop", function()
      local status, reply = plane.post(path, "/v1/shutdown?now=1&wait=0.1")
      assert.equal(202, status)
      assert.is_false(reply.done)
      child:ends(3)
      assert.matches("stuck would not stop", child:stderr())
    end)
  end)

  it("sends the second of two signals only when the first has been delivered", function()
    if not process.has "chrt" or not process.has "taskset" then
      return pending "chrt or taskset is not installed"
    end
    local child, path = plane.start_stuck()
    -- the loop's thread gets next to nothing of a CPU that somebody else wants, too
    local cpu = process.read("/proc/self/status"):match "Cpus_allowed_list:%s*(%d+)"
    local hog = process.start("taskset", { "-c", cpu, "sh", "-c", "while :; do :; done" })
    local _ <close> = setmetatable({}, { __close = function() uv.kill(hog.pid, "sigkill") end })
    assert(os.execute(("taskset -c -p %s %d >/dev/null"):format(cpu, child.pid)))
    assert(os.execute(("chrt -i -p 0 %d"):format(child.pid)))
    local order = http.open(path,
      "POST /v1/shutdown?now=1&wait=0.1 HTTP/1.1\r\nHost: x\r\n\r\n")
    process.wait(function() return http.parse(order.data) end, 1)
    hog:kill "sigkill"
    child:ends(3)
    order.close()
    assert.equal(202, http.parse(order.data).status)
    assert.matches("stuck would not stop", child:stderr())
  end)

  describe("refuses", function()
    local path, child, trickle
    lazy_setup(function()
      child, path = plane.start(TICKER)
      trickle = http.open(path, "GET /livez HTTP/1.1\r\n")
      trickle.timer = uv.new_timer()
      trickle.timer:start(1000, 1000, function()
        trickle.send "X: y\r\n"
      end)
    end)

    it("a request line of 10 MB", function()
      local status = ask_raw(path, "GET /" .. ("x"):rep(10 * 2 ^ 20) .. " HTTP/1.1\r\n\r\n")
      assert.is_true(status == nil or status == 414, status)
      assert.is_true(is_alive(path))
    end)

    it("1,000 headers", function()
      local lines = {}
      for i = 1, 1000 do
        lines[i] = ("X-Header-%d: %d\r\n"):format(i, i)
      end
      local status = ask_raw(path, "GET /livez HTTP/1.1\r\nHost: x\r\n" .. table.concat(lines)
        .. "\r\n")
      assert.equal(431, status)
      assert.is_true(is_alive(path))
    end)

    -- MHD 0.9.75 hung, for which no memory is left as it keeps one record after the other.
    it("thousands of parameters", function()
      for _, query in ipairs { ("a=1&"):rep(3000), ("&"):rep(12000),
        "within=" .. ("1"):rep(12000) } do
        local answer = http.ask(path, "GET", "/livez?" .. query)
        assert.equal(414, answer.status)
        assert.matches("4096", http.json(answer.body).error)
      end
      assert.equal(200, plane.get(path, "/livez?within=10&" .. ("&"):rep(2000)))
    end)

    it("chunked garbage, and what is no HTTP", function()
      local status = ask_raw(path, "POST /v1/workers/ticker/stop HTTP/1.1\r\nHost: x\r\n"
        .. "Transfer-Encoding: chunked\r\n\r\nzzz\r\nnonsense\r\n\r\n")
      assert.is_true(status == nil or status == 400, status)
      local connection = http.open(path, "\0\1\2\r\n\r\n\r\n\r\n")
      assert.is_true(is_alive(path))
      connection.close()
      assert.equal("running", plane.in_state(path, "ticker", "running").state)
    end)

    it("nobody who is in time, when others trickle, stall or vanish", function()
      local before, slow = open_files(child.pid), {}
      for i = 1, 200 do
        slow[i] = http.open(path, i % 3 == 0 and "GET /v1/workers HTTP/1.1\r\nHost: x\r\nX: "
          or i % 3 == 1 and "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n" or nil)
      end
      process.wait(function() return open_files(child.pid) >= before + 150 end)
      assert.is_true(is_alive(path))
      for i = 1, 200, 2 do -- in the middle of it
        slow[i].close()
      end
      local ticks = child:count "number="
      process.wait(function() return child:count "number=" > ticks + 5 end)
      for i = 2, 200, 2 do
        slow[i].close()
      end
      process.wait(function() return open_files(child.pid) <= before + 2 end, 60)
      assert.is_true(open_files(child.pid) <= before + 2, open_files(child.pid))
      assert.is_true(is_alive(path))
    end)

    -- What the first hundreds cost is kept for the next ones: it must not grow.
    it("nobody of thousands who vanish in the middle, and keeps nothing of them", function()
      local before = open_files(child.pid)
      local function vanish(times)
        for _ = 1, times do
          local gone = {}
          for i = 1, 100 do
            gone[i] = http.open(path, i % 2 == 0 and "GET /v1/workers HTTP/1.1\r\nHost: x\r\n\r\n"
              or "POST /v1/workers/ticker/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
          end
          process.wait(function() return gone[2].data ~= "" end)
          for i = 1, 100 do
            gone[i].close()
          end
        end
        process.wait(function() return open_files(child.pid) <= before + 2 end, 60)
        assert.is_true(open_files(child.pid) <= before + 2, open_files(child.pid))
      end
      vanish(10)
      local resident = process.resident(child.pid)
      vanish(40)
      assert.is_true(is_alive(path))
      if not process.is_sanitized() then -- its quarantine grows
        assert.is_true(process.resident(child.pid) < resident + 4e6,
          process.resident(child.pid) - resident)
      end
    end)

    it("nobody of 500 who ask at the same time", function()
      local connections = {}
      for i = 1, 500 do
        connections[i] = http.open(path,
          "GET /v1/workers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      end
      assert.equal(500, answered(connections))
    end)

    -- MHD 0.9.75 reads once more from who was suspended while it still wanted to read, and takes
    -- the end that it finds for the end of a request, which it had.
    it("nobody of 200 who send no more when they have asked", function()
      for _, request in ipairs { "GET /v1/workers", "POST /v1/workers/ticker/reset" } do
        local connections = {}
        for i = 1, 200 do
          connections[i] = http.open(path, request .. " HTTP/1.1\r\nHost: x\r\n\r\n")
          process.wait(function() return connections[i].handle:is_writable() end)
          connections[i].handle:shutdown()
        end
        assert.equal(200, answered(connections), request)
      end
    end)

    -- It is closed though it never stops sending.
    it("to listen for ever to who does not get to the point", function()
      process.wait(function() return trickle.over end, 60)
      trickle.timer:close()
      trickle.close()
      assert.is_true(trickle.over)
    end)
  end)

  describe("of thousands of workers", function()
    local path, child
    lazy_setup(function()
      child, path = plane.start [[
        local decnet = require "decnet"
        for i = 1, 3000 do
          decnet.worker("w " .. i, function() decnet.park() end)
        end
      ]]
      plane.in_state(path, "w 3000", "running")
    end)

    it("tells in order, each once", function()
      local answer = http.ask(path, "GET", "/v1/workers")
      assert.equal("application/json", answer.headers["content-type"])
      local reply = http.json(answer.body)
      assert.equal(3000, #reply.workers)
      for i, worker in ipairs(reply.workers) do
        assert.equal("w " .. i, worker.name)
      end
      assert.equal(3000, reply.host.workers)
    end)

    it("has every metric, those of a family together", function()
      local text = http.ask(path, "GET", "/metrics").body
      local family, samples, seen = nil, {}, {}
      for line in text:gmatch "([^\n]+)\n" do
        local begun = line:match "^# TYPE (%S+)"
        if begun then
          assert.is_nil(seen[begun], begun)
          family, seen[begun] = begun, true
        elseif line:find "^decnet_worker_" then
          assert.equal(family, line:match "^[%w_]+")
          samples[family] = (samples[family] or 0) + 1
        end
      end
      local each = { decnet_worker_restarts_total = 5, decnet_worker_state = 8 }
      for name, count in pairs(samples) do
        assert.equal(3000 * (each[name] or 1), count, name)
      end
      assert.equal(3000, samples.decnet_worker_memory_bytes)
    end)

    it("tells nothing but the head, if it is asked for that", function()
      assert.matches("^HTTP/1.1 200 ", plane.head(path, "/metrics"))
    end)

    -- Each of them kept a copy of what it was to be told: 600 about 3,000 workers left 258 MB.
    it("has a bounded number of answers in hand, whoever does not take them", function()
      local before = process.resident(child.pid)
      local stalled = {}
      for i = 1, 100 do
        stalled[i] = http.open(path, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
      end
      process.wait(function() return open_files(child.pid) > 100 end)
      for i = 1, 100 do
        stalled[i].handle:read_stop()
      end
      assert.is_true(is_alive(path))
      local waits = http.open(path, "GET /v1/workers HTTP/1.1\r\nHost: x\r\n\r\n")
      process.wait(function() return waits.data ~= "" or waits.over end, 0.3)
      assert.equal("", waits.data)
      if not process.is_sanitized() then
        assert.is_true(process.resident(child.pid) < before + 60e6,
          process.resident(child.pid) - before)
      end
      for i = 1, 100 do
        stalled[i].close()
      end
      process.wait(function() return http.parse(waits.data) end)
      waits.close()
      assert.equal(3000, #http.json(http.parse(waits.data).body).workers)
    end)

    it("tells others while one takes his answer slowly, or goes in the middle of it", function()
      local before = open_files(child.pid)
      local slow = {}
      for i = 1, 12 do
        local request = ("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(
          i % 2 == 0 and "/metrics" or "/v1/workers")
        slow[i] = http.open(path, request)
        process.wait(function() return slow[i].data ~= "" end)
        slow[i].handle:read_stop()
      end
      assert.is_true(is_alive(path))
      assert.equal(3000, #select(2, plane.get(path, "/v1/workers")).workers)
      for i = 1, 12 do
        slow[i].close()
      end
      process.wait(function() return open_files(child.pid) <= before end)
      assert.is_true(open_files(child.pid) <= before)
      assert.is_true(is_alive(path))
      child:stop()
    end)
  end)

  describe("with a worker that never ends", function()
    local path, child
    lazy_setup(function()
      child, path = plane.start [[
        local decnet = require "decnet"
        decnet.worker("steady", function() decnet.park() end)
        decnet.worker { name = "endless", stop_timeout = math.huge, run = function()
          while true do pcall(decnet.sleep, 60) end
        end }
      ]]
    end)

    it("does not keep the place of who has gone while his order waits", function()
      local before, connections = open_files(child.pid), {}
      for i = 1, 30 do
        connections[i] = http.open(path,
          "POST /v1/workers/endless/stop?wait=3600 HTTP/1.1\r\nHost: x\r\n\r\n")
      end
      process.wait(function() return open_files(child.pid) >= before + 30 end)
      assert.equal(202, plane.post(path, "/v1/workers/endless/stop?wait=0.1")) -- behind theirs
      for _, connection in ipairs(connections) do
        connection.close()
      end
      process.wait(function() return open_files(child.pid) <= before + 2 end)
      assert.is_true(open_files(child.pid) <= before + 2, open_files(child.pid))
    end)

    it("answers who sends no more while his order waits", function()
      local connection = http.open(path,
        "POST /v1/workers/endless/stop?wait=2.5 HTTP/1.1\r\nHost: x\r\n\r\n")
      process.wait(function() return connection.handle:is_writable() end)
      assert.equal(202, plane.post(path, "/v1/workers/endless/stop?wait=0.1")) -- behind it
      connection.handle:shutdown()
      process.wait(function() return connection.over or http.parse(connection.data) end)
      connection.close()
      assert.equal("202", connection.data:match "^HTTP/1.1 (%d+)")
    end)

    it("takes orders still when a thousand were not waited for to the end", function()
      for _ = 1, 1100 do
        local status, reply = plane.post(path, "/v1/workers/endless/stop?wait=0.000001")
        assert(status == 202, reply.error)
      end
      local status, reply = plane.get(path, "/v1/workers/steady")
      assert.equal(200, status)
      assert.equal("steady", reply.name)
      assert.is_table(reply.endings)
      assert.equal(200, plane.post(path, "/v1/workers/steady/restart"))
    end)

    lazy_teardown(function() child:kill(process.KILL) end)
  end)

  it("finds the last one of many workers, while others are removed", function()
    local own, path = plane.start [[
      local decnet = require "decnet"
      for i = 1, 3000 do
        decnet.worker("w" .. i, function() decnet.park() end)
      end
      decnet.worker("last", function(self)
        for i = 1, self.run > 1 and 3000 or 0 do
          decnet.get("w" .. i):remove()
          decnet.yield()
        end
        decnet.park()
      end)
    ]]
    assert.equal(200, http.ask(path, "GET", "/v1/logs?worker=last").status)
    assert.equal(200, plane.post(path, "/v1/workers/last/restart"))
    local count
    process.wait(function()
      local reply = select(2, plane.get(path, "/v1/workers"))
      assert.is_table(plane.worker_of(reply, "last"))
      assert.equal(200, http.ask(path, "GET", "/v1/logs?worker=last").status)
      count = #reply.workers
      return count == 1
    end, 60)
    assert.equal(1, count)
    assert.equal("last", select(2, plane.get(path, "/v1/workers/last")).name)
    own:stop()
  end)

  -- DECNET_ORDERS: how many in all; ./dev storm plays 10,000.
  it("carries out each of thousands of orders, and the last one counts", function()
    local _, path = plane.start [[
      local decnet = require "decnet"
      for i = 1, 50 do
        decnet.worker("w" .. i, function(self)
          alive = alive or {}
          assert(not alive[i], "two runs of " .. i)
          alive[i] = true
          self:defer(function() alive[i] = false end)
          decnet.park()
        end)
      end
    ]]
    local VERBS = { "start", "stop", "restart", "retry" }
    local last, clients = {}, {}
    local orders = tonumber(os.getenv "DECNET_ORDERS") or 2000
    local seed = uv.hrtime() & 0xffff
    math.randomseed(seed)
    for c = 1, 8 do -- each has workers of his own, so that it is known which order is the last
      local client = { left = orders // 8 }
      client.connection = http.open(path)
      function client.order()
        local i = 8 * math.random(0, (50 - c) // 8) + c
        local verb = VERBS[math.random(#VERBS)]
        if verb ~= "retry" then
          last[i] = verb
        end
        client.left = client.left - 1
        client.connection.data = ""
        client.connection.send(("POST /v1/workers/w%d/%s HTTP/1.1\r\nHost: x\r\n\r\n"):format(i,
          verb))
      end
      client.order()
      clients[c] = client
    end
    process.wait(function()
      local is_over = true
      for _, client in ipairs(clients) do
        local answer = http.parse(client.connection.data)
        if answer and client.left > 0 then
          assert(answer.status == 200 or answer.status == 409, answer.body)
          client.order()
          answer = nil
        end
        is_over = is_over and answer and client.left == 0
      end
      return is_over
    end, math.max(60, orders / 20))
    for _, client in ipairs(clients) do
      assert.equal(0, client.left)
      client.connection.close()
    end
    local reply = select(2, plane.get(path, "/v1/workers"))
    assert.equal(50, #reply.workers)
    for _, worker in ipairs(reply.workers) do
      local i = tonumber(worker.name:match "%d+")
      assert.equal(last[i] == "stop" and "stopped" or "running", worker.state,
        ("%s, seed %d"):format(worker.name, seed))
      assert.equal(http.null, worker.last_error)
    end
  end)
end)
