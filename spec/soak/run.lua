-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A soak, and what it must find: decnet-host lua spec/soak/run.lua [options]
--
--   --minutes M     how long (3)
--   --seed N        of the scene and the orders (the clock)
--   --judge LOG     nothing but the judgement on a log
--   --canaries      the host is made to leak, and that must be found (a minute)
--
-- After each soak its log is judged again with one mistake in it (mistakes.lua), for each of them.

local uv = require "luv"
local drive = require "spec.soak.drive"
local judge = require "spec.soak.judge"
local mistakes = require "spec.soak.mistakes"
local tidy = require "spec.tidy"
local whole = require "spec.soak.whole"

local HOST = os.getenv "DECNET_HOST" or "build/release/decnet-host"
local SCENE = os.getenv "DECNET_SOAK_SCENE" or HOST:gsub("[^/]*$", "spec/soak_scene")
local SHOWN = 20 -- complaints

local function say(text, ...)
  io.stderr:write("soak: ", text:format(...), "\n")
end

local function read_lines(path)
  local lines = {}
  for line in io.lines(path) do
    lines[#lines + 1] = line
  end
  return lines
end

local function each(lines)
  local i = 0
  return function()
    i = i + 1
    return lines[i]
  end
end

local function complain(verdict)
  for i = 1, math.min(SHOWN, #verdict.complaints) do
    say("%s", verdict.complaints[i])
  end
  if #verdict.complaints > SHOWN then
    say("and %d more", #verdict.complaints - SHOWN)
  end
end

-- Those of the first scene, which has nothing to do with the others, and of the host.
local function of_first_scene(lines)
  local some = {}
  for _, line in ipairs(lines) do
    if not line:find '"worker":"s[1-9]' then
      some[#some + 1] = line
    end
  end
  return some
end

-- Each mistake in the log of a sound run must be found. Returns how many were.
local function judge_mistakes(lines)
  local found, all = 0, 0
  lines = of_first_scene(lines)
  local before = #judge.judge(each(lines)).complaints
  for name, make in mistakes.each() do
    local wrong = make(lines)
    all = all + 1
    if not wrong then
      say("canary: nothing in this log lets one make '%s'", name)
    elseif #judge.judge(each(wrong)).complaints <= before then
      say("canary not found: %s", name)
    else
      found = found + 1
    end
  end
  return found, all
end

local function judge_log(path)
  local lines = read_lines(path)
  local verdict = judge.judge(each(lines))
  complain(verdict)
  print(whole.figures(verdict))
  if #verdict.complaints > 0 then
    say("%d complaints; the log: %s", #verdict.complaints, path)
    return false
  end
  local found, all = judge_mistakes(lines)
  print(("%d of %d mistakes made in the log were found"):format(found, all))
  return found == all, verdict
end

local function soak(seconds, seed)
  local dir = assert(uv.fs_mkdtemp "/tmp/decnet-soak-XXXXXX")
  say("seed %d, %g s; the same again: ./dev soak %g %d", seed, seconds, seconds / 60, seed)
  local path, err, log = drive.run { host = HOST, scene = SCENE, dir = dir, seed = seed,
    seconds = seconds, calms = math.max(6, seconds // 60),
    on_calm = function(c)
      say("calm: %.1f MB, %d descriptors, %d children", c.resident / 1e6, c.files, c.children)
    end }
  if not path then
    say("%s; the log: %s", err, log)
    return false
  end
  local is_sound, verdict = judge_log(path)
  if is_sound then
    tidy.remove(dir)
    print(("%g min, %d runs of %d workers, %d orders, %+.0f bytes a second, no finding"):format(
      seconds / 60, verdict.runs, verdict.count, verdict.orders, verdict.slope))
  end
  return is_sound
end

-- A host that leaks: what must be said of it.
local LEAKS = {
  { "memory", "memory grows" },
  { "files", "descriptors in calm" },
  { "children", "children in calm" },
}

local function canary(leak, complaint)
  local dir = assert(uv.fs_mkdtemp "/tmp/decnet-soak-XXXXXX")
  local path, err = drive.run { host = HOST, scene = SCENE, dir = dir, seed = 1, seconds = 12,
    calms = 3, scenes = 2, leak = leak }
  local verdict = judge.judge(each(path and read_lines(path) or {}))
  tidy.remove(dir)
  for _, text in ipairs(verdict.complaints) do
    if text:find(complaint, 1, true) then
      say("found: %s", text)
      return true
    end
  end
  say("canary not found: %s%s", leak, err and ": " .. err or "")
  return false
end

local function canaries()
  local found = 0
  for _, leak in ipairs(LEAKS) do
    found = found + (canary(leak[1], leak[2]) and 1 or 0)
  end
  print(("%d of %d leaks found"):format(found, #LEAKS))
  return found == #LEAKS
end

local options, i = { minutes = 3, seed = os.time() }, 1
while arg[i] do
  local name, value = arg[i], arg[i + 1]
  if name == "--canaries" then
    options.canaries = true
  elseif name == "--judge" and value then
    options.judge, i = value, i + 1
  elseif (name == "--minutes" or name == "--seed") and tonumber(value) then
    options[name:sub(3)], i = tonumber(value), i + 1
  else
    say("unknown option or no value: %s", name)
    os.exit(2)
  end
  i = i + 1
end

local ok
if options.canaries then
  ok = canaries()
elseif options.judge then
  ok = judge_log(options.judge)
else
  ok = soak(options.minutes * 60, math.tointeger(options.seed))
end
os.exit(ok and 0 or 1, true)
