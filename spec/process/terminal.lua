-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Programs under a terminal, for specs: script(1) gives the pseudoterminal, what it prints is drawn
-- on a screen of our own (a VT100 as far as ncurses uses it), so that a spec sees what people see.

local uv = require "luv"
local process = require "spec.process.process"

local M = {}

-- ---- the screen --------------------------------------------------------------------------------

local Screen = {}
Screen.__index = Screen

local function new_screen(rows, cols)
  local self = setmetatable({ rows = rows, cols = cols, y = 1, x = 1, pending = "",
    top = 1, bottom = rows }, Screen) -- of the region that scrolls
  self:clear(1, rows)
  return self
end

function Screen:clear(from, to)
  self.cells = self.cells or {}
  for y = from, to do
    self.cells[y] = {}
  end
end

local function is_wide(c)
  return c >= 0x1100 and c <= 0x115f or c >= 0x2e80 and c <= 0xd7a3 or c >= 0xf900 and c <= 0xfaff
    or c >= 0xfe30 and c <= 0xfe6f or c >= 0xff00 and c <= 0xff60 or c >= 0x1f300
end

function Screen:put(char)
  if self.x > self.cols then
    self.x = 1
    self.y = math.min(self.y + 1, self.rows)
  end
  local wide = is_wide(utf8.codepoint(char))
  self.cells[self.y][self.x] = char
  self.x = self.x + 1
  if wide then
    self.cells[self.y][self.x] = ""
    self.x = self.x + 1
  end
end

-- Move by a line; where that leaves the region at `edge`, the line at its `other` one is lost.
local function step(s, by, edge, other)
  if s.y == edge then
    table.remove(s.cells, other)
    table.insert(s.cells, edge, {})
  else
    s.y = math.max(1, math.min(s.y + by, s.rows))
  end
end

local function index(s) step(s, 1, s.bottom, s.top) end

local ESCAPES = { D = index, M = function(s) step(s, -1, s.top, s.bottom) end }

