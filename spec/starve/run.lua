-- SPDX-License-Identifier: AGPL-3.0-or-later
-- ./dev starve: decnet-host lua spec/starve/run.lua [--stride N] [--first N] [--jobs N]
--   [--mode "memory once"] [--place PATTERN] [SCENARIO...]
local uv = require "luv"
package.path = uv.cwd() .. "/?.lua;" .. package.path
local drive = require "spec.starve.drive"
local tidy = require "spec.tidy"

local function fail(message, ...)
  io.stderr:write("starve: ", message:format(...), "\n")
  os.exit(2)
end

local options = {
  program = os.getenv "DECNET_STARVED" or uv.cwd() .. "/build/release/decnet-starved",
  stride = 1, first = 1, jobs = uv.available_parallelism and uv.available_parallelism() or 2,
}
local wanted, wanted_mode = {}, nil
local names = {}
for i, scenario in ipairs(drive.scenarios) do
  names[i] = scenario.name
end

-- The word of `list`, or the program ends and says which there are.
local function one_of(list, what, word)
  for _, known in ipairs(list) do
    if known == word then
      return word
    end
  end
  fail("there is no %s '%s': %s", what, word, table.concat(list, ", "))
end

local at = 1
local function value(word)
  at = at + 1
  return arg[at] or fail("%s: a value expected", word)
end
while arg[at] do
  local word = arg[at]
  if word == "--mode" then
    wanted_mode = one_of(drive.modes, "mode", value(word))
  elseif word == "--place" then
    local pattern = value(word)
    options.is_wanted = function(place) return place.text:find(pattern) end
  elseif word == "--stride" or word == "--first" or word == "--jobs" then
    local number = math.tointeger(tonumber(value(word)))
    if not number or number < 1 then
      fail("%s: a whole number above 0 expected", word)
    end
    options[word:sub(3)] = number
  elseif word:sub(1, 1) == "-" then
    fail("unknown option '%s': --stride N, --first N, --jobs N, --mode MODE, --place PATTERN", word)
  else
    wanted[one_of(names, "scenario", word)] = true
  end
  at = at + 1
end
options.root = assert(uv.fs_mkdtemp "/tmp/decnet-starve-XXXXXX")
tidy.when_told_to_end(function()
  drive.stop()
  tidy.remove(options.root)
end)

local points, found = 0, 0
for _, scenario in ipairs(drive.scenarios) do
  if not next(wanted) or wanted[scenario.name] then
    for _, mode in ipairs(drive.modes) do
      if (wanted_mode or mode) == mode and not (scenario.never or {})[mode] then
        local began = uv.hrtime()
        local count, findings = drive.explore(options, scenario, mode)
        points = points + count
        print(("%-10s %-16s %5d points, %d findings, %.1f s"):format(scenario.name, mode, count,
          #findings, (uv.hrtime() - began) / 1e9))
        for _, finding in ipairs(findings) do
          found = found + 1
          print(("  %d x %s\n    %s"):format(#finding.plans, finding.what,
            table.concat(finding.plans, ", ", 1, math.min(4, #finding.plans))))
        end
      end
    end
  end
end
tidy.remove(options.root)
print(("%d points, %d findings"):format(points, found))
os.exit(found == 0 and points > 0)
