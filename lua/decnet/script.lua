-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Loading a workers.lua into a host.

local decnet = require "decnet"
local spec = require "decnet.spec"

local M = {}

local function complain(path, err)
  local message = err:gsub("^cannot open ", "")
  return ("%s"):format(message == err and message or path .. ": cannot be read: " .. message)
end

-- loadfile reads a directory as an empty file, and says of a missing one only that it cannot.
local function check_file(path)
  local file, err, errno = io.open(path, "rb")
  if not file then
    if errno == 2 then
      return nil, ("%s: no such file; pass the path of a script that declares workers"):format(path)
    end
    return nil, err
  end
  local _, read_err = file:read(0)
  file:close()
  if read_err then
    return nil, ("%s: %s"):format(path, read_err)
  end
  return true
end

local function with_traceback(err)
  if type(err) == "string" then
    return err
  end
  return ("error object: %s"):format(tostring(err))
end

local function declare_list(host, value, path)
  local entries, message = spec.list(value, decnet._defaults(host))
  if not entries then
    return nil, ("%s: %s"):format(path, message)
  end
  for _, entry in ipairs(entries) do
    local handle
    handle, message = decnet._declare(host, entry.name, entry.run, entry.policy)
    if not handle then
      return nil, ("%s: %s"):format(path, message)
    end
  end
  return true
end

--- Load the script at `path` into the host: its workers are declared and checked, not started.
--- Returns true, or nil and one message with file:line or key path.
---@param host any
---@param path string
---@param args string[] for the global `arg`
---@return true?, string? message
function M.load(host, path, args)
  local ok, message = check_file(path)
  if not ok then
    return nil, message
  end
  local chunk
  chunk, message = loadfile(path)
  if not chunk then
    return nil, complain(path, message)
  end
  _G.arg = table.move(args, 1, #args, 1, { [0] = path })
  local value
  ok, value = xpcall(chunk, with_traceback, table.unpack(args))
  if not ok then
    return nil, value
  end
  ok, message = declare_list(host, value, path)
  if not ok then
    return nil, message
  end
  ok, message = host:check()
  if not ok then
    return nil, ("%s: %s"):format(path, message)
  end
  return true
end

return M
