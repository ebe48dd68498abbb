-- SPDX-License-Identifier: AGPL-3.0-or-later
-- I: a TCP echo server, a task for each connection.   decnet-host bench/workers/echo.lua PORT

local decnet = require "decnet"
local uv = require "luv"

local PORT = tonumber(arg[1])

local function serve(client)
  for data in decnet.uv.read, client do
    if not decnet.uv.write(client, data) then
      break
    end
  end
  client:close()
end

decnet.worker("echo", function()
  local server = uv.new_tcp()
  assert(server:bind("127.0.0.1", PORT))
  assert(server:listen(128, function(err)
    assert(not err, err)
    local client = uv.new_tcp()
    server:accept(client)
    client:nodelay(true)
    decnet.spawn(serve, client)
  end))
  decnet.park()
end)
