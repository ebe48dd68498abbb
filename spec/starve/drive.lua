-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Runs the points of a scenario, each in a process of its own, and says what was found.
local uv = require "luv"

local M = {}

local PATIENCE_MS = 6000
local SHORT_MS = 20
local NEVER = "1000000000"
local NOWHERE = "memory at 0"
local playing = {} -- process IDs

-- name -> options of its host (arguments before the script), more environment, `exits`: which exit
-- codes are good besides 0, `leaks`: it passes through libraries (gnutls when it is loaded, luv
-- when Lua raises in it) that do not free what they have when they are refused more ("files": nor
-- close it).
-- `never`: modes that mean nothing there: libmicrohttpd waits for an edge after a short write.
M.modes = {
  "memory once", "memory twice", "memory on", "memory ceiling", "memory at",
  "files once", "files twice", "files on",
  "calls eintr", "calls eagain", "calls short", "calls each-short",
}
M.scenarios = {
  { name = "boot", armed = true, exits = { [2] = true }, ms = 0 },
  { name = "load", exits = { [2] = true }, ms = 0 },
  { name = "start", exits = { [2] = true } },
  { name = "plane", exits = { [2] = true }, control = true, leaks = true },
  { name = "crash" },
  { name = "restart" },
  { name = "stop" },
  { name = "reload" },
  { name = "uv", leaks = true },
  { name = "luv", leaks = "files" },
  { name = "tasks", control = true, thread = "main", leaks = true },
  { name = "control", control = true, thread = "other", never = { ["calls each-short"] = true } },
  { name = "shutdown", control = true, ms = 0 },
}

--- What must be found, and as what.
M.canaries = {
  { name = "canary_leak", finds = "^leaks: 1 blocks$" },
  { name = "canary_lost", finds = "^not as it should be: lost is failed$" },
  { name = "canary_abort", finds = "^signal 6" },
  { name = "canary_hang", finds = "^hangs$" },
}

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a" or ""
end

