-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A worker that uses libuv, threads, children and files.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
local uv = require "luv"
local is_over = false
decnet.worker("user", function(self)
  if self.run > 1 or is_over then
    starve.disarm()
    is_over = true
    decnet.park()
  end
  starve.arm()
  local server = assert(uv.new_tcp())
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(8, function()
    local peer = assert(uv.new_tcp())
    assert(server:accept(peer))
    assert(peer:write(decnet.uv.read(peer, 1) or "nothing"))
  end))
  local client = assert(uv.new_tcp())
  assert(decnet.uv.tcp_connect(client, "127.0.0.1", server:getsockname().port))
  decnet.uv.write(client, "hello")
  decnet.timeout(1, decnet.await, function(resume)
    client:read_start(resume)
  end)
  assert(decnet.uv.fs_stat "/")
  assert(decnet.uv.getaddrinfo("127.0.0.1", nil, { socktype = "stream" }))
  decnet.timeout(1, decnet.offload, function(n) return n + 1 end, 1)
  decnet.uv.spawn("/bin/true", { args = {} })
  local file <close> = io.open("/dev/null", "w")
  if file then
    file:write "x"
  end
  starve.disarm()
  is_over = true
  decnet.park()
end)
scenario.verify(function() return scenario.are_running "user" end)
scenario.begin(function()
  while not is_over do
    decnet.sleep(0.002)
  end
end)
