-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The client verbs as people call them, for specs.

local process = require "spec.process.process"

local M = {}

--- `decnet-host VERB ... --socket PATH`; `line` is split at blanks, or a list of words.
function M.start(path, line, options)
  local args = {}
  if type(line) == "table" then
    table.move(line, 1, #line, 1, args)
  else
    for word in line:gmatch "%S+" do
      args[#args + 1] = word
    end
  end
  table.insert(args, 2, "--socket")
  table.insert(args, 3, path)
  return process.start(process.host, args, options)
end

--- Its end with this exit code: returns what it printed on stdout, and on stderr.
function M.ask(path, line, code, options)
  local child = M.start(path, line, options):ends(code or 0)
  return child:stdout(), child:stderr()
end

--- The words of the table's line that begins with `name`.
function M.row(text, name)
  for line in text:gmatch "[^\n]+" do
    if line:sub(1, #name + 1) == name .. " " then
      local words = {}
      for word in line:sub(#name + 1):gmatch "%S+" do
        words[#words + 1] = word
      end
      return words, line
    end
  end
  error("no line of " .. name .. ":\n" .. text, 2)
end

return M
