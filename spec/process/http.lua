-- SPDX-License-Identifier: AGPL-3.0-or-later
-- HTTP for specs, over a unix socket or a port of this machine: what is sent is up to the spec, so
-- that it can be wrong.

local uv = require "luv"
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

-- ---- JSON --------------------------------------------------------------------------------------

local value

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function text(s, at)
  local parts = {}
  while true do
    local plain, stop = s:match('^([^"\\%c]*)()', at)
    parts[#parts + 1] = plain
    local c = s:sub(stop, stop)
    if c == '"' then
      return table.concat(parts), stop + 1
    end
    assert(c == "\\", "a string that does not end")
    local escape = s:sub(stop + 1, stop + 1)
    if escape == "u" then
      parts[#parts + 1] = utf8.char(tonumber(s:sub(stop + 2, stop + 5), 16))
      at = stop + 6
    else
      parts[#parts + 1] = ESCAPES[escape] or escape
      at = stop + 2
    end
  end
end

local function list(s, at, close, item)
  local result, n = {}, 0
  at = s:match("^%s*()", at)
  if s:sub(at, at) == close then
    return result, at + 1
  end
  while true do
    at = item(result, n + 1, at)
    n = n + 1
    local mark, stop = s:match("^%s*([,%]}])()", at)
    assert(mark, "no comma and no end at " .. at)
    at = stop
    if mark == close then
      return result, at
    end
  end
end

M.null = setmetatable({}, { __tostring = function() return "null" end })

function value(s, at)
  at = s:match("^%s*()", at)
  local c = s:sub(at, at)
  if c == "{" then
    return list(s, at + 1, "}", function(result, _, from)
      local key, field
      key, from = text(s, assert(s:match('^%s*"()', from), "no key at " .. from))
      field, from = value(s, assert(s:match("^%s*:()", from), "no colon at " .. from))
      assert(result[key] == nil, "twice: " .. key)
      result[key] = field
      return from
    end)
  elseif c == "[" then
    return list(s, at + 1, "]", function(result, i, from)
      result[i], from = value(s, from)
      return from
    end)
  elseif c == '"' then
    return text(s, at + 1)
  end
  local word, stop = s:match("^([%w%.%+%-]+)()", at)
  local known = { ["true"] = true, ["false"] = false, null = M.null }
  if known[word] ~= nil then
    return known[word], stop
  end
  return assert(tonumber(word), "no value at " .. at), stop
end

--- The value of a JSON text. It must be valid UTF-8, null is M.null.
function M.json(s)
  assert(utf8.len(s), "not UTF-8")
  local result, at = value(s, 1)
  assert(s:find("^%s*$", at), "something behind the value")
  return result
end

return M
