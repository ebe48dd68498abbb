-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Scripts written for plain luv are workers as they stand: luv's own examples, unmodified, beside
-- each other in one process.
local process = require "spec.process.process"
local uv = require "luv"

local EXAMPLES = "/usr/share/doc/lua-luv-dev/examples/uvbook/"
local PORT = 1337 -- the examples'

-- The examples have a fixed port and a fixed path: one of us at a time on this machine.
local function lock()
  local socket = uv.new_tcp()
  assert(process.wait(function()
    socket:bind("127.0.0.1", PORT + 1)
    if socket:listen(1, function() end) then
      return true
    end
    socket:close()
    socket = uv.new_tcp()
  end, 120), "somebody else holds port " .. PORT + 1)
  return socket
end

-- Send text, wait for as much, and close.
local function echo(client, connect, text)
  local answer, is_over = "", false
  connect(client, function(err)
    assert(not err, err)
    client:write(text)
    client:read_start(function(read_err, data)
      answer = answer .. (data or "")
      is_over = read_err ~= nil or data == nil or #answer >= #text
    end)
  end)
  assert(process.wait(function() return is_over end))
  client:close()
  return answer
end

local function over_tcp(client, callback)
  client:connect("127.0.0.1", PORT, callback)
end

local function over_pipe(client, callback)
  client:connect("/tmp/echo.sock", callback)
end

describe("luv's own examples in one host", function()
  local held, child

  lazy_setup(function()
    assert(uv.fs_stat(EXAMPLES .. "tcp-echo-server.lua"),
      "luv's examples are not installed: apt-get install lua-luv-dev")
    held = lock()
    os.remove "/tmp/echo.sock"
    child = process.run(([[
      local decnet = require "decnet"
      package.loaded.uv = require "luv" -- the name by which luvit knows it
      arg[1] = %q
      for _, name in ipairs {
        "tcp-echo-server", "pipe-echo-server", "uvcat", "helloworld", "queue-work",
        "tcp-echo-client",
      } do
        local options = { name = name, run = assert(loadfile(%q .. name .. ".lua")) }
        if name == "tcp-echo-client" then
          options.after = { "tcp-echo-server" }
        end
        decnet.worker(options)
      end
    ]]):format(process.tree "LICENSE", EXAMPLES))
  end)

  lazy_teardown(function()
    process.cleanup()
    held:close()
  end)

  it("end when nothing keeps their loop alive", function()
    child:says "worker=helloworld msg=done"
    child:says "worker=uvcat msg=done"
    child:says "worker=queue%-work msg=done"
    assert.equal(1, select(2, child:stdout():gsub("8 => 64", "")))
    local license = process.read(process.tree "LICENSE")
    assert(child:stdout():find(license:sub(1, 10), 1, true))
  end)

  it("talk to each other", function()
    child:says "HelloWorld"
    assert.equal(0, child:count "msg=crashed")
  end)

  it("answer real clients", function()
    local text = ("0123456789abcdef"):rep(4096)
    assert(process.wait(function() return uv.fs_stat "/tmp/echo.sock" end))
    for _ = 1, 3 do
      assert.equal(text, echo(uv.new_tcp(), over_tcp, text))
      assert.equal(text, echo(uv.new_pipe(false), over_pipe, text))
    end
    assert.equal(0, child:count "msg=crashed")
  end)

  it("are stopped by SIGTERM, and what they opened is closed", function()
    child:stop("sigterm", 0)
    for _, name in ipairs { "tcp%-echo%-server", "pipe%-echo%-server", "tcp%-echo%-client" } do
      child:says("worker=" .. name .. " msg=stopped")
    end
    local is_over, err = false, nil
    local client = uv.new_tcp()
    over_tcp(client, function(code)
      is_over, err = true, code
    end)
    assert(process.wait(function() return is_over end))
    client:close()
    assert.equal("ECONNREFUSED", err)
    assert.is_nil(uv.fs_stat "/tmp/echo.sock")
  end)
end)
