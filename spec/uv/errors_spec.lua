-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local luv = require "luv"
local real = require "spec.support.real"
local run = require "spec.support.run"
local testing = require "decnet.testing"

local uv = decnet.uv

local function here()
  local info = debug.getinfo(2, "Sl")
  return ("%s:%d: "):format(info.short_src, info.currentline)
end

describe("an error of decnet.uv", function()
  it("names what only a worker can do", function()
    local socket = assert(luv.new_tcp())
    run.raises("only a worker can wait", uv.write, socket, "x")
    coroutine.wrap(function()
      run.raises("only a worker can wait", uv.write, socket, "x")
      run.raises("only a worker can wait", uv.read, socket)
      run.raises("only a worker can wait", decnet.sleep, 1)
    end)()
    testing.run(function()
      run.raises("only a worker can wait", uv.write, socket, "x")
    end)
    socket:close()
  end)

  it("is nil, a message and the bare name", function()
    real.worker(function()
      local path = "/nowhere/at/all"
      local text = "ENOENT: no such file or directory: " .. path
      assert.same({ nil, text, "ENOENT" }, { uv.fs_open(path, "r") })
      assert.same({ nil, text, "ENOENT" }, { uv.fs_stat(path) })
      assert.same({ nil, text, "ENOENT" }, { uv.fs_scandir(path) })
      assert.same({ nil, text, "ENOENT" }, { uv.fs_opendir(path) })
      assert.same({ nil, text .. " -> /b", "ENOENT" }, { uv.fs_rename(path, "/b") })
      assert.same({ nil, "EBADF: bad file descriptor", "EBADF" }, { uv.fs_close(12345) })
      assert.same({ nil, "EINVAL: invalid argument", "EINVAL" },
        { uv.fs_copyfile("/a", "/b", 1 << 20) })
      assert.same({ nil, "EAI_NONAME: unknown node or service", "EAI_NONAME" },
        { uv.getaddrinfo("no.number", nil, { numerichost = true }) })
    end)
  end)

  it("raises at the caller's line when an argument is wrong", function()
    real.worker(function()
      local function try(fn)
        local ok, err = pcall(fn)
        assert.is_false(ok)
        return err
      end
      local line
      local err = try(function()
        line = here() local x = uv.fs_open() return x
      end)
      assert.equal(line .. "bad argument #1 to 'uv.fs_open' (string expected, got nil)", err)
      err = try(function()
        line = here() local x = uv.fs_open("a", "sideways") return x
      end)
      assert.equal(line .. "uv.fs_open: Unknown file open flag 'sideways'", err)
      err = try(function()
        line = here() local x = uv.fs_opendir("/", 0) return x
      end)
      assert.equal(line .. "bad argument #2 to 'uv.fs_opendir' (an integer from 1 to 65536 "
        .. "expected)", err)
      err = try(function()
        line = here() local x = uv.fs_read(0, -1) return x
      end)
      assert.equal(line .. "bad argument #2 to 'uv.fs_read' (a size >= 0 expected)", err)
      err = try(function()
        line = here() local x = uv.fs_write(0, { "a", true }) return x
      end)
      assert.equal(line .. "bad argument #2 to 'uv.fs_write' (table of strings expected, got "
        .. "boolean at [2])", err)
      err = try(function()
        line = here() local x = uv.random "many" return x
      end)
      assert.equal(line .. "bad argument #1 to 'uv.random' (number expected, got string)", err)
      err = try(function()
        line = here() local x = uv.spawn(nil) return x
      end)
      assert.equal(line .. "bad argument #1 to 'uv.spawn' (string expected, got nil)", err)
      err = try(function()
        line = here() local x = uv.fs_readdir(5) return x
      end)
      run.contains(err, line .. "bad argument #1 to 'uv.fs_readdir'")
      err = try(function()
        line = here() local x = uv.tcp_connect(5, "127.0.0.1", 80) return x
      end)
      run.contains(err, line .. "bad argument #1 to 'uv.tcp_connect'")
    end)
  end)

  it("raises when a callback is given, and ignores what else is too much", function()
    real.worker(function()
      run.raises("uv.fs_stat waits and returns the results: give it no callback",
        uv.fs_stat, "/", print)
      run.raises("uv.fs_opendir waits and returns the results: give it no callback",
        uv.fs_opendir, "/", print)
      assert.is_table(uv.fs_stat("/", "more"))
      run.raises("uv.spawn waits and returns the results: give it no callback",
        uv.spawn, "true", {}, print)
      run.raises("uv.random waits and returns the results: give it no callback",
        uv.random, 1, nil, print)
    end)
  end)

  it("raises outside of a task, at the caller's line", function()
    local line
    local ok, err = pcall(function()
      line = here() local x = uv.fs_stat "/" return x
    end)
    assert.is_false(ok)
    assert.equal(line .. "uv.fs_stat: only a worker can wait: call it inside one", err)
  end)

  it("raises where nobody can wait, and nothing has begun", function()
    real.worker(function()
      run.raises("uv.fs_stat: cannot wait inside decnet.atomic", decnet.atomic, function()
        return uv.fs_stat "/"
      end)
      local fd = assert(uv.fs_open("/dev/null", "r"))
      run.raises("uv.fs_close: cannot wait inside decnet.atomic", decnet.atomic, function()
        return uv.fs_close(fd)
      end)
      assert.is_true(uv.fs_close(fd))
    end)
  end)
end)

