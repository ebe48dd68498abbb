-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Each file of specs in a process of its own, several at a time:
--   decnet-host lua spec/all.lua JOBS default|process PROGRAM ARGUMENT...
-- runs `PROGRAM ARGUMENT... FILE` for each file of that tier of .busted, and prints what those
-- printed that failed, then the sum of all, a line as busted's. A file that does not end within ten
-- minutes, with all that it started and that holds its output, or does not say what it counted is
-- one error. Told to end, it says which files had not ended, and what those had printed.
local uv = require "luv"
package.path = uv.cwd() .. "/?.lua;" .. package.path
local tidy = require "spec.tidy"

local jobs, tier = assert(tonumber(arg[1])), assert(arg[2])
local limit_ms = 600000

-- What takes long begins first, so that nobody waits for it at the end.
local long = { "starve", "client", "control_load", "hostile", "top", "preempt", "service", "model" }
local rank = {}
for index, name in ipairs(long) do rank[name] = index end

local files = {}
for index, file in ipairs(dofile(".busted")[tier].ROOT) do
  files[index] = { path = file, rank = rank[file:match "([%w_]+)_spec.lua$"] or #long + index }
end
table.sort(files, function(a, b) return a.rank < b.rank end)

local sums = { 0, 0, 0, 0 } -- successes, failures, errors, pending
local began = uv.hrtime()
local next_file, counted = 1, 0
local running = {}

local function count(file, status, output)
  counted = counted + 1
  local counts = {
    output:match "\n(%d+) success%w* / (%d+) failures? / (%d+) errors? / (%d+) pending",
  }
  for index, text in ipairs(counts) do
    sums[index] = sums[index] + math.tointeger(text)
  end
  local found = counts[1] and tonumber(counts[2]) + tonumber(counts[3])
  if status ~= 0 or found ~= 0 then
    print(("---- %s: status %d\n%s"):format(file.path, status, output))
  end
  if not counts[1] or (status ~= 0 and found == 0) then sums[3] = sums[3] + 1 end
end

local function start()
  local file = files[next_file]
  if not file then return end
  next_file = next_file + 1

  local out, limit = uv.new_pipe(), uv.new_timer()
  local pieces, status, is_open = { "\n" }, nil, true
  local function ended()
    if not running[file] or is_open or not status then return end
    running[file] = nil
    out:close()
    limit:close()
    count(file, status, table.concat(pieces))
    start()
  end

  local arguments = table.move(arg, 3, #arg, 4, { "-c", 'exec "$@" 2>&1 </dev/null', "sh" })
  table.insert(arguments, file.path)
  local process = assert(uv.spawn("sh",
    { args = arguments, stdio = { nil, out }, detached = true },
    function(code, signal)
      status = status or (signal ~= 0 and 128 + signal or code)
      ended()
    end))
  local group = -process:get_pid()
  running[file] = function()
    table.insert(pieces, status and "\nnot over: its output is held" or "\nnot over: it runs")
    status, is_open = 124, false
    uv.kill(group, "sigkill") -- a spec that hangs has children
    ended()
  end
  limit:start(limit_ms, 0, running[file])
  out:read_start(function(failure, chunk)
    assert(not failure, failure)
    if chunk then
      table.insert(pieces, chunk)
    else
      is_open = false
      ended()
    end
  end)
end

tidy.when_told_to_end(function()
  next_file = #files + 1
  for _, end_it in pairs(running) do end_it() end
end)
io.stdout:setvbuf "line"
for _ = 1, jobs do start() end
uv.run()
sums[3] = sums[3] + #files - counted -- who could not be started
print(("%d successes / %d failures / %d errors / %d pending : %.1f seconds"):format(sums[1],
  sums[2], sums[3], sums[4], (uv.hrtime() - began) / 1e9))
os.exit(sums[2] + sums[3] == 0)
