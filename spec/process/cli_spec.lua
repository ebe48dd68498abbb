-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"

local function host(args, files)
  local dir = process.dir()
  for name, text in pairs(files or {}) do
    process.write(dir .. "/" .. name, text)
  end
  return process.start(process.host, args, { cwd = dir })
end

describe("decnet-host", function()
  lazy_teardown(process.cleanup)

  it("hosts with and without the word run, and passes arguments on", function()
    local script = [[
      print(arg[0], #arg, arg[1], arg[2], ...)
      require "decnet".worker("w", function() print "worked" end)
    ]]
    for _, before in ipairs { {}, { "run" }, { "--log-level", "error" }, { "run", "--" } } do
      local child = process.run(script, before, { "--first", "second" }):ends(0)
      assert.equal("workers.lua\t2\t--first\tsecond\t--first\tsecond\nworked\n", child:stdout())
    end
  end)

  it("starts workers in the order in which they were declared (B01)", function()
    local child = process.run [[
      local decnet = require "decnet"
      for i = 1, 5 do
        decnet.worker("w" .. i, function() print(i) end)
      end
      print "loaded"
      return { { "w6", function() print(6) end } }
    ]]
    assert.equal("loaded\n1\n2\n3\n4\n5\n6\n", child:ends(0):stdout())
  end)

  it("finds modules beside the script, wherever it was started", function()
    local dir = process.dir()
    assert(require "luv".fs_mkdir(dir .. "/app", 448))
    process.write(dir .. "/app/helper.lua", "return { word = 'found' }")
    process.write(dir .. "/app/workers.lua", [[
      local helper = require "helper"
      require "decnet".worker("w", function() print(helper.word) end)
    ]])
    local child = process.start(process.host, { "app/workers.lua" }, { cwd = dir })
    assert.equal("found\n", child:ends(0):stdout())
  end)

  it("finds modules beside the script before those of LUA_PATH", function()
    local dir = process.dir()
    process.write(dir .. "/helper.lua", "return 'beside'")
    process.write(dir .. "/workers.lua", "print((require 'helper'))")
    assert(require "luv".fs_mkdir(dir .. "/path", 448))
    process.write(dir .. "/path/helper.lua", "return 'of LUA_PATH'")
    for _, script in ipairs { "workers.lua", "./workers.lua" } do
      local child = process.start("/bin/sh",
        { "-c", ('LUA_PATH="$PWD/path/?.lua" exec "%s" %s'):format(process.host, script) },
        { cwd = dir })
      assert.equal("beside\n", child:ends(0):stdout())
    end
  end)

  it("shows at once what workers print, in a file, too", function()
    local child = process.run [[
      local decnet = require "decnet"
      decnet.worker("w", function() print "here" decnet.park() end)
    ]]
    child:says "^here\n"
    child:stop "sigterm"
  end)

  it("reads a script from a pipe", function()
    local dir = process.dir()
    local command = ("echo 'print(arg[0])' | %s /dev/stdin"):format(process.host)
    local child = process.start("/bin/sh", { "-c", command }, { cwd = dir }):ends(0)
    assert.equal("/dev/stdin\n", child:stdout())
  end)

  it("check loads, validates and names the workers, and runs nothing", function()
    local child = host({ "check", "--log-level=debug", "w.lua", "x" }, { ["w.lua"] = [[
      assert(arg[1] == "x")
      require "decnet".worker("one", function() print "started" end)
      return { { "two", print } }
    ]] })
    assert.equal("w.lua: ok, 2 workers\n  one\n  two\n", child:ends(0):stdout())
    assert.equal("", child:stderr())
  end)

  it("--help and --version answer on stdout, wherever they stand", function()
    for _, args in ipairs { { "--help" }, { "-h" }, { "run", "--help" }, { "check", "--help" },
      { "help" } } do
      assert.matches("^usage: decnet%-host ", host(args):ends(0):stdout())
    end
    for _, word in ipairs { "--version", "version" } do
      assert.matches("^decnet%-host %d+%.%d+%.%d+\n$", host({ word }):ends(0):stdout())
    end
  end)

  it("fits 80 columns with what it says of itself", function()
    for _, args in ipairs { { "--help" }, { "status", "--help" } } do
      for line in host(args):ends(0):stdout():gmatch "[^\n]+" do
        assert.is_true(#line <= 80, line)
      end
    end
  end)

  it("without any argument says how it is used, exit 2", function()
    assert.matches("^usage: decnet%-host ", host({}):ends(2):stderr())
  end)

  it("doctor tries what it says", function()
    local child = host({ "doctor" }):ends(0)
    local text = child:stdout()
    assert.matches("^decnet%-host [%d.]+ %([%a ]+%), Lua 5%.4%.%d+, libuv [%d.]+\n", text)
    assert.matches("\nok +a worker that crashes comes back after 1 2 4 8", text)
    assert.matches("\nok +awaits in nested coroutines", text)
    assert.matches("\nok +a worker that swallows its cancellation is killed", text)
    assert.is_nil(text:find "FAIL")
    assert.equal("", child:stderr())
  end)
end)

describe("a Lua that crashes in a __concat", function()
  lazy_teardown(process.cleanup)

  -- `doctor` has seen it crash, or not.
  local has_defect = host({ "doctor" }):ends(0):stdout():find("\nno +'a'..object..'b'") ~= nil

  local function warnings_of(args)
    local child = host(args, { ["w.lua"] = "return { { 'one', function() end } }" }):ends(0)
    local _, count = child:stderr():gsub("level=warn msg=\"this build of Lua 5%.4%.%d+ can end", "")
    return count
  end

  it("is warned of once by a host, and by nothing that hosts nobody", function()
    assert.equal(has_defect and 1 or 0, warnings_of { "w.lua" })
    assert.equal(0, warnings_of { "check", "w.lua" })
  end)

  it("is told by a look that does not crash, as by the crash", function()
    assert.equal(has_defect, require "decnet.core".has_concat_defect())
  end)
end)

describe("decnet-host lua", function()
  lazy_teardown(process.cleanup)

  it("runs a file with its arguments, with decnet and luv", function()
    local child = host({ "lua", "f.lua", "a", "--b" }, { ["f.lua"] = [[
      print(arg[0], #arg, ...)
      print(require "luv".version_string() ~= nil, require "decnet".worker ~= nil)
    ]] })
    assert.equal("f.lua\t2\ta\t--b\ntrue\ttrue\n", child:ends(0):stdout())
  end)

  it("ends with the exit code of the file", function()
    for text, code in pairs {
      ["os.exit(7)"] = 7, ["os.exit(true)"] = 0, ["os.exit(false)"] = 1, ["return 5"] = 0,
      ["error 'boom'"] = 1, ["error {}"] = 1, ["os.exit(3, true)"] = 3,
    } do
      host({ "lua", "f.lua" }, { ["f.lua"] = text }):ends(code)
    end
  end)

  it("shows an error with its traceback", function()
    local text = "local function f()\n error 'boom'\nend\nf()"
    local child = host({ "lua", "f.lua" }, { ["f.lua"] = text })
    assert.matches("^decnet%-host: f.lua:2: boom\nstack traceback:\n.*f.lua:4: in main chunk",
      child:ends(1):stderr())
  end)

  it("refuses a missing file and a syntax error, exit 2", function()
    assert.matches("missing.lua", host({ "lua", "missing.lua" }):ends(2):stderr(), 1, true)
    local child = host({ "lua", "f.lua" }, { ["f.lua"] = "x = = 1" })
    assert.matches("f.lua:1: unexpected symbol", child:ends(2):stderr(), 1, true)
  end)

  it("hosts a group that ends with its stop event", function()
    local child = host({ "lua", "f.lua" }, { ["f.lua"] = [[
      local decnet = require "decnet"
      local stop = decnet.event()
      decnet.run_group({ { "w", function() stop:set() end } }, { stop = stop, log = false })
      print "over"
    ]] })
    assert.equal("over\n", child:ends(0):stdout())
  end)
end)
