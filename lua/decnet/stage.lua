-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Loading a script aside: it runs with an environment that reads through to _G, as it would be
-- without the script, and keeps what it writes, gets its modules afresh, and declares into a load
-- instead of the host. So it can be thrown away as if it had never been; or be kept, and then its
-- functions see the true globals.

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"
local decnet = require "decnet"
local made = require "decnet.made"
local script_of = require "decnet.script"

local M = {}

local Stage = {}
Stage.__index = Stage

-- What the script sees of the functions that compile: what they compile is part of the stage.
local function compilers(stage)
  local function adopt(chunk, ...)
    if chunk then
      stage.chunks[#stage.chunks + 1] = chunk
    end
    return chunk, ...
  end
  local function load_text(text, name, mode, ...)
    if stage.is_over or select("#", ...) > 0 then
      return load(text, name, mode, ...)
    end
    return adopt(load(text, name, mode, stage.env))
  end
  local function load_file(path, mode, ...)
    if stage.is_over or select("#", ...) > 0 then
      return loadfile(path, mode, ...)
    end
    return adopt(loadfile(path, mode, stage.env))
  end
  local function do_file(path)
    local chunk, message = load_file(path)
    if not chunk then
      error(message, 0)
    end
    return chunk()
  end
  return load_text, load_file, do_file
end

-- Runs the file of a module. One that puts itself into package.loaded is taken from there.
local function run_module(stage, name, file)
  local text = assert(core.shared(script_of.read, file))
  local chunk, message = script_of.compile(file, text, stage.env)
  if not chunk then
    error(string.format("error loading module '%s':\n\t%s", name, message), 3)
  end
  stage.chunks[#stage.chunks + 1] = chunk
  local before = package.loaded[name]
  local value = chunk(name, file)
  local put = package.loaded[name]
  package.loaded[name] = before
  if value == nil and put ~= before then
    value = put
  end
  return value == nil and true or value
end

-- Until the end of its scope the module cannot be required again.
local function loading(stage, name)
  stage.loading[name] = true
  return setmetatable({}, { __close = function() stage.loading[name] = nil end })
end

local function requirer(stage)
  local require_any = stage.script.base.globals.require
  return function(name)
    local file = not stage.is_over and type(name) == "string"
      and made.module_file(stage.script.base, name)
    if not file then
      local found, value, where = pcall(require_any, name)
      if not found then
        error(value, type(value) == "string" and 2 or 0)
      end
      return value, where
    elseif stage.loading[name] then
      error(string.format("loop: module '%s' requires itself", name), 2)
    elseif stage.modules[name] == nil then
      local _ <close> = loading(stage, name)
      stage.modules[name] = run_module(stage, name, file)
    end
    return stage.modules[name], file
  end
end

-- What the script finds of globals: what was there before it, and what others have made since.
local function outside(script)
  return function(_, name)
    if script.globals[name] ~= nil then
      return script.base.globals[name]
    end
    return _G[name]
  end
end

--- A stage for loading the script again into the host.
---@param host any
---@param script decnet.Script
---@return table stage
function M.new(host, script)
  local stage = setmetatable({
    host = host, script = script, load = host:load(), env = {},
    entries = {}, groups = {}, added = {}, places = {}, modules = {}, loading = {}, chunks = {},
  }, Stage)
  local load_text, load_file, do_file = compilers(stage)
  local over = setmetatable({
    _G = stage.env, require = requirer(stage), load = load_text, loadfile = load_file,
    dofile = do_file,
  }, { __index = outside(script) })
  stage.stand_ins = {
    [over.require] = script.base.globals.require, [do_file] = script.base.globals.dofile,
    [load_text] = load, [load_file] = loadfile,
  }
  setmetatable(stage.env, { __index = over, __metatable = false })
  decnet._stages[stage.load] = stage
  stage.old_path, package.path = package.path, script.base.path
  return stage
end

--- Load the script; for a task of the load's. Returns true, or nil and a message.
---@param stage table
---@return true?, string? message
function M.run(stage)
  local script = stage.script
  local text, message = core.shared(script_of.read, script.path) -- not the script's own file
  if not text then
    return nil, message
  end
  local chunk
  chunk, message = script_of.compile_script(script.path, text, stage.env)
  if not chunk then
    return nil, message
  end
  stage.chunks[#stage.chunks + 1] = chunk
  local ok, value = xpcall(chunk, script_of.locate, table.unpack(script.args))
  if not ok then
    return nil, value
  end
  return script_of.declare_list(stage.load, value, script.path, stage)
end

--- What the script wrote into globals.
function Stage:globals()
  local globals = {}
  for name, value in next, self.env do
    globals[name] = value
  end
  return globals
end

local function close(stage)
  stage.is_over = true
  decnet._stages[stage.load] = nil
end

--- Throw it away, unless it was kept.
function Stage:__close()
  if not self.is_over then
    close(self)
    package.path = self.old_path
    self.load:drop()
  end
end

--- Keep it: what it compiled sees the true globals from now on.
function Stage:keep()
  close(self)
  for _, chunk in ipairs(self.chunks) do
    if debug.getupvalue(chunk, 1) == "_ENV" then
      debug.setupvalue(chunk, 1, _G)
    end
  end
  for name in next, self.env do
    self.env[name] = nil
  end
  debug.setmetatable(self.env, { __index = _G, __newindex = _G })
  self.load:keep()
end

return M
