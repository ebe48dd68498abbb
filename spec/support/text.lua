-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What specs ask of messages. Needs nothing of decnet.

local M = {}

--- The text has this part, to the letter.
function M.contains(text, part, level)
  if type(text) ~= "string" or not text:find(part, 1, true) then
    error(("%s does not contain %q"):format(tostring(text), part), (level or 1) + 1)
  end
end

--- What a function returned is nil and a message with this part.
function M.refused_with(part, accepted, message)
  if accepted ~= nil then
    error("not refused: " .. tostring(accepted), 2)
  end
  M.contains(message, part, 2)
end

return M
