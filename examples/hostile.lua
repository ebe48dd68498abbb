-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What one worker may do to hurt the others, and what the others see of it.
--
--   decnet-host examples/hostile.lua [--for SECONDS] [--limit SECONDS] [ROW...]
--
-- The victim ticks every 10 ms and sends itself a byte through a pipe. The conductor starts the
-- workers of hostile/gallery.lua beside it, row by row, leaves them at it for --for seconds (0.4),
-- stops them and counts what they have left behind. The exit code is 0 if the victim held (never
-- restarted, nothing lost, no tick later than --limit, 2 seconds) and if each row ended as it
-- should and left nothing. docs/isolation.md explains the rows.

local decnet = require "decnet"
local uv = require "luv"
local count = require "hostile.count"
local gallery = require "hostile.gallery"
local suggest = require "decnet.suggest"

-- Rows overwrite globals: what runs beside them has its own references.
local assert, ipairs, next, pairs, pcall, type = assert, ipairs, next, pairs, pcall, type
local collect = collectgarbage
local sort, getmetatable, print = table.sort, debug.getmetatable, print
local find, format, gmatch, gsub = string.find, string.format, string.gmatch, string.gsub
local match, sub = string.match, string.sub
local ceil, floor, max = math.ceil, math.floor, math.max
local atomic, now, sleep = decnet.atomic, decnet.now, decnet.sleep
local spawn, worker = decnet.spawn, decnet.worker

local PERIOD = 0.01 -- seconds
local PATIENCE = 10 -- seconds until what was stopped must be gone, and all that it opened

-- ---- arguments ---------------------------------------------------------------------------------

-- Raises: there is no such row.
local function no_row(word)
  local names = {}
  for i, row in ipairs(gallery.rows) do
    names[i] = row.name
  end
  local near = suggest.near(word, names)
  error(format("there is no row %q; %s", word, near and format("did you mean %q?", near)
    or "the names are in docs/isolation.md"), 0)
end

