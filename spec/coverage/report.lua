-- SPDX-License-Identifier: AGPL-3.0-or-later
-- ./dev coverage: what the tests have executed, beside what they must.
--   report.lua BUILD [PATTERN]      PATTERN: of these files tell what nobody has taken

local uv = require "luv"
package.path = "spec/coverage/?.lua;" .. package.path
local branches = require "branches"
local lines = require "lines"

local PARTS = { -- directory, percent below which it has become worse, percent aimed at, of what
  { "src/core", 100, 100, "branches" },
  { "src/obs", 96, 95, "branches" },
  { "src/host", 90, 90, "branches" },
  { "src/script", 95, 95, "branches" },
  { "src/control", 96, 95, "branches" },
  { "src/ctl", 90, 90, "branches" },
  { "lua/decnet", 98, 98, "lines" },
}

local build, pattern = arg[1], arg[2]
local files = branches.read(uv.cwd(), build)
for path, file in pairs(lines.read(build .. "/lua_lines.txt")) do
  files[path] = file
end

local function tell_missing()
  local paths = {}
  for path in pairs(files) do
    paths[#paths + 1] = path:find(pattern) and path or nil
  end
  table.sort(paths)
  for _, path in ipairs(paths) do
    for _, place in ipairs(files[path].missing) do
      print(("%s:%d: %s%s"):format(path, place.line, place.text,
        place.branches and "  [" .. place.branches .. "]" or ""))
    end
  end
end

local function sum_of(dir)
  local total, taken = 0, 0
  for path, file in pairs(files) do
    if path:find("^" .. dir .. "/") then
      total, taken = total + file.total, taken + file.taken
    end
  end
  return total, taken
end

if pattern then
  tell_missing()
end
local figures, is_low = {}, false
for _, part in ipairs(PARTS) do
  local dir, least, aim, what = table.unpack(part)
  local total, taken = sum_of(dir)
  local percent = math.floor(taken / total * 1000) / 10 -- 99.99 is not 100
  local remark = aim > least and (" (the aim is %d %%)"):format(aim) or ""
  print(("%-12s %5.1f %% of %4d %s, at least %d %%%s%s"):format(dir, percent, total, what, least,
    remark, percent < least and ": too few" or ""))
  figures[#figures + 1] = ("%s %.1f %%"):format(dir:match "[^/]+$", percent)
  is_low = is_low or total == 0 or percent < least
end
print(table.concat(figures, ", "))
os.exit(not is_low)
