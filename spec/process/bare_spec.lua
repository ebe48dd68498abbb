-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet/core.so in a Lua of somebody else's making.
local process = require "spec.process.process"

describe("decnet.core in a plain lua5.4", function()
  if not io.open((process.cpath:gsub("%?", "decnet/core"))) then
    return pending "decnet/core.so is not there"
  end

  lazy_teardown(process.cleanup)

  local function lua(text)
    return process.start("lua5.4", { "-e", text },
      { env = { LUA_CPATH = process.cpath .. ";;" } }):ends(0):stdout()
  end

  it("loads where a sandbox has taken libraries away, or functions", function()
    assert.equal("function\n", lua [[
      local print, type, require = print, type, require
      io, os, debug, coroutine, collectgarbage = nil, nil, nil, nil, nil
      print(type(require "decnet.core".host))
    ]])
    assert.equal("function\tmine\n", lua [[
      local real = print
      function print(...) real(...) end
      io.read, io.lines, io.popen = nil, 5, function() return "mine" end
      local core = require "decnet.core"
      print(type(core.host), io.popen())
    ]])
  end)

  it("makes wrapped functions of luv that work without a host", function()
    assert.equal("file\tdirectory\n5\n", lua [[
      require "decnet.core"
      local uv = require "luv"
      local fd = assert(uv.fs_open("/etc/passwd", "r", 0))
      local stat = uv.fs_fstat(fd)
      uv.fs_close(fd)
      local timer, child = uv.new_timer(), nil
      timer:start(0, 0, function() timer:close() end)
      local kind
      uv.fs_stat("/", function(_, result) kind = result.type end)
      local code
      child = uv.spawn("/bin/sh", { args = { "-c", "exit 5" } }, function(c)
        code = c
        child:close()
      end)
      uv.run()
      print(stat.type, kind)
      print(code)
      uv.loop_close()
    ]])
  end)
end)
