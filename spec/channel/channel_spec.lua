-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local testing = require "decnet.testing"
local run = require "spec.support.run"

describe("a channel", function()
  it("of capacity 0 is a rendezvous: send returns when the value is taken #measures", function()
    run.worker(function()
      local ch, log = decnet.channel(), {}
      decnet.spawn(function()
        log[#log + 1] = ch:send "a"
        log[#log + 1] = decnet.now()
      end)
      decnet.sleep(1)
      assert.equal(0, #ch)
      assert.same({}, log)
      assert.equal("a", (ch:recv()))
      decnet.yield()
      assert.is_true(log[1])
      run.near(1, log[2], 1e-4)
    end)
  end)

  it("of capacity n takes n values without waiting, in order", function()
    run.worker(function()
      local ch = decnet.channel(3)
      for i = 1, 3 do
        assert.is_true(ch:send(i))
        assert.equal(i, #ch)
      end
      assert.same({ nil, "full" }, { ch:try_send(4) })
      local sent
      decnet.spawn(function() sent = ch:send(4) end)
      decnet.yield()
      assert.is_nil(sent)
      for i = 1, 4 do
        assert.equal(i, (ch:recv()))
      end
      decnet.yield()
      assert.is_true(sent)
      assert.same({ nil, "empty" }, { ch:try_recv() })
    end)
  end)

  it("keeps the order however it fills and drains", function()
    run.worker(function()
      local ch, sent, received = decnet.channel(100), 0, 0
      for step = 1, 5000 do
        -- it fills to a mark that moves, drains to another, and is seldom empty
        if #ch <= step % 7 or (#ch < 20 + step // 70 and step % 3 > 0) then
          sent = sent + 1
          assert.is_true(ch:try_send(sent))
        else
          received = received + 1
          assert.equal(received, (ch:try_recv()))
        end
        assert.equal(sent - received, #ch)
      end
      while ch:try_recv() do
        received = received + 1
      end
      assert.equal(sent, received)
    end)
  end)

  it("keeps nothing alive that has been received", function()
    run.worker(function()
      local ch, weak = decnet.channel(8), setmetatable({}, { __mode = "v" })
      for i = 1, 8 do
        weak[i] = { i }
        ch:send(weak[i])
      end
      for _ = 1, 5 do
        ch:recv()
      end
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
      assert.is_nil(weak[5])
      assert.same({ 6 }, weak[6])
    end)
  end)

  it("passes on what blocked senders bring, in order, and keeps nothing of it alive", function()
    run.worker(function()
      for capacity = 0, 9 do
        local ch, weak = decnet.channel(capacity), setmetatable({}, { __mode = "v" })
        for i = 1, 30 do
          decnet.spawn(function()
            local value = { i }
            weak[i] = value
            assert.is_true(ch:send(value))
          end)
        end
        decnet.yield()
        for i = 1, 12 do
          assert.equal(math.min(capacity, 31 - i), #ch)
          assert.same({ i }, (ch:recv()))
        end
        decnet.yield()
        collectgarbage()
        collectgarbage()
        for i = 1, 30 do
          assert.equal(i > 12, weak[i] ~= nil)
        end
        for i = 13, 30 do
          assert.same({ i }, (ch:recv()))
        end
      end
    end)
  end)

  it("drops the arguments it has no use for", function()
    run.worker(function()
      local ch = decnet.channel(1)
      assert.is_true(ch:try_send("a", "dropped"))
      assert.same({ nil, "full" }, { ch:try_send("dropped", "dropped") })
      decnet.spawn(function()
        assert.is_true(ch:send("b", nil, "dropped")) -- waits for room
        decnet.sleep(1)
        assert.is_true(ch:send("d", 5, "dropped")) -- somebody waits for it
        decnet.sleep(1)
        assert.is_true(ch:try_send("e", "dropped"))
      end)
      decnet.yield()
      assert.equal("a", (ch:recv(nil, "dropped")))
      assert.equal("b", (ch:try_recv("dropped")))
      assert.is_true(ch:send("c", nil, "dropped"))
      assert.equal("c", (ch:recv(5, "dropped")))
      assert.equal("d", (ch:recv(5, "dropped")))
      assert.equal("e", (ch:recv(5, "dropped")))
    end)
  end)

  it("carries every value but nil, the very same", function()
    run.worker(function()
      local ch = decnet.channel(1)
      for _, value in ipairs { false, 0, "", {}, print, coroutine.create(print), 0.5 } do
        ch:send(value)
        assert.equal(value, (ch:recv()))
      end
      run.raises("value: nil cannot be sent", ch.send, ch, nil)
      run.raises("value: nil cannot be sent", ch.send, ch)
      run.raises("value: nil cannot be sent", ch.try_send, ch, nil)
    end)
  end)

  it("serves senders and receivers in the order they came", function()
    run.worker(function()
      local ch, got = decnet.channel(), {}
      for i = 1, 5 do
        decnet.spawn(function()
          local value = ch:recv()
          got[#got + 1] = i .. value
        end)
      end
      decnet.yield()
      for i = 1, 5 do
        ch:send(("abcde"):sub(i, i))
      end
      decnet.yield()
      assert.same({ "1a", "2b", "3c", "4d", "5e" }, got)
      for i = 1, 5 do
        decnet.spawn(function() ch:send(i) end)
      end
      decnet.yield()
      for i = 1, 5 do
        assert.equal(i, (ch:recv()))
      end
    end)
  end)

  it("lets nobody starve: all producers and consumers get on", function()
    run.worker(function()
      local ch, sent, got = decnet.channel(2), { 0, 0, 0 }, { 0, 0 }
      for i = 1, 3 do
        decnet.spawn(function()
          for _ = 1, 100 do
            ch:send(i)
            sent[i] = sent[i] + 1
          end
        end)
      end
      for i = 1, 2 do
        decnet.spawn(function()
          for _ = 1, 60 do
            ch:recv()
            got[i] = got[i] + 1
          end
        end)
      end
      decnet.sleep(1)
      assert.same({ 60, 60 }, got)
      for i = 1, 3 do
        assert.is_true(sent[i] >= 10, "sender " .. i .. ": " .. sent[i])
      end
    end)
  end)

  it("gives up after the seconds of send and recv", function()
    run.worker(function()
      local ch = decnet.channel()
      assert.same({ nil, "timeout" }, { ch:recv(1) })
      assert.same({ nil, "timeout" }, { ch:send("x", 2) })
      run.near(3, decnet.now(), 1e-4)
      assert.same({ nil, "empty" }, { ch:try_recv() }) -- the value was withdrawn
      assert.same({ nil, "full" }, { ch:try_send "y" }) -- so was the receiver
      assert.same({ nil, "timeout" }, { ch:recv(0) })
      decnet.spawn(ch.send, ch, "z")
      decnet.yield()
      assert.equal("z", (ch:recv(0)))
      for _, bad in ipairs { -1, "x", 0 / 0 } do
        run.raises("seconds", ch.recv, ch, bad)
        run.raises("seconds", ch.send, ch, 1, bad)
      end
    end)
  end)

  it("when closed is drained, then answers nil, closed", function()
    run.worker(function()
      local ch = decnet.channel(3)
      ch:send(1)
      ch:send(2)
      ch:close()
      ch:close()
      assert.same({ nil, "closed" }, { ch:send(3) })
      assert.same({ nil, "closed" }, { ch:try_send(3) })
      assert.equal(1, (ch:recv()))
      assert.equal(2, (ch:try_recv()))
      assert.same({ nil, "closed" }, { ch:recv() })
      assert.same({ nil, "closed" }, { ch:recv(5) })
      assert.same({ nil, "closed" }, { ch:try_recv() })
    end)
  end)

  it("when closed wakes those who wait", function()
    run.worker(function()
      local ch, got = decnet.channel(), {}
      for i = 1, 3 do
        decnet.spawn(function() got[i] = { ch:recv() } end)
      end
      decnet.yield()
      ch:close()
      decnet.yield()
      for i = 1, 3 do
        assert.same({ nil, "closed" }, got[i])
      end
      ch = decnet.channel(1)
      ch:send "kept"
      for i = 1, 3 do
        decnet.spawn(function() got[i] = { ch:send(i) } end)
      end
      decnet.yield()
      ch:close()
      decnet.yield()
      for i = 1, 3 do
        assert.same({ nil, "closed" }, got[i])
      end
      assert.equal("kept", (ch:recv()))
      assert.same({ nil, "closed" }, { ch:recv() })
    end)
  end)

  it("is iterated until it is closed and drained", function()
    run.worker(function()
      local ch, got = decnet.channel(2), {}
      decnet.spawn(function()
        for i = 1, 10 do
          ch:send(i)
        end
        ch:close()
      end)
      for value in ch:iter() do
        got[#got + 1] = value
      end
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, got)
    end)
  end)

  it("may carry false through iter", function()
    run.worker(function()
      local ch, count = decnet.channel(3), 0
      ch:send(false)
      ch:send(1)
      ch:close()
      for _ in ch:iter() do
        count = count + 1
      end
      assert.equal(2, count)
    end)
  end)

  it("belongs to nobody: a dead run's waits are withdrawn, sent values stay", function()
    testing.run(function(t)
      local ch, got = decnet.channel(2), {}
      decnet.worker("producer", function(self)
        ch:send("first of run " .. self.run)
        ch:send "second"
        decnet.spawn(ch.send, ch, "third")
        decnet.spawn(ch.send, ch, "never sent")
        decnet.sleep(0.1)
        decnet.fatal "enough"
      end)
      decnet.worker { name = "consumer", stop_timeout = 0, run = function() ch:recv() end,
        after = { "producer" } }
      t:advance(5)
      assert.equal("failed", t:status("producer").state)
      decnet.worker("reader", function()
        for _ = 1, 3 do
          got[#got + 1] = ch:recv(1) or "nothing"
        end
      end)
      t:advance(5)
      -- the consumer took the first value, so that there was room for the third
      assert.same({ "second", "third", "nothing" }, got)
    end)
  end)

  it("loses no value to a receiver that was killed, cancelled or timed out", function()
    testing.run(function(t)
      local ch, got = decnet.channel(), nil
      decnet.worker { name = "killed", stop_timeout = 0, run = function() ch:recv() end }
      decnet.worker("cancelled", function() ch:recv() end)
      decnet.worker("late", function() ch:recv(1) end)
      decnet.worker("good", function()
        decnet.sleep(3)
        got = ch:recv()
      end)
      t:advance(2)
      decnet.get("killed"):stop()
      decnet.get("cancelled"):stop()
      t:advance(0.5)
      assert.same({ nil, "full" }, { ch:try_send "x" })
      t:advance(1)
      assert.is_true((ch:try_send "for good"))
      t:advance(1)
      assert.equal("for good", got)
    end)
  end)

  it("outside of tasks does what needs no waiting", function()
    testing.run(function(t)
      local ch, got = decnet.channel(1), {}
      assert.is_true(ch:send(1))
      run.raises("only a worker can wait", ch.send, ch, 2)
      assert.equal(1, (ch:recv()))
      run.raises("only a worker can wait", ch.recv, ch)
      decnet.worker("w", function()
        for value in ch:iter() do
          got[#got + 1] = value
        end
      end)
      t:advance(1)
      assert.is_true(ch:send "from outside")
      t:advance(0)
      assert.same({ "from outside" }, got)
      ch:close()
      t:advance(0)
      assert.equal("done", t:status("w").state)
    end)
  end)

  it("refuses a bad capacity and what is no channel", function()
    run.raises("capacity", decnet.channel, -1)
    run.raises("capacity", decnet.channel, 1.5)
    run.raises("capacity", decnet.channel, "many")
    local _, err = pcall(function()
      decnet.channel(-1)
    end)
    run.contains(err, "channel_spec.lua:")
    local ch = decnet.channel()
    run.raises("decnet.channel expected", ch.recv, {})
    for bytes = 0, 400 do -- a string may be as long as a channel is
      run.raises("decnet.channel expected", ch.recv, ("x"):rep(bytes))
    end
  end)

  it("does not grow when it is used for long", function()
    run.worker(function()
      local ch = decnet.channel(4)
      ch:send(0)
      local before
      for i = 1, 20000 do
        ch:send(i)
        ch:recv()
        if i == 10000 then
          collectgarbage()
          before = collectgarbage "count"
        end
      end
      collectgarbage()
      assert.is_true(collectgarbage "count" < before + 64)
    end)
  end)

  -- The ring was as large for ever as it had been once.
  it("gives back what a burst has taken, when it has long been nearly empty", function()
    for _, left in ipairs { 0, 3 } do
      run.worker(function()
        local ch = decnet.channel(1 << 20)
        local function held()
          collectgarbage()
          collectgarbage()
          return collectgarbage "count"
        end
        local before = held()
        for i = 1, 2 ^ 15 do
          ch:send(i)
        end
        assert.is_true(held() > before + 400) -- 512 KiB of values
        local expected, is_in_order = 1, true
        local function recv()
          is_in_order = is_in_order and ch:recv() == expected
          expected = expected + 1
        end
        for _ = 1, 2 ^ 15 - left do
          recv()
        end
        for i = 2 ^ 15 + 1, 2 ^ 15 + (left > 0 and 2 ^ 16 or 100) do
          ch:send(i)
          recv()
        end
        assert.is_true(is_in_order)
        assert.equal(left, #ch)
        assert.is_true(held() < before + 32, held() - before)
      end)
    end
  end)

  it("keeps the order though its ring grows and shrinks in turn", function()
    run.worker(function()
      local ch, sent, received = decnet.channel(1000), 0, 0
      for round = 1, 300 do
        for _ = 1, round % 10 == 0 and 990 or round % 7 do
          sent = sent + 1
          ch:send(sent)
        end
        while #ch > (round % 3 == 0 and 2 or 0) do
          received = received + 1
          if ch:recv() ~= received then
            error("not " .. received)
          end
        end
      end
    end)
  end)

  -- A table with a channel's metatable was taken for one, and there was none.
  it("is not what debug makes look like one", function()
    local sealed = debug.getmetatable(decnet.channel(1))
    local fake = debug.setmetatable({}, sealed)
    for _, method in ipairs { "send", "recv", "try_send", "try_recv", "close", "iter" } do
      run.raises("decnet.channel expected", sealed.__index[method], fake, 1)
    end
    run.raises("decnet.channel expected", sealed.__len, fake)
  end)
end)

describe("an event", function()
  it("wakes all who wait, in order, and stays set", function()
    run.worker(function()
      local event, order = decnet.event(), {}
      for i = 1, 5 do
        decnet.spawn(function()
          assert.is_true(event:wait())
          order[#order + 1] = i
        end)
      end
      decnet.yield()
      assert.is_false(event:is_set())
      event:set()
      event:set()
      assert.is_true(event:is_set())
      decnet.yield()
      assert.same({ 1, 2, 3, 4, 5 }, order)
      assert.is_true(event:wait())
      assert.is_true(event:wait(0))
    end)
  end)

  it("waits again after it was cleared; who was woken stays awake", function()
    run.worker(function()
      local event, woken = decnet.event(), 0
      decnet.spawn(function()
        event:wait()
        woken = woken + 1
      end)
      decnet.yield()
      event:set()
      event:clear()
      decnet.yield()
      assert.equal(1, woken)
      assert.same({ nil, "timeout" }, { event:wait(2) })
      run.near(2, decnet.now(), 1e-4)
    end)
  end)

  it("can be set from outside and from another worker", function()
    testing.run(function(t)
      local event, at = decnet.event(), {}
      for i = 1, 2 do
        decnet.worker("w" .. i, function()
          event:wait()
          at[i] = decnet.now()
        end)
      end
      t:advance(3)
      event:set()
      t:advance(1)
      run.near(3, at[1], 1e-4)
      run.near(3, at[2], 1e-4)
    end)
  end)

  it("refuses bad seconds and what is no event", function()
    run.worker(function()
      local event = decnet.event()
      run.raises("seconds", event.wait, event, -1)
      run.raises("decnet.event expected", event.wait, {})
      event:set()
      run.raises("seconds", event.wait, event, "x")
    end)
  end)
end)
