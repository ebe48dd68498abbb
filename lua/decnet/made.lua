-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What a script makes when it is loaded, beside workers: globals, modules, hooks. Noted with their
-- fingerprints, so that a reload can tell what has changed (decnet.reload).

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"

local M = {}

local searchpath = package.searchpath

---@class decnet.Script a script that was loaded into a host
---@field number integer from 1 to 127
---@field path string
---@field args string[]
---@field base decnet.Base what was there before it was loaded for the first time
---@field globals table<string, any> what it made of globals, when it was loaded
---@field modules table<string, any> what it required
---@field hooks { event: string, fn: function }[] what it gave to decnet.on
---@field groups table<string, table> what it declared
---@field hashes { globals: table, modules: table, hooks: integer[] } of all these

---@class decnet.Base
---@field globals table
---@field modules table<string, true>
---@field path string package.path

local function copy(from)
  local to = {}
  for key, value in next, from do
    to[key] = value
  end
  return to
end

--- What is there now.
---@return decnet.Base
function M.base()
  local modules = {}
  for name in next, package.loaded do
    modules[name] = true
  end
  return { globals = copy(_G), modules = modules, path = package.path }
end

local function is_ours(name)
  return name == "luv" or type(name) == "string" and string.find(name, "^decnet%f[%.%z]") ~= nil
end

--- Is it the script's, so that a reload loads it afresh? Else the file it is in, and is it Lua?
---@param base decnet.Base
---@param name string
---@return string? file
function M.module_file(base, name)
  if is_ours(name) or base.modules[name] or package.preload[name] then
    return nil
  end
  return (searchpath(name, package.path))
end

-- Those of package.loaded that are the script's.
local function modules_of(base)
  local modules = {}
  for name, value in next, package.loaded do
    if type(name) == "string" and M.module_file(base, name) then
      modules[name] = value
    end
  end
  return modules
end

-- What the script made of globals.
local function globals_of(base)
  local globals = {}
  for name, value in next, _G do
    if base.globals[name] ~= value then
      globals[name] = value
    end
  end
  return globals
end

-- Ours are sealed: what is in them shows to pairs only.
local function add_all(set, name, value)
  set[value] = true
  if type(value) ~= "table" then
    return
  end
  local of_key, at, first = next, value, nil
  if is_ours(name) then
    of_key, at, first = pairs(value)
  end
  for _, inner in of_key, at, first do
    if inner == inner then
      set[inner] = true
    end
  end
end

-- What is not the script's counts by its identity: libraries and what is in them.
local function foreign(base, modules)
  local set = {}
  for name, module in next, package.loaded do
    if modules[name] == nil and module ~= _G then
      add_all(set, name, module)
    end
  end
  for _, value in next, base.globals do
    if type(value) ~= "number" then
      set[value] = true
    end
  end
  set[_G] = nil
  return set
end

--- A session of fingerprints (src/script/fingerprint.h).
---@param base decnet.Base
---@param globals table the script's
---@param modules table the script's
---@param env? table what stands for _G
---@param code? table a set
---@param stand_ins? table function -> the library's function that counts instead
---@return any session
function M.session(base, globals, modules, env, code, stand_ins)
  local libraries = foreign(base, modules)
  for stand_in, original in next, stand_ins or {} do
    libraries[stand_in] = original
  end
  return core.fingerprints {
    foreign = libraries, globals = globals,
    environments = { [_G] = true, [env or _G] = true }, code = code or {},
  }
end

--- The fingerprints of all values of a table.
---@param session any
---@param values table
---@return table<any, integer>
function M.hashes(session, values)
  local hashes = {}
  for key, value in next, values do
    hashes[key] = session:hash(value)
  end
  return hashes
end

---@param session any
---@param hooks { event: string, fn: function }[]
---@return integer[]
function M.hook_hashes(session, hooks)
  local hashes = {}
  for i, hook in ipairs(hooks) do
    hashes[i] = session:hash(hook.fn)
  end
  return hashes
end

--- The script has been loaded into the host for the first time: note what it made.
---@param host any
---@param state table of decnet
---@param script decnet.Script its path, args, base and hooks
function M.note(host, state, script)
  script.globals, script.modules = globals_of(script.base), modules_of(script.base)
  script.groups = copy(state.groups)
  local session <close> = M.session(script.base, script.globals, script.modules)
  state.scripts = state.scripts or {}
  script.number = math.min(#state.scripts + 1, 127)
  state.scripts[#state.scripts + 1] = script
  host:fingerprint(session, script.number)
  script.hashes = {
    globals = M.hashes(session, script.globals), modules = M.hashes(session, script.modules),
    hooks = M.hook_hashes(session, script.hooks),
  }
end

return M