local CONTROLS = {
  ["\r"] = function(s) s.x = 1 end,
  ["\n"] = index,
  ["\b"] = function(s) s.x = math.max(s.x - 1, 1) end,
  ["\t"] = function(s) s.x = math.min((s.x - 1) // 8 * 8 + 9, s.cols) end,
}

-- What was printed in the last column leaves the cursor there: only another character goes on to
-- the next line.
local function settle(s)
  s.x = math.min(s.x, s.cols)
end

local function erase_line(s, mode)
  local from, to = s.x, s.cols
  if mode == 1 then
    from, to = 1, s.x
  elseif mode == 2 then
    from = 1
  end
  for x = from, to do
    s.cells[s.y][x] = nil
  end
end

local SEQUENCES = {
  H = function(s, a, b) s.y, s.x = math.min(a or 1, s.rows), math.min(b or 1, s.cols) end,
  A = function(s, a) s.y = math.max(s.y - (a or 1), 1) end,
  B = function(s, a) s.y = math.min(s.y + (a or 1), s.rows) end,
  C = function(s, a) s.x = math.min(s.x + (a or 1), s.cols) end,
  D = function(s, a) s.x = math.max(s.x - (a or 1), 1) end,
  J = function(s, a)
    if a == 2 then
      s:clear(1, s.rows)
    else
      erase_line(s, 0)
      s:clear(s.y + 1, s.rows)
    end
  end,
  K = function(s, a) erase_line(s, a or 0) end,
  r = function(s, a, b) s.top, s.bottom, s.y, s.x = a or 1, b or s.rows, 1, 1 end,
}

-- Obey the sequence at `at`. Returns where it ends, nil if that is not there yet.
function Screen:obey(text, at)
  local params, final, stop = text:match("^\27%[([%d;?]*)([%a@])()", at)
  local command = SEQUENCES[final]
  if not stop then
    final, stop = text:match("^\27([^%[()])()", at)
    params, command = "", ESCAPES[final]
  end
  if command and params:sub(1, 1) ~= "?" then
    local a, b = params:match "^(%d*);?(%d*)"
    settle(self)
    command(self, tonumber(a), tonumber(b))
  end
  return stop or text:match("^\27[()][%w]()", at)
end

--- Draw what was printed; what is not whole waits for the rest.
function Screen:feed(text)
  text = self.pending .. text
  local at = 1
  while at <= #text do
    local c = text:sub(at, at)
    local stop
    if c == "\27" then
      stop = self:obey(text, at)
      if not stop then
        break
      end
    elseif c:byte() < 32 then
      stop = at + 1
      if CONTROLS[c] then
        settle(self)
        CONTROLS[c](self)
      end
    else
      local char = text:match("^" .. utf8.charpattern, at)
      local need = c:byte() >= 0xf0 and 4 or c:byte() >= 0xe0 and 3 or c:byte() >= 0xc0 and 2 or 1
      if #char < need and at + need > #text then
        break
      end
      stop = at + #char
      self:put(char)
    end
    at = stop
  end
  self.pending = text:sub(at)
end

--- The lines as people see them.
function Screen:lines()
  local lines = {}
  for y = 1, self.rows do
    local line = {}
    for x = 1, self.cols do
      line[x] = self.cells[y][x] or " "
    end
    lines[y] = table.concat(line):gsub(" +$", "")
  end
  return lines
end

-- ---- the terminal ------------------------------------------------------------------------------

local Terminal = {}
Terminal.__index = Terminal

local terminals = {}

local function quoted(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

M.new_screen = new_screen

--- Is there a script(1) that can do this?
function M.is_there()
  return os.execute "script --version >/dev/null 2>&1" == true
end

--- Start a program under a terminal. Options: rows (24), cols (80), env.
function M.start(file, args, options)
  options = options or {}
  local rows, cols = options.rows or 24, options.cols or 80
  local dir = process.dir()
  local self = setmetatable({ screen = new_screen(rows, cols), raw = "", name = dir .. "/tty" },
    Terminal)
  local words = { quoted(file) }
  for _, word in ipairs(args) do
    words[#words + 1] = quoted(word)
  end
  local command = ("stty rows %d cols %d; tty > %s; exec %s"):format(rows, cols, self.name,
    table.concat(words, " "))
  local env = {}
  local own = { TERM = "vt100", LC_ALL = "C.UTF-8", SHELL = "/bin/sh" }
  for key, value in pairs(options.env or {}) do
    own[key] = value
  end
  for key, value in pairs(uv.os_environ()) do
    env[#env + 1] = own[key] == nil and key .. "=" .. value or nil
  end
  for key, value in pairs(own) do
    env[#env + 1] = value and key .. "=" .. value or nil
  end
  self.input, self.output = uv.new_pipe(false), uv.new_pipe(false)
  local pid
  self.handle, pid = uv.spawn("script", {
    args = { "-q", "-e", "-f", "-c", command, "/dev/null" }, env = env,
    stdio = { self.input, self.output, 2 },
  }, function(code, signal)
    self.code = signal ~= 0 and -signal or code
    self.handle:close()
  end)
  assert(self.handle, pid)
  self.pid = pid
  self.output:read_start(function(_, data)
    self.raw = self.raw .. (data or "")
    self.screen:feed(data or "")
  end)
  terminals[#terminals + 1] = self
  return self
end

--- Press keys.
function Terminal:type(keys)
  self.input:write(keys)
end

--- The whole screen as one text.
function Terminal:text()
  return table.concat(self.screen:lines(), "\n")
end

--- Wait until the screen shows what matches the pattern; returns the captures.
function Terminal:shows(pattern, seconds)
  local found
  process.wait(function()
    found = table.pack(self:text():match(pattern))
    return found[1] ~= nil or self.code ~= nil
  end, seconds)
  if found[1] == nil then
    error(("the screen does not show: %s\n%s\n-- ended: %s"):format(pattern, self:text(),
      self.code), 2)
  end
  return table.unpack(found, 1, found.n)
end

--- Another size, which the program is told by SIGWINCH.
function Terminal:resize(rows, cols)
  self.screen = new_screen(rows, cols)
  local tty = process.read(self.name):gsub("%s", "")
  assert(os.execute(("stty -F %s rows %d cols %d"):format(tty, rows, cols)))
end

function Terminal:ends(code, seconds)
  process.wait(function() return self.code end, seconds)
  assert(self.code == code, ("exit code %d expected, got %s\n%s"):format(code, self.code,
    self:text()))
  return self
end

--- For `teardown`.
function M.cleanup()
  for _, terminal in ipairs(terminals) do
    if not terminal.code then
      uv.kill(terminal.pid, process.KILL)
    end
    process.wait(function() return terminal.code end)
    terminal.input:close()
    terminal.output:close()
  end
  terminals = {}
end

return M
