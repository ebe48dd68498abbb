-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What workers print: it goes where it always went, and GET /v1/logs knows whose it is.
local http = require "spec.process.http"
local plane = require "spec.process.plane"
local process = require "spec.process.process"

-- Prints in every way, then parks; nothing here depends on time.
local PRINTER = [[
  local decnet = require "decnet"
  local odd = setmetatable({}, { __tostring = function() return "an\nobject" end })
  decnet.worker("printer", function()
    print()
    print("one", 2, 3.0, nil, true, odd)
    io.write("a ", 1, " ", 0.1, " ", 2 ^ 53, "\nb\n\nc")
    io.stdout:write(" and d\n", "e", 5, "\n"):write("f\n")
    assert(not pcall(print, "half", setmetatable({}, { __tostring = function() error "no" end })))
    assert(not pcall(io.write, " written ", {}, "not"))
    print "whole"
    print("wrong \xff\xc3\0\27[31m")
    local own <close> = io.open("own", "w")
    own:write("mine\n")
    local before = io.output(own)
    io.write("mine, too\n")
    io.stderr:write("to std", "err\n")
    io.output(io.stdout)
    io.write("to stdout\n")
    print(("long "):rep(1000))
    print(("é"):rep(3000))
    print("x" .. ("é"):rep(3000))
    print("xx" .. ("€"):rep(2000))
    assert(not pcall(own.write, 5, "not written"))
    own:close()
    assert(not pcall(own.write, own, "not written"))
  end)
  decnet.worker { name = "end", after = { "printer" }, run = function()
    decnet.sleep(0.01)
    print "the end"
    decnet.park()
  end }
]]

local function lines_of(path, query)
  local list = {}
  for line in http.ask(path, "GET", "/v1/logs" .. (query or "")).body:gmatch "([^\n]+)\n" do
    list[#list + 1] = http.json(line)
  end
  return list
end

-- What a worker printed, one after the other.
local function printed(path, worker, to)
  local list = {}
  for _, line in ipairs(lines_of(path)) do
    if line.printed_to and line.worker == worker and (not to or line.printed_to == to) then
      assert.equal("info", line.level)
      list[#list + 1] = line.line
    end
  end
  return list
end

describe("what a worker prints", function()
  lazy_teardown(process.cleanup)

  it("is the same, byte for byte, with a control plane and without", function()
    local child = plane.start(PRINTER)
    child:says "the end\n"
    local bare = process.run(PRINTER, { "--no-control" })
    bare:says "the end\n"
    assert.equal(bare:stdout(), child:stdout())
    assert.matches("^\none\t2\t3.0\tnil\ttrue\tan\nobject\na 1 0.1 ", child:stdout())
    for _, host in ipairs { bare, child } do
      assert.matches("to stderr\n", host:stderr())
      host:stop()
    end
  end)

  it("is in the log that one can follow, in whole lines", function()
    local child, path = plane.start(PRINTER)
    child:says "the end\n"
    local lines = printed(path, "printer", "stdout")
    local expected = {}
    for line in child:stdout():gmatch "(.-)\n" do
      expected[#expected + 1] = line
    end
    for i = 1, 12 do
      local text = expected[i]:gsub("[\xff\xc3]", "\u{fffd}")
      assert.equal(text, lines[i])
    end
    assert.equal("wrong \u{fffd}\u{fffd}\0\27[31m", lines[11])
    assert.equal("to stdout", lines[12])
    -- longer ones in pieces, between two characters
    assert.equal(4096, #lines[13])
    assert.equal(("long "):rep(1000), lines[13] .. lines[14])
    assert.equal(("é"):rep(3000), lines[15] .. lines[16])
    assert.equal("x" .. ("é"):rep(3000), lines[17] .. lines[18])
    assert.equal(4095, #lines[17])
    assert.equal("xx" .. ("€"):rep(2000), lines[19] .. lines[20])
    assert.equal(20, #lines)
    assert.same({ "to stderr" }, printed(path, "printer", "stderr"))
    assert.same({ "the end" }, printed(path, "end"))
    child:stop()
  end)

  it("is its own, though several print at once, and what it left unfinished comes at its end",
    function()
      local child, path = plane.start [[
        local decnet = require "decnet"
        local function talk(what)
          return function(self)
            for i = 1, 3 do
              io.write(what, " ", i)
              decnet.yield()
              io.write(" of ")
              decnet.yield()
              print(3)
            end
            io.write(what, " goes")
            io.stderr:write(what, " errs")
            decnet.yield()
            if what == "b" then
              error "boom"
            elseif what == "c" then
              decnet.park()
            end
          end
        end
        decnet.worker("a", talk "a")
        decnet.worker { name = "b", restart = "never", run = talk "b" }
        decnet.worker { name = "c", stop_timeout = 0, run = talk "c" }
        decnet.on("done", function(event) print("hook: " .. event.worker) end)
        decnet.worker("last", function() decnet.sleep(0.2) print "that's it" decnet.park() end)
      ]]
      child:says "that's it\n"
      plane.post(path, "/v1/workers/c/stop")
      for _, name in ipairs { "a", "b", "c" } do
        assert.same({ name .. " 1 of 3", name .. " 2 of 3", name .. " 3 of 3", name .. " goes" },
          printed(path, name, "stdout"))
        assert.same({ name .. " errs" }, printed(path, name, "stderr"))
      end
      assert.same({ "hook: a" }, printed(path, nil))
      child:stop()
    end)

  it("holds up nobody, however much it is, and who is too slow is told", function()
    local child, path = plane.start [[
      local decnet = require "decnet"
      decnet.worker("chatty", function()
        for i = 1, 100000 do
          print("line", i)
        end
        decnet.park()
      end)
    ]]
    local stream = http.open(path,
      "GET /v1/logs?follow=1&worker=chatty HTTP/1.1\r\nHost: x\r\n\r\n")
    child:says "line\t100000\n"
    process.wait(function() return stream.data:find("100000", 1, true) end)
    stream.close()
    local lines = lines_of(path, "?lines=1000000")
    assert.is_true(#lines > 1000 and #lines < 100000, #lines)
    assert.equal("line\t100000", lines[#lines].line)
    for i = 2, #lines do
      assert.equal(lines[i - 1].id + 1, lines[i].id)
    end
    child:stop()
  end)
end)
