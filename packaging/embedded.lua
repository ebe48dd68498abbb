-- SPDX-License-Identifier: AGPL-3.0-or-later
-- For packaging/check.sh: does a plain lua5.4 find all of decnet?
local decnet = require "decnet"

decnet.supervise("w", function()
  io.stdout:write("embedded ", decnet.offload(function() return 6 * 7 end), "\n")
end)