describe("decnet.uv", function()
  it("refuses what calls back many times", function()
    for _, name in ipairs { "listen", "timer_start", "read_start", "fs_event_start" } do
      local line
      local ok, err = pcall(function()
        line = here() local x = uv[name]() return x
      end)
      assert.is_false(ok)
      assert.equal(line .. ("uv.%s calls back many times: give it a callback"):format(name), err)
    end
  end)

  it("refuses what waits for nothing", function()
    for _, name in ipairs { "new_timer", "close", "tcp_bind", "hrtime", "fs_event_stop" } do
      run.raises(("uv.%s waits for nothing: call it in require \"luv\""):format(name), uv[name])
    end
  end)

  it("suggests the name that was meant", function()
    run.raises("decnet.uv: luv has no function \"fs_opne\"; did you mean \"fs_open\"?", function()
      return uv.fs_opne
    end)
    run.raises("decnet.uv: luv has no function \"xyzzy\"", function()
      return uv.xyzzy
    end)
    run.raises("decnet.uv: luv has no function \"constants\"", function()
      return uv.constants
    end)
  end)

  it("has one function for each name", function()
    assert.equal(uv.fs_stat, uv.fs_stat)
    assert.equal(uv.listen, uv.listen)
    assert.equal(uv, decnet.uv)
  end)

  it("has every request of luv's", function()
    real.worker(function()
      for name in pairs(luv) do
        if name:find "^fs_" and not name:find "^fs_event_" and not name:find "^fs_poll_" then
          local ok, err = pcall(uv[name])
          assert.is_true(ok or not err:find "waits for nothing", name)
        end
      end
    end)
  end)
end)

-- luv's finalizer took the table for a handle, and freed the memory of one that libuv still had.
describe("the finalizer of luv's handles", function()
  local timer, finalize

  before_each(function()
    timer = luv.new_timer()
    finalize = getmetatable(timer).__gc
  end)

  it("leaves a table alone that has their metatable", function()
    setmetatable({}, getmetatable(timer))
    collectgarbage()
    finalize({})
    finalize()
    timer:close()
  end)

  it("leaves a handle alone that a script gives it", function()
    finalize(timer)
    assert.is_true(timer:start(60000, 0, function() end) == 0)
    timer:close()
    finalize(timer)
    assert.is_true(timer:is_closing())
  end)

  it("lets libuv close what was closing when a plain lua5.4 ended", function()
    timer:close() -- what ends by SIGSEGV is the program that runs this file
  end)
end)
