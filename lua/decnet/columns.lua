-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Columns of text for terminals. What is too wide goes on in further lines of its own column; names
-- are never broken, even where that makes a line too long.

local _ENV = require "decnet.stdlib"()

local M = {}

local GAP = "  "

-- No column is made narrower: a word a line is hard to read.
local NARROWEST = 16

local function width_of(text)
  return utf8.len(text) or #text
end

--- The words of a text in lines of at most so many characters; a longer word has a line of its own.
---@param text string
---@param width number
---@return string[] lines
function M.wrap(text, width)
  local lines = {}
  for word in string.gmatch(text, "%S+") do
    local last = lines[#lines]
    if last and width_of(last) + 1 + width_of(word) <= width then
      lines[#lines] = last .. " " .. word
    else
      lines[#lines + 1] = word
    end
  end
  return lines
end

-- How wide the columns would like to be, and how narrow each can be made.
local function measure(rows, names)
  local widths, least = {}, {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      local width = width_of(cell)
      widths[i] = math.max(widths[i] or 0, width)
      least[i] = math.max(least[i] or 0, i <= names and width or math.min(width, NARROWEST))
    end
  end
  return widths, least
end

-- The widest column gives way first.
local function shrink(widths, least, width)
  local total = #GAP * #widths
  for _, each in ipairs(widths) do
    total = total + each
  end
  while total > width do
    local widest
    for i, each in ipairs(widths) do
      if each > least[i] and (not widest or each > widths[widest]) then
        widest = i
      end
    end
    if not widest then
      return
    end
    widths[widest] = widths[widest] - 1
    total = total - 1
  end
end

-- A row as lines; each column has lines of its own.
local function put_row(out, row, widths, names)
  local cells, height = {}, 1
  for i, cell in ipairs(row) do
    cells[i] = i > names and width_of(cell) > widths[i] and M.wrap(cell, widths[i]) or { cell }
    height = math.max(height, #cells[i])
  end
  for y = 1, height do
    local line = {}
    for i, lines in ipairs(cells) do
      local text = lines[y] or ""
      line[i] = text .. string.rep(" ", widths[i] - width_of(text))
    end
    out[#out + 1] = string.gsub(GAP .. table.concat(line, GAP), " +$", "")
  end
end

--- Add the rows to `out`, a line or more each, in columns as wide as need be and in lines of at
--- most so many characters.
---@param out string[]
---@param rows string[][] all with as many cells
---@param width number math.huge: no limit
---@param names integer? so many columns, from the left, are never broken; 1
function M.put(out, rows, width, names)
  names = names or 1
  local widths, least = measure(rows, names)
  if width < math.huge then
    shrink(widths, least, width)
  end
  for _, row in ipairs(rows) do
    put_row(out, row, widths, names)
  end
end

--- Add a line of text, which goes on in further lines, with an indent, where it is too long.
---@param out string[]
---@param text string
---@param width number math.huge: no limit
function M.put_text(out, text, width)
  if width_of(text) <= width then
    out[#out + 1] = text
    return
  end
  for i, line in ipairs(M.wrap(text, width - #GAP)) do
    out[#out + 1] = (i > 1 and GAP or "") .. line
  end
end

return M
