-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The standard library as it was when decnet was loaded. Workers share one state: any of them may
-- overwrite a global, empty the table of a library, poison the metatable of strings. decnet's own
-- modules must not mind, so each begins with
--
--   local _ENV = require "decnet.stdlib"()
--
-- and calls string.find(s, p) where others would write s:find(p). A spec checks both.

local core = require "decnet.core" -- by now coroutine.* are the host's

-- Not the table itself: tracebacks would name its functions after it.
local function stdlib()
  return core.stdlib
end

if core.stdlib then -- somebody has cleared package.loaded
  return stdlib
end

local GLOBALS = {
  "assert", "collectgarbage", "error", "getmetatable", "ipairs", "load", "loadfile", "next",
  "pairs", "pcall", "print", "rawequal", "rawget", "rawlen", "rawset", "select", "setmetatable",
  "tonumber", "tostring", "type", "xpcall",
}
local LIBRARIES = { "coroutine", "debug", "io", "math", "os", "string", "table", "utf8" }

local next = next

local function copy(library)
  local new = {}
  for name, value in next, library do
    new[name] = value
  end
  return new
end

local M = {
  _G = _G, -- for scripts: the global 'arg'
  package = package, -- for scripts: package.path
}
for _, name in ipairs(GLOBALS) do
  M[name] = _G[name]
end
for _, name in ipairs(LIBRARIES) do
  M[name] = copy(_G[name])
end

-- Modules of decnet, and luv: each once, whatever becomes of 'package'. The directory is where this
-- file was found.
local path = select(2, ...)
local dir = type(path) == "string" and string.match(path, "^(.*/)[^/]*$")
local modules = { ["decnet.core"] = core, ["decnet.stdlib"] = stdlib }
local loaded, open_luv, require_any = package.loaded, package.preload.luv, require
local error, loadfile, setmetatable, tostring = error, loadfile, setmetatable, tostring
local find, format, sub = string.find, string.format, string.sub

-- luv is opened when first asked for, and that may be late: our copy is made then.
local function preload_luv(...)
  local luv = open_luv(...)
  modules.luv = modules.luv or copy(luv)
  return luv
end

package.preload.luv = preload_luv

local function load_module(name)
  if name == "luv" then
    loaded.luv = preload_luv(name)
    return modules.luv
  elseif not dir or not find(name, "^decnet%.") then
    return require_any(name)
  end
  local file = dir .. sub(name, #"decnet." + 1) .. ".lua"
  local chunk, message = loadfile(file, "t", M)
  if not chunk then
    error(message, 0)
  end
  local module = chunk(name, file)
  loaded[name] = module
  return module
end

--- require, for decnet's modules.
---@param name string
function M.require(name)
  local module = modules[name]
  if module == nil then
    module = name ~= "luv" and loaded[name] or load_module(name)
    modules[name] = module
  end
  return module
end

--- A module that was kept, or nil.
---@param name string
function M.kept(name)
  return modules[name]
end

--- Keep the module: whoever loads it again must get the same one. Returns it.
---@param name string
---@param module table
function M.keep(name, module)
  modules[name] = module
  return module
end

--- A table through which `functions` can be called but not replaced: workers share it.
---@param name string
---@param functions table
function M.sealed(name, functions)
  return setmetatable({}, {
    __index = functions,
    __metatable = name,
    __newindex = function(_, key)
      error(format("%s.%s: cannot be assigned: all workers share this table; keep what is yours in "
        .. "a local variable", name, tostring(key)), 2)
    end,
    __pairs = function()
      return next, copy(functions)
    end,
  })
end

core.stdlib = M
return stdlib
