-- SPDX-License-Identifier: AGPL-3.0-or-later
-- ./dev starve: decnet-host lua spec/starve/run.lua [--stride N] [--first N] [--jobs N]
--   [--mode "memory once"] [--place PATTERN] [SCENARIO...]
local uv = require "luv"
package.path = uv.cwd() .. "/?.lua;" .. package.path
local drive = require "spec.starve.drive"

local options = {
  program = os.getenv "DECNET_STARVED" or uv.cwd() .. "/build/release/decnet-starved",
  stride = 1, first = 1, jobs = uv.available_parallelism and uv.available_parallelism() or 2,
  root = assert(uv.fs_mkdtemp "/tmp/decnet-starve-XXXXXX"),
}
local wanted, wanted_mode = {}, nil
local at = 1
while arg[at] do
  local name = arg[at]:match "^%-%-(%l+)$"
  if name == "mode" then
    wanted_mode = arg[at + 1]
    at = at + 1
  elseif name == "place" then
    local pattern = arg[at + 1]
    options.is_wanted = function(place) return place.text:find(pattern) end
    at = at + 1
  elseif name then
    options[name] = assert(tonumber(arg[at + 1]), arg[at])
    at = at + 1
  else
    wanted[arg[at]] = true
  end
  at = at + 1
end

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
os.execute("rm -r " .. options.root)
print(("%d points, %d findings"):format(points, found))
os.exit(found == 0 and points > 0)