local function environment(set)
  local list = {}
  for key, value in pairs(uv.os_environ()) do
    if set[key] == nil and key:sub(1, 7) ~= "DECNET_" then
      list[#list + 1] = key .. "=" .. value
    end
  end
  for key, value in pairs(set) do
    list[#list + 1] = key .. "=" .. value
  end
  return list
end

-- Where the threads of a process stand: "R", "S do_epoll_wait", ...
local function where_threads_stand(pid)
  local tasks, places = ("/proc/%d/task"):format(pid), {}
  for name in uv.fs_scandir_next, assert(uv.fs_scandir(tasks)) do
    local state = read(("%s/%s/stat"):format(tasks, name)):match "%) (%a)" or "?"
    local waits = read(("%s/%s/wchan"):format(tasks, name))
    places[#places + 1] = waits ~= "0" and state .. " " .. waits or state
  end
  return table.concat(places, ", ")
end

--- Play one point in the directory `dir`; done(result) gets code, signal, hung, stdout, stderr,
--- report{points, refused, blocks, bytes, descriptors} or nil.
function M.play(program, scenario, plan, dir, done)
  local files = { dir .. "/stdout", dir .. "/stderr", dir .. "/report" }
  os.remove(files[3])
  local out = assert(uv.fs_open(files[1], "w", 384))
  local err = assert(uv.fs_open(files[2], "w", 384))
  local args = { "--no-control" }
  if scenario.control then
    args = { "--socket", dir .. "/control" }
  end
  args[#args + 1] = ("%s/spec/starve/scenarios/%s.lua"):format(uv.cwd(), scenario.name)
  local result, timer = {}, uv.new_timer()
  local handle, pid
  handle, pid = uv.spawn(program, {
    args = args, stdio = { nil, out, err },
    env = environment {
      DECNET_STARVE = plan, DECNET_STARVE_REPORT = files[3],
      DECNET_STARVE_MS = tostring(not plan:find "^memory at" and scenario.ms or SHORT_MS),
      DECNET_STARVE_ARMED = scenario.armed and "1" or nil,
      DECNET_STARVE_THREAD = scenario.thread,
      DECNET_STARVE_PLACES = plan == NOWHERE and dir .. "/places" or nil,
      DECNET_STARVE_SOCKET = dir .. "/control",
      DECNET_STARVE_TRACE = os.getenv "DECNET_STARVE_TRACE",
      LUA_PATH = uv.cwd() .. "/?.lua;;",
    },
  }, function(code, signal)
    timer:close()
    handle:close()
    playing[pid] = nil
    result.code, result.signal = code, signal
    result.stdout, result.stderr = read(files[1]), read(files[2])
    local text = read(files[3])
    if text ~= "" then
      result.report = {}
      for word, number in text:gmatch "(%l+) (%-?%d+)" do
        result.report[word] = result.report[word] or tonumber(number)
      end
    end
    result.report_text = text
    done(result)
  end)
  uv.fs_close(out)
  uv.fs_close(err)
  assert(handle, pid)
  playing[pid] = true
  timer:start(PATIENCE_MS, 0, function()
    result.is_hung, result.where = true, where_threads_stand(pid)
    uv.kill(pid, "sigkill")
  end)
end

--- Kill whoever plays.
function M.stop()
  for pid in pairs(playing) do
    uv.kill(pid, "sigkill")
  end
end

local function last_line(text)
  return text:match "([^\n]+)\n?$" or ""
end

-- How glibc names the place of its own assertions about /etc/nsswitch.conf.
local GLIBC = ": nss_[%w_]+%.c:%d+: "

--- What is wrong with a result, in a line without figures; nil: nothing.
function M.judge(scenario, result, unfaulted)
  if result.is_hung then
    return "hangs"
  elseif result.signal ~= 0 and result.stderr:find(GLIBC) then
    return nil
  elseif result.signal ~= 0 then
    return ("signal %d: %s"):format(result.signal, last_line(result.stderr))
  elseif result.stdout:find "harmed: " then
    return result.stdout:match "harmed: ([^\n]*)"
  end
  if result.code == 0 then
    if not result.stdout:find "unharmed" then
      return "ends before it was judged: " .. last_line(result.stderr)
    end
  elseif not (scenario.exits and scenario.exits[result.code]) then
    return ("exit code %d: %s"):format(result.code, last_line(result.stderr))
  elseif select(2, result.stderr:gsub("decnet%-host: ", "")) ~= 1 then
    return ("exit code %d and no good message: %s"):format(result.code, result.stderr)
  end
  local report = result.report
  if not report then
    return "ends without a report"
  elseif report.blocks > unfaulted.report.blocks and not scenario.leaks then
    return ("leaks: %d blocks"):format(report.blocks - unfaulted.report.blocks)
  elseif result.code == 0 and report.descriptors > unfaulted.report.descriptors
    and scenario.leaks ~= "files" then
    return ("leaks: %d descriptors"):format(report.descriptors - unfaulted.report.descriptors)
  end
end

-- Play `jobs` plans at a time: next_plan() returns one or nil, each(plan, result) gets the results.
local function play_all(program, scenario, root, jobs, next_plan, each)
  local function go_on(dir)
    local plan = next_plan()
    if plan then
      M.play(program, scenario, plan, dir, function(result)
        each(plan, result)
        go_on(dir)
      end)
    end
  end
  for i = 1, jobs do
    local dir = ("%s/%d"):format(root, i)
    uv.fs_mkdir(dir, 448)
    go_on(dir)
  end
  uv.run()
end

-- Where in src/ the stacks stand that the program has written down, each by its innermost function
-- there: a list of { at = "1f3a", text = "src/script/plain.c:39" }. What core has armed once it may
-- arm again: of the deadlines of env_arm none is refused.
local function read_places(program, path)
  local stacks, addresses, seen = {}, {}, {}
  for line in io.lines(path) do
    local stack = {}
    for at in line:gmatch "%x+" do
      stack[#stack + 1] = at
      if not seen[at] then
        seen[at] = true
        addresses[#addresses + 1] = ("%x\n"):format(tonumber(at, 16) - 1) -- in the call
      end
    end
    stacks[#stacks + 1] = stack
  end
  local input = path .. ".addresses"
  local file <close> = assert(io.open(input, "w"))
  file:write(table.concat(addresses))
  file:flush()
  local where, texts = {}, {}
  local listing <close> = assert(io.popen(("addr2line -f -e '%s' <'%s'"):format(program, input)))
  for name in listing:lines() do
    local text = listing:read():match "/(src/%l+/[%w_]+%.[ch]:%d+)"
    texts[#texts + 1] = name ~= "env_arm" and text or false
  end
  for i, address in ipairs(addresses) do
    where[("%x"):format(tonumber(address, 16) + 1)] = texts[i]
  end
  local places, is_listed = {}, {}
  for _, stack in ipairs(stacks) do
    for _, at in ipairs(stack) do
      if where[at] then
        if not is_listed[at] then
          is_listed[at] = true
          places[#places + 1] = { at = at, text = where[at] }
        end
        break
      end
    end
  end
  table.sort(places, function(a, b) return a.at < b.at end)
  return places
end

-- A plan for each place, from the first one on each `stride`-th, of those that
-- options.is_wanted(place), if given, wants.
local function plans_of_places(options)
  local places = read_places(options.program, options.root .. "/1/places")
  local n = options.first - options.stride
  return function()
    repeat
      n = n + options.stride
      local place = places[n]
      if place and (not options.is_wanted or options.is_wanted(place)) then
        return ("memory at %s %s"):format(place.at, place.text)
      end
    until not place
  end
end

-- The plans of a mode: one for each `stride`-th point.
local function plans_of(options, mode, unfaulted)
  local stride, first = options.stride, options.first
  if mode == "memory at" then
    return plans_of_places(options)
  end
  local n = first
  local last, step = unfaulted.report.points, stride
  if mode:find "ceiling" then
    last = unfaulted.peak
    step = math.max(1, last // math.max(1, unfaulted.report.points // stride))
  end
  return function()
    if n > last then
      return nil
    end
    local plan = ("%s %d %d"):format(mode, n, n % 13 + 1)
    n = n + step
    return plan
  end
end

--- Play a scenario in a mode. Returns the number of points and the findings: a list of
--- { what, plans }.
function M.explore(options, scenario, mode)
  local unfaulted
  local root = options.root
  play_all(options.program, scenario, root, 1, coroutine.wrap(function()
    coroutine.yield(mode == "memory at" and NOWHERE or mode .. " " .. NEVER)
    while true do
      coroutine.yield()
    end
  end), function(_, result)
    unfaulted = result
  end)
  if not unfaulted.report then
    error(("%s: does not even run without a fault: %s%s"):format(scenario.name, unfaulted.stdout,
      unfaulted.stderr), 0)
  end
  unfaulted.peak = unfaulted.report.peak
  local count, findings, by_what = 0, {}, {}
  local wrong = M.judge(scenario, unfaulted, unfaulted)
  if wrong then
    error(("%s: without a fault: %s\n%s%s"):format(scenario.name, wrong, unfaulted.stdout,
      unfaulted.stderr), 0)
  end
  play_all(options.program, scenario, root, options.jobs,
    plans_of(options, mode, unfaulted), function(plan, result)
      count = count + 1
      local what = M.judge(scenario, result, unfaulted)
      if what then
        what = what:gsub("ts=%S+ ", ""):gsub("0x%x+", "0x"):gsub("%d+ms", "Nms")
        local finding = by_what[what]
        if not finding then
          finding = { what = what, plans = {} }
          by_what[what], findings[#findings + 1] = finding, finding
        end
        local stands = result.where and (" (%s)"):format(result.where) or ""
        table.insert(finding.plans, plan .. stands)
      end
    end)
  return count, findings
end

return M
