-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What one can follow: events, log lines, metrics; and the document that says so.
local http = require "spec.process.http"
local plane = require "spec.process.plane"
local process = require "spec.process.process"
local uv = require "luv"

local SCRIPT = [[
  local decnet = require "decnet"
  decnet.worker("steady", function(self)
    self.log:info("hello \xff", { who = "steady" })
    decnet.park()
  end)
  decnet.worker { name = 'odd "\\', run = function(self)
    self.log:warn("I am odd")
    decnet.park()
  end }
  decnet.worker { name = "flaky", min_backoff = 0.05, max_backoff = 0.05, run = function(self)
    if self.run <= 3 then error "boom" end
    decnet.park()
  end }
]]

-- The events in the text of a stream: { event =, id =, data = } each.
local function events_of(text)
  local list = {}
  local answer = http.parse(text, true)
  for block in (answer and answer.body or ""):gmatch "(.-)\n\n" do
    local event, data = block:match "event: ([^\n]+)", block:match "data: ([^\n]+)"
    if event and data then
      list[#list + 1] = { event = event, id = block:match "id: ([^\n]+)", data = http.json(data) }
    end
  end
  return list
end

local function follow(path, target, header)
  return http.open(path, ("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(target, header or ""))
end

local function lines_of(answer)
  local list = {}
  for line in answer:gmatch "([^\n]+)\n" do
    list[#list + 1] = http.json(line)
  end
  return list
end

local function run(file, args, text)
  local dir = process.dir()
  process.write(dir .. "/in", text or "")
  local child = process.start(file, args, { cwd = dir, stdin = dir .. "/in" })
  process.wait(function() return child.code end, 60)
  return child
end

describe("the control plane", function()
  local child, path
  lazy_setup(function()
    child, path = plane.start(SCRIPT, { "--listen", "0" })
    process.wait(function()
      local flaky = plane.worker_of(select(2, plane.get(path, "/v1/workers")), "flaky")
      return flaky.run == 4 and flaky.state == "running"
    end)
  end)
  lazy_teardown(process.cleanup)

  describe("tells events", function()
    it("from the beginning, if asked", function()
      local stream = follow(path, "/v1/events?after=0")
      local events
      process.wait(function()
        events = events_of(stream.data)
        return #events > 0 and events[#events].event == "ready" and events[#events].data.run == 4
      end)
      stream.close()
      local kinds = {}
      for i, event in ipairs(events) do
        assert.equal(i, event.data.id)
        assert.equal(event.event, event.data.event)
        if event.data.worker == "flaky" and event.event ~= "state" then
          kinds[#kinds + 1] = event.event
        end
        if event.event == "crash" then
          assert.matches("boom$", event.data.error)
          assert.equal(0.05, event.data.delay)
          assert.is_true(event.data.will_restart)
        end
      end
      assert.equal("start ready crash restart start ready crash restart start ready crash restart "
        .. "start ready", (table.concat(kinds, " "):gsub("start crash", "start ready crash")))
    end)

    it("from where a client was, as they come", function()
      local stream = follow(path, "/v1/events?after=0")
      process.wait(function() return #events_of(stream.data) > 3 end)
      local third = events_of(stream.data)[3]
      stream.close()
      stream = follow(path, "/v1/events", ("Last-Event-ID: %s\r\n"):format(third.id))
      process.wait(function() return #events_of(stream.data) > 0 end)
      assert.equal(4, events_of(stream.data)[1].data.id)
      local before = #events_of(stream.data)
      plane.post(path, "/v1/workers/steady/restart")
      process.wait(function()
        local events = events_of(stream.data)
        return #events > before and events[#events].event == "ready"
      end)
      stream.close()
      -- the ids of another host's life say nothing here
      stream = follow(path, "/v1/events", "Last-Event-ID: abc-99999\r\n")
      process.wait(function() return #events_of(stream.data) > 0 end)
      assert.equal(1, events_of(stream.data)[1].data.id)
      stream.close()
      stream = follow(path, "/v1/events") -- what is new only
      plane.post(path, "/v1/workers/steady/restart")
      process.wait(function() return #events_of(stream.data) > 0 end)
      assert.is_true(events_of(stream.data)[1].data.id > before)
      stream.close()
    end)

    it("and tells who is too slow how many he missed", function()
      local own, own_path = plane.start [[
        local decnet = require "decnet"
        decnet.worker { name = "flood", min_backoff = 1e-4, max_backoff = 1e-4, run = function(self)
          if self.run > 3000 then decnet.park() end
          error(("x"):rep(1000))
        end }
      ]]
      local stream = follow(own_path, "/v1/events?after=0")
      process.wait(function() return #stream.data > 0 end)
      stream.handle:read_stop()
      process.wait(function()
        return select(2, plane.get(own_path, "/v1/workers")).workers[1].run == 3001
      end)
      stream.handle:read_start(function(_, data) stream.data = stream.data .. (data or "") end)
      process.wait(function() return stream.data:find('"run":3001,.*\n\n') end)
      stream.close()
      local events = events_of(stream.data)
      local missed, last, told = 0, 0, 0
      for _, event in ipairs(events) do
        if event.event == "missed" then
          assert.is_nil(event.id)
          missed = missed + event.data.missed
          told = told + event.data.missed
        else
          assert.equal(last + told + 1, event.data.id)
          last, told = event.data.id, 0
        end
      end
      assert.is_true(missed > 0, missed)
      own:stop()
    end)

    it("and ends the stream with the host", function()
      local own, own_path = plane.start(SCRIPT)
      local stream = follow(own_path, "/v1/events?after=0")
      process.wait(function() return #events_of(stream.data) > 0 end)
      plane.post(own_path, "/v1/shutdown?wait=0")
      own:ends(0)
      process.wait(function() return stream.over end)
      assert.is_true(stream.over)
      local events = events_of(stream.data)
      assert.equal("stop", events[#events].event)
      stream.close()
    end)
  end)

  describe("shows the log", function()
    it("as JSON, whatever is in it", function()
      local lines = lines_of(http.ask(path, "GET", "/v1/logs").body)
      assert.is_true(#lines > 4)
      local found = {}
      for i, line in ipairs(lines) do
        assert.is_true(i == 1 or line.id > lines[i - 1].id)
        assert.is_true(line.time > 1e9)
        found[line.worker or "host"] = found[line.worker or "host"] or line
      end
      assert.matches("hello \u{fffd}", found.steady.line)
      assert.equal("info", found.steady.level)
      assert.equal("warn", found['odd "\\'].level)
      assert.matches("listening", found.host.line)
    end)

    it("of one worker, the last lines, or those behind a line", function()
      local lines = lines_of(http.ask(path, "GET", "/v1/logs?worker=odd%20%22%5C").body)
      assert.equal(1, #lines)
      assert.matches("I am odd", lines[1].line)
      lines = lines_of(http.ask(path, "GET", "/v1/logs?lines=2").body)
      assert.equal(2, #lines)
      local behind = lines_of(http.ask(path, "GET", "/v1/logs?after=" .. lines[1].id).body)
      assert.equal(lines[2].id, behind[1].id)
      assert.equal(0, #lines_of(http.ask(path, "GET", "/v1/logs?lines=0").body))
      assert.equal(404, http.ask(path, "GET", "/v1/logs?worker=nobody").status)
    end)

    it("as it comes, and tells who is too slow what he missed", function()
      local own, own_path = plane.start([[
        local decnet = require "decnet"
        decnet.worker("chatty", function(self)
          for i = 1, 20000 do
            self.log:info(("x"):rep(200), { number = i })
          end
          print "all said"
          decnet.park()
        end)
      ]], { "--keep-alive" })
      local stream = follow(own_path, "/v1/logs?follow=1&lines=0")
      own:says "all said"
      plane.post(own_path, "/v1/workers/chatty/stop")
      process.wait(function() return stream.data:find "msg=stopped" end)
      assert.is_truthy(stream.data:find "msg=stopped")
      stream.close()
      local lines = lines_of(http.ask(own_path, "GET", "/v1/logs?lines=1000000").body)
      assert.is_true(#lines > 100 and #lines < 20000, #lines)
      assert.matches("msg=stopped", lines[#lines].line)
    end)
  end)

  describe("has metrics", function()
    it("that promtool takes", function()
      if not process.has "promtool" then
        return pending "promtool (Debian: prometheus) is not installed"
      end
      local text = http.ask(path, "GET", "/metrics").body
      local tool = run("promtool", { "check", "metrics" }, text)
      assert.equal("", tool:stdout() .. tool:stderr())
      assert.equal(0, tool.code)
      tool = run("promtool", { "check", "metrics" }, text .. "\nthis is none\n") -- it can complain
      assert.is_true(tool.code ~= 0)
    end)

    it("that say what happened", function()
      local text = http.ask(path, "GET", "/metrics").body
      local function value(pattern)
        return tonumber(text:match("\n" .. pattern .. " (%S+)"))
      end
      assert.equal(3, value 'decnet_worker_restarts_total{worker="flaky",cause="error"}')
      assert.equal(0, value 'decnet_worker_restarts_total{worker="flaky",cause="returned"}')
      assert.equal(1, value 'decnet_worker_state{worker="flaky",state="running"}')
      assert.equal(0, value 'decnet_worker_state{worker="flaky",state="backoff"}')
      assert.equal(3, value 'decnet_worker_streak{worker="flaky"}')
      assert.is_true(value 'decnet_worker_uptime_seconds{worker="flaky"}' > 0)
      assert.equal(1, value 'decnet_worker_ready{worker="odd \\"\\\\"}')
      assert.equal(3, value "decnet_host_workers")
      assert.equal(0, value "decnet_host_not_ready")
      assert.is_true(value "decnet_loop_turns_total" > 0)
      local count = value "decnet_wakeup_lateness_seconds_count"
      assert.is_true(count >= 3) -- the restarts
      assert.equal(count, value 'decnet_wakeup_lateness_seconds_bucket{le="%+Inf"}')
      assert.is_true(value 'decnet_worker_memory_bytes{worker="steady"}' > 0)
    end)

    it("that a real Prometheus scrapes", function()
      if not process.has "prometheus" then
        return pending "prometheus is not installed"
      end
      local probe = uv.new_tcp()
      probe:bind("127.0.0.1", 0)
      local own_port = probe:getsockname().port
      probe:close()
      local port = child:says "listening at 127.0.0.1:(%d+)"
      local dir = process.dir()
      process.write(dir .. "/p.yml", ([[
global: { scrape_interval: 200ms, scrape_timeout: 200ms }
scrape_configs:
  - job_name: decnet
    static_configs: [ { targets: [ "127.0.0.1:%s" ] } ]
]]):format(port))
      process.start("prometheus", { "--config.file=" .. dir .. "/p.yml",
        "--storage.tsdb.path=" .. dir .. "/data",
        "--web.listen-address=127.0.0.1:" .. own_port }, { cwd = dir })
      local body
      process.wait(function()
        local ok, answer = pcall(http.ask, own_port, "GET",
          "/api/v1/query?query=decnet_worker_restarts_total%7Bcause%3D%22error%22%7D",
          { patience = 5 })
        body = ok and answer.body or ""
        return body:find '"flaky"'
      end, 60)
      assert.matches('"worker":"flaky"', body, 1, true)
      assert.matches('"3"', body, 1, true)
    end)
  end)

  describe("is described in docs/control.md", function()
    local text = process.read(process.tree "docs/control.md")

    -- The words in the first column of the table whose head this is.
    local function column(head)
      local words, is_in = {}, false
      for line in text:gmatch "([^\n]*)\n" do
        is_in = is_in and line:sub(1, 1) == "|" or line:sub(1, #head) == head
        local word = is_in and line:match "^| `([^`]+)`"
        if word then
          words[#words + 1] = word
        end
      end
      table.sort(words)
      return words
    end

    local function keys(object)
      local list = {}
      for key in pairs(object) do
        list[#list + 1] = key
      end
      table.sort(list)
      return list
    end

    it("field by field", function()
      local _, reply = plane.get(path, "/v1/workers")
      assert.same({ "holder", "host", "workers" }, keys(reply))
      assert.same(column "| field of `host`", keys(reply.host))
      for _, worker in ipairs(reply.workers) do
        assert.same(column "| field | type", keys(worker))
      end
      assert.same({ "at", "message", "run", "traceback" },
        keys(plane.worker_of(reply, "flaky").last_error))
      local _, flaky = plane.get(path, "/v1/workers/flaky")
      assert.equal(#column "| field | type" + 1, #keys(flaky))
      assert.same({ "at", "decision", "delay", "ended", "error", "reason", "run", "traceback",
        "variables" }, keys(flaky.endings[1]))
    end)

    it("with the types", function()
      local _, reply = plane.get(path, "/v1/workers")
      local count = 0
      for name, types in text:gmatch "\n| `([%w_]+)` | (%l[%l ]+) |" do
        local value = plane.worker_of(reply, "flaky")[name]
        if value == nil then
          value = reply.host[name]
        end
        local is_type = {}
        for word in types:gmatch "%l+" do
          is_type[word == "object" and "table" or word] = true
        end
        if value ~= nil then
          local kind = value == http.null and "null" or type(value)
          assert.is_true(is_type[kind], name .. " is " .. kind)
          count = count + 1
        end
      end
      assert.is_true(count >= 28, count)
    end)

    it("path by path, with the parameters", function()
      local count = 0
      for method, target, params in text:gmatch "\n| (%u+) | `(/[^`]+)` |([^|]*)|" do
        target = target:gsub("NAME", "nobody")
        local other = method == "GET" and "POST" or "GET"
        local answer = http.ask(path, other, target)
        assert.equal(405, answer.status, target)
        answer = http.ask(path, method, target .. "?nonsense=1")
        assert.equal(400, answer.status, target)
        local known = http.json(answer.body).error:match "knows: (.*)$"
        local words = {}
        for word in params:gmatch "`(%l+)`" do
          words[#words + 1] = word
        end
        assert.equal(#words > 0 and table.concat(words, " ") or "none", known, target)
        count = count + 1
      end
      assert.equal(14, count)
    end)

    it("metric by metric", function()
      local metrics = {}
      local body = http.ask(path, "GET", "/metrics").body
      for name, kind in body:gmatch "# TYPE (%S+) (%S+)" do
        metrics[#metrics + 1] = name .. " " .. kind
      end
      local described = {}
      for name, kind in text:gmatch "\n| `(decnet_[%w_]+)` | (%l+) |" do
        described[#described + 1] = name .. " " .. kind
      end
      table.sort(metrics)
      table.sort(described)
      assert.same(described, metrics)
    end)

    it("and the dashboard asks for nothing else", function()
      local metrics = {}
      for _, name in ipairs(column "| name | type") do
        metrics[name] = true
      end
      local dashboard = process.read(process.tree "examples/grafana/decnet-host.json")
      local count = 0
      assert.is_table(http.json(dashboard).panels)
      for name in dashboard:gmatch "decnet_[%w_]+" do
        assert.is_true(metrics[name] or metrics[name:gsub("_bucket$", "")] ~= nil, name)
        count = count + 1
      end
      assert.is_true(count > 10)
    end)
  end)

  it("costs a host without it no library", function()
    local _, own_path = plane.start(SCRIPT)
    local function maps(pid)
      return process.read(("/proc/%d/maps"):format(pid))
    end
    assert.matches("microhttpd", maps(select(2, plane.get(own_path, "/v1/workers")).host.pid))
    local bare = process.run(SCRIPT, { "--no-control" })
    bare:says "I am odd"
    local text = maps(bare.pid)
    assert.is_true(#text > 0)
    assert.is_nil(text:find "microhttpd")
    assert.is_nil(text:find "jansson")
    bare:stop()
  end)
end)
