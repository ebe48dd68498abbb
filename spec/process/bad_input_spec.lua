-- SPDX-License-Identifier: AGPL-3.0-or-later
local process = require "spec.process.process"

local HEAD = "local decnet = require 'decnet'\n" ..
  "decnet.worker('fine', function() print 'started' end)\n"

-- what is wrong, the script (nil: there is none), how the message begins, what else it says
local SCRIPTS = {
  { "A15 a syntax error", "local x =\n= 5\n", "workers.lua:2: unexpected symbol near '='" },
  { "a script that raises", HEAD .. "error 'no database'", "workers.lua:3: no database" },
  { "a script that raises a table", HEAD .. "error { code = 5 }",
    "workers.lua:3: raised a table;" },
  { "a script that raises nothing at all", HEAD .. "error()", "workers.lua:3: raised nothing;" },
  { "a script that raises an object", HEAD ..
    "error(setmetatable({}, { __tostring = function() return 'my error' end }))",
    "workers.lua:3: my error" },
  { "a script that yields", HEAD .. "coroutine.yield()",
    "workers.lua:3: attempt to yield from outside a coroutine" },
  { "a script that waits", HEAD .. "decnet.sleep(1)", "workers.lua:3: sleep: only a worker can" },
  { "a module that is not there", HEAD .. "require 'no.such.module'",
    "workers.lua:3: module 'no.such.module' not found" },
  { "a worker that is not callable", HEAD .. "decnet.worker('broken', 5)",
    'workers.lua:3: worker "broken": run: expected a function', "got 5" },
  { "a worker without a function", HEAD .. "decnet.worker { name = 'broken' }",
    'workers.lua:3: worker "broken": run: expected a function' },
  { "a worker without a name", HEAD .. "decnet.worker(print)", "workers.lua:3: worker: name: " },
  { "a started coroutine", HEAD .. "local co = coroutine.create(coroutine.yield)\n"
    .. "coroutine.resume(co)\ndecnet.worker('broken', co)",
    'workers.lua:5: worker "broken": run: ' },
  { "an unknown option of a worker", HEAD .. "decnet.worker { 'broken', print, max_backof = 5 }",
    'workers.lua:3: worker "broken": max_backof: unknown option; did you mean "max_backoff"?' },
  { "an option of the wrong type", HEAD .. "decnet.worker { 'broken', print, jitter = 'some' }",
    'workers.lua:3: worker "broken": jitter: expected a number', 'got "some"' },
  { "a name taken twice", HEAD .. "decnet.worker('fine', print)",
    'workers.lua:3: worker "fine" is already declared' },
  { "defaults that are wrong", HEAD .. "decnet.defaults { min_backoff = -1 }",
    "workers.lua:3: decnet.defaults.min_backoff: expected " },
  { "a wrong declaration in the returned list", HEAD ..
    "return { { 'one', print }, { 'broken', print, jitter = 3 } }",
    "workers.lua: return value[2].jitter: expected a number from 0 to 1, got 3",
    '(worker "broken")' },
  { "a returned value that is no list", HEAD .. "return 5",
    "workers.lua: return value: expected a list of declarations" },
  { "a worker after one that is not there", HEAD .. "decnet.worker { 'b', print, after = { 'c' } }",
    'workers.lua:3: worker "b": after[1]: no worker "c"' },
  { "a worker after one that is spelt another way",
    HEAD .. "decnet.worker { 'b', print, after = { 'finne' } }",
    'workers.lua:3: worker "b": after[1]: no worker "finne"; did you mean "fine"?' },
  { "a worker of the returned list after one that is not there",
    HEAD .. "return { { 'a', print }, { 'b', print, after = { 'c' } } }",
    'workers.lua: return value[2]: worker "b": after[1]: no worker "c"' },
  { "workers that wait for each other", HEAD .. "decnet.worker { 'a', print, after = { 'b' } }\n"
    .. "decnet.worker { 'b', print, after = { 'a' } }",
    "workers.lua:3: dependency cycle: a -> b -> a" },
  { "a compiled script", string.dump(load(HEAD)),
    "workers.lua: is precompiled Lua, which cannot be checked; pass its source" },
  { "a compiled script behind a byte order mark", "\xEF\xBB\xBF\27Lua\x54",
    "workers.lua: is precompiled Lua, which cannot be checked; pass its source" },
}

