-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Libraries in the style of luvit's coro-*: take coroutine.running(), start something, yield
-- nothing, and be resumed by a callback, which may come before the yield.
local decnet = require "decnet"
local real = require "spec.support.real"
local run = require "spec.support.run"
local testing = require "decnet.testing"
local uv = require "luv"

-- A stream as two functions: read() returns the next piece or nil, write(text) waits until it is
-- sent.
local function wrap(stream)
  local waiting, pieces, is_over = nil, {}, false
  local function resume(thread, ...)
    local ok, err = coroutine.resume(thread, ...)
    assert(ok, err)
  end
  stream:read_start(function(err, data)
    assert(not err, err)
    is_over = data == nil
    if waiting then
      local thread = waiting
      waiting = nil
      resume(thread, data)
    elseif data then
      table.insert(pieces, data)
    end
  end)
  local function read()
    if #pieces > 0 then
      return table.remove(pieces, 1)
    elseif is_over then
      return nil
    end
    waiting = coroutine.running()
    return coroutine.yield()
  end
  local function write(text)
    local thread = coroutine.running()
    assert(stream:write(text, function(err)
      resume(thread, err)
    end))
    local err = coroutine.yield()
    return not err, err
  end
  return read, write
end

local function serve(on_connection)
  local server = uv.new_tcp()
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(8, function(err)
    assert(not err, err)
    local client = uv.new_tcp()
    assert(server:accept(client))
    on_connection(client)
  end))
  return server:getsockname().port
end

local function connect(port)
  local thread, client = coroutine.running(), uv.new_tcp()
  assert(client:connect("127.0.0.1", port, function(err)
    assert(coroutine.resume(thread, err))
  end))
  assert(not coroutine.yield())
  return client
end

describe("a library in the style of luvit", function()
  for _, kind in ipairs { "a task", "a coroutine of its own" } do
    it("serves and connects in " .. kind, function()
      real.worker(function()
        local start = kind == "a task" and decnet.spawn or function(fn, ...)
          return coroutine.wrap(fn)(...)
        end
        local answer
        local port = serve(function(client)
          start(function()
            local read, write = wrap(client)
            for piece in read do
              assert(write(piece:upper()))
            end
            client:close()
          end)
        end)
        start(function()
          local client = connect(port)
          local read, write = wrap(client)
          assert(write "one ")
          local text = read()
          assert(write "two")
          client:shutdown()
          for piece in read do
            text = text .. piece
          end
          client:close()
          answer = text
        end)
        real.wait(function() return answer end)
        assert.equal("ONE TWO", answer)
      end)
    end)
  end

  it("can be resumed before it yields", function()
    testing.run(function(t)
      local thread, resumed, again, got
      decnet.worker("early", function()
        thread = coroutine.running()
        while not resumed do end -- it is preempted here
        got = { coroutine.yield() }
        coroutine.yield() -- gives way: it was remembered once, and was not handed out again
      end)
      decnet.worker("resumer", function()
        while not thread do
          decnet.yield()
        end
        resumed = { coroutine.resume(thread, "early", nil, 3) }
        again = { coroutine.resume(thread) }
      end)
      t:advance(1)
      assert.same({ true }, resumed)
      assert.same({ false, "cannot resume a task that is ready to run" }, again)
      assert.equal("early", got[1])
      assert.equal(3, got[3])
      assert.equal("done", t:status("early").state)
      assert.equal("done", t:status("resumer").state)
    end, { preempt_every = 50 })
  end)

  it("can be resumed though it never yields", function()
    testing.run(function(t)
      local thread, resumed
      decnet.worker("early", function()
        thread = coroutine.running()
        while not resumed do end -- it is preempted here
      end)
      decnet.worker("resumer", function()
        while not thread do
          decnet.yield()
        end
        resumed = { coroutine.resume(thread, "for nobody") }
      end)
      t:advance(1)
      assert.same({ true }, resumed)
      assert.equal("done", t:status("early").state)
    end, { preempt_every = 50 })
  end)

  it("sees true where what it resumes then raises, which is the run's crash", function()
    local resumed
    local crash = run.crash(function()
      local thread = coroutine.running()
      decnet.spawn(function()
        resumed = { coroutine.resume(thread) }
      end)
      coroutine.yield()
      error "after the yield"
    end)
    assert.same({ true }, resumed)
    assert.matches("after the yield", crash.error)
  end)
end)
