-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"
local terminal = require "spec.process.terminal"

local TALKER = [[
  local decnet = require "decnet"
  decnet.worker("talker", function(self)
    self.log:debug "for debugging"
    self.log:info("for info", { number = 7, text = 'say "no"', flag = true })
    self.log:warn "for warning"
    self.log:error "for error"
  end)
  decnet.worker { name = "broken", restart = "never", run = function() error "boom\nbang" end }
]]

local LEVELS = { "debug", "info", "warn", "error" }

describe("the log", function()
  local children = {}

  lazy_setup(function()
    for _, format in ipairs { "logfmt", "json", "pretty" } do
      children[format] = process.run(TALKER, { "--log-format", format })
    end
    for _, level in ipairs(LEVELS) do
      children[level] = process.run(TALKER, { "--log-level", level })
    end
    children.loop = process.run [[
      local decnet = require "decnet"
      decnet.worker { name = "looper", max_backoff = 0, run = function(self)
        if self.run == 1000 then
          decnet.stop()
        end
        error "again"
      end }
    ]]
  end)

  lazy_teardown(process.cleanup)

  it("is logfmt where stderr is not a terminal", function()
    local log = children.info:ends(1):stderr()
    assert.matches('%f[^\n\0]ts=%d+%-%d+%-%d+T%d+:%d+:%d+%.%d+Z level=info worker=talker '
      .. 'msg="for info" flag=true number=7 text="say \\"no\\""\n', log)
  end)

  it("has one line for each event, as logfmt and as JSON", function()
    for format, line in pairs { logfmt = "^ts=[^\n]+$", json = "^{[^\n]+}$" } do
      local log = children[format]:ends(1):stderr()
      local count = 0
      for text in log:gmatch "[^\n]+" do
        assert.matches(line, text)
        count = count + (text:find "worker" and 1 or 0)
      end
      -- three of the talker's, done; crashed and given up
      assert.equal(6, count, log)
    end
  end)

  it("as JSON has its fields by name", function()
    local log = children.json:ends(1):stderr()
    assert.matches('"level":"info","worker":"talker","msg":"for info"', log, 1, true)
    assert.matches('"text":"say \\"no\\""', log, 1, true)
    assert.matches('"number":7', log, 1, true)
  end)

  it("is for people with --log-format pretty, and has no colours in a file", function()
    local log = children.pretty:ends(1):stderr()
    assert.matches("INFO +talker +for info", log)
    assert.matches("ERROR +broken +crashed", log)
    assert.is_nil(log:find "\27")
  end)

  it("tells what is at least as important as --log-level", function()
    for i, level in ipairs(LEVELS) do
      local log = children[level]:ends(1):stderr()
      for j, word in ipairs { "for debugging", "for info", "for warning", "for error" } do
        local is_told = log:find(word, 1, true) ~= nil
        assert.equal(j >= i, is_told, level .. ": " .. word)
      end
    end
  end)

  it("tells a crash with its error on one line, its run, and its traceback", function()
    local log = children.logfmt:ends(1):stderr()
    assert.matches('level=error worker=broken msg="crashed, not restarted" '
      .. 'error="[^\n]*boom[^\n]*bang" run=1 [^\n]*traceback="[^\n]*workers.lua:8: in function',
      log)
  end)

  it("of 1,000 crashes in a row is a few lines long (K06)", function()
    children.loop:ends(0)
    local lines = children.loop:count "\n"
    assert(lines < 30, children.loop:stderr():sub(1, 4000))
    children.loop:says "worker=looper msg=\"?crashed"
    children.loop:says "crashed %d+ times in the last"
  end)

  it("is for people on a terminal, in colours unless NO_COLOR is set", function()
    if not terminal.is_there() then
      return pending "script(1) is not installed"
    end
    finally(terminal.cleanup)
    local path = process.dir() .. "/workers.lua"
    process.write(path, TALKER)
    for _, no in ipairs { false, "", "1" } do
      local t = terminal.start(process.host, { "--no-control", path }, { env = { NO_COLOR = no } })
      t:ends(1)
      assert.matches("talker +for warning", (t.raw:gsub("\27%[[%d;]*m", "")))
      assert.equal(no ~= "1", t.raw:find("\27[", 1, true) ~= nil)
    end
  end)
end)
