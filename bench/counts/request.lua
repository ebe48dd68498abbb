-- SPDX-License-Identifier: AGPL-3.0-or-later
-- One connection, N requests one after the other: both ends are here, and both are counted.
--   decnet-host bench/counts/request.lua N

local decnet = require "decnet"
local uv = require "luv"

local N = tonumber(arg[1])

local listening = decnet.channel(1)

decnet.worker("server", function()
  local server, done = uv.new_tcp(), decnet.event()
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(1, function()
    local client = uv.new_tcp()
    server:accept(client)
    client:nodelay(true)
    for data in decnet.uv.read, client do
      decnet.uv.write(client, data)
    end
    done:set()
  end))
  listening:send(server:getsockname().port)
  done:wait()
end)

decnet.worker("client", function()
  local stream = uv.new_tcp()
  assert(decnet.uv.tcp_connect(stream, "127.0.0.1", listening:recv()))
  stream:nodelay(true)
  for _ = 1, N do
    decnet.uv.write(stream, "0123456789")
    assert(decnet.uv.read(stream) == "0123456789")
  end
end)
