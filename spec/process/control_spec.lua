-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The control plane of a real host: docs/control.md says what it answers.
local http = require "spec.process.http"
local plane = require "spec.process.plane"
local process = require "spec.process.process"
local uv = require "luv"

local WORKERS, start, get, post = plane.WORKERS, plane.start, plane.get, plane.post
local in_state, worker_of = plane.in_state, plane.worker_of

describe("the control plane", function()
  lazy_teardown(process.cleanup)

  describe("answers", function()
    local child, path
    lazy_setup(function()
      child, path = start(WORKERS, { "--listen", "0" })
      in_state(path, "flaky", "backoff")
    end)

    it("what every worker does", function()
      local status, reply = get(path, "/v1/workers")
      assert.equal(200, status)
      local names = {}
      for i, worker in ipairs(reply.workers) do
        names[i] = worker.name
      end
      assert.same({ "steady", "flaky", "a/b é", "late", "deaf" }, names)
      assert.equal(child.pid, reply.host.pid)
      assert.equal(5, reply.host.workers)
      assert.equal(http.null, reply.holder)
      local flaky = worker_of(reply, "flaky")
      assert.equal("backoff", flaky.state)
      assert.equal("up", flaky.wanted)
      assert.is_true(flaky.next_retry_in > 0 and flaky.next_retry_in <= 60)
      assert.equal(1, flaky.streak)
      assert.matches("boom .*4$", flaky.last_error.message)
      assert.matches("workers.lua:5", flaky.last_error.traceback, 1, true)
      assert.equal("late", worker_of(reply, "a/b é").waiting_for)
      assert.equal(http.null, worker_of(reply, "steady").last_error)
      assert.equal(1, worker_of(reply, "steady").tasks)
    end)

    it("with what it said a moment ago, until something has happened", function()
      local said, again
      assert.is_true(process.wait(function()
        said, again = select(2, get(path, "/v1/workers")), select(2, get(path, "/v1/workers"))
        return said.host.now == again.host.now
      end))
      assert.equal(200, (post(path, "/v1/workers/steady/stop")))
      local _, after = get(path, "/v1/workers")
      assert.equal("stopped", worker_of(after, "steady").state)
      assert.is_true(after.host.now > again.host.now)
      assert.equal(200, (post(path, "/v1/workers/steady/start")))
    end)

    it("how one worker ended before", function()
      local status, worker = get(path, "/v1/workers/flaky")
      assert.equal(200, status)
      assert.equal(1, #worker.endings)
      local ending = worker.endings[1]
      assert.equal("crashed", ending.ended)
      assert.equal("restart", ending.decision)
      assert.equal(60, ending.delay)
      local values = {}
      for _, variable in ipairs(ending.variables[1].locals) do
        values[variable.name] = variable.value
      end
      assert.equal("***", values.secret)
    end)

    it("for names that need percent signs", function()
      local status, worker = get(path, "/v1/workers/a%2Fb%20%C3%A9")
      assert.equal(200, status)
      assert.equal("a/b é", worker.name)
    end)

    it("the host's age on the clock of its workers' states", function()
      local slow = select(2, start([[
        local decnet = require "decnet"
        decnet.worker { "late", function() end, after = { "early" } }
        local till = os.clock() + 0.05
        while os.clock() < till do end
        decnet.worker { "early", decnet.park, notify = true }
      ]]))
      local _, first = get(slow, "/v1/workers")
      local _, second = get(slow, "/v1/workers")
      local began = first.host.now - first.host.uptime_s
      assert.is_true(math.abs(began - (second.host.now - second.host.uptime_s)) < 1e-6)
      assert.is_true(worker_of(first, "late").since >= began)
    end)

    it("400 or 404 for names that nobody can have or has", function()
      assert.equal(404, (get(path, "/v1/workers/nobody")))
      assert.equal(404, (get(path, "/v1/workers/..%2F..%2Fetc%2Fpasswd")))
      assert.equal(404, (get(path, "/v1/workers/../workers")))
      assert.equal(404, (get(path, "/v1/workers/%2566laky"))) -- decoded once
      assert.equal(400, (get(path, "/v1/workers/flaky%00x")))
      assert.equal(400, (get(path, "/v1/workers/%ff")))
      assert.equal(400, (get(path, "/v1/workers/%zz")))
      assert.equal(400, (get(path, "/v1/workers/" .. ("x"):rep(201))))
    end)

    it("404 for other paths", function()
      for _, target in ipairs { "/", "/v1", "/v1/", "/v1/workers/", "/v1/workers/flaky/explode",
        "/v1/workers/flaky/stop/x", "/metrics/", "//metrics", "/v2/workers" } do
        local status, reply = get(path, target)
        assert.equal(404, status, target)
        assert.is_string(reply.error)
      end
    end)

    it("405 to the wrong verb, and says which is right", function()
      local status, _, answer = post(path, "/v1/workers")
      assert.equal(405, status)
      assert.equal("GET, HEAD", answer.headers.allow)
      status, _, answer = get(path, "/v1/workers/flaky/stop")
      assert.equal(405, status)
      assert.equal("POST", answer.headers.allow)
      assert.equal(405, http.ask(path, "DELETE", "/v1/workers/flaky").status)
    end)

    it("400 to parameters that it does not know, or cannot read", function()
      local _, reply = get(path, "/v1/workers?verbose=1")
      assert.matches("unknown parameter 'verbose'", reply.error, 1, true)
      assert.equal(400, (post(path, "/v1/workers/steady/reset?wait=soon")))
      assert.equal(400, (post(path, "/v1/workers/steady/reset?wait=nan")))
      assert.equal(400, (get(path, "/v1/logs?lines=-1")))
      assert.equal(400, (get(path, "/v1/logs?worker=%ff")))
      assert.equal(400, (get(path, "/v1/logs?lines")))
      assert.equal(404, (get(path, "/v1/logs?worker=a+b"))) -- the plus is a blank
      local status, two = post(path, "/v1/shutdown?wait=0", { body = '{"wait now": 1}' })
      assert.equal(400, status)
      assert.matches("unknown parameter 'wait now'", two.error, 1, true)
    end)

    it("400 to a body that is not JSON, with the place", function()
      local status, reply = post(path, "/v1/workers/steady/reset", { body = '{"wait":\n nope}' })
      assert.equal(400, status)
      assert.matches("line 2 column %d+", reply.error)
      assert.equal(400, (post(path, "/v1/workers/steady/reset", { body = "[]" })))
      assert.equal(400, (post(path, "/v1/workers/steady/reset", { body = '{"wait":"x"}' })))
      assert.equal(400, (post(path, "/v1/workers/steady/reset", { body = '{"nope":1}' })))
      assert.equal(400, (post(path, "/v1/workers/steady/reset", { body = '{"wait":1,"wait":2}' })))
      assert.equal(400, (post(path, "/v1/workers/steady/reset", { body = "{}x" })))
      for _, body in ipairs { '{"wait":true}', '{"wait":1}', '{"wait":0.5,"x":1}', "{}" } do
        local expected = body:find "x" and 400 or 200
        assert.equal(expected, (post(path, "/v1/workers/steady/reset", { body = body })), body)
      end
      assert.equal(202, (post(path, "/v1/workers/steady/reset", { body = '{"wait":0}' })))
      for _, body in ipairs { '{"wait":false}', '{"wait":null}', '{"wait":[]}', '{"now":2}' } do
        status = post(path, "/v1/workers/steady/reset", { body = body })
        assert.equal(body:find "false" and 202 or 400, status, body)
      end
    end)

    it("200 to a body of its type, with parameters or in other letters", function()
      for _, kind in ipairs { "application/json; charset=utf-8", "Application/JSON",
        "application/json ;x" } do
        local options = { body = "{}", type = kind }
        assert.equal(200, (post(path, "/v1/workers/steady/reset", options)), kind)
      end
      local options = { body = "{}", type = "application/jsonp" }
      assert.equal(415, (post(path, "/v1/workers/steady/reset", options)))
    end)

    it("415 to another type, 413 to a body that is too big", function()
      local options = { body = "a=b", type = "application/x-www-form-urlencoded" }
      assert.equal(415, (post(path, "/v1/workers/steady/reset", options)))
      assert.equal(413, (post(path, "/v1/workers/steady/reset", { body = (" "):rep(20000) })))
      assert.equal(413, (post(path, "/v1/workers/steady/reset", { body = (" "):rep(100000) })))
    end)

    it("on a TCP port, too, but takes no orders there", function()
      local port = tonumber(child:says "listening at 127.0.0.1:(%d+)")
      assert.equal(200, (get(port, "/v1/workers")))
      assert.equal(403, (post(port, "/v1/workers/steady/stop")))
      assert.equal(403, (post(port, "/v1/shutdown")))
      assert.equal("running", in_state(path, "steady", "running").state)
    end)

    it("there no web page, which comes by a name that was made to mean this machine", function()
      local port = tonumber(child:says "listening at 127.0.0.1:(%d+)")
      for _, host in ipairs { "evil.example", "evil.example:" .. port, "localhost.evil.example",
        "127.0.0.1.evil.example", "[::1", "[evil]", ("x"):rep(64) .. ".localhost", "" } do
        local status, reply = get(port, "/v1/workers", { host = host })
        assert.equal(403, status, host)
        assert.matches("127.0.0.1", reply.error, 1, true)
      end
      for _, host in ipairs { "localhost", "LOCALHOST:" .. port, "127.0.0.1", "[::1]:1",
        "10.0.0.1:80", "app.localhost" } do
        assert.equal(200, (get(port, "/livez", { host = host })), host)
      end
      assert.equal(403, (get(port, "http://evil.example/livez")))
      assert.equal(403, (get(port, "/livez", { headers = { "Origin: http://localhost" } })))
      assert.equal(200, (get(path, "/livez", { host = "evil.example" })))
    end)

    it("where other machines can ask, by whatever name it goes there", function()
      local own = start("require 'decnet'.worker('w', function() end)",
        { "--keep-alive", "--listen", "0.0.0.0:0" })
      local port = tonumber(own:says "listening at 0.0.0.0:(%d+)")
      assert.equal(200, (get(port, "/livez", { host = "this.example" })))
      assert.equal(403, (get(port, "/livez", { headers = { "Origin: http://this.example" } })))
      own:stop()
    end)

    it("whether all are ready that should be", function()
      local own, own_path = start [[
        local decnet = require "decnet"
        decnet.worker("steady", function() decnet.park() end)
        decnet.worker("done", function() end)
      ]]
      in_state(own_path, "steady", "running")
      local status, reply = get(own_path, "/readyz")
      assert.equal(200, status)
      assert.same({ ready = true, stopping = false, workers = 2, not_ready = 0 }, reply)
      own:stop()
      status, reply = get(path, "/readyz")
      assert.equal(503, status)
      assert.is_false(reply.ready)
      assert.is_true(reply.not_ready > 0)
    end)

    it("whole addresses as it does paths", function()
      for _, address in ipairs { "http://localhost", "HTTP://host:80", "http://[::1]:80" } do
        assert.equal("steady", (select(2, get(path, address .. "/v1/workers/steady"))).name)
        assert.equal(404, (get(path, address)))
        assert.equal(404, (get(path, address .. "?wait=1")))
      end
      assert.equal(404, (get(path, "*")))
      assert.equal(404, (get(path, "v1/workers")))
    end)

    -- What two readers may take for two things is refused, and the connection closed: the second
    -- request in it would be an order to one of them.
    it("400 to heads that can be read in two ways", function()
      for _, head in ipairs {
        "Host: x\r\nContent-Length: 2\r\nContent-Length: 40",
        "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Host: x\r\nTransfer-Encoding : chunked",
        "Host: x\r\nContent-Length\t: 5",
        " Host: x\r\nHost: x", "Host: x\r\nHost: x", "X: y", "Host: x\r\nX: y\r\n z",
        "Host: x\r\nContent: 5\r\n -Length", "Host: x\r\nContent-Length:\r\n\t5",
        "Host: x\r\nTransfer-Encoding: gzip, chunked",
      } do
        local connection = http.open(path, "POST /v1/workers/steady/reset HTTP/1.1\r\n" .. head
          .. "\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        process.wait(function() return connection.over end)
        connection.close()
        local status = head:find "gzip" and 501 or 400
        assert.equal(status, http.parse(connection.data, true).status, head)
        assert.equal(1, select(2, connection.data:gsub("HTTP/1.1 %d", "")), head)
      end
      assert.equal(200, (post(path, "/v1/workers/steady/reset", { body = "{}",
        headers = { "Content-Length: 2" } }))) -- twice the same
    end)

    it("400 to who waits for leave to send a body, and has none", function()
      for _, headers in ipairs { "Expect: 100-continue",
        "Content-Length: 0\r\nExpect: 100-continue",
        "Expect: 100-continue\r\nExpect: nothing" } do
        local connection = http.open(path, "GET /livez HTTP/1.1\r\nHost: x\r\n" .. headers
          .. "\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        process.wait(function() return connection.over end, 3)
        connection.close()
        assert.equal(400, http.parse(connection.data, true).status)
      end
    end)

    it("100 to who waits for leave to send a body, and then what becomes of it", function()
      for length, body in pairs { ["Content-Length: 10"] = '{"wait":5}',
        ["Transfer-Encoding: chunked"] = 'a\r\n{"wait":5}\r\n0\r\n\r\n' } do
        local connection = http.open(path, "POST /v1/workers/steady/reset HTTP/1.1\r\nHost: x\r\n"
          .. "Content-Type: application/json\r\n" .. length .. "\r\nExpect: 100-continue\r\n\r\n")
        process.wait(function() return connection.data:find "\r\n\r\n" end)
        assert.equal("HTTP/1.1 100 Continue\r\n\r\n", connection.data)
        connection.send(body)
        process.wait(function() return connection.data:find '"done"' end)
        connection.close()
        assert.matches("\r\n\r\nHTTP/1.1 200 ", connection.data, 1, true)
      end
    end)

    it("400 to a first line with a NUL in it, which would end there for us", function()
      for _, line in ipairs { "POST\0x /v1/workers/steady/reset", "GET\0 /livez", "GET /livez\0/x",
        "GET /livez?within=1\0", "GET  /livez" } do
        local connection = http.open(path, line .. " HTTP/1.1\r\nHost: x\r\n\r\n")
        process.wait(function() return connection.over end)
        connection.close()
        assert.equal(400, http.parse(connection.data, true).status, line)
      end
    end)

    it("HEAD without a body", function()
      local head = plane.head(path, "/livez")
      assert.matches("^HTTP/1.1 200 ", head)
      assert.matches("Content%-Length: %d+\r\n", head)
    end)

    -- The last chunk of a body that HEAD has not got was the beginning of the next answer.
    it("HEAD of a stream without a body", function()
      assert.matches("Content%-Type: text/event%-stream\r\n", plane.head(path, "/v1/events"))
      assert.matches("Content%-Type: application/x%-ndjson\r\n", plane.head(path, "/v1/logs"))
    end)
  end)

  describe("carries out orders", function()
    local path
    lazy_setup(function()
      path = select(2, start())
      in_state(path, "flaky", "backoff")
    end)

    -- The next question is asked after the answer, so it must see the effect.
    local function order(name, verb)
      local status, reply = post(path, ("/v1/workers/%s/%s"):format(name, verb))
      local after = worker_of(select(2, get(path, "/v1/workers")), name)
      return status, reply, after
    end

    it("and answers when it is done", function()
      local status, reply, after = order("steady", "stop")
      assert.equal(200, status)
      assert.is_true(reply.done)
      assert.equal("stopped", reply.worker.state)
      assert.equal("stopped", after.state)
      assert.equal("down", after.wanted)
      status, reply, after = order("steady", "start")
      assert.equal(200, status)
      assert.equal("running", reply.worker.state)
      assert.equal(2, after.run)
      assert.equal(3, select(3, order("steady", "restart")).run)
    end)

    it("though a worker must be killed for it", function()
      local status, reply = order("deaf", "stop")
      assert.equal(200, status)
      assert.equal("stopped", reply.worker.state)
    end)

    it("to retry and to forget the streak", function()
      local status, _, after = order("flaky", "retry")
      assert.equal(200, status)
      assert.equal(2, after.run)
      in_state(path, "flaky", "backoff")
      assert.equal(0, select(3, order("flaky", "reset")).streak)
    end)

    it("or says why not", function()
      order("steady", "stop")
      local status, reply = order("steady", "retry")
      assert.equal(409, status)
      assert.matches("nothing to do", reply.error)
      order("steady", "start")
      assert.equal(404, (post(path, "/v1/workers/nobody/stop")))
    end)

    it("or answers at once", function()
      order("deaf", "start")
      local status, reply = post(path, "/v1/workers/deaf/stop?wait=0")
      assert.equal(202, status)
      assert.is_false(reply.done)
      in_state(path, "deaf", "stopped")
    end)

    it("to the host itself", function()
      local child, own = start()
      local status, reply = post(own, "/v1/shutdown")
      assert.equal(200, status)
      assert.is_true(reply.done)
      child:ends(0)
      assert.is_nil(uv.fs_stat(own))
    end)

    it("to the host itself, politely though a worker has the CPU just then", function()
      local child, own = start [[
        local decnet = require "decnet"
        local uv = require "luv"
        decnet.worker("tidy", function(self)
          self:defer(function()
            decnet.sleep(0.1)
            self.log:info "cleaned"
          end)
          decnet.park()
        end)
        decnet.worker("busy", function(self)
          repeat decnet.sleep(0.01) until uv.fs_stat "begin"
          decnet.atomic(function()
            self.log:info "busy"
            repeat until uv.fs_stat "end"
          end)
          decnet.park()
        end)
      ]]
      process.write(child.dir .. "/begin", "")
      child:says "msg=busy"
      assert.equal(202, (post(own, "/v1/shutdown?wait=0")))
      process.write(child.dir .. "/end", "")
      child:ends(0)
      child:says "msg=cleaned"
    end)

    it("to load the script again", function()
      local child, own = start()
      local status, reply = post(own, "/v1/reload")
      assert.equal(200, status)
      assert.matches("nothing changed", reply.message)
      process.write(child.dir .. "/workers.lua", WORKERS .. "\nerror 'half written'")
      status, reply = post(own, "/v1/reload")
      assert.equal(422, status)
      assert.matches("half written", reply.error)
      process.write(child.dir .. "/workers.lua", WORKERS .. [[
        decnet.worker("added", function() decnet.park() end)
      ]])
      status, reply = post(own, "/v1/reload")
      assert.equal(200, status)
      assert.matches("1 added", reply.message)
      assert.equal(200, (get(own, "/v1/workers/added")))
      status, reply = post(own, "/v1/reload?wait=0")
      assert.equal(202, status)
      assert.is_false(reply.done)
      child:stop()
    end)

    it("and none while the host stops", function()
      local child, own = start [[
        local decnet = require "decnet"
        decnet.worker("slow", function(self)
          self:defer(function() decnet.sleep(3) end)
          decnet.park()
        end)
      ]]
      in_state(own, "slow", "running")
      assert.equal(202, (post(own, "/v1/shutdown?wait=0")))
      assert.equal(503, (post(own, "/v1/workers/slow/start")))
      local status, reply = get(own, "/readyz")
      assert.equal(503, status)
      assert.is_true(reply.stopping)
      assert.equal(200, (post(own, "/v1/shutdown?now=1")))
      child:ends(0)
    end)
  end)

  describe("'s socket", function()
    it("is the owner's alone, and goes with the host", function()
      local child, path = start()
      assert.equal(tonumber("140600", 8), uv.fs_stat(path).mode)
      child:stop()
      assert.is_nil(uv.fs_stat(path))
    end)

    it("is replaced if nobody answers there", function()
      local child, path = start()
      child:kill(process.KILL)
      process.wait(function() return child.code end)
      assert.is_truthy(uv.fs_stat(path))
      local again = process.run(WORKERS, { "--socket", path })
      again:says "loaded"
      process.wait(function() return again.code or pcall(get, path, "/livez") end)
      assert.equal(200, (get(path, "/livez")))
      again:stop()
    end)

    it("is refused if somebody does, and he is named", function()
      local child, path = start()
      local second = process.run(WORKERS, { "--socket", path }):ends(2)
      local message = ("%s is in use by process %d"):format(path, child.pid)
      assert.matches(message, second:stderr(), 1, true)
      assert.equal(200, (get(path, "/livez")))
    end)

    it("is left alone if it is no socket, or another user's", function()
      local dir = process.dir()
      process.write(dir .. "/file", "mine")
      local child = process.run(WORKERS, { "--socket", dir .. "/file" }):ends(2)
      assert.matches("is not a socket", child:stderr())
      assert.equal("mine", process.read(dir .. "/file"))
      if uv.getuid() == 0 then
        local first, path = start()
        first:kill(process.KILL)
        process.wait(function() return first.code end)
        assert(uv.fs_chown(path, 12345, 12345))
        child = process.run(WORKERS, { "--socket", path }):ends(2)
        assert.matches("is a socket of another user (12345)", child:stderr(), 1, true)
        assert.is_truthy(uv.fs_stat(path))
      end
    end)

    it("is not removed once another has its name", function()
      local child, path = start()
      assert(os.remove(path))
      process.write(path, "another's")
      child:stop()
      assert.equal("another's", process.read(path))
    end)

    it("has a path that fits, in a directory that is there", function()
      local child = process.run(WORKERS, { "--socket", "/tmp/" .. ("x"):rep(200) }):ends(2)
      assert.matches("the path of a socket has 1 to 107 bytes, this one has 205", child:stderr())
      child = process.run(WORKERS, { "--socket", "/nonexistent/c.sock" }):ends(2)
      assert.matches("cannot make the socket /nonexistent/c.sock", child:stderr(), 1, true)
      child = process.run(WORKERS, { "--listen", "elsewhere:http" }):ends(2)
      assert.matches("in numbers expected, got 'elsewhere:http'", child:stderr(), 1, true)
      child = process.run(WORKERS, { "--no-control", "--listen", "0" }):ends(2)
      assert.matches("--no-control leaves nothing", child:stderr(), 1, true)
    end)

    it("is refused where its path leads through what is no directory", function()
      local dir = process.dir()
      process.write(dir .. "/file", "")
      local child = process.run(WORKERS, { "--socket", dir .. "/file/c.sock" }):ends(2)
      assert.matches(dir .. "/file/c.sock: Not a directory", child:stderr(), 1, true)
    end)

    it("is refused where a socket of another kind is in use", function()
      local path = process.dir() .. "/c.sock"
      local own = process.start(process.host:gsub("decnet%-host$", "spec/datagrams"), { path })
      process.wait(function() return own.code or uv.fs_stat(path) end)
      local child = process.run(WORKERS, { "--socket", path }):ends(2)
      assert.matches(path .. " is in use", child:stderr(), 1, true)
    end)

    it("is opened beside somebody who keeps its directory locked", function()
      local dir = process.dir()
      local other = process.start("/bin/sh",
        { "-c", ("exec 9<%s; flock 9; echo locked; exec sleep 60"):format(dir) })
      other:says "locked"
      local child = process.run(WORKERS, { "--socket", dir .. "/c.sock" })
      child:says "loaded"
      process.wait(function() return child.code or (pcall(get, dir .. "/c.sock", "/livez")) end)
      assert.equal(200, (get(dir .. "/c.sock", "/livez")))
      child:stop()
    end)

    it("may be gone when the host ends", function()
      local child, path = start()
      assert(os.remove(path))
      child:stop()
    end)

    it("may have a name without a directory", function()
      local child = process.run(WORKERS, { "--socket", "own.sock" })
      child:says "loaded"
      local path = child.dir .. "/own.sock"
      process.wait(function() return child.code or (pcall(get, path, "/livez")) end)
      in_state(path, "steady", "running")
      child:stop()
      assert.is_nil(uv.fs_stat(path))
    end)

    it("listens nowhere else than where it can, and says why", function()
      local first = process.run(WORKERS, { "--socket", "c.sock", "--listen", "0" })
      local port = first:says "listening at 127.0.0.1:(%d+)"
      for address, why in pairs { [port] = "Address already in use", ["203.0.113.9:0"] = "assign",
        ["[::1:80"] = "in numbers expected", ["127.0.0.1:"] = "in numbers expected",
        ["70000"] = "in numbers expected", ["80x"] = "in numbers expected",
        ["nohost:80"] = "in numbers expected" } do
        local child = process.run(WORKERS, { "--socket", "c.sock", "--listen", address }):ends(2)
        assert.matches(why, child:stderr(), 1, true)
        assert.matches(address, child:stderr(), 1, true)
      end
      first:stop()
    end)

    it("says the whole address at which it listens, whatever was asked for", function()
      for asked, said in pairs { ["0"] = "127.0.0.1:", [":0"] = "127.0.0.1:",
        ["0.0.0.0:0"] = "0.0.0.0:", ["[::1]:0"] = "%[::1%]:" } do
        if asked:sub(1, 1) ~= "[" or uv.fs_stat "/proc/net/if_inet6" then
          local child, own = start(WORKERS, { "--listen", asked })
          local port = child:says('msg="listening at ' .. said .. '(%d+)"')
          in_state(own, "steady", "running")
          assert.is_true(tonumber(port) > 0)
          child:stop()
        end
      end
    end)

    it("is done without where it is in use and nobody asked for it, also with --listen", function()
      local first = process.run(WORKERS, { "--listen", "0", "--log-level", "debug" })
      local path = first:says "control socket: ([^\"\n]+)"
      local second = process.start(process.host, { "--listen", "0", "--log-format", "logfmt",
        "workers.lua" }, { cwd = first.dir })
      second:says("no control socket: " .. path:gsub("%p", "%%%0") .. " is in use by process "
        .. first.pid)
      local port = tonumber(second:says "listening at 127.0.0.1:(%d+)")
      assert.equal(second.pid, select(2, get(port, "/v1/workers")).host.pid)
      second:stop()
      first:stop()
    end)

    it("is one of two that start at the same time", function()
      local path = process.dir() .. "/c.sock"
      local children = {}
      for i = 1, 6 do
        children[i] = process.run(WORKERS, { "--socket", path })
      end
      process.wait(function()
        local ended = 0
        for _, child in ipairs(children) do
          ended = ended + (child.code and 1 or 0)
        end
        return ended == #children - 1
      end)
      local alive = 0
      for _, child in ipairs(children) do
        if child.code then
          assert.matches("is in use", child:stderr())
        else
          alive = alive + 1
          assert.equal(child.pid, select(2, get(path, "/v1/workers")).host.pid)
          child:stop()
        end
      end
      assert.equal(1, alive)
    end)
  end)
end)
