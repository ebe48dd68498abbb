-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The benchmarks: ./dev bench, which installs and builds what they need, says how to call this.

local uv = require "luv"

local called_in = uv.cwd()
local here = arg[0]:match "^(.*)/[^/]*$" or "."
assert(uv.chdir(here .. "/.."))
uv.fs_mkdir("build", tonumber("755", 8))
uv.fs_mkdir("build/bench", tonumber("755", 8))
package.path = "bench/?.lua;" .. package.path

local benches = require "benches"
local child = require "child"
local counts = require "counts"
local programs = require "programs"
local tables = require "tables"

local HOST = os.getenv "DECNET_HOST" or "build/release/decnet-host"
-- The same with Debian's Lua as that is, if it is to be measured, too.
local PLAIN_HOST = os.getenv "DECNET_PLAIN_HOST"
local PATIENCE = 300 -- seconds that one measurement may take
local COLD_STARTS = 20
local SERVER_START = 1 -- seconds

local HELP = [[
./dev bench [options] [NAME...]   the benchmarks of these names (all but 'million')
  --peers[=a,b]   beside what people would use instead: asyncio uvloop erlang go node luv cqueues
                  tarantool epoll
  --rounds N      how often each program runs, in turn with the others (3)
  --scale X       so many times the workers and the seconds (1)
  --cores LIST    the CPUs that programs are bound to, as taskset takes them (0)
  --growth        ours alone, from 10 to 1,000,000 workers
  --counts        instructions and system calls of one wake-up, restart, message, request; fails if
                  one is over 5 % above bench/counts.txt
  --renew         with --counts: write bench/counts.txt
  --packages      nothing but which packages of Debian are needed
  --into FILE     the tables go into FILE, between its lines <!-- bench --> (or growth, or counts)
                  and <!-- end -->
]]

local function fail(message, ...)
  io.stderr:write("bench: ", message:format(...), "\n")
  os.exit(2)
end

local function say(message, ...)
  io.stderr:write("bench: ", message:format(...), "\n")
end

-- ---- options -----------------------------------------------------------------------------------

local FLAGS = { counts = true, growth = true, help = true, packages = true, renew = true }
local VALUES = {
  rounds = function(text)
    return math.tointeger(tonumber(text)), "a whole number above 0"
  end,
  scale = function(text) return tonumber(text), "a number above 0" end,
  cores = function(text)
    local is_known = text:find "^%d[%d,:-]*$"
      and os.execute(("taskset -c '%s' true 2>/dev/null"):format(text))
    return is_known and text, "CPUs of this machine, as taskset takes them,"
  end,
  into = function(text) return text:sub(1, 1) == "/" and text or called_in .. "/" .. text end,
}

