-- SPDX-License-Identifier: AGPL-3.0-or-later
-- ./dev mutate: what the tests of the supervisor are worth. One operator or constant of a file of
-- src/core at a time is another one (cut.lua), and a C test or a simulated world must fail. Those
-- that none fails for are listed, with the reason, in mutants.txt:
--     group.c set_gate: if (g->coming == 0 && g->arrived [> -> >=] 0) {
--         opens the gate of nobody
--
--   decnet-host lua spec/mutants/run.lua DIR [FILE...]      DIR: for what is built

io.stdout:setvbuf "line"
local uv = require "luv"
package.path = "spec/mutants/?.lua;" .. package.path
local cut = require "cut"

local FILES = { "backoff", "window", "rules", "group", "timerq", "deps", "change", "watch" }
local SEEDS = 400
local CPU_SECONDS = 5 -- then it is taken for an endless loop
local FLAGS = "-std=c11 -O1 -fPIC -D_GNU_SOURCE= -w"

local dir = assert(arg[1], "a directory expected")
local files = #arg > 1 and table.move(arg, 2, #arg, 1, {}) or FILES

local is_known = {}
for _, file in ipairs(FILES) do
  is_known[file] = true
end
for i, file in ipairs(files) do
  files[i] = file:match "([^/]+)%.c$" or file -- src/core/watch.c is watch
  if not is_known[files[i]] then
    io.stderr:write(("mutate: there is no '%s': %s\n"):format(file, table.concat(FILES, ", ")))
    os.exit(2)
  end
end

local function sh(format, ...)
  local command = format:format(...)
  assert(os.execute(command), command)
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function list(pattern)
  local pipe = assert(io.popen("ls " .. pattern))
  local names = {}
  for path in pipe:lines() do
    names[#names + 1] = path
  end
  pipe:close()
  return names
end

-- ---- what is built once ------------------------------------------------------------------------

--- The core as objects, and each program linked with a shared library of it, which is what a mutant
--- replaces. Returns the commands that must succeed, the quickest first.
local function build()
  sh("rm -rf '%s' && mkdir -p '%s/o' '%s/lib'", dir, dir, dir)
  sh("cp -r src spec '%s'", dir) -- nobody edits these meanwhile
  for _, path in ipairs(list(dir .. "/src/core/*.c")) do
    sh("gcc %s -I '%s/src' -c %s -o '%s/o/%s.o'", FLAGS, dir, path, dir, path:match "([^/]+)%.c$")
  end
  sh("gcc -shared -o '%s/lib/libcore.so' '%s'/o/*.o", dir, dir)
  local function program(name, sources)
    sh("cd '%s' && gcc %s -I src -I spec -I . %s spec/core/world.c -L lib -lcore -o %s", dir, FLAGS,
      sources, name)
  end
  local tests = {}
  for _, path in ipairs(list "spec/core/test_*.c") do
    local name = path:match "([^/]+)%.c$"
    if not name:find "canary" then
      program(name, path)
      tests[#tests + 1] = { command = dir .. "/" .. name, name = name }
    end
  end
  program("sim", "spec/sim/*.c")
  tests[#tests + 1] = { command = ("%s/sim --hash --seeds %d"):format(dir, SEEDS), name = "sim" }
  tests[#tests + 1] = { command = dir .. "/sim --hash --replay spec/sim/seeds.txt", name = "seeds" }
  for _, test in ipairs(tests) do
    local began = uv.hrtime()
    sh("LD_LIBRARY_PATH='%s/lib' %s >/dev/null", dir, test.command)
    test.ns = uv.hrtime() - began
  end
  table.sort(tests, function(a, b) return a.ns < b.ns end)
  return tests
end

-- ---- one mutant --------------------------------------------------------------------------------

--- Build it in the directory of the job and run the tests until one fails. Calls done(name) with
--- the name of the test that fails, "the compiler", or nothing.
local function try(job, file, mutant, tests, done)
  local place = ("%s/job%d"):format(dir, job)
  write(place .. "/" .. file .. ".c", mutant.text)
  local lines = {
    ("ulimit -t %d; ulimit -v 4000000"):format(CPU_SECONDS),
    ("gcc %s -I %s/src -c %s/%s.c -o %s/m.o 2>/dev/null || exit 1"):format(FLAGS, dir, place, file,
      place),
    ("gcc -shared -o %s/libcore.so $(ls %s/o/*.o | grep -v /%s.o) %s/m.o || exit 2"):format(place,
      dir, file, place),
    ("export LD_LIBRARY_PATH=%s"):format(place),
  }
  for i, test in ipairs(tests) do
    lines[#lines + 1] = ("%s >/dev/null 2>&1 || exit %d"):format(test.command, i + 2)
  end
  local handle
  handle = assert(uv.spawn("/bin/sh", { args = { "-c", table.concat(lines, "\n") } }, function(code)
    handle:close()
    assert(code ~= 2, "the linker failed")
    local killer = tests[code - 2]
    done(code == 1 and "the compiler" or killer and killer.name or nil)
  end))
end

-- ---- all of them -------------------------------------------------------------------------------

--- key -> reason
local function read_listed()
  local listed, key = {}, nil
  for line in io.lines "spec/mutants/mutants.txt" do
    if line:find "^%S" and not line:find "^#" then
      key = line
      listed[key] = ""
    elseif key and line:find "%S" then
      listed[key] = listed[key] .. line:gsub("^%s+", " ")
    end
  end
  for text, reason in pairs(listed) do
    assert(reason ~= "", "no reason is given for: " .. text)
  end
  return listed
end

local tests = build()
local listed = read_listed()
local queue, killers = {}, {}
local sums = { killed = 0, unbuilt = 0, listed = 0, survived = 0, dead = 0 }
for _, file in ipairs(files) do
  for _, mutant in ipairs(cut.mutants(read("src/core/" .. file .. ".c"))) do
    mutant.file, mutant.key = file, file .. ".c " .. mutant.key
    queue[#queue + 1] = mutant
  end
end
local total, at, seen = #queue, 0, {}

local function next_of(job)
  at = at + 1
  local mutant = queue[at]
  if not mutant then
    return
  end
  -- whoever killed most of this file is asked first
  local order = table.move(tests, 1, #tests, 1, {})
  local kills = killers[mutant.file] or {}
  killers[mutant.file] = kills
  table.sort(order, function(a, b)
    local x, y = kills[a.name] or 0, kills[b.name] or 0
    if x ~= y then
      return x > y
    end
    return a.ns < b.ns
  end)
  try(job, mutant.file, mutant, order, function(killer)
    if killer == "the compiler" then
      sums.unbuilt = sums.unbuilt + 1
    elseif killer then
      sums.killed = sums.killed + 1
      kills[killer] = (kills[killer] or 0) + 1
      if listed[mutant.key] then
        seen[mutant.key] = seen[mutant.key] or "killed"
      end
    elseif listed[mutant.key] then
      sums.listed = sums.listed + 1
      seen[mutant.key] = "lives"
    else
      sums.survived = sums.survived + 1
      print("survived: " .. mutant.key)
    end
    next_of(job)
  end)
end

for job = 1, uv.available_parallelism and uv.available_parallelism() or 2 do
  sh("mkdir -p '%s/job%d'", dir, job)
  next_of(job)
end
uv.run()

for key, how in pairs(seen) do
  if how == "killed" then
    print("listed, but it dies: " .. key)
  end
end
for key in pairs(listed) do
  if not seen[key] and killers[key:match "^%w+"] then
    print("listed, but it is no mutant any more: " .. key)
    sums.dead = sums.dead + 1
  end
end
print(("%d mutants: %d killed, %d do not compile, %d listed with a reason, %d survived"):format(
  total, sums.killed, sums.unbuilt, sums.listed, sums.survived))
os.exit(sums.survived == 0 and sums.dead == 0)
