-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Which lines of lua/decnet/ were executed: those that have code, from luac's listing, and those
-- that were seen, from what lua_lines.c wrote.

local M = {}

--- The lines of a file that have code. The "end" of a function has some, too, if it may fall off
--- there: it says nothing that the lines before do not.
local function with_code(path)
  local lines, text = {}, {}
  for line in io.lines(path) do
    text[#text + 1] = line
  end
  local listing = assert(io.popen("luac5.4 -l -p " .. path))
  for line in listing:lines() do
    local number, code = line:match "^\t%d+\t%[(%d+)%]\t(%u%w+)"
    number = tonumber(number)
    if number and code ~= "VARARGPREP" and not text[number]:find "^%s*end[%s%),;}]*$" then
      lines[number] = true
    end
  end
  assert(listing:close(), "luac5.4 failed")
  return lines, text
end

--- path -> { total =, taken =, missing = { { line =, text = } } }
function M.read(seen_path)
  local seen = {}
  for line in io.lines(seen_path) do
    seen[line] = true
  end
  local result = {}
  local list = assert(io.popen "ls lua/decnet/*.lua | grep -v /types.lua") -- that is never run
  for path in list:lines() do
    local lines, text = with_code(path)
    local file = { total = 0, taken = 0, missing = {} }
    for line = 1, #text do
      if lines[line] then
        file.total = file.total + 1
        if seen[path:match "([^/]+)$" .. ":" .. line] then
          file.taken = file.taken + 1
        else
          file.missing[#file.missing + 1] = { line = line, text = text[line] }
        end
      end
    end
    result[path] = file
  end
  list:close()
  return result
end

return M
