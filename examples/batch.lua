-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Batch jobs around a store. They share a pool of connections and pass orders on by channels:
--
--   orchestrate --> enrich --> mutate        each changes the order's state in the store
--        ^                                   new -> enriched -> done
--        '------- reconcile                  takes up what a crash left behind
--
--   decnet-host examples/batch.lua [PERIOD]

local decnet = require "decnet"
local uv = require "luv"

local PERIOD = tonumber(arg[1] or 2) -- seconds
local CONNECTIONS = 2
local ANSWER_LIMIT = 5 -- seconds

-- Lines that come from a stream, read as they are asked for; none after its end or an error.
local function lines(stream, limit)
  local text = ""
  return function()
    while true do
      local line, rest = text:match "^(.-)\n(.*)$"
      if line then
        text = rest
        return line
      end
      local data = decnet.uv.read(stream, limit)
      if not data then
        return nil
      end
      text = text .. data
    end
  end
end

-- ---- the store: it stands for a database -------------------------------------------------------

-- What the script opens while it loads belongs to the host: it outlives the run that uses it.
local server = uv.new_tcp()
assert(server:bind("127.0.0.1", 0))

decnet.worker("store", function()
  local state_of = {} -- order -> state

  local function answer(line)
    local verb, argument, state = line:match "^(%a+) (%w+) ?(%w*)$"
    if verb == "put" then
      state_of[argument] = state
      return "ok"
    elseif verb == "find" then -- the orders in a state
      local found = {}
      for order, its_state in pairs(state_of) do
        found[#found + 1] = its_state == argument and order or nil
      end
      return table.concat(found, " ")
    end
    return "what?"
  end

  local function serve(client)
    for line in lines(client) do
      if not decnet.uv.write(client, answer(line) .. "\n") then
        break
      end
    end
    client:close()
  end

  assert(server:listen(128, function(err)
    assert(not err, err)
    local client = uv.new_tcp()
    server:accept(client)
    decnet.spawn(serve, client)
  end))
  decnet.park()
end)

-- ---- the pool ----------------------------------------------------------------------------------

-- A channel full of slots. Who takes one out has the connection for himself; who comes when the
-- channel is empty waits.
local pool = decnet.channel(CONNECTIONS)
for _ = 1, CONNECTIONS do
  pool:try_send {}
end

local function connect()
  local connection = decnet.shared(uv.new_tcp) -- the pool's, not this run's
  return { stream = connection, next_line = lines(connection, ANSWER_LIMIT) }
end

-- Ask the store one question. However this ends, by an error or by the end of the run too, the slot
-- goes back; a connection whose answer is still to come is closed, and the next user makes another.
local function ask(question)
  local slot = assert(pool:recv())
  local is_answered = false
  local _ <close> = setmetatable({}, {
    __close = function()
      if not is_answered and slot.connection then
        slot.connection.stream:close()
        slot.connection = nil
      end
      pool:try_send(slot)
    end,
  })
  if not slot.connection then
    slot.connection = connect()
    local address = server:getsockname()
    assert(decnet.uv.tcp_connect(slot.connection.stream, address.ip, address.port))
  end
  assert(decnet.uv.write(slot.connection.stream, question .. "\n"))
  local answer = assert(slot.connection.next_line(), "the store does not answer")
  is_answered = true
  return answer
end

-- ---- the jobs ----------------------------------------------------------------------------------

local to_enrich = decnet.channel(100)
local to_mutate = decnet.channel(100)

-- A worker that does something every so often.
local function every(seconds, job)
  return function(self)
    while true do
      local began = decnet.now()
      job(self)
      decnet.sleep(math.max(0, began + seconds - decnet.now()))
    end
  end
end

decnet.defaults { min_backoff = PERIOD / 4, jitter = 0.1, after = { "store" } }

local last_order = 0

decnet.worker("orchestrate", every(PERIOD, function(self)
  for _ = 1, 5 do
    last_order = last_order + 1
    local order = "order" .. last_order
    ask("put " .. order .. " new")
    to_enrich:send(order) -- waits while the channel is full
  end
  self.log:info("ordered", { last = last_order })
end))

decnet.worker("enrich", function()
  for order in to_enrich:iter() do
    ask("put " .. order .. " enriched")
    to_mutate:send(order)
  end
end)

decnet.worker("mutate", function(self)
  for order in to_mutate:iter() do
    if math.random() < 0.1 then
      error("cannot mutate " .. order) -- it is left behind, enriched
    end
    ask("put " .. order .. " done")
    self:healthy() -- the next crash is the first again: a short delay
  end
end)

-- What stands in the same state twice in a row has been lost on the way. To do an order twice, if
-- it was only slow, does no harm.
local unfinished = {}

decnet.worker("reconcile", every(PERIOD, function(self)
  local now, retried = {}, 0
  for _, state in ipairs { "new", "enriched" } do
    for order in ask("find " .. state):gmatch "%S+" do
      now[order] = state
      if unfinished[order] == state then
        to_enrich:send(order)
        retried = retried + 1
      end
    end
  end
  unfinished = now
  local _, done = ask("find done"):gsub("%S+", "")
  self.log:info("reconciled", { done = done, retried = retried })
end))