-- "--name value" and "--name=value"; --peers has one only after "=".
local function read_options(args)
  local options = { rounds = 3, scale = 1, cores = "0", names = {} }
  local i = 1
  while args[i] do
    local word = args[i]
    local name, text = word:match "^%-%-(%l+)=(.*)$"
    name = name or word:match "^%-%-(%l+)$"
    if name == "peers" and text ~= "" then
      options.peers = text or "all"
    elseif FLAGS[name] and not text then
      options[name] = true
    elseif VALUES[name] then
      if not text then
        i = i + 1
        text = args[i] or fail("--%s: a value expected", name)
      end
      local value, expected = VALUES[name](text)
      if not value or tonumber(value) and name ~= "cores" and tonumber(value) <= 0 then
        fail("--%s: %s expected, not '%s'", name, expected, text)
      end
      options[name] = value
    elseif word:sub(1, 1) == "-" then
      fail("unknown option '%s'; see ./dev bench --help", word)
    else
      options.names[#options.names + 1] = word
    end
    i = i + 1
  end
  return options
end

-- What would be ignored is refused.
local function check_together(options)
  local alone = options.counts and "--counts" or options.growth and "--growth"
  if options.counts and options.growth then
    fail("--counts and --growth: one at a time")
  elseif alone and (options.peers or #options.names > 0) then
    fail("%s measures decnet-host alone, and all of it: no names, no --peers", alone)
  elseif options.renew and not options.counts then
    fail("--renew goes with --counts")
  end
end

local function chosen_benches(names)
  local by_name, chosen, known = {}, {}, {}
  for _, bench in ipairs(benches) do
    by_name[bench.name] = bench
    known[#known + 1] = bench.name
    chosen[#chosen + 1] = not bench.by_name and bench or nil
  end
  if #names == 0 then
    return chosen
  end
  chosen = {}
  for i, name in ipairs(names) do
    chosen[i] = by_name[name] or fail("there is no benchmark '%s': %s (peers: --peers=a,b)", name,
      table.concat(known, " "))
  end
  return chosen
end

-- ---- peers -------------------------------------------------------------------------------------

local function is_there(what)
  if what:find "/" then
    local file = io.open(what)
    return file and file:close()
  end
  for dir in os.getenv("PATH"):gmatch "[^:]+" do
    local file = io.open(dir .. "/" .. what)
    if file then
      return file:close()
    end
  end
end

local function missing(peer)
  for _, what in ipairs(peer.needs) do
    if not is_there(what) then
      return what
    end
  end
end

local function wanted_peers(list)
  local is_known, known, wanted = { all = true }, {}, {}
  for _, peer in ipairs(programs.peers) do
    if not is_known[peer.group] then
      is_known[peer.group], known[#known + 1] = true, peer.group
    end
  end
  for name in (list or ""):gmatch "[^,]+" do
    wanted[name] = is_known[name] or fail("there is no peer '%s': %s", name,
      table.concat(known, " "))
  end
  local peers = {}
  for _, peer in ipairs(programs.peers) do
    peers[#peers + 1] = (wanted.all or wanted[peer.group]) and peer or nil
  end
  return peers
end

local function those_here(peers)
  local here_now = {}
  for _, peer in ipairs(peers) do
    local lacks = missing(peer)
    if lacks then
      say("%s is left out: %s is missing; Debian's package is %s, and ./dev bench --peers brings "
        .. "and builds it", peer.name, lacks, peer.packages:match "%S+$")
    else
      here_now[#here_now + 1] = peer
    end
  end
  return here_now
end

local function print_packages(options, peers)
  local is_told = {}
  local function tell(packages)
    for package in packages:gmatch "%S+" do
      if not is_told[package] then
        print(package)
        is_told[package] = true
      end
    end
  end
  for _, peer in ipairs(peers) do
    tell(peer.packages)
  end
  if options.counts or options.growth then
    tell "valgrind strace"
  end
end

-- ---- one measurement ---------------------------------------------------------------------------

local run = {}

-- A program that says its figures and is ended.
function run.program(job)
  local started, message = child.start(job.argv, job.env, job.cores)
  if not started then
    return nil, message
  end
  local figures, why = started:figures(PATIENCE)
  started:finish()
  return figures, why
end

-- The time until its end, of several starts; its memory, of one more.
function run.cold(job)
  local times = {}
  for i = 1, COLD_STARTS do
    local started, message = child.start(job.argv, job.env, job.cores)
    if not started then
      return nil, message
    end
    if not child.wait(function() return started.ended_ns end, PATIENCE) then
      started:finish()
      return nil, table.concat(job.argv, " ") .. " does not end"
    end
    times[i] = (started.ended_ns - started.began_ns) / 1e6
    started:finish()
  end
  job.env.SHOW = "1"
  local figures, message = run.program(job)
  if figures then
    figures.wall_ms = tables.median(times)
  end
  return figures, message
end

local function free_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  return tostring(port)
end

-- A server, on a port of its own, and its clients, on the other CPUs if there are any.
function run.server(job)
  local port = free_port()
  job.argv[job.port_at] = port
  local server, message = child.start(job.argv, job.env, job.cores)
  if not server then
    return nil, message
  end
  if child.wait(function() return server.ended_ns end, SERVER_START) then
    return server:figures(0)
  end
  local before = child.cpu_of(server.pid)
  local clients = assert(child.start({ "build/bench/load", port, tostring(job.count),
    tostring(job.seconds) }, {}, job.client_cores))
  local figures, why = clients:figures(PATIENCE)
  if figures then
    figures.server_us = (child.cpu_of(server.pid) - before) / figures.requests * 1e6
  end
  clients:finish()
  server:finish()
  return figures, why
end

-- ---- a benchmark -------------------------------------------------------------------------------

-- Where a server's clients run: on the last CPU, which is not the server's by default.
local function last_core()
  local last = 0
  for line in io.lines "/proc/cpuinfo" do
    last = tonumber(line:match "^processor%s*:%s*(%d+)") or last
  end
  return tostring(last)
end

local function jobs_of(bench, peers, options)
  local count = bench.is_scaled and math.max(1, bench.count * options.scale // 1 | 0) or bench.count
  local seconds = bench.seconds * options.scale
  local jobs = {}
  local function add(name, argv, is_ours, is_bare)
    jobs[#jobs + 1] = {
      name = name, argv = argv, is_ours = is_ours, is_bare = is_bare, count = count,
      seconds = seconds, env = { BENCH_SECONDS = tostring(seconds) },
      cores = bench.kind ~= "cold" and options.cores or nil, client_cores = last_core(),
    }
  end
  for _, row in ipairs(bench.ours) do
    add(row[1], programs.our_command(HOST, row, count, seconds), true)
  end
  if PLAIN_HOST then
    local row = bench.ours[1]
    add(row[1] .. ", Debian's Lua", programs.our_command(PLAIN_HOST, row, count, seconds), true)
  end
  for _, peer in ipairs(peers) do
    local argv = programs.command(peer, bench, count)
    if argv then
      add(peer.name, argv, false, bench.bare and bench.bare[peer.name])
    end
  end
  for _, job in ipairs(jobs) do
    job.port_at = job.is_ours and #job.argv - 1 or #job.argv
  end
  return jobs, count
end

-- Returns the results of all rounds, and whether each program gave some.
local function measure(bench, jobs, rounds)
  local results, others, is_complete = {}, {}, true
  for _, job in ipairs(jobs) do
    results[job.name], others[job.name] = {}, {}
  end
  for round = 1, rounds do
    for _, job in ipairs(jobs) do
      local busy = child.watch_others()
      local figures, message = run[bench.kind](job)
      if figures then
        for key, value in pairs(figures) do
          results[job.name][key] = results[job.name][key] or {}
          table.insert(results[job.name][key], value)
        end
        table.insert(others[job.name], busy())
        local first = bench.figures[1]
        say("%s %d/%d: %s: %s %s", bench.name, round, rounds, job.name,
          figures[first.key] and tables.number(figures[first.key]) or "-", first.title)
      else
        is_complete = false
        say("%s %d/%d: %s failed: %s", bench.name, round, rounds, job.name, message)
      end
    end
  end
  return results, others, is_complete
end

-- ---- the document ------------------------------------------------------------------------------

local function output_of(command)
  local pipe = io.popen(("{ %s; } 2>/dev/null"):format(command))
  local text = pipe:read "a"
  pipe:close()
  return (text:gsub("%s+$", ""))
end

local VERSIONS = {
  { "dpkg-query -W -f='${Package} ${Version}, ' python3 python3-uvloop erlang-base golang-go nodejs"
    .. " lua5.4 lua-luv lua-cqueues tarantool", "Packages" },
  { "sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | sed 's/^ *//'", "CPUs" },
  { "uname -sr", "System" },
}

local function heading(options)
  local lines = { ("%s, %s, rounds: %d, scale: %g, bound to CPU %s."):format(
    output_of(child.quote(HOST) .. " --version"), os.date "!%d %B %Y", options.rounds,
    options.scale, options.cores) }
  for _, version in ipairs(VERSIONS) do
    local found = output_of(version[1]):gsub(", *$", "")
    lines[#lines + 1] = found ~= "" and ("%s: %s."):format(version[2], found) or nil
  end
  return table.concat(lines, "\n") .. "\n"
end

-- What FILE has before and after the place between its lines <!-- marker --> and <!-- end -->.
local function around(marker, path)
  local file, message = io.open(path, "r+") -- it is written to an hour later
  local document = file and file:read "a"
  if not document then
    fail("--into: %s", message or path .. " cannot be read")
  end
  file:close()
  local _, first = document:find(("<!-- %s -->\n"):format(marker), 1, true)
  local last = first and document:find("<!-- end -->", first, true)
  if not last then
    fail("--into: %s has no lines <!-- %s --> and <!-- end -->", path, marker)
  end
  return document:sub(1, first), document:sub(last)
end

-- Print the text, or put it into FILE.
local function publish(text, marker, path)
  if not path then
    return print(text)
  end
  local before, after = around(marker, path)
  local file = assert(io.open(path, "w"))
  file:write(before, "\n", text, "\n", after)
  file:close()
end

local function compare(options, chosen, peers)
  local is_complete = true
  local parts = { heading(options) }
  for _, bench in ipairs(chosen) do
    local jobs, count = jobs_of(bench, peers, options)
    local results, others, is_whole = measure(bench, jobs, options.rounds)
    is_complete = is_complete and is_whole
    parts[#parts + 1] = tables.bench(bench, count, options.rounds, jobs, results, others)
  end
  publish(table.concat(parts, "\n"), "bench", options.into)
  return is_complete
end

-- ---- growth ------------------------------------------------------------------------------------

local SIZES = { 10, 100, 1000, 10000, 100000, 1000000 }
local MOST_WAKEUPS = 200000 -- a second: what one CPU can do, however many workers there are
local GROWING = {
  { "idle", "bytes_per_worker", "bytes a worker" },
  { "idle", "start_ms", "started, ms" },
  { "timers", "cpu_s_per_M", "CPU s a million wake-ups" },
  { "timers", "p99_ms", "p99 ms late" },
  { "shutdown", "cleaned_ms", "stopped, ms" },
}
local COUNTED_FROM = 1000 -- below that what the host does besides is too much of it

-- Our own program for so many workers. One measures as long as at full scale; timers sleep so much
-- longer that there are no more wake-ups than at 100,000.
local function job_for(bench, workers, options)
  local scale = workers / bench.count
  local job = jobs_of(bench, {}, { scale = scale, cores = options.cores })[1]
  job.argv[#job.argv] = tostring(bench.seconds)
  if bench.name == "timers" then
    job.argv[#job.argv + 1] = tostring(math.max(1, 2 * workers / MOST_WAKEUPS))
  end
  return job
end

local function growth(options)
  local by_name, rows, is_complete = {}, {}, true
  for _, bench in ipairs(benches) do
    by_name[bench.name] = bench
  end
  for i, size in ipairs(SIZES) do
    local workers = math.max(1, size * options.scale // 1 | 0)
    local row, results = { tables.whole(workers) }, {}
    for j, column in ipairs(GROWING) do
      local bench = by_name[column[1]]
      if not results[bench.name] then
        local job = job_for(bench, workers, options)
        local measured, _, is_whole = measure(bench, { job }, options.rounds)
        results[bench.name] = measured[job.name]
        is_complete = is_complete and is_whole
      end
      local values = results[bench.name][column[2]]
      row[j + 1] = values and tables.number(tables.median(values)) or "-"
    end
    for _, what in ipairs { "of_start", "of_wakeup" } do
      row[#row + 1] = workers >= COUNTED_FROM and tables.number(counts[what](HOST, workers)) or "-"
    end
    rows[i] = row
  end
  local titles = { "workers" }
  for _, column in ipairs(GROWING) do
    titles[#titles + 1] = column[3]
  end
  titles[#titles + 1] = "instructions a start"
  titles[#titles + 1] = "instructions a wake-up"
  publish(heading(options) .. "\n" .. tables.grid(titles, rows), "growth", options.into)
  return is_complete
end

-- ------------------------------------------------------------------------------------------------

local options = read_options(arg)
if options.help then
  io.write(HELP)
  os.exit(0)
end
check_together(options)
local chosen, peers = chosen_benches(options.names), wanted_peers(options.peers)
if options.into then
  around(options.counts and "counts" or options.growth and "growth" or "bench", options.into)
end
if options.packages then
  print_packages(options, peers)
elseif options.counts then
  local text, grown = counts.measure(HOST, options.renew)
  publish(text, "counts", options.into)
  io.stderr:write(grown)
  os.exit(grown == "" and 0 or 1)
elseif options.growth then
  os.exit(growth(options) and 0 or 1)
else
  os.exit(compare(options, chosen, those_here(peers)) and 0 or 1)
end
