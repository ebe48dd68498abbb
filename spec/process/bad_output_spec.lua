-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Where output cannot go, and output that nobody can read.
local http = require "spec.process.http"
local plane = require "spec.process.plane"
local process = require "spec.process.process"

local TALKER = [[
  local decnet = require "decnet"
  decnet.worker("talker", function(self)
    for i = 1, 100 do
      self.log:info("line", { i = i })
      print("printed", i)
      io.stderr:write("told ", i, "\n")
    end
    decnet.park()
  end)
  decnet.worker { name = "flaky", min_backoff = 0.01, max_backoff = 0.01, run = function(self)
    if self.run <= 10 then error "boom" end
    decnet.park()
  end }
]]

local function metric(path, name)
  return tonumber(http.ask(path, "GET", "/metrics").body:match("\n" .. name .. " (%S+)\n"))
end

-- Hosts by a shell that sends the output somewhere; waits until the control plane answers.
local function start(script, redirect)
  local dir = process.dir()
  process.write(dir .. "/workers.lua", script)
  local command = ("exec %q --socket c.sock workers.lua %s"):format(process.host, redirect)
  local child = process.start("/bin/sh", { "-c", command }, { cwd = dir })
  local path = dir .. "/c.sock"
  process.wait(function()
    local ok, answer = pcall(http.ask, path, "GET", "/livez")
    return child.code or ok and http.json(answer.body).silent_s == 0
  end)
  return child, path
end

describe("a full disk", function()
  lazy_teardown(process.cleanup)

  for what, redirect in pairs { ["the log"] = "2>/dev/full", stdout = ">/dev/full",
    both = ">/dev/full 2>&1" } do
    it(("under %s holds up no worker, and loses nothing for who follows"):format(what), function()
      local child, path = start(TALKER, redirect)
      plane.in_state(path, "talker", "running")
      process.wait(function()
        local flaky = plane.worker_of(select(2, plane.get(path, "/v1/workers")), "flaky")
        return flaky.run == 11 and flaky.ready
      end)
      local count = {}
      for line in http.ask(path, "GET", "/v1/logs?worker=talker").body:gmatch "([^\n]+)\n" do
        local kind = http.json(line).printed_to or "log"
        count[kind] = (count[kind] or 0) + 1
      end
      assert.same({ log = 100, stdout = 100, stderr = 100 }, count)
      local dropped = metric(path, "decnet_log_dropped_total")
      if redirect:find "2>" then
        assert.is_true(dropped >= 110, dropped) -- the crashes, too
      else
        assert.equal(0, dropped)
      end
      assert.equal(0, metric(path, "decnet_control_log_dropped_total"))
      child:stop()
    end)
  end

  it("that has room again is told how much it has missed", function()
    -- a file system of 64 KiB, in a mount namespace that goes with the host
    local script = [[
      local decnet = require "decnet"
      decnet.worker("filler", function(self)
        self.log:info "before"
        local filler = assert(io.open("disk/filler", "w"))
        filler:setvbuf "no"
        while filler:write(("x"):rep(512)) do end
        for i = 1, 1000 do
          self.log:info(("lost"):rep(50), { i = i })
        end
        filler:close()
        os.remove "disk/filler"
        self.log:info "after"
        local copy <close> = io.open("copy", "w")
        for line in io.lines "disk/log" do
          copy:write(line, "\n")
        end
      end)
    ]]
    local dir = process.dir()
    process.write(dir .. "/workers.lua", script)
    local child = process.start("unshare", { "-m", "sh", "-c",
      ("mkdir disk && mount -t tmpfs -o size=64k tmpfs disk || exit 77; exec %q --no-control "
        .. "workers.lua 2>disk/log"):format(process.host) }, { cwd = dir })
    process.wait(function() return child.code end)
    if child.code == 77 or child:stderr():find "unshare" then
      return pending "file systems cannot be mounted here"
    end
    child:ends(0)
    local log = process.read(dir .. "/copy")
    assert.matches("\n[^\n]* msg=before\n", "\n" .. log)
    -- some still fit where the last page was not full
    local last = tonumber(log:match ".* i=(%d+)\n") or 0
    local dropped = tonumber(log:match "\n[^\n]*msg=after[^\n]* log_dropped=(%d+)\n")
    assert.equal(1000, last + dropped, log:sub(-1000))
    assert.is_true(dropped > 500)
  end)
end)

describe("output that is not UTF-8", function()
  lazy_teardown(process.cleanup)

  local WRONG = [[
    local decnet = require "decnet"
    local wrong = "\xff\xc3(\xed\xa0\x80\xf8\0\27\u{202e}\"\\"
    decnet.worker { name = "wrong", restart = "never", run = function(self)
      local secret = wrong
      self.log:info(wrong, { [wrong] = wrong, list = { wrong }, n = 0 / 0 })
      print(wrong)
      io.stderr:write(wrong)
      load("local x = ... error(x .. 'end')", "=" .. wrong)(wrong, secret)
    end }
    decnet.worker { name = "again", restart = "never", run = function()
      error(setmetatable({}, { __tostring = function() return wrong end }))
    end }
    decnet.worker("calm", function() decnet.park() end)
  ]]

  it("leaves every line of the log JSON", function()
    local child = process.run(WRONG, { "--log-format", "json" })
    child:says '"worker":"again","msg":"given up'
    child:stop()
    local count = 0
    for line in child:stderr():gmatch "([^\n]+)\n" do
      if line:sub(1, 1) == "{" then
        assert.is_truthy(utf8.len(line), line)
        assert.is_table(http.json(line))
        count = count + 1
      end
    end
    assert.is_true(count >= 6, count)
  end)

  it("leaves every answer of the control plane JSON, and metrics text", function()
    local child, path = plane.start(WRONG)
    plane.in_state(path, "wrong", "failed")
    plane.in_state(path, "again", "failed")
    for _, target in ipairs { "/v1/workers", "/v1/workers/wrong", "/v1/workers/again" } do
      local answer = http.ask(path, "GET", target)
      assert.is_truthy(utf8.len(answer.body), target)
      assert.is_table(http.json(answer.body))
    end
    local body = http.ask(path, "GET", "/v1/logs").body
    local found = {}
    for line in body:gmatch "([^\n]+)\n" do
      assert.is_truthy(utf8.len(line), line)
      found[http.json(line).printed_to or "log"] = http.json(line).line
    end
    local wrong = "\u{fffd}\u{fffd}(\u{fffd}\u{fffd}\u{fffd}\u{fffd}\0\27\u{202e}\"\\"
    assert.equal(wrong, found.stdout)
    assert.equal(wrong, found.stderr)
    local stream = http.open(path, "GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
    process.wait(function() return select(2, stream.data:gsub("event: give_up", "")) == 2 end)
    stream.close()
    assert.is_truthy(utf8.len(stream.data))
    assert.is_truthy(utf8.len(http.ask(path, "GET", "/metrics").body))
    child:stop()
  end)
end)
