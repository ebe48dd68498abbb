-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Mistakes that a host could make, made in the log of one that made none: what the judge must find.

local share = require "spec.soak.share"

local M = {}

local LIST = {}

local function copy(lines)
  return table.move(lines, 1, #lines, 1, {})
end

local function field(line, key)
  return line:match('"' .. key .. '":"([^"]*)"') or tonumber(line:match('"' .. key .. '":([%d.]+)'))
end

-- The middle one of the lines with this message, for which pred is true, if there is one.
local function find(lines, msg, pred)
  local at = {}
  for i, line in ipairs(lines) do
    if line:find('"msg":"' .. msg .. '"', 1, true) and (not pred or pred(line, i)) then
      at[#at + 1] = i
    end
  end
  return at[(#at + 1) // 2]
end

-- Is this, for its worker, the next line of its kind behind i?
local function next_of(lines, i, msg)
  local worker = field(lines[i], "worker")
  for k = i + 1, #lines do
    if lines[k]:find('"worker":"' .. worker .. '"', 1, true) and
      lines[k]:find('"msg":"' .. msg, 1, true) then
      return k
    end
  end
end

local function mistake(name, make)
  LIST[#LIST + 1] = { name = name, make = make }
end

local function without(lines, i)
  if not i then
    return nil
  end
  local wrong = copy(lines)
  table.remove(wrong, i)
  return wrong
end

local function with(lines, i, text)
  local wrong = copy(lines)
  table.insert(wrong, i, text)
  return wrong
end

local function replaced(lines, i, pattern, text)
  if not i then
    return nil
  end
  local wrong = copy(lines)
  wrong[i] = wrong[i]:gsub(pattern, text, 1)
  return wrong[i] ~= lines[i] and wrong or nil
end

mistake("an extra restart", function(lines)
  local i = find(lines, "stopped")
  local run = i and field(lines[i], "run")
  return i and with(lines, #lines, (lines[i]:gsub('"msg":"stopped"', '"msg":"started"')
    :gsub('"run":%d+', ('"run":%d'):format(run + 1))))
end)

mistake("a run number left out", function(lines)
  local i = find(lines, "started")
  return i and replaced(lines, i, '"run":(%d+)', function(run)
    return ('"run":%d'):format(run + 1)
  end)
end)

mistake("two runs at a time", function(lines)
  local i = find(lines, "end", function(_, i) return next_of(lines, i, "started") end)
  local k = i and next_of(lines, i, "started")
  local wrong = k and copy(lines)
  if wrong then
    table.insert(wrong, k + 1, table.remove(wrong, i))
  end
  return wrong
end)

mistake("an end that is lost", function(lines)
  return without(lines, find(lines, "end"))
end)

mistake("an end that comes twice", function(lines)
  local i = find(lines, "end")
  return i and with(lines, i, lines[i])
end)

-- Seconds of the day.
local function clock(line)
  local h, m, sec = line:match '"ts":"[^T]*T(%d+):(%d+):([%d.]+)'
  return h * 3600 + m * 60 + sec
end

-- What is known of each worker when its line is read, by its name.
local function states()
  return setmetatable({}, { __index = function(self, name)
    self[name] = { open = 0, meddled = -math.huge }
    return self[name]
  end })
end

-- Of a worker that runs, by an order that no other one and no neighbour comes between.
mistake("a stop that stops nothing", function(lines)
  local of, found = states(), {}
  for i, line in ipairs(lines) do
    local msg = field(line, "msg")
    local s = of[msg == "meddles" and field(line, "whom") or field(line, "worker") or ""]
    if msg == "meddles" then
      s.meddled = clock(line)
    elseif msg == "order" then
      s.open = s.open + 1
      s.is_stop = s.open == 1 and s.is_up and field(line, "verb") == "stop"
    elseif msg == "started" then
      s.is_up = true
    elseif msg == "stopped" or msg == "done" or msg:find "^given up" then
      s.is_up = false
      s.stopped = msg == "stopped" and i
    elseif msg == "answered" then
      s.open = s.open - 1
      if s.is_stop and s.open == 0 and s.stopped and not s.is_up and field(line, "code") == 0
        and clock(line) > s.meddled + share.MEDDLING then
        found[#found + 1] = s.stopped
      end
      s.is_stop = false
    end
  end
  return without(lines, found[(#found + 1) // 2])
end)

mistake("a start after it was given up", function(lines)
  local i = find(lines, "given up: it will not be restarted", function(line, i)
    return next_of(lines, i, "order") and field(line, "run")
  end)
  local k = i and next_of(lines, i, "end") or i
  return i and with(lines, k + 1, (lines[i]:gsub('"msg":"[^"]*"', '"msg":"started"')
    :gsub('"run":(%d+)', function(run) return ('"run":%d'):format(run + 1) end)))
end)

-- In every line: some of them nobody can judge, because an order is under way.
local function replaced_all(lines, pattern, text)
  local wrong, count = {}, 0
  for i, line in ipairs(lines) do
    local n
    wrong[i], n = line:gsub(pattern, text)
    count = count + n
  end
  return count > 0 and wrong or nil
end

mistake("delays that are longer than the rule says", function(lines)
  return replaced_all(lines, '"restart_in":([%d.]+)', function(s)
    return ('"restart_in":%.9g'):format(tonumber(s) * 1.1)
  end)
end)

-- At the moment of the crash, wherever that says how long it will be.
mistake("restarts that come before their delay is over", function(lines)
  local of, wrong, count = states(), copy(lines), 0
  for i, line in ipairs(lines) do
    local s = of[field(line, "worker") or ""]
    if line:find('"msg":"crashed', 1, true) then
      s.crash = (field(line, "restart_in") or 0) > 0.2 and line
    elseif line:find('"msg":"started"', 1, true) and s.crash then
      wrong[i] = line:gsub('"ts":"[^"]*"', s.crash:match '"ts":"[^"]*"')
      s.crash = nil
      count = count + 1
    end
  end
  return count > 0 and wrong or nil
end)

mistake("a crash counted twice in the streak", function(lines)
  return replaced_all(lines, '"streak":2([,}])', '"streak":3%1')
end)

mistake("a crash in a flood that nobody counted", function(lines)
  for i, line in ipairs(lines) do
    if line:find '"suppressed":[1-9]%d' and line:find '"restart_in"' then
      return replaced(lines, i, '"suppressed":', '"suppressed":9')
    end
  end
  return replaced(lines, find(lines, "crashed"), '}$', ',"suppressed":77}')
end)

mistake("a worker that is forgotten at the end", function(lines)
  local last
  for i, line in ipairs(lines) do
    last = line:find('"msg":"stopped"', 1, true) and i or last
  end
  return without(lines, last)
end)

mistake("a child that is left", function(lines)
  return replaced(lines, find(lines, "host ended"), '"children":0', '"children":1')
end)

mistake("a descriptor that is left", function(lines)
  return replaced(lines, find(lines, "a calm"), '"files":(%d+)', function(n)
    return ('"files":%d'):format(n + 1)
  end)
end)

mistake("memory that grows", function(lines)
  local n = 0
  local wrong = copy(lines)
  for i, line in ipairs(lines) do
    if line:find('"msg":"a calm"', 1, true) then
      n = n + 1
      wrong[i] = line:gsub('"resident":(%d+)', function(bytes)
        return ('"resident":%d'):format(bytes + n * 30e6)
      end)
    end
  end
  return wrong
end)

mistake("a ticker that was restarted", function(lines)
  local i = find(lines, "lateness")
  return i and with(lines, i, (lines[i]:gsub('"msg":"lateness"', '"run":2,"msg":"started"')))
end)

--- Iterate over name and function: lines -> lines with the mistake, or nil where there is no
--- place for it.
function M.each()
  local i = 0
  return function()
    i = i + 1
    if LIST[i] then
      return LIST[i].name, LIST[i].make
    end
  end
end

return M
