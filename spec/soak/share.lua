-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What the parts of a soak must agree upon.

local M = {}

--- Bytes that a run may hold.
M.MAX_MEMORY = 2 * 1024 * 1024

--- What one worker orders of another one may take so many seconds to happen.
M.MEDDLING = 15

--- One worker in so many is changed by a reload.
M.CHANGED = 20

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

--- What spec/soak/scene.c printed.
function M.scene(path)
  return assert(load(M.read(path), "@" .. path, "t", { math = math }))()
end

--- When worker `i` was changed last.
function M.version(i, epoch)
  return epoch - (epoch - i) % M.CHANGED
end

return M
