-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The client verbs against a real host: what people and scripts see of it.
local client = require "spec.process.client"
local http = require "spec.process.http"
local plane = require "spec.process.plane"
local process = require "spec.process.process"
local terminal = require "spec.process.terminal"
local uv = require "luv"

local ask, row = client.ask, client.row

local function has_controls(text)
  return text:find "\27" ~= nil or text:find "\u{9b}" ~= nil or text:find "\u{202e}" ~= nil
end

-- Something that answers at a socket, in its own way: `answer()` returns a body, and a status.
local function pretend(answer)
  local path = process.dir() .. "/x.sock"
  local server = uv.new_pipe(false)
  server:bind(path)
  server:listen(8, function()
    local connection = uv.new_pipe(false)
    server:accept(connection)
    connection:read_start(function(_, data)
      if data then
        local body, status = answer()
        connection:write(status ~= "raw" and ("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s")
          :format(status or "200 OK", #body, body) or body)
      end
      connection:read_stop()
      connection:shutdown(function() connection:close() end)
    end)
  end)
  return path, function() server:close() end
end

-- A shell command, in which $HOST is the program, $C the socket.
local function shell(path, command, options)
  options = options or {}
  options.env = { HOST = process.host, C = path }
  return process.start("/bin/sh", { "-c", command }, options)
end

describe("a client", function()
  lazy_teardown(function()
    terminal.cleanup()
    process.cleanup()
  end)

  describe("status", function()
    local child, path
    lazy_setup(function()
      child, path = plane.start([[
        local decnet = require "decnet"
        decnet.worker { name = "evil", min_backoff = 60, max_backoff = 60, run = function(self)
          self.log:info("log\27[31m\u{9b}1m\u{202e}")
          io.write("out\27[31m\u{9b}1m\u{202e}\n")
          local local_one = "\27[31m\u{9b}1m\u{202e}"
          error("evil\27[31m\u{9b}1m\u{202e}" .. #local_one)
        end }
        decnet.worker("日本語 é", function() decnet.park() end)
      ]] .. plane.WORKERS)
      plane.in_state(path, "flaky", "backoff")
    end)

    it("is a table for people, and exits 1 because one that should run does not", function()
      local text, noise = ask(path, "status", 1)
      assert.equal("", noise)
      assert.matches("^workers.lua%[" .. child.pid .. "%] up [%d.smh]+, 7 workers: 1 waiting, 4 "
        .. "running, 2 backoff\n\nNAME +STATE +SINCE +RUN +RESTARTS +STREAK +RETRY +CPU%% +MEMORY"
        .. " +WAITS FOR, LAST ERROR\n", text)
      local words, line = row(text, "flaky")
      assert.same({ "backoff", "1", "0", "1" }, { words[1], words[3], words[4], words[5] })
      assert.matches("^[%d.]+m?[%d]*s$", words[6])
      assert.matches("workers.lua:13: boom \u{fffd}4$", line)
      assert.equal("running", row(text, "steady")[1])
      assert.matches("waits for late$", select(2, row(text, "a/b é")))
    end)

    it("shows no control character as it is", function()
      for _, line in ipairs { "status", "status --json", "status evil", "status evil --json",
        "logs", "logs --json", "events --all", "events --all --json" } do
        local spy = client.start(path, line)
        if line:find "^events" then
          spy:says "evil"
          spy:kill(process.KILL)
        end
        process.wait(function() return spy.code end)
        assert.matches("evil", spy:stdout())
        assert.is_false(has_controls(spy:stdout() .. spy:stderr()), line)
      end
      -- nor of a host that has stranger names than a real one
      local worker = '{"name":"evil\\u001b[31m\u{9b}1m\u{202e}\\n","state":"\\u001b",'
        .. '"wanted":"up","waiting_for":"\\u001b[31m","last_error":{"message":"\\u009b\u{202e}"}}'
      local fake = '{"host":{"pid":1,"now":1,"script":"\\u001b[31m\u{9b}"},"holder":{'
        .. '"worker":"\\u001b","since":0,"line":"\u{9b}"},"workers":[' .. worker .. "]}"
      for _, line in ipairs { "status", "status --json", "status --names" } do
        local where, close = pretend(function() return fake end)
        local text, noise = ask(where, line, 1)
        close()
        assert.matches("evil", text)
        assert.is_false(has_controls(text .. noise), line .. text)
      end
      local there, shut = pretend(function() return fake end)
      local _, waits = ask(there, "wait --timeout 0", 1)
      shut()
      assert.matches("evil", waits)
      assert.is_false(has_controls(waits))
      local where, close = pretend(function()
        return '{"error":"\\u001b[31m\u{9b}"}', "409 Conflict"
      end)
      local _, noise = ask(where, "reload", 1)
      close()
      assert.is_false(has_controls(noise))
    end)

    it("keeps its columns straight beside wide characters", function()
      local text = ask(path, "status", 1)
      -- as many cells before the state: five of them are wide, or bytes of one character
      local wide = text:match "\n(日本語 é +)running"
      local plain = text:match "\n(steady +)running"
      assert.equal(#plain, utf8.len(wide) + 3)
    end)

    it("names them only, for scripts", function()
      local text = ask(path, "status --names", 1)
      assert.equal("evil\n日本語 é\nsteady\nflaky\na/b é\nlate\ndeaf\n", text)
    end)

    it("--json is what the host says", function()
      local text = ask(path, "status --json", 1)
      local own, host = http.json(text), select(2, plane.get(path, "/v1/workers"))
      assert.equal(host.host.pid, own.host.pid)
      assert.equal(#host.workers, #own.workers)
      for i, worker in ipairs(host.workers) do
        assert.equal(worker.name, own.workers[i].name)
        assert.equal(worker.state, own.workers[i].state)
        assert.equal(worker.restarts, own.workers[i].restarts)
      end
      local flaky = http.json((ask(path, "status flaky --json", 1)))
      assert.equal("flaky", flaky.name)
      assert.equal("crashed", flaky.endings[1].ended)
    end)

    it("of one worker is all that is known, with how it ended before", function()
      local text = ask(path, "status flaky", 1)
      assert.matches("^flaky: backoff for [%d.]+s, restart in [%dm]+s\n", text)
      assert.matches("\n  wanted +up, not ready\n  run +1; restarts 0, streak 1\n", text)
      assert.matches("\n  last error +run 1, [%d.]+s ago %(%d%d:%d%d:%d%d%)\n    workers.lua:13: "
        .. "boom", text)
      assert.matches("\nrun 1 crashed [%d.]+s ago %([%d:]+%), then restart after 1m00s\n", text)
      assert.matches("in function <workers.lua:11>", text, 1, true)
      assert.matches("local secret = ***", text, 1, true)
      assert.is_nil(text:find("hush", 1, true))
    end)

    it("of one worker exits 0 when it runs", function()
      assert.matches("^steady: running for ", (ask(path, "status steady")))
      assert.matches("\n  waits for +late\n", (ask(path, { "status", "a/b é" }, 1)))
    end)

    it("says when nobody has that name", function()
      local _, noise = ask(path, "status nobody", 1)
      assert.equal("decnet-host: no worker is named 'nobody'; see decnet-host status --names\n",
        noise)
      assert.matches("has 1 to 200 bytes", select(2, ask(path, { "status", ("x"):rep(201) }, 2)))
    end)

    it("says whom one may have meant, whatever the verb", function()
      for line, name in pairs { ["status flakey"] = "flaky", ["stop staedy"] = "steady",
        ["restart deaf lat"] = "late", ["logs -n 0 evi"] = "evil", ["wait daef"] = "deaf" } do
        local _, noise = ask(path, line, 1)
        assert.equal(("decnet-host: no worker is named '%s'; did you mean '%s'?\n")
          :format(line:match "%S+$", name), noise)
      end
      local _, noise = ask(path, "status workers.lua", 1, { cwd = child.dir })
      assert.equal("decnet-host: no worker is named 'workers.lua'; to ask the host of that script: "
        .. "--script workers.lua\n", noise)
      -- what is asked next has a trouble of its own
      local _, long = ask(path, { "stop", "nobody", ("x"):rep(201) }, 2)
      assert.matches("\ndecnet%-host: the name of a worker has 1 to 200 bytes\n$", long)
    end)

    it("fits a terminal, in colours unless NO_COLOR is set", function()
      if not terminal.is_there() then
        return pending "script(1) is not installed"
      end
      for _, case in ipairs {
        { cols = 80 }, { cols = 40 }, { cols = 10 }, { cols = 300 },
        { cols = 80, env = { NO_COLOR = "1" } }, { cols = 80, env = { LC_ALL = "C" } },
        { cols = 80, env = { TERM = "dumb" } },
      } do
        local t = terminal.start(process.host, { "status", "--socket", path },
          { rows = 40, cols = case.cols, env = case.env })
        t:ends(1)
        local text = t:text()
        local last = 0
        for y, line in ipairs(t.screen:lines()) do
          last = line ~= "" and y or last
        end
        -- no line has been broken: head, 7 workers, and the summary, which may go on, before them
        assert.matches("\nNAME[^\n]*\nevil", text)
        assert.equal(7, last - select(2, text:match "^(.*)\nNAME":gsub("\n", "")) - 2, text)
        assert.matches(case.cols == 10 and "\nflaky" or "\nflaky +backoff", text)
        local has_colour = case.cols > 10 and (case.env == nil or case.env.LC_ALL ~= nil)
        assert.equal(has_colour, t.raw:find("\27[33mbackoff", 1, true) ~= nil, t.raw)
        assert.is_nil(t.raw:find("\27[31m", 1, true))
        if case.cols == 80 then
          assert.matches("flaky +backoff .* workers.lua:13: boom", text)
          assert.matches("日本語 é", text, 1, true)
        end
      end
    end)
  end)

  it("status exits 0 when all that should run does: done and stopped count as well", function()
    local _, path = plane.start([[
      local decnet = require "decnet"
      decnet.worker("on", function() decnet.park() end)
      decnet.worker("off", function() decnet.park() end)
      decnet.worker("over", function() end)
    ]])
    plane.in_state(path, "over", "done")
    ask(path, "stop off")
    local text = ask(path, "status", 0)
    assert.equal("done", row(text, "over")[1])
    assert.equal("stopped", row(text, "off")[1])
    ask(path, "status over", 0)
  end)

  it("status of a loop that is stuck names who holds it, first and loudly", function()
    local _, path = plane.start_stuck()
    local text
    process.wait(function()
      text = client.start(path, "status"):ends(0):stdout()
      return text:find "HELD: stuck.*workers.lua:7"
    end)
    assert.matches("^HELD: stuck has kept the CPU for [%d.]+s, at workers.lua:7: nobody else "
      .. "runs\n", text)
    assert.equal("running", row(text, "victim")[1])
    assert.matches("^HELD: stuck ", (ask(path, "status victim")))
    assert.matches("\nhow it ended before is not known: the loop did not answer in time; ask "
      .. "again\n", (ask(path, "status victim")))
    local _, noise = ask(path, "stop stuck --timeout 0.2", 1)
    assert.equal("decnet-host: stop stuck: not done after 0.2 s; it is running; the CPU is held by "
      .. "stuck\n", noise)
    assert.matches("stuck is running", select(2, ask(path, "wait --timeout 0.1 stuck", 1)))
  end)

  describe("orders", function()
    local _, path
    lazy_setup(function()
      _, path = plane.start()
      plane.in_state(path, "flaky", "backoff")
    end)

    it("are carried out when the verb ends", function()
      assert.equal("steady: stopped, run 1\n", (ask(path, "stop steady")))
      assert.equal("stopped", plane.in_state(path, "steady", "stopped").state)
      assert.equal("steady: running, run 2\n", (ask(path, "start steady")))
      assert.equal("steady: running, run 3\n", (ask(path, "restart steady")))
      assert.matches("^flaky: %l+, run %d", (ask(path, "retry flaky")))
      ask(path, "reset flaky")
      assert.equal(0, plane.in_state(path, "flaky", "backoff").streak)
    end)

    it("go to several workers, and on after one that is none", function()
      local text, noise = ask(path, "restart steady nobody late", 1)
      assert.matches("^steady: running, run %d+\nlate: running, run %d+\n$", text)
      assert.equal("decnet-host: no worker is named 'nobody'; see decnet-host status --names\n",
        noise)
    end)

    it("reach workers with odd names", function()
      assert.matches("^a/b é: stopped", (ask(path, { "stop", "a/b é" })))
      assert.matches("no worker is named '%-x'", select(2, ask(path, { "stop", "--", "-x" }, 1)))
      local _, noise = ask(path, { "stop", "../x?y=1&z%2F" }, 1)
      assert.matches("^decnet%-host: no worker is named '%.%./x%?y=1&z%%2F';", noise)
    end)

    it("that make no sense are refused with a reason", function()
      ask(path, "stop steady")
      local _, noise = ask(path, "retry steady", 1)
      assert.matches("^decnet%-host: retry steady: nothing to do: .*start it\n$", noise)
      ask(path, "start steady")
    end)

    it("that are refused are named with whole characters", function()
      local name = "a" .. ("é"):rep(60)
      local _, there = plane.start(('require "decnet".worker(%q, function() end)'):format(name),
        { "--keep-alive" })
      plane.in_state(there, name, "done")
      local _, noise = ask(there, { "retry", name }, 1)
      assert.matches("^decnet%-host: retry a[é]+…%[%+%d+ bytes%]: nothing to do: .*\n$", noise)
      assert.is_truthy(utf8.len(noise))
    end)

    it("wait no longer than --timeout, and not at all with 0", function()
      local text = ask(path, "restart deaf --timeout 0")
      assert.matches("^restart deaf: told; it is %l+\n$", text)
      plane.in_state(path, "deaf", "running")
    end)
  end)

  it("reloads a script, or says why not", function()
    local child, path = plane.start [[
      local decnet = require "decnet"
      decnet.worker("a", function() decnet.park() end)
    ]]
    assert.matches("nothing changed", (ask(path, "reload")))
    process.write(child.dir .. "/workers.lua", "x = = 1")
    local _, noise = ask(path, "reload", 1)
    assert.matches("^decnet%-host: .*workers.lua:1: ", noise)
    -- it is loaded, and its worker does not become ready: a deployment must see it
    process.write(child.dir .. "/workers.lua",
      "local decnet = require 'decnet' decnet.worker('a', function() error 'boom' end)")
    _, noise = ask(path, "reload", 1)
    assert.matches("^decnet%-host: reloaded workers.lua: 1 restarted %(a%); back to the version "
      .. "that worked %(a%): worker \"a\": workers.lua:1: boom\n$", noise)
    assert.equal(422, (plane.post(path, "/v1/reload")))
    assert.equal("running", plane.in_state(path, "a", "running").state)
  end)

  it("shuts a host down: politely, or now", function()
    local child, path = plane.start()
    assert.equal(("process %d has ended\n"):format(child.pid), (ask(path, "shutdown")))
    child:ends(0)
    child, path = plane.start [[
      local decnet = require "decnet"
      decnet.worker { name = "deaf", stop_timeout = 1000, run = function()
        while true do pcall(decnet.sleep, 60) end
      end }
    ]]
    assert.matches("shutdown: not done after 0.1 s",
      select(2, ask(path, "shutdown --timeout 0.1", 1)))
    assert.matches("has ended", (ask(path, "shutdown --now")))
    process.wait(function() return child.code end)
    assert.is_number(child.code)
  end)

  describe("logs", function()
    local SCRIPT = [[
      local decnet = require "decnet"
      decnet.worker("one", function(self)
        for i = 1, 20 do self.log:info("line " .. i) end
        decnet.park()
      end)
      decnet.worker("two", function(self) self.log:info "of two" decnet.park() end)
    ]]

    it("are shown, of all or of one, all or the last ones", function()
      local _, path = plane.start(SCRIPT)
      plane.in_state(path, "two", "running")
      local text
      process.wait(function()
        text = ask(path, "logs")
        return text:find "of two"
      end)
      assert.matches("line 1\".*line 20\".*of two", text)
      text = ask(path, "logs two")
      assert.matches("of two", text)
      assert.is_nil(text:find "line")
      for _, lines in ipairs { "-n 2", "-n2", "--lines=2", "--lines 2" } do
        assert.equal(2, select(2, ask(path, "logs one " .. lines):gsub("\n", "")))
      end
      for _, follow in ipairs { "-fn2", "-fn 2", "-f -n2" } do
        local tail = client.start(path, "logs one " .. follow)
        tail:says "line 20"
        assert.equal(2, select(2, tail:stdout():gsub("\n", "")))
        tail:kill(process.KILL)
      end
      assert.matches("no worker is named 'nobody'", select(2, ask(path, "logs nobody", 1)))
      local line = http.json(ask(path, "logs --lines=1 --json two"):match "[^\n]*")
      assert.equal("two", line.worker)
    end)

    it("are followed from one life of the host to the next, nothing twice", function()
      local child, path = plane.start(SCRIPT)
      local tail = client.start(path, "logs -f one")
      tail:says "line 20"
      child:stop()
      tail:says "has gone; waiting for it"
      process.run(SCRIPT:gsub("line ", "next "), { "--socket", path, "--log-format", "logfmt" })
      tail:says "next 20"
      local seen = 0
      for n in tail:stdout():gmatch "next (%d+)" do
        seen = seen + 1
        assert.equal(seen, tonumber(n))
      end
      assert.equal(20, seen)
      assert.equal(1, select(2, tail:stdout():gsub("line 20", "")))
      tail:kill(process.KILL)
    end)

    it("go on behind the last line when only the connection was lost", function()
      local child, path = plane.start [[
        local decnet = require "decnet"
        decnet.worker("counter", function(self)
          for i = 1, 1e9 do self.log:info("n=" .. i .. ".") decnet.sleep(0.02) end
        end)
      ]]
      -- A proxy that hangs up after the first answer's first bytes.
      local dir = process.dir()
      local proxy, cut, pipes = uv.new_pipe(false), 0, {}
      proxy:bind(dir .. "/p.sock")
      proxy:listen(16, function()
        local inner, outer = uv.new_pipe(false), uv.new_pipe(false)
        pipes[#pipes + 1], pipes[#pipes + 2] = inner, outer
        proxy:accept(inner)
        local function close()
          for _, pipe in ipairs { inner, outer } do
            if not pipe:is_closing() then
              pipe:close()
            end
          end
        end
        outer:connect(path, function()
          inner:read_start(function(_, data)
            if data then outer:write(data) else close() end
          end)
          outer:read_start(function(_, data)
            if data then inner:write(data) end
            if not data or cut < 3 and data:find "n=%d+5%." then
              cut = cut + (data and 1 or 0)
              close()
            end
          end)
        end)
      end)
      local tail = client.start(dir .. "/p.sock", "logs -f")
      tail:says "n=80%."
      tail:kill(process.KILL)
      assert.equal(3, cut)
      local expected = 1
      for n in tail:stdout():gmatch "n=(%d+)%." do
        assert.equal(expected, tonumber(n))
        expected = expected + 1
      end
      for _, pipe in ipairs(pipes) do
        if not pipe:is_closing() then
          pipe:close()
        end
      end
      proxy:close()
      child:stop()
    end)
  end)

  it("events are shown as they happen, from one life of the host to the next", function()
    local child, path = plane.start()
    plane.in_state(path, "flaky", "backoff")
    local all = client.start(path, "events --all")
    all:says "flaky +crash +run 1, restart in 1m00s: workers.lua:5: boom"
    local tail = client.start(path, "events --json")
    process.wait(function() -- it has no way to say that it listens
      ask(path, "restart steady")
      return tail:stdout():find '"start"'
    end)
    assert.equal("steady", http.json(tail:stdout():match "[^\n]+").worker)
    child:stop()
    all:says "has gone; waiting for it"
    process.run([[
      local decnet = require "decnet"
      decnet.worker("reborn", function() decnet.park() end)
    ]], { "--socket", path })
    all:says "reborn +start +run 1"
    all:kill(process.KILL)
    tail:kill(process.KILL)
  end)

  it("events tell of groups, reasons, delays and what is over again", function()
    local _, path = plane.start [[
      local decnet = require "decnet"
      decnet.group("pair", { strategy = "one_for_all" })
      decnet.worker { name = "left", group = "pair", min_backoff = 0.01, reset_after = 0.05,
        run = function(self)
          if self.run == 1 then decnet.sleep(0.02) error "boom" end
          decnet.park()
        end }
      decnet.worker { name = "right", group = "pair", run = function() decnet.park() end }
      decnet.worker { name = "slow", notify = true, start_timeout = 0.02, restart = "never",
        run = function() decnet.park() end }
    ]]
    local all = client.start(path, "events --all")
    all:says "left +crash +run 1, restart in 0.0s: [^\n]*boom"
    all:says "left +group_restart +run %d, group pair, restart in 0.0s"
    all:says "left +recovered +run 2, after 0.0s"
    all:says "slow +crash +run 1, not ready within"
    all:kill(process.KILL)
  end)

  describe("wait", function()
    it("--ready comes back when all are ready, even if the host is still to start", function()
      local dir = process.dir()
      local waiter = client.start(dir .. "/c.sock", "wait --ready --timeout 60")
      local child = process.run([[
        local decnet = require "decnet"
        decnet.worker { name = "late", notify = true, run = function(self)
          decnet.sleep(0.3)
          self:ready()
          decnet.park()
        end }
        decnet.worker("over", function() end)
      ]], { "--socket", dir .. "/c.sock" })
      waiter:ends(0)
      assert.is_true(plane.in_state(dir .. "/c.sock", "late", "running").ready)
      child:stop()
    end)

    it("says who is not ready when its time is over, and who never will be", function()
      local _, path = plane.start()
      plane.in_state(path, "flaky", "backoff")
      local _, noise = ask(path, "wait --ready --timeout 0.1", 1)
      assert.matches("^decnet%-host: not ready within 0.1 s:\n  flaky is backoff: .*\n"
        .. "  a/b é is waiting: waits for late\n  late is running\n", noise)
      ask(path, "wait --ready steady")
      ask(path, "stop steady")
      _, noise = ask(path, "wait --ready steady", 1)
      assert.equal("decnet-host: will not be ready:\n  steady is stopped\n", noise)
      assert.matches("no worker is named 'nobody'", select(2, ask(path, "wait nobody", 1)))
    end)

    it("names only some of many who are not ready", function()
      local _, path = plane.start [[
        local decnet = require "decnet"
        for i = 1, 60 do
          decnet.worker { name = "w" .. i, notify = true, run = function()
            decnet.sleep(i == 1 and 0.3 or math.huge)
            error(("é"):rep(1000), 0)
          end, min_backoff = 60, max_backoff = 60 }
        end
      ]]
      local note = select(2, plane.in_state(path, "w1", "backoff")) or ""
      assert.equal("", note)
      local _, noise = ask(path, "wait --ready --timeout 0.1", 1)
      assert.matches("\n  w1 is backoff: éé[^\n]*…\n", noise)
      assert.matches("\n  ...\n$", noise)
      assert.is_truthy(utf8.len(noise))
      assert.matches("é", (ask(path, "status w1", 1)))
    end)

    it("comes back when a worker has ended, or all have, or the host has", function()
      local child, path = plane.start([[
        local decnet = require "decnet"
        decnet.worker("over", function() decnet.sleep(0.2) end)
        decnet.worker { name = "bad", restart = "never", run = function() error "no" end }
        decnet.worker("on", function() decnet.park() end)
      ]], { "--keep-alive" })
      ask(path, "wait over")
      local _, noise = ask(path, "wait bad", 1)
      assert.matches("^decnet%-host: failed:\n  bad is failed: workers.lua:3: no\n", noise)
      _, noise = ask(path, "wait --timeout 0", 1)
      assert.matches("no end within 0 s:\n  on is running\n", noise)
      local waiter = client.start(path, "wait")
      ask(path, "stop on")
      assert.matches("failed:\n  bad is failed: workers.lua:3: no\n$", waiter:ends(1):stderr())
      child:stop()
      local looks, close = 0, nil
      path, close = pretend(function()
        looks = looks + 1
        if looks == 3 then
          close()
        end
        return '{"host":{},"holder":null,"workers":[{"name":"on","state":"running","wanted":"up"}]}'
      end)
      ask(path, "wait")
      assert.equal(3, looks)
    end)

    it("says who had failed when the host went", function()
      local function gone(line, code)
        local looks, close = 0, nil
        local path
        path, close = pretend(function()
          looks = looks + 1
          if looks == 2 then
            close()
          end
          return [[{"host":{},"holder":null,"workers":[
            {"name":"mended","wanted":"up",
              "state":"]] .. (looks == 1 and "failed" or "running") .. [["},
            {"name":"bad","state":"failed","wanted":"up","last_error":{"message":"no"}},
            {"name":"on","state":"running","wanted":"up"}]}]]
        end)
        return select(2, ask(path, line, code))
      end
      assert.equal("decnet-host: failed:\n  bad is failed: no\n", gone("wait", 1))
      assert.equal("", gone("wait on", 0))
    end)
  end)

  describe("refuses", function()
    local cases = {
      { "status --nonsense", "unknown option '--nonsense'; see decnet-host status --help" },
      { "status --jsno", "unknown option '--jsno'; did you mean '--json'?" },
      { "logs --line=3", "unknown option '--line=3'; did you mean '--lines'?" },
      { "status -json", "unknown option '-json'; did you mean '--json'?" },
      { "logs -fx", "unknown option '-fx'; see decnet-host logs --help" },
      { "logs -fn", "a value expected behind '-fn'" },
      { "logs -nf", "a whole number >= 0 expected, got 'f'" },
      { "status --ready", "this verb has no option '--ready'; see decnet-host status --help" },
      { "status a b", "status: one name expected" },
      { "status --json --names", "--json and --names: give one" },
      { "stop", "stop: the name of a worker expected" },
      { "reload now", "reload: no operand expected" },
      { "wait --timeout", "a value expected behind '--timeout'" },
      { "wait --timeout=soon", "a number of seconds >= 0 expected, got 'soon'" },
      { "wait --timeout=nan", "a number of seconds >= 0 expected, got 'nan'" },
      { "wait --ready=yes", "no value expected in '--ready=yes'" },
      { "wait --timeout=-1", "a number of seconds >= 0 expected, got '-1'" },
      { "logs -n many", "a whole number >= 0 expected, got 'many'" },
      { "logs -n 5x", "a whole number >= 0 expected, got '5x'" },
      { "logs -n -3", "a whole number >= 0 expected, got '-3'" },
      { "status --socket", "a value expected behind '--socket'" },
      { "status --socket=", "a path expected behind '--socket'" },
      { "status --socket x --script y", "--socket and --script both say which host: give one" },
      { "status --script nothere.lua", "nothere.lua: No such file" },
      { "status --socket " .. ("x"):rep(200), "has at most 107 bytes, this one has 200" },
      { "top --socket x", "top needs a terminal; see decnet-host status" },
    }
    for _, case in ipairs(cases) do
      it(case[1]:sub(1, 40), function()
        local args = {}
        for word in case[1]:gmatch "%S+" do
          args[#args + 1] = word
        end
        local child = process.start(process.host, args):ends(2)
        assert.matches(case[2], child:stderr(), 1, true)
        assert.matches("^decnet%-host: [^\n]+\n$", child:stderr())
        assert.equal("", child:stdout())
      end)
    end

    it("nothing of --help", function()
      local text = process.start(process.host, { "events", "--help" }):ends(0):stdout()
      assert.matches("^usage: decnet%-host COMMAND, of a host that runs:\n  status ", text)
    end)
  end)

  describe("without a host", function()
    it("says where it has looked, and what to do", function()
      local dir = process.dir()
      for _, verb in ipairs { "status", "stop x", "reload", "shutdown", "logs", "logs -f", "events",
        "wait" } do
        local text, noise = ask(dir .. "/c.sock", verb, 3)
        assert.equal(("decnet-host: no host answers at %s/c.sock: is it running? pass --socket "
          .. "PATH\n"):format(dir), noise)
        assert.equal("", text)
      end
      process.write(dir .. "/script.lua", "")
      local child = process.start(process.host, { "status", "--script", "script.lua" },
        { cwd = dir, env = { XDG_RUNTIME_DIR = dir } })
      assert.matches("no host answers at /.*/decnet/script%-%x%x%x%x%x%x%x%x.sock: is it running",
        child:ends(3):stderr())
    end)

    it("says so when it has gone and left its socket", function()
      local child, path = plane.start()
      uv.kill(child.pid, process.KILL)
      process.wait(function() return child.code end)
      assert.matches("no host answers at", select(2, ask(path, "status", 3)))
    end)

    it("says so when what answers is none", function()
      for i, answer in ipairs { "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\n\r\n{\"host\": {",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{}", "",
        "HTTP/1.1 200 OK\r\n\r\n{\"host\":{},\"workers\":[{}]}",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 99999\r\n\r\n" .. ("no"):rep(4096) } do
        local where, close = pretend(function() return answer, "raw" end)
        local _, noise = ask(where, "status", i >= 8 and 1 or 3)
        close()
        assert.matches("^decnet%-host: [^\n]+\n$", noise)
        assert.matches(where, noise, 1, true)
      end
    end)

    -- Takes connections; `on_request(connection, text)` may answer.
    local function serve(on_request)
      local path = process.dir() .. "/x.sock"
      local server, connections = uv.new_pipe(false), {}
      server:bind(path)
      server:listen(64, function()
        local connection = uv.new_pipe(false)
        server:accept(connection)
        connections[#connections + 1] = connection
        connection:read_start(function(_, data)
          if data then on_request(connection, data) end
        end)
      end)
      return path, function()
        server:close()
        for _, connection in ipairs(connections) do
          connection:close()
        end
      end
    end

    it("gives up one that takes connections and says nothing, whatever it was to do", function()
      local path, close = serve(function() end)
      local clients = {}
      for i, line in ipairs { "status", "status w", "stop w", "restart --timeout 3600 w", "reload",
        "shutdown", "logs", "logs -f", "events", "wait" } do
        clients[i] = client.start(path, line)
      end
      for _, asking in ipairs(clients) do
        assert.matches("^decnet%-host: the host at [^\n]* has not answered for %d+ s: is it",
          asking:ends(3):stderr())
      end
      close()
    end)

    it("waits for one that answers others meanwhile", function()
      local timer, lives = uv.new_timer(), 0
      local function answer(connection, body)
        connection:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
      end
      local path, close = serve(function(connection, request)
        if request:find "^POST" then
          timer:start(6500, 0, function()
            answer(connection, '{"done":true,"worker":{"state":"stopped","run":1}}')
          end)
        elseif request:find "^GET /livez" then
          lives = lives + 1
          answer(connection, '{"live":true}')
        end
      end)
      assert.matches("^w: stopped", ask(path, "stop w"))
      assert.equal(1, lives)
      timer:close()
      close()
    end)

    it("gives up an answer that has no end", function()
      local heads = {
        status = '{"host":{},"holder":null,"workers":[', ["status w"] = '{"x":"', stop = '{"x":"',
      }
      local pieces = { status = '{"name":"a","state":"running"},', ["status w"] = "xxxxxxxxxx",
        stop = "xxxxxxxxxx" }
      for line, head in pairs(heads) do
        local path, close = serve(function(connection, request)
          local is_host = line == "status w" and not request:find "workers/w"
          local piece = pieces[line]:rep(10000)
          local function more(err)
            if not err and not connection:is_closing() then
              connection:write(piece, more)
            end
          end
          connection:write("HTTP/1.1 200 OK\r\n\r\n"
            .. (is_host and '{"host":{},"holder":null,"workers":[]}' or head))
          if is_host then
            connection:shutdown()
          else
            more()
          end
        end)
        local child = client.start(path, line == "stop" and "stop w" or line):ends(3, 60)
        assert.matches("^decnet%-host: the answer from [^\n]* cannot be read", child:stderr())
        close()
      end
    end)

    it("gives up one that hangs, and says which process it is", function()
      local child, path = plane.start()
      child:kill "sigstop"
      local _, noise = ask(path, "status", 3)
      child:kill "sigcont"
      assert.matches("^decnet%-host: the host at " .. path:gsub("%p", "%%%0") .. " %(process "
        .. child.pid .. "%) has not answered for %d+ s: ", noise)
      ask(path, "status", 1)
    end)
  end)

  it("finds the only host, the one of a script, and lists several", function()
    local dir = process.dir()
    local prefix = {}
    if uv.getuid() == 0 then
      if not process.has "setpriv" then
        return pending "root has one directory of sockets only, and setpriv is not installed"
      end
      prefix = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }
      uv.fs_chown(dir, 65534, 65534)
    end
    local function start(args, options)
      local words = table.move(prefix, 1, #prefix, 1, {})
      words[#words + 1] = process.host
      table.move(args, 1, #args, #words + 1, words)
      options = options or {}
      options.env = { XDG_RUNTIME_DIR = dir }
      return process.start("/usr/bin/env", words, options)
    end
    local function host(name, more)
      local own = process.dir()
      uv.fs_chmod(own, tonumber("755", 8))
      process.write(own .. "/" .. name, [[
        local decnet = require "decnet"
        decnet.worker("w", function() print "up" decnet.park() end)
      ]] .. (more or ""))
      local child = start({ name }, { cwd = own })
      child:says "up"
      return child, own .. "/" .. name
    end
    assert.matches("no host answers in " .. dir .. "/decnet: is one running?",
      start({ "status" }):ends(3):stderr(), 1, true)
    local one, one_path = host("one.lua",
      "decnet.worker { name = 'slow', notify = true, run = decnet.park }")
    assert.matches("^one.lua%[", start({ "status" }):ends(0):stdout())
    -- one that is still to come is waited for, but no longer than asked
    local nowhere = process.dir()
    uv.fs_chmod(nowhere, tonumber("755", 8))
    local function wait(...)
      local words = table.move(prefix, 1, #prefix, 1, {})
      table.move({ process.host, "wait", "--ready", ... }, 1, 3 + select("#", ...), #words + 1,
        words)
      return process.start("/usr/bin/env", words, { env = { XDG_RUNTIME_DIR = nowhere } })
    end
    assert.matches("no host answers in " .. nowhere .. "/decnet",
      wait("--timeout", "0.25"):ends(3):stderr(), 1, true)
    local waiter = wait("--timeout", "1")
    assert.is_nil(process.wait(function() return waiter.code end, 0.3))
    uv.fs_symlink(dir .. "/decnet", nowhere .. "/decnet")
    assert.equal("decnet-host: not ready within 1 s:\n  slow is running\n", waiter:ends(1):stderr())
    uv.fs_unlink(nowhere .. "/decnet")
    local two, two_path = host "two.lua"
    local noise = start({ "status" }):ends(2):stderr()
    assert.matches("^decnet%-host: 2 hosts answer; say which one with %-%-script FILE or "
      .. "%-%-socket PATH:\n  /", noise)
    assert.matches(("/one%%-%%x+.sock  process %d\n"):format(one.pid), noise)
    assert.matches(("/two%%-%%x+.sock  process %d\n"):format(two.pid), noise)
    assert.matches("^two.lua%[", start({ "status", "--script", two_path }):ends(0):stdout())
    assert.matches("^one.lua%[", start({ "status", "--script=" .. one_path }):ends(0):stdout())
    waiter = wait()
    assert.is_nil(process.wait(function() return waiter.code end, 0.15))
    uv.fs_symlink(dir .. "/decnet", nowhere .. "/decnet")
    waiter:ends(2) -- two answer there
    -- what is no socket of a host, or nobody's, is not looked at
    for _, name in ipairs { "x", "file.lock", "file.sock", ("x"):rep(90) .. ".sock" } do
      process.write(dir .. "/decnet/" .. name, "")
    end
    assert.matches("2 hosts answer", start({ "status" }):ends(2):stderr())
    local crowd = {}
    for i = 1, 20 do
      crowd[i] = uv.new_pipe(false)
      crowd[i]:bind(("%s/decnet/crowd%d.sock"):format(dir, i))
      uv.fs_chmod(("%s/decnet/crowd%d.sock"):format(dir, i), tonumber("777", 8))
      crowd[i]:listen(8, function() end)
    end
    noise = start({ "status" }):ends(2):stderr()
    assert.matches("22 hosts answer", noise)
    assert.matches("\n  ...\n", noise, 1, true)
    for i, pipe in ipairs(crowd) do
      pipe:close()
      os.remove(("%s/decnet/crowd%d.sock"):format(dir, i))
    end
    if #prefix > 0 then
      uv.fs_chmod(dir .. "/decnet", 0)
      assert.matches("decnet: Permission denied; pass --socket PATH",
        start({ "status" }):ends(3):stderr(), 1, true)
      uv.fs_chmod(dir .. "/decnet", tonumber("700", 8))
    end
    -- one that has gone without a word does not count
    uv.kill(two.pid, process.KILL)
    process.wait(function() return two.code end)
    assert.matches("^one.lua%[", start({ "status" }):ends(0):stdout())
    one:stop()
  end)

  it("takes huge answers, and a reader who goes away, without a word", function()
    local _, path = plane.start [[
      local decnet = require "decnet"
      for i = 1, 5000 do
        decnet.worker("worker" .. i, function(self)
          self.log:info(("x"):rep(300))
          decnet.park()
        end)
      end
    ]]
    plane.in_state(path, "worker5000", "running")
    local text = ask(path, "status")
    assert.equal(5003, select(2, text:gsub("\n", "")))
    assert.equal(5000, #http.json((ask(path, "status --json"))).workers)
    for _, line in ipairs { "status", "status --json", "logs", "logs -f", "events --all" } do
      local child = shell(path, "$HOST " .. line .. " --socket $C | head -n 1"):ends(0, 60)
      assert.equal("", child:stderr(), line)
      assert.is_true(#child:stdout() > 10, line)
    end
    -- it ends though nothing more comes that it could write
    shell(path, "$HOST logs -f -n 1 --socket $C | head -n 1"):ends(0, 60)
    local full = shell(path, "$HOST status --socket $C > /dev/full")
    assert.matches("decnet%-host: stdout: No space left", full:ends(1):stderr())
    for _, line in ipairs { "logs", "logs -f", "events --all" } do
      full = shell(path, "$HOST " .. line .. " --socket $C > /dev/full")
      assert.matches("decnet%-host: stdout: [^\n]+\n$", full:ends(1):stderr())
      assert.is_nil(full:stderr():find "Success", line)
    end
  end)

  it("links none of its libraries to the host", function()
    local needed = process.start("/bin/sh", { "-c", "ldd " .. process.host }):ends(0):stdout()
    assert.is_true(#needed > 0)
    for _, library in ipairs { "curl", "jansson", "ncurses", "microhttpd" } do
      assert.is_nil(needed:find(library, 1, true), library)
    end
  end)
end)
