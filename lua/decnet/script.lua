-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Loading a workers.lua into a host.

local _ENV = require "decnet.stdlib"()
local decnet = require "decnet"
local made = require "decnet.made"
local show = require "decnet.show"
local spec = require "decnet.spec"

local M = {}

-- What is said of a file that cannot be opened or read, by errno (the same on every Linux).
local ENOENT, EISDIR = 2, 21

local function complain(path, message, errno)
  if errno == ENOENT then
    return string.format("%s: no such file; pass the path of a script that declares workers", path)
  elseif errno == EISDIR then
    return string.format("%s: is a directory; pass the path of a script in it", path)
  end
  local has_path = string.sub(message, 1, #path + 2) == path .. ": "
  local reason = has_path and string.sub(message, #path + 3) or message
  return string.format("%s: cannot be read: %s", path, reason)
end

--- The text of a file, or nil and a message. Not loadfile: it takes a directory for an empty file,
--- and a pipe can be read only once.
---@param path string
---@return string? text, string? message
function M.read(path)
  local file, message, errno = io.open(path, "rb")
  if not file then
    return nil, complain(path, message, errno)
  end
  local text
  text, message, errno = file:read "a"
  file:close()
  if not text then
    return nil, complain(path, message, errno)
  end
  return text
end

--- As loadfile does: a byte order mark and a first line that begins with # are skipped.
---@param path string
---@param text string
---@param env table
---@return function? chunk, string? message
function M.compile(path, text, env)
  text = string.gsub(string.gsub(text, "^\xEF\xBB\xBF", ""), "^#[^\n]*", "")
  return load(text, "@" .. path, "bt", env)
end

--- The same for the script itself, which must be text: Lua does not check bytecode, and what is
--- wrong in it ends the process.
---@param path string
---@param text string
---@param env table
---@return function? chunk, string? message
function M.compile_script(path, text, env)
  if string.find(text, "^\27") or string.find(text, "^\xEF\xBB\xBF\27") then
    return nil, path .. ": is precompiled Lua, which cannot be checked; pass its source"
  end
  return M.compile(path, text, env)
end

local function text_of(err)
  if type(err) == "string" then
    return err
  end
  local meta = debug.getmetatable(err)
  if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then
    local ok, text = pcall(tostring, err)
    if ok then
      return text
    end
  end
  return string.format("raised %s; raise a text that says what is wrong", show(err))
end

--- Message handler: whatever was raised becomes one text that begins with file:line.
---@param err any
---@return string
function M.locate(err)
  local text = text_of(err)
  if string.find(text, "(global 'decnet')", 1, true) then
    text = text .. '; begin the script with: local decnet = require "decnet"'
  end
  if string.find(text, "^[^\n]-:%d+: ") then
    return text
  end
  for level = 2, 200 do
    local info = debug.getinfo(level, "Sl")
    if not info then
      break
    elseif info.currentline > 0 then
      return string.format("%s:%d: %s", info.short_src, info.currentline, text)
    end
  end
  return text
end

-- Modules beside the script are found wherever the host was started.
local function search_beside(path)
  local dir = string.match(path, "^(.*)/[^/]*$") or "."
  local entry = string.format("%s/?.lua;%s/?/init.lua;", dir, dir)
  if string.sub(package.path, 1, #entry) ~= entry then
    package.path = entry .. package.path
  end
end

--- Declare the list that a script returned; true, or nil and a message.
---@param target any a host, or a load
---@param value any
---@param path string
---@param state table of the host, or of the stage
---@return true?, string? message
function M.declare_list(target, value, path, state)
  local entries, message = spec.list(value, state.defaults)
  if not entries then
    return nil, string.format("%s: %s", path, message)
  end
  local ok
  ok, message = decnet._declare_all(target, entries)
  if not ok then
    return nil, string.format("%s: %s", path, message)
  end
  for i, entry in ipairs(entries) do
    if entry.policy.after[1] then
      state.places[entry.name] = string.format("%s: return value[%d]", path, i)
    end
  end
  return true
end

--- Check what a script has declared; true, or nil and a message that begins with the place.
---@param target any a host, or a load
---@param path string
---@param places table<string, string> by name of the worker
---@return true?, string? message
function M.check(target, path, places)
  local ok, message, name = target:check()
  if not ok then
    return nil, string.format("%s: %s", places[name] or path, message)
  end
  return true
end

-- What the chunk declares by calls and by what it returns. Returns the script's hooks, or nil and a
-- message.
local function declare_all(host, state, path, chunk, args)
  local ok, value = xpcall(chunk, M.locate, table.unpack(args))
  local message
  if not ok then
    return nil, value
  end
  ok, message = M.declare_list(host, value, path, state)
  if not ok then
    return nil, message
  end
  ok, message = M.check(host, path, state.places)
  if not ok then
    return nil, message
  end
  return state.added
end

--- Load the script at `path` into the host: its workers are declared and checked, not started.
--- Returns true, or nil and one message with file:line or key path.
---@param host any
---@param path string
---@param args string[] for the global `arg`
---@return true?, string? message
function M.load(host, path, args)
  local text, message = M.read(path)
  if not text then
    return nil, message
  end
  local chunk
  chunk, message = M.compile_script(path, text, _G)
  if not chunk then
    return nil, message
  end
  search_beside(path)
  _G.arg = table.move(args, 1, #args, 1, { [0] = path })
  local state = decnet._state_of(host)
  local script = { path = path, args = args, base = made.base() }
  state.added, state.places = {}, {}
  script.hooks, message = declare_all(host, state, path, chunk, args)
  state.added, state.places = nil, nil
  if not script.hooks then
    return nil, message
  end
  made.note(host, state, script)
  host:on_reload(function(done) require "decnet.reload".request(host, done) end)
  return true
end

return M
