-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Where stderr goes to the journal; what it is told is in spec/obs/test_journal.c.
local process = require "spec.process.process"
local uv = require "luv"

local SCRIPT = [[
  local decnet = require "decnet"
  decnet.worker("one", function(self)
    self.log:info("hello", { n = 1 })
    self.log:error "trouble"
  end)
]]

-- A host whose stderr is, or is not, what JOURNAL_STREAM names. The file is there before it starts.
local function host(options, before)
  local dir = process.dir()
  process.write(dir .. "/workers.lua", SCRIPT)
  process.write(dir .. "/log", "")
  local stat = uv.fs_stat(dir .. "/log")
  local stream = ("%d:%d"):format(stat.dev, stat.ino + (options.other or 0))
  local command = ("exec %q %s workers.lua 2>log"):format(process.host, before or "")
  local child = process.start("/bin/sh", { "-c", command },
    { cwd = dir, env = { JOURNAL_STREAM = stream } })
  child:ends(0)
  return "\n" .. process.read(dir .. "/log")
end

describe("a host whose stderr is the journal's", function()
  lazy_teardown(process.cleanup)

  it("writes lines with their priority when the journal is not to be had", function()
    if uv.fs_stat "/run/systemd/journal/socket" then
      return pending "there is a journal, which would take the lines"
    end
    local log = host {}
    assert.matches('\n<6>ts=%S+ level=info worker=one msg=hello n=1\n<3>ts=%S+ level=error '
      .. 'worker=one msg=trouble\n<6>', log)
  end)

  it("and with a format of its own always", function()
    assert.matches('\n<6>{"ts":"%S+","level":"info","worker":"one","msg":"hello","n":1}\n<3>{',
      host({}, "--log-format json"))
  end)

  it("does neither if the variable names another file", function()
    assert.matches("\nts=%S+ level=info worker=one msg=hello n=1\nts=", host { other = 1 })
  end)
end)