-- what is wrong, the arguments, the message
local COMMANDS = {
  { "a missing file", { "missing.lua" },
    "missing.lua: no such file; pass the path of a script that declares workers" },
  { "a directory", { "." }, ".: is a directory; pass the path of a script in it" },
  { "a path that leads through a file", { "workers.lua/x.lua" },
    "workers.lua/x.lua: cannot be read: Not a directory" },
  { "an unknown option", { "--log-levle", "debug", "workers.lua" },
    "unknown option '--log-levle'; did you mean '--log-level'?" },
  { "an option like no other", { "--frobnicate", "workers.lua" },
    "unknown option '--frobnicate'; see decnet-host --help" },
  { "a wrong value of an option", { "--log-format=jsno", "workers.lua" },
    "--log-format: one of pretty, logfmt, json expected, got 'jsno'; did you mean 'json'?" },
  { "a negative time", { "--shutdown-timeout", "-1", "workers.lua" },
    "--shutdown-timeout: a number of seconds >= 0 expected, got '-1'" },
  { "a slice of nothing", { "--slice", "0", "workers.lua" },
    "--slice: milliseconds from 0.1 to 10000 expected, got '0'" },
  { "a negative slice", { "--slice=-10", "workers.lua" },
    "--slice: milliseconds from 0.1 to 10000 expected, got '-10'" },
  { "a slice of days", { "--slice", "1e9", "workers.lua" },
    "--slice: milliseconds from 0.1 to 10000 expected, got '1e9'" },
  { "a slice that is no number", { "--slice", "nan", "workers.lua" },
    "--slice: milliseconds from 0.1 to 10000 expected, got 'nan'" },
  { "a slice that is a word", { "--slice", "x", "workers.lua" },
    "--slice: milliseconds from 0.1 to 10000 expected, got 'x'" },
  { "a slice in hexadecimal infinity", { "--slice", "0x1p2000", "workers.lua" },
    "--slice: milliseconds from 0.1 to 10000 expected, got '0x1p2000'" },
  { "a slice without its value", { "--slice" }, "--slice: a value expected" },
  { "no memory", { "--max-memory", "0", "workers.lua" },
    "--max-memory: bytes, or a size such as 512M (K, M or G), of at least 1M expected, "
      .. "got '0'" },
  { "negative memory", { "--max-memory", "-1", "workers.lua" },
    "--max-memory: bytes, or a size such as 512M (K, M or G), of at least 1M expected, "
      .. "got '-1'" },
  { "a size in more letters", { "--max-memory", "64MB", "workers.lua" },
    "--max-memory: bytes, or a size such as 64M (K, M or G), of at least 1M expected, "
      .. "got '64MB'" },
  { "a size without a unit", { "--max-memory", "64", "workers.lua" },
    "--max-memory: bytes, or a size such as 64M (K, M or G), of at least 1M expected, "
      .. "got '64'" },
  { "a size in an unknown unit", { "--max-memory", "64Q", "workers.lua" },
    "--max-memory: bytes, or a size such as 512M (K, M or G), of at least 1M expected, "
      .. "got '64Q'" },
  { "too little memory", { "--max-memory", "1000K", "workers.lua" },
    "--max-memory: bytes, or a size such as 512M (K, M or G), of at least 1M expected, "
      .. "got '1000K'" },
  { "memory that is no number", { "--max-memory", "nan", "workers.lua" },
    "--max-memory: bytes, or a size such as 512M (K, M or G), of at least 1M expected, "
      .. "got 'nan'" },
  { "an option without its value", { "--log-level" }, "--log-level: a value expected" },
  { "a flag with a value", { "--keep-alive=yes", "workers.lua" },
    "--keep-alive takes no value" },
  { "no script", { "run" }, "no script given; see decnet-host --help" },
  { "options and no script", { "--keep-alive" }, "no script given; see decnet-host --help" },
  { "a mistyped command", { "chekc", "workers.lua" },
    "no file and no command is named 'chekc'; did you mean 'check'?" },
  { "a mistyped command for a host that runs", { "statsu" },
    "no file and no command is named 'statsu'; did you mean 'status'?" },
  { "a word that is neither", { "frobnicate" },
    "no file and no command is named 'frobnicate'; see decnet-host --help" },
  { "a command behind options", { "--socket", "x", "status" },
    "no file is named 'status', and a command comes first: decnet-host status ..." },
  { "lua without a file", { "lua" }, "lua: no file given; see decnet-host --help" },
}

describe("bad input", function()
  local children = {}

  -- All at once: a sanitised process takes a while to start and to end.
  lazy_setup(function()
    for _, case in ipairs(SCRIPTS) do
      children[case] = process.run(case[2])
    end
    for _, case in ipairs(COMMANDS) do
      local dir = process.dir()
      process.write(dir .. "/workers.lua", "")
      children[case] = process.start(process.host, case[2], { cwd = dir })
    end
  end)

  lazy_teardown(process.cleanup)

  -- One message, exit code 2, and nothing was started.
  local function refuses(child, message, more)
    child:ends(2)
    local text = child:stderr()
    assert.equal("decnet-host: " .. message, text:sub(1, 13 + #message))
    assert(text:find(more or "", 1, true), text)
    assert.equal(1, select(2, text:gsub("\n%S", "%0")) + 1, text)
    assert.equal("", child:stdout())
  end

  for _, case in ipairs(SCRIPTS) do
    it("is refused: " .. case[1], function()
      refuses(children[case], case[3], case[4])
    end)
  end

  for _, case in ipairs(COMMANDS) do
    it("is refused on the command line: " .. case[1], function()
      refuses(children[case], case[3])
    end)
  end

  it("is refused by check as by run, even if it was never started", function()
    local dir = process.dir()
    process.write(dir .. "/workers.lua", HEAD .. "decnet.worker('broken', 5)")
    local child = process.start(process.host, { "check", "workers.lua" }, { cwd = dir })
    refuses(child, 'workers.lua:3: worker "broken": run: expected a function')
  end)

  it("is refused where a file may not be read", function()
    if require "luv".getuid() == 0 then
      return pending "root may read every file"
    end
    local dir = process.dir()
    process.write(dir .. "/workers.lua", HEAD)
    assert(require "luv".fs_chmod(dir .. "/workers.lua", 0))
    local child = process.start(process.host, { "workers.lua" }, { cwd = dir })
    refuses(child, "workers.lua: cannot be read: Permission denied")
  end)
end)
