-- SPDX-License-Identifier: AGPL-3.0-or-later
-- How many requests one run has with libuv's threads.
local core = require "decnet.core"
local decnet = require "decnet"
local testing = require "decnet.testing"
local uv = require "luv"

local MOST = 64

describe("requests of one run", function()
  -- All were started at once, and libuv called back for all in one go: 57 ms for 10,000.
  local function start(t, fn)
    local note = { started = 0, came = 0, most = 0 }
    decnet.worker { name = "starts", restart = "never", run = function()
      fn(note)
    end }
    decnet.worker("looks", function()
      local before = 0
      while true do
        note.most = math.max(note.most, note.started - before)
        before = note.started
        decnet.yield()
      end
    end)
    t:run_until(function()
      local state = t:status "starts".state
      return state == "done" or state == "failed"
    end, 60)
    return note, t:status "starts"
  end

  local function request(note)
    assert(uv.fs_stat(".", function(err, stat)
      assert(not err and stat, err)
      note.came = note.came + 1
    end))
    note.started = note.started + 1
  end

  local function wait_for(note, n)
    while note.came < n do
      decnet.yield()
    end
  end

  it("are let in as others are done, unseen by who starts them", function()
    testing.run(function(t)
      local note, status = start(t, function(note)
        local in_between = 0
        decnet.spawn(function()
          in_between = in_between + 1
        end)
        for _ = 1, 1000 do
          request(note)
        end
        assert(note.came == 0 and in_between == 0, "somebody else of this run had the CPU")
        wait_for(note, 1000)
      end)
      assert.equal("done", status.state, status.last_error and status.last_error.message)
      assert.equal(1000, note.came)
      assert.is_true(note.most <= MOST, note.most)
    end)
  end)

  it("are let in as others are done, of tasks that wait in decnet.uv", function()
    testing.run(function(t)
      local _, status = start(t, function(note)
        for _ = 1, 300 do
          decnet.spawn(function()
            assert(decnet.uv.fs_stat ".")
            note.came = note.came + 1
          end)
        end
        while note.came < 300 do
          assert(core.in_flight(0) <= MOST)
          decnet.yield()
        end
      end)
      assert.equal("done", status.state, status.last_error and status.last_error.message)
    end)
  end)

  it("are let in inside of nested coroutines", function()
    testing.run(function(t)
      local note, status = start(t, function(note)
        coroutine.wrap(function()
          for value in coroutine.wrap(function()
            for i = 1, 300 do
              request(note)
              coroutine.yield(i)
            end
          end) do
            assert(value == note.started)
          end
        end)()
        wait_for(note, 300)
      end)
      assert.equal("done", status.state, status.last_error and status.last_error.message)
      assert.is_true(note.most <= MOST, note.most)
    end)
  end)

  it("have no bound where their task cannot be preempted", function()
    testing.run(function(t)
      local note, status = start(t, function(note)
        decnet.atomic(function()
          for _ = 1, 200 do
            request(note)
          end
        end)
        table.sort({ 1, 2, 3 }, function(a, b)
          request(note)
          return a < b
        end)
        wait_for(note, note.started)
      end)
      assert.equal("done", status.state, status.last_error and status.last_error.message)
      assert.is_true(note.most >= 200, note.most)
    end)
  end)

  it("can be killed while one waits to be let in", function()
    testing.run(function(t)
      local started = 0
      decnet.worker { name = "endless", stop_timeout = 0, run = function()
        while true do
          assert(uv.fs_stat(".", function() end))
          started = started + 1
        end
      end }
      t:run_until(function() return started >= MOST end, 60)
      decnet.get "endless":stop()
      t:run_until(function() return t:status "endless".state == "stopped" end, 60)
      assert.equal("stopped", t:status "endless".state)
      assert.equal(0, t:status "endless".tasks)
    end)
  end)

  it("are waited for by work of uv.new_work, too", function()
    testing.run(function(t)
      local note, status = start(t, function(note)
        local work = uv.new_work(function(x) return x end, function(x)
          assert(x)
          note.came = note.came + 1
        end)
        for i = 1, 300 do
          assert(work:queue(i))
          note.started = note.started + 1
        end
        wait_for(note, 300)
      end)
      assert.equal("done", status.state, status.last_error and status.last_error.message)
      assert.is_true(note.most <= MOST, note.most)
    end)
  end)

  it("are let in for another worker when the one whose work it is has ended", function()
    testing.run(function(t)
      local work, took
      decnet.worker { name = "owner", restart = "never", run = function()
        work = uv.new_work(function() require("luv").sleep(20) end, function() end)
        for _ = 1, MOST do
          assert(work:queue())
        end
        decnet.yield()
        decnet.yield()
      end }
      decnet.worker { name = "other", restart = "never", run = function()
        local began = decnet.now()
        assert(work:queue())
        took = decnet.now() - began
      end }
      assert.is_true(t:run_until(function() return took end, 60))
      assert.is_true(took < 0.1, took)
      assert.is_nil(t:status("other").last_error)
    end)
  end)
end)
