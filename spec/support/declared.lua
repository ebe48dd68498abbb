-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a function declares, as decnet-host plan and simulate get it from a script.

local core = require "decnet.core"
local declared = require "decnet.declared"

return function(fn)
  local host = core.host { log = false }
  local ok, err = pcall(fn)
  local what = ok and declared.read(host)
  host:close()
  if not ok then
    error(err, 0)
  end
  return what
end
