-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a hostile reviewer got the host to do, once each.

local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

local function status_after(seconds, fn)
  local status
  testing.run(function(t)
    decnet.worker { "w", restart = "never", run = fn }
    t:advance(seconds)
    status = t:status "w"
  end)
  return status
end

describe("a host", function()
  it("asked twice to stop by a worker stops politely", function()
    testing.run(function(t)
      local cleaned = false
      decnet.worker("w", function(self)
        self:defer(function()
          decnet.sleep(0.5)
          cleaned = true
        end)
        decnet.stop()
        decnet.stop()
        decnet.sleep(1)
      end)
      t:advance(2)
      assert.equal("stopped", t:status("w").state)
      assert.is_true(cleaned)
    end)
  end)

  it("takes its hooks' tasks with it", function()
    for _ = 1, 5 do
      testing.run(function(t)
        decnet.on("stop", function() decnet.sleep(0.1) end)
        decnet.worker("w", function() decnet.sleep(100) end)
        t:advance(1)
      end)
      collectgarbage()
      collectgarbage()
    end
    testing.run(function(t)
      decnet.worker("next", function() decnet.sleep(1) end)
      t:advance(2)
      assert.equal("done", t:status("next").state)
    end)
  end)
end)

describe("a worker", function()
  it("L16 cannot end the process by os.exit", function()
    local status = status_after(1, function() os.exit(0, true) end)
    assert.equal("failed", status.state)
    run.contains(status.last_error.message, "os.exit")
  end)

  it("cannot outlive its kill by a task spawned in a deferred function", function()
    testing.run(function(t)
      decnet.worker { name = "w", stop_timeout = 0, run = function(self)
        self:defer(function()
          decnet.spawn(function() decnet.sleep(1e9) end)
        end)
        decnet.sleep(100)
      end }
      t:advance(1)
      local began = t:now()
      assert.equal(0, t:stop())
      assert.equal("stopped", t:status("w").state)
      assert.is_true(t:now() - began < 1)
    end)
  end)

  it("sees the coroutine of an ended task as dead, whatever it returned", function()
    local status = status_after(1, function()
      local co
      local task = decnet.spawn(function()
        co = coroutine.running()
        return error, "left on the stack"
      end)
      decnet.sleep(0.1)
      assert(coroutine.status(co) == "dead")
      local ok, message = coroutine.resume(co)
      assert(not ok and message == "cannot resume dead coroutine", message)
      assert(coroutine.close(co))
      local first, second = task:join()
      assert(first == error and second == "left on the stack")
      assert(not pcall(decnet.worker, "again", co))
    end)
    assert.equal("done", status.state, status.last_error and status.last_error.message)
  end)

  it("may order its own stop and removal in a deferred function", function()
    for _, verb in ipairs { "stop", "restart", "remove" } do
      testing.run(function(t)
        local after = false
        local handle
        handle = decnet.worker { name = "w", stop_timeout = math.huge, run = function(self)
          self:defer(function()
            handle[verb](handle)
            after = true
          end)
          decnet.sleep(1)
          error "boom"
        end }
        t:advance(1.5)
        assert.is_true(after, verb)
      end)
    end
  end)
end)

describe("a stream that belongs to the host", function()
  it("goes on after an error in its read callback", function()
    local luv = require "luv"
    testing.run(function(t)
      local fds = assert(luv.pipe({ nonblock = true }, { nonblock = true }))
      local reader = luv.new_pipe(false)
      reader:open(fds.read)
      local pieces = {}
      reader:read_start(function(_, data)
        pieces[#pieces + 1] = data
        if #pieces == 1 then
          error "once"
        end
      end)
      decnet.worker("writer", function()
        local writer = luv.new_pipe(false)
        writer:open(fds.write)
        for i = 1, 3 do
          decnet.uv.write(writer, "x" .. i)
          local before = #pieces
          while #pieces == before do
            decnet.yield()
          end
        end
      end)
      assert.is_true(t:run_until(function() return #pieces == 3 end, 10))
      assert.same({ "x1", "x2", "x3" }, pieces)
    end)
  end)
end)