local function read_arguments()
  local by_name, chosen = {}, {}
  for _, row in ipairs(gallery.rows) do
    by_name[row.name] = row
  end
  local given = { ["--for"] = 0.4, ["--limit"] = 2 }
  local i = 1
  while arg[i] do
    local word = arg[i]
    if given[word] then
      i = i + 1
      given[word] = tonumber(arg[i]) or error(word .. ": a number of seconds expected", 0)
    else
      chosen[#chosen + 1] = by_name[word] or gallery.canaries[word] or no_row(word)
    end
    i = i + 1
  end
  return #chosen > 0 and chosen or gallery.rows, given["--for"], given["--limit"]
end

local ROWS, SECONDS, LIMIT = read_arguments()

-- ---- the victim --------------------------------------------------------------------------------

local victim = { began = nil, ticks = 0, written = 0, came = 0, late = {} }

victim.handle = worker {
  name = "victim", restart = "never", essential = true,
  run = function()
    local fds = assert(uv.socketpair("stream", nil, { nonblock = true }, { nonblock = true }))
    local ours, theirs = uv.new_pipe(false), uv.new_pipe(false)
    ours:open(fds[1])
    theirs:open(fds[2])
    theirs:read_start(function(err, data)
      assert(not err and data, err)
      victim.came = victim.came + #data
    end)
    local function on_written(err)
      assert(not err, err)
      victim.written = victim.written + 1
    end
    victim.began = now()
    local due = victim.began + PERIOD
    while true do
      sleep(due - now())
      victim.late[#victim.late + 1] = max(0, now() - due)
      victim.ticks = victim.ticks + 1
      assert(ours:write("x", on_written))
      due = due + PERIOD
    end
  end,
}

local function percentile(sorted, p)
  return sorted[max(1, ceil(#sorted * p))] or 0
end

-- How late it was since this was asked last, in seconds: at p99 and at worst, and every value.
local function take_lateness()
  local late = victim.late
  victim.late = {}
  sort(late)
  return percentile(late, 0.99), late[#late] or 0, late
end

-- How many of its ticks are overdue.
local function overdue()
  return floor((now() - victim.began) / PERIOD) - victim.ticks
end

-- What is wrong with it, or nil.
local function complaint()
  local status = victim.handle:status()
  if status.run ~= 1 or status.restarts ~= 0 or status.state ~= "running" then
    return format("the victim is in state %s, run %d", status.state, status.run)
  end
  local give_up = now() + PATIENCE
  while true do
    local lost = overdue()
    if lost <= 1 and victim.came == victim.ticks then
      return nil
    elseif now() > give_up then
      return format("the victim lost %d ticks and %d bytes", lost, victim.ticks - victim.came)
    end
    sleep(PERIOD)
  end
end

-- ---- putting back what a row overwrote ---------------------------------------------------------

local saved = {}

local function save(object)
  local copy = {}
  for key, value in next, object do
    copy[key] = value
  end
  saved[object] = copy
end

local function put_back()
  for object, copy in next, saved do
    for key in next, object do
      if copy[key] == nil then
        object[key] = nil
      end
    end
    for key, value in next, copy do
      object[key] = value
    end
  end
end

save(_G)
for _, library in pairs(_G) do
  if type(library) == "table" and library ~= _G and library ~= arg then
    save(library)
  end
end
save(getmetatable "")

decnet.defaults(gallery.DEFAULTS)

-- ---- a row -------------------------------------------------------------------------------------

-- Start the workers of a row; returns their handles, or nil and why not.
local function start(row, note)
  local handles = {}
  for i = 1, row.copies or 1 do
    local spec = { name = row.name .. (row.copies and " " .. i or "") }
    for key, value in next, row.options or {} do
      spec[key] = value
    end
    function spec.run(self)
      return row.run(self, note)
    end
    local ok, handle = pcall(worker, spec)
    if not ok then
      return nil, handle
    end
    handles[i] = handle
  end
  return handles
end

-- The first crash among its endings, if any is kept.
local function crash_of(status)
  for _, ending in ipairs(status.endings or {}) do
    if ending.ended == "crashed" then
      return ending
    end
  end
end

-- What became of it until now. A run that did not end in its stop_timeout was killed, be it in its
-- own code, in a task or in its cleanup.
local function fate(status, is_killed)
  return (crash_of(status) and "crashed, " or "")
    .. (status.preemptions > 0 and "preempted, " or "")
    .. (is_killed and "killed" or status.state)
end

-- Leave it at it, in any case until it has done what it must before it is stopped.
local function wait(handle, expected)
  sleep(SECONDS)
  local give_up = now() + PATIENCE
  for word in gmatch(expected, "%a+") do
    while word ~= "stopped" and word ~= "killed" and now() < give_up
      and not find(fate(handle:status()), word, 1, true) do
      sleep(PERIOD)
    end
  end
end

-- Stop them all at once, wait for their end, and forget them. Returns what became of the first.
local function stop(handles)
  local tasks, line = {}, nil
  for i, handle in ipairs(handles) do
    tasks[i] = spawn(function()
      local patience, asked = handle:options().stop_timeout, now()
      local was_running = handle:status().state == "running"
      handle:stop()
      if i == 1 then
        local status = handle:status()
        local crash = crash_of(status)
        line = {
          became = fate(status, was_running and now() - asked >= patience),
          error = crash and crash.error, crashes = status.restarts + 1,
        }
      end
      handle:remove()
    end)
  end
  for _, task in ipairs(tasks) do
    task:join()
  end
  return line
end

-- What there is, at a moment when the victim has nothing under way. The victim waits meanwhile.
local function count_all()
  local give_up = now() + PATIENCE
  while (victim.written < victim.ticks or victim.came < victim.ticks) and now() < give_up do
    sleep(PERIOD / 10)
  end
  local all = atomic(count.all)
  collect() -- what the counting has left is nobody else's to clear away
  repeat -- the victim makes up for that
    sleep(PERIOD)
  until overdue() <= 1 or now() > give_up
  return all
end

-- Wait until there is no more of anything than before; what there is in the end.
local function leftovers(before)
  local give_up = now() + PATIENCE
  while true do
    local more = count.more(count_all(), before)
    if not more or now() > give_up then
      return more
    end
    sleep(PERIOD)
  end
end

local function is_as_expected(became, expected)
  for word in gmatch(expected, "%a+") do
    if not find(became, word, 1, true) then
      return false
    end
  end
  return match(became, "%a+$") == match(expected, "%a+$")
end

-- Carry it out. Returns its line of the table, and what is wrong, or nil.
local function perform(row)
  local note, before = {}, count_all()
  take_lateness()
  local handles, refusal = start(row, note)
  if not handles then
    return { name = row.name, became = "refused", late = {} }, refusal
  end
  wait(handles[1], row.expect)
  local line = stop(handles)
  line.p99, line.worst, line.late = take_lateness()
  put_back()
  line.name, line.is_special = row.name, row.late ~= nil
  local harm = complaint()
  if harm then
    return line, harm
  end
  line.left = leftovers(before)
  local is_right, message = pcall(row.check or type, note)
  if not is_as_expected(line.became, row.expect) then
    return line, format("expected: %s", row.expect)
  elseif row.error and not find(line.error or "", row.error) then
    return line, format("expected an error like %q", row.error)
  elseif not is_right then
    return line, message
  elseif line.left then
    return line, "it left something behind"
  elseif line.worst > max(LIMIT, row.late or 0) then
    return line, format("the victim was late by more than %g s", LIMIT)
  end
  return line
end

-- ---- the table ---------------------------------------------------------------------------------

local function in_ms(seconds)
  return seconds and format("%.1f", seconds * 1000) or "-"
end

local function show(lines)
  local layout = "%-42s %-28s %8s %8s  %-7s %s"
  print(format(layout, "row", "what became of it", "p99, ms", "worst", "left", "remark"))
  local all, special = {}, 0
  for _, line in ipairs(lines) do
    local remark = line.wrong and "WRONG: " .. line.wrong or ""
    if line.error then
      local text = gsub(sub(line.error, 1, 60), "%c", " ")
      remark = format("%s%d x %s", remark ~= "" and remark .. "; " or "", line.crashes, text)
    end
    print(format(layout, line.name .. (line.is_special and " *" or ""), line.became,
      in_ms(line.p99), in_ms(line.worst), line.left or "nothing", remark))
    special = special + (line.is_special and 1 or 0)
    for _, late in ipairs(line.is_special and {} or line.late) do
      all[#all + 1] = late
    end
  end
  sort(all)
  print(format("%d ticks in the rows without *: late by %s ms at p50, %s at p99, %s at worst", #all,
    in_ms(percentile(all, 0.5)), in_ms(percentile(all, 0.99)), in_ms(all[#all])))
end

worker {
  name = "conductor", restart = "never", essential = true, after = { "victim" },
  run = function(self)
    count_all() -- what is made when it is first used is there now
    local lines, wrong = {}, 0
    for i, row in ipairs(ROWS) do
      self.log:info("hostile", { row = row.name })
      local line, message = perform(row)
      line.wrong, lines[i] = message, line
      wrong = wrong + (message and 1 or 0)
    end
    show(lines)
    if wrong > 0 then
      decnet.fatal(format("%d of %d rows went wrong", wrong, #ROWS))
    end
    print(format("the victim held in all %d rows: %d ticks, none lost", #ROWS, victim.ticks))
    decnet.stop()
  end,
}
