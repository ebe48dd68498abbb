-- SPDX-License-Identifier: AGPL-3.0-or-later
-- For checks.sh, which makes files in the state directory to say what is to happen.
local decnet = require "decnet"
local uv = require "luv"

decnet.worker { name = "late", notify = true, run = function(self)
  decnet.sleep(1)
  self.log:warn("ready now", { answer = 42 })
  self:ready()
  print "printed"
  decnet.park()
end }

decnet.worker { name = "flaky", min_backoff = 100, max_backoff = 100, run = function()
  error "boom"
end }

decnet.worker { name = "thorough", stop_timeout = 60, run = function(self)
  self:defer(function()
    if uv.fs_stat "slow" then
      decnet.sleep(4)
    end
    self.log:info "cleaned up"
  end)
  decnet.park()
end }

decnet.worker("stuck", function()
  repeat decnet.sleep(0.1) until uv.fs_stat "stick"
  os.remove "stick"
  uv.sleep(60000) -- one call of C
end)
