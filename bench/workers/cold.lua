-- SPDX-License-Identifier: AGPL-3.0-or-later
-- H: from nothing to COUNT workers that run. The process dies at once, its figures said before if
-- SHOW is set: the runner takes the time.   decnet-host bench/workers/cold.lua COUNT

local decnet = require "decnet"
local uv = require "luv"

local COUNT = tonumber(arg[1])

local entered = 0
for i = 1, COUNT do
  decnet.worker("w" .. i, function()
    entered = entered + 1
    if entered == COUNT then
      if os.getenv "SHOW" then
        local measure = require "measure"
        measure.tell { rss_mb = measure.resident() / 1e6 }
      end
      uv.kill(uv.os_getpid(), "sigkill")
    end
    decnet.sleep(3600)
  end)
end
