-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The examples as processes, with real sockets, files and signals, so that they cannot rot.
local process = require "spec.process.process"
local uv = require "luv"

-- Seconds of the day of a line of the log.
local function time_of(child, pattern)
  local line = child:stderr():match("[^\n]*" .. pattern)
  assert(line, pattern .. " is not in the log:\n" .. child:stderr())
  local hours, minutes, seconds = line:match "T(%d+):(%d+):([%d.]+)Z"
  return hours * 3600 + minutes * 60 + seconds
end

local function between(child, first, second)
  return (time_of(child, second) - time_of(child, first)) % 86400
end

describe("examples/workers.lua", function()
  local main, child, port, input

  local function start(command, args)
    local dir = process.dir()
    return process.start(command, args, {
      cwd = dir, env = { ECHO_PORT = "0", FOLLOW_FILE = dir .. "/input.txt" },
    })
  end

  lazy_setup(function()
    local example = process.tree "examples/workers.lua"
    -- The command of the README, as it stands; it takes its five seconds beside all the others.
    main = start("timeout", { "--preserve-status", "-s", "TERM", "5", process.host, example })
    child = start(process.host, { example })
    input = child.dir .. "/input.txt"
    port = tonumber(child:says "worker=echo msg=listening port=(%d+)")
  end)

  lazy_teardown(process.cleanup)

  it("has an echo server that answers nc", function()
    process.write(child.dir .. "/hello.txt", "hello\nthere\n")
    local nc = process.start("nc", { "-N", "127.0.0.1", tostring(port) },
      { stdin = child.dir .. "/hello.txt" }):ends(0)
    assert.equal("hello\nthere\n", nc:stdout())
  end)

  it("has an echo server that returns megabytes unchanged, to several at once", function()
    local text = ("0123456789abcdef"):rep(65536 * 2)
    assert.equal(#text, #process.talk(port, text))
    assert(process.talk(port, text) == text)
  end)

  it("has an echo server that survives a client that is reset or never reads", function()
    local rude = uv.new_tcp()
    local is_written = false
    rude:connect("127.0.0.1", port, function(err)
      assert(not err, err)
      rude:write(("x"):rep(1 << 20))
      is_written = true
    end)
    process.wait(function() return is_written end)
    local is_closed = false
    rude:close_reset(function() is_closed = true end)
    process.wait(function() return is_closed end)
    assert.equal("still there", process.talk(port, "still there"))
    assert.equal(0, child:count "worker=echo msg=crashed")
  end)

  it("has a follower that appends what it sees to a log", function()
    local log = input .. ".log"
    local function is_copied(text)
      return function() return process.read(log) == text end
    end
    child:says "worker=follower msg=following"
    process.write(input, "one\ntwo\n")
    assert(process.wait(is_copied "one\ntwo\n"))
    process.write(input, "three\n", "ab")
    assert(process.wait(is_copied "one\ntwo\nthree\n"))
    process.write(input, "4\n") -- truncated and written anew
    assert(process.wait(is_copied "one\ntwo\nthree\n4\n"))
  end)

  it("stops with every cleanup run, though clients are connected", function()
    local is_connected = false
    local client = uv.new_tcp()
    client:connect("127.0.0.1", port, function(err)
      assert(not err, err)
      client:write("knock")
      client:read_start(function(_, data) is_connected = is_connected or data == "knock" end)
    end)
    assert(process.wait(function() return is_connected end))
    child:stop("sigterm", 0)
    client:close()
    child:says "worker=ticker msg=ticked times=%d"
    child:says "worker=echo msg=closed clients=1"
    child:says "worker=follower msg=followed file=%S+ to=2\n"
    for _, name in ipairs { "ticker", "flaky", "echo", "follower" } do
      child:says("worker=" .. name .. " msg=stopped")
    end
  end)

  it("ticks, restarts flaky after 1 and 2 seconds, ends with 0 within a second", function()
    main:ends(0)
    assert(main:count "worker=ticker msg=tick run=1" >= 4, main:stderr())
    main:says "worker=flaky msg=crashed error=\"[^\n]*: boom\" run=1 restart_in=1 "
    main:says "worker=flaky msg=crashed error=\"[^\n]*: boom\" run=2 restart_in=2 "
    main:says "worker=flaky msg=stopped run=[3-9]"
    assert(between(main, "error=[^\n]* run=1 ", "error=[^\n]* run=2 ") >= 1.2)
    for _, name in ipairs { "ticker", "echo", "follower" } do
      assert(between(main, "msg=\"stopping", "worker=" .. name .. " msg=stopped") < 1)
    end
  end)

  it("refuses a port that is none", function()
    local refused = process.start(process.host, { process.tree "examples/workers.lua", "many" })
    assert.matches("workers.lua:%d+: PORT: expected a number", refused:ends(2):stderr())
  end)
end)

describe("examples/batch.lua", function()
  lazy_teardown(process.cleanup)

  it("does every order, and takes up what crashed runs left behind", function()
    local child = process.start(process.host, { process.tree "examples/batch.lua", "0.05" })
    child:says "worker=mutate msg=\"?crashed"
    child:says "msg=reconciled done=%d+ retried=[1-9]"
    -- all that was ordered until now is done a while later
    local ordered = tonumber(child:stderr():match ".*msg=ordered last=(%d+)")
    assert(process.wait(function()
      return tonumber(child:stderr():match ".*msg=reconciled done=(%d+)") >= ordered
    end), child:stderr())
    child:stop("sigterm", 0)
    for _, name in ipairs { "store", "orchestrate", "enrich", "mutate", "reconcile" } do
      child:says("worker=" .. name .. " msg=stopped")
    end
    for _, name in ipairs { "store", "orchestrate", "enrich", "reconcile" } do
      assert.equal(0, child:count("worker=" .. name .. " msg=\"?crashed"), child:stderr())
    end
  end)
end)

describe("examples/embed.lua, under a plain lua5.4", function()
  if not io.open((process.cpath:gsub("%?", "decnet/core"))) then
    return pending "decnet/core.so is not there"
  end

  local function start(...)
    return process.start("lua5.4", { process.tree "examples/embed.lua", ... }, { env = {
      LUA_PATH = process.tree "lua/?.lua" .. ";" .. process.tree "lua/?/init.lua" .. ";;",
      LUA_CPATH = process.cpath .. ";;",
    } })
  end

  local quick, slow

  lazy_setup(function()
    quick, slow = start "0.5", start "60"
  end)

  lazy_teardown(process.cleanup)

  it("tries again until it is connected, and hosts until its event is set", function()
    quick:ends(0)
    assert.equal("connected\t3 attempts", quick:stdout():match "^[^\n]*")
    assert.matches("\nstopped\tsum %d+\n$", quick:stdout())
    assert.equal(2, quick:count "worker=connect msg=crashed")
  end)

  it("stops on SIGTERM, and goes on behind run_group", function()
    slow:says "worker=sensor msg=measuring"
    slow:stop("sigterm", 0)
    assert.matches("\nstopped\tsum %d+\n$", slow:stdout())
  end)
end)
