-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Prints the manual: the chapters of docs/manual.in.md with the tables of lua/decnet/options.lua.
--
--   ./dev docs                        write it
--   lua5.4 docs/generate.lua --check      exit 1 if docs/manual.md is out of date

local COMMAND = "./dev docs"
local MARKERS = { ["<!-- options -->"] = "worker", ["<!-- group options -->"] = "group" }

local here = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function shown(option)
  if option.shown then
    return option.shown
  elseif option.default == math.huge then
    return "`math.huge`"
  elseif type(option.default) == "string" then
    return ('`"%s"`'):format(option.default)
  end
  return ("`%s`"):format(option.default)
end

local function option_table(list)
  local rows = { "| option | default | meaning |", "|---|---|---|" }
  for _, option in ipairs(list) do
    if not option.required then
      local default = shown(option)
      if option.unit and tonumber(option.default) and option.default ~= math.huge then
        default = ("%s %s"):format(default, option.unit == "seconds" and "s" or option.unit)
      end
      rows[#rows + 1] = ("| `%s` | %s | %s |"):format(option.key, default, option.doc)
    end
  end
  return table.concat(rows, "\n")
end

local function generate()
  local text = read(here .. "/manual.in.md")
  local options = require "decnet.options"
  for marker, name in pairs(MARKERS) do
    local first, last = text:find(marker, 1, true)
    assert(first, "docs/manual.in.md has lost its line " .. marker)
    text = text:sub(1, first - 1) .. option_table(options[name]) .. text:sub(last + 1)
  end
  return "<!-- Generated from docs/manual.in.md and lua/decnet/options.lua by\n     " .. COMMAND
    .. " -->\n\n" .. text
end

local text = generate()
if arg[1] == "--check" then
  if read(here .. "/manual.md") ~= text then
    io.stderr:write("docs/manual.md is out of date; regenerate it:\n  ", COMMAND, "\n")
    os.exit(1)
  end
elseif arg[1] then
  io.stderr:write("usage: lua5.4 docs/generate.lua [--check]\n")
  os.exit(2)
else
  io.stdout:write(text)
end
