-- SPDX-License-Identifier: AGPL-3.0-or-later
-- I: the same server as a script for plain luv would have it, hosted: callbacks, no coroutines.
--   decnet-host bench/workers/callbacks.lua PORT

local decnet = require "decnet"
local uv = require "luv"

local PORT = tonumber(arg[1])

decnet.worker("echo", function()
  local server = uv.new_tcp()
  assert(server:bind("127.0.0.1", PORT))
  assert(server:listen(128, function(err)
    assert(not err, err)
    local client = uv.new_tcp()
    server:accept(client)
    client:nodelay(true)
    client:read_start(function(_, data)
      if data then
        client:try_write(data)
      else
        client:close()
      end
    end)
  end))
  uv.run()
end)
