-- SPDX-License-Identifier: AGPL-3.0-or-later
-- HTTP for specs, over a unix socket or a port of this machine: what is sent is up to the spec, so
-- that it can be wrong.

local uv = require "luv"
local json = require "spec.support.json"
local process = require "spec.process.process"

local M = {}

-- Servers hang up in the middle of what they do not like.
local broken_pipe = uv.new_signal()
broken_pipe:start("sigpipe", function() end)
broken_pipe:unref()

--- Connect to `where` (a path, or a port) and send `text`. Returns a connection: `data` is what has
--- come, `over` says that no more will.
function M.open(where, text)
  local self = { data = "", over = false }
  self.handle = type(where) == "number" and uv.new_tcp() or uv.new_pipe(false)
  local function on_connect(err)
    if err then
      self.over, self.err = true, err
      return
    end
    self.handle:read_start(function(read_err, data)
      self.data = self.data .. (data or "")
      self.over = self.over or read_err ~= nil or data == nil
      self.err = self.err or read_err
    end)
    if text then
      self.handle:write(text)
    end
  end
  if type(where) == "number" then
    self.handle:connect("127.0.0.1", where, on_connect)
  else
    self.handle:connect(where, on_connect)
  end
  function self.send(more)
    self.handle:write(more)
  end
  function self.close()
    if not self.handle:is_closing() then
      self.handle:close()
    end
  end
  return self
end

local function unchunk(body)
  local parts, at = {}, 1
  while true do
    local size, start = body:match("^(%x+)\r\n()", at)
    size = size and tonumber(size, 16)
    if not size or size == 0 or #body < start + size then
      return table.concat(parts), size == 0
    end
    parts[#parts + 1] = body:sub(start, start + size - 1)
    at = start + size + 2
  end
end

--- What the text of an answer says: { status =, headers =, body = }, or nil if it is not complete.
function M.parse(text, is_over)
  local status, head, body = text:match "^HTTP/1%.1 (%d+)[^\r]*\r\n(.-)\r\n\r\n(.*)$"
  if not status then
    return nil
  end
  local headers = {}
  for key, value in (head .. "\r\n"):gmatch "([^:\r\n]+): *([^\r\n]*)\r\n" do
    headers[key:lower()] = value
  end
  local length = tonumber(headers["content-length"])
  local is_whole = is_over
  if headers["transfer-encoding"] == "chunked" then
    body, is_whole = unchunk(body)
    is_whole = is_whole or is_over
  elseif length then
    is_whole = #body >= length
  end
  return is_whole and { status = tonumber(status), headers = headers, body = body } or nil
end

--- Ask and wait for the whole answer. `options`: body, headers (a list of lines), host.
function M.ask(where, method, target, options)
  options = options or {}
  local host = options.host or type(where) == "number" and "127.0.0.1:" .. where or "spec"
  local lines = { ("%s %s HTTP/1.1"):format(method, target), "Host: " .. host,
    "Connection: close" }
  table.move(options.headers or {}, 1, #(options.headers or {}), #lines + 1, lines)
  if options.body then
    lines[#lines + 1] = "Content-Type: " .. (options.type or "application/json")
    lines[#lines + 1] = "Content-Length: " .. #options.body
  end
  local text = table.concat(lines, "\r\n") .. "\r\n\r\n" .. (options.body or "")
  local connection = M.open(where, text)
  local answer
  process.wait(function()
    answer = M.parse(connection.data, connection.over)
    return answer or connection.over
  end, options.patience)
  connection.close()
  return answer or error(("no answer to %s %s: %s"):format(method, target,
    connection.err or connection.data:sub(1, 300)), 2)
end

M.null = json.null
M.json = json.decode

return M
