-- SPDX-License-Identifier: AGPL-3.0-or-later
-- For programs that start others and have a directory of their own: nothing stays behind.
local uv = require "luv"

local M = {}

--- Remove a directory and all in it. No other program does it: one would be told to end as well.
function M.remove(path)
  local entries = assert(uv.fs_scandir(path))
  for name, kind in function() return uv.fs_scandir_next(entries) end do
    local inside = path .. "/" .. name
    if kind == "directory" then
      M.remove(inside)
    else
      os.remove(inside)
    end
  end
  uv.fs_rmdir(path)
end

--- On SIGINT, SIGTERM and SIGHUP: clean_up(), then the end by that signal. Takes a loop that turns.
function M.when_told_to_end(clean_up)
  for _, name in ipairs { "sigint", "sigterm", "sighup" } do
    local signal = uv.new_signal()
    signal:start(name, function()
      clean_up()
      signal:stop()
      uv.kill(uv.os_getpid(), name)
    end)
    signal:unref()
  end
end

return M
