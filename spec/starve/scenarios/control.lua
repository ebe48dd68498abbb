-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The control plane answers: status, one worker, metrics, logs, an order. Armed for its threads.
local scenario = require "spec.starve.common"
local starve = require "starve"
local decnet = require "decnet"
local uv = require "luv"
local path = os.getenv "DECNET_STARVE_SOCKET"

local function ask(request)
  local pipe = assert(uv.new_pipe(false))
  local answer = {}
  if decnet.uv.pipe_connect(pipe, path) then
    pipe:write(request)
    decnet.await(function(resume)
      pipe:read_start(function(err, data)
        answer[#answer + 1] = data
        if err or not data then
          resume()
        end
      end)
    end, 2)
  end
  pipe:close()
  return table.concat(answer)
end

local function get(target)
  return ask("GET " .. target .. " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
end

decnet.worker("ordered", function(self)
  self.log:info("line", { run = self.run })
  decnet.park()
end)
scenario.verify(function()
  local answer = get "/v1/workers"
  if not (answer:find "200 OK" and answer:find '"name":%s*"calm"') then
    return false, "the control plane does not answer any more"
  end
  return scenario.are_running "ordered"
end)
scenario.begin(function()
  starve.arm()
  get "/v1/workers"
  get "/v1/workers/calm"
  get "/metrics"
  get "/v1/logs"
  get "/nothing"
  ask("POST /v1/workers/ordered/restart HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
    .. "Connection: close\r\n\r\n")
end)
