-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Counting what a worker may have left behind. Keeps its own references: what it counts after may
-- have overwritten the globals.

local debug_getinfo, debug_getlocal = debug.getinfo, debug.getlocal
local getmetatable, getregistry = debug.getmetatable, debug.getregistry
local getupvalue, getuservalue = debug.getupvalue, debug.getuservalue
local assert, next, type, rawget, mtype = assert, next, type, rawget, math.type
local find, gmatch = string.find, string.gmatch
local open, status = io.open, coroutine.status
local collect = collectgarbage
local uv = require "luv"
local opendir, readdir, closedir = uv.fs_opendir, uv.fs_readdir, uv.fs_closedir
local getpid = uv.os_getpid

local M = {}

-- The entries of luaL_ref: whatever is there under a number and is not a link of the free list.
local function references_in(list)
  local n = 0
  for key, value in next, list do
    if mtype(key) == "integer" and type(value) ~= "number" then
      n = n + 1
    end
  end
  return n
end

local function values_of(object, kind, visit)
  if kind == "table" then
    local meta = getmetatable(object)
    local mode = type(meta) == "table" and rawget(meta, "__mode")
    local weak_keys = type(mode) == "string" and find(mode, "k", 1, true)
    local weak_values = type(mode) == "string" and find(mode, "v", 1, true)
    for key, value in next, object do
      if not weak_keys then
        visit(key)
      end
      if not weak_values and not weak_keys then
        visit(value)
      end
    end
    visit(meta)
  elseif kind == "function" then
    local i, name, value = 1, getupvalue(object, 1)
    while name do
      visit(value)
      i = i + 1
      name, value = getupvalue(object, i)
    end
  elseif kind == "userdata" then
    visit(getmetatable(object))
    local i, value, is_there = 1, getuservalue(object, 1)
    while is_there do
      visit(value)
      i = i + 1
      value, is_there = getuservalue(object, i)
    end
  elseif kind == "thread" and status(object) ~= "dead" then
    local level, info = 0, debug_getinfo(object, 0, "f")
    while info do
      visit(info.func)
      local i, name, value = 1, debug_getlocal(object, level, 1)
      while name do
        visit(value)
        i = i + 1
        name, value = debug_getlocal(object, level, i)
      end
      level = level + 1
      info = debug_getinfo(object, level, "f")
    end
  end
end

--- Visit, once each, every table, function, userdata and coroutine that can be reached: what cannot
--- is garbage.
function M.each(fn)
  local seen, stack, n = {}, {}, 0
  local function visit(object)
    local kind = type(object)
    if (kind == "table" or kind == "function" or kind == "userdata" or kind == "thread")
      and not seen[object] then
      seen[object] = true
      n = n + 1
      stack[n] = object
    end
  end
  visit(getregistry())
  while n > 0 do
    local object = stack[n]
    stack[n], n = nil, n - 1
    local kind = type(object)
    if object ~= stack and object ~= seen then
      fn(object, kind)
      values_of(object, kind, visit)
    end
  end
end

local function entries_of(path)
  local dir, n = assert(opendir(path, nil, 1000)), 0
  local entries = readdir(dir)
  while entries do
    n = n + #entries
    entries = readdir(dir)
  end
  closedir(dir)
  return n
end

local function words_of(path)
  local file, n = open(path), 0
  if file then
    for _ in gmatch(file:read "a", "%d+") do
      n = n + 1
    end
    file:close()
  end
  return n
end

--- What there is now: luv's handles and requests, open files, children, coroutines, references.
---@return table<string, integer>
function M.all()
  collect()
  collect() -- what had a finalizer goes in the second
  local registry = getregistry()
  local count = { handles = 0, coroutines = 0, references = references_in(registry) }
  for key, value in next, registry do
    if mtype(key) == "integer" and type(value) == "table" then
      count.references = count.references + references_in(value)
    end
  end
  M.each(function(object, kind)
    if kind == "thread" then
      count.coroutines = count.coroutines + 1
    elseif kind == "userdata" then
      local meta = getmetatable(object)
      local name = type(meta) == "table" and rawget(meta, "__name")
      if type(name) == "string" and find(name, "^uv_") then
        count.handles = count.handles + 1
      end
    end
  end)
  count.files = entries_of "/proc/self/fd"
  local pid = getpid()
  count.children = words_of("/proc/" .. pid .. "/task/" .. pid .. "/children")
  return count
end

--- What there is more of in `now` than in `before`, as a text; nil: nothing.
---@return string?
function M.more(now, before)
  local text
  for _, name in next, { "handles", "files", "children", "coroutines", "references" } do
    local n = now[name] - before[name]
    if n > 0 then
      text = (text and text .. ", " or "") .. n .. " " .. name
    end
  end
  return text
end

return M
