-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Hosts with a control plane, for specs.

local http = require "spec.process.http"
local process = require "spec.process.process"

local M = {}

M.WORKERS = [[
  local decnet = require "decnet"
  decnet.worker("steady", function() decnet.park() end)
  decnet.worker { name = "flaky", min_backoff = 60, max_backoff = 60, run = function()
    local secret, odd = "hush", "\xff"
    error("boom " .. odd .. #secret)
  end }
  decnet.worker { name = "a/b é", after = { "late" }, run = function() end }
  decnet.worker { name = "late", notify = true, run = function() decnet.park() end }
  decnet.worker { name = "deaf", stop_timeout = 0.2, run = function()
    while true do pcall(decnet.sleep, 60) end
  end }
  print "loaded"
]]

-- A worker that is in one C call for good, beside another.
local STUCK = [[
  local decnet = require "decnet"
  decnet.worker("victim", function() while true do decnet.sleep(0.05) end end)
  decnet.worker("stuck", function()
    decnet.sleep(0.2)
    local text = ("a"):rep(200)
    print "stuck from here on"
    return text:find(("a*"):rep(20) .. "b")
  end)
]]

--- A host with its control socket in a directory of its own; waits until it answers.
function M.start(script, before, options)
  local dir = process.dir()
  local path = dir .. "/c.sock"
  local args = { "--socket", path, "--log-format", "logfmt" }
  table.move(before or {}, 1, #(before or {}), #args + 1, args)
  local child = process.run(script or M.WORKERS, args, nil, options)
  process.wait(function()
    local ok, answer = pcall(http.ask, path, "GET", "/livez")
    return child.code or ok and http.json(answer.body).silent_s == 0 -- its loop turns
  end)
  return child, path
end

--- A host whose loop stands still: its worker "stuck" is in line 7 of its script for good.
function M.start_stuck()
  local child, path = M.start(STUCK)
  child:says "stuck from here on"
  return child, path
end

function M.get(where, target, options)
  local answer = http.ask(where, "GET", target, options)
  return answer.status, http.json(answer.body), answer
end

function M.post(where, target, options)
  local answer = http.ask(where, "POST", target, options)
  return answer.status, http.json(answer.body), answer
end

--- The head that is the answer to HEAD. What comes behind it, if anything, is the next answer.
function M.head(where, target)
  local connection = http.open(where, "HEAD " .. target .. " HTTP/1.1\r\nHost: x\r\n\r\n"
    .. "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
  process.wait(function() return connection.over end)
  connection.close()
  local head, rest = connection.data:match "^(.-\r\n\r\n)(.*)$"
  assert(rest == "" or rest:find("^HTTP/1.1 200 "), connection.data)
  return head
end

function M.worker_of(reply, name)
  for _, worker in ipairs(reply.workers) do
    if worker.name == name then
      return worker
    end
  end
end

--- Wait until the worker is in this state; returns its status.
function M.in_state(path, name, state)
  local worker
  process.wait(function()
    worker = M.worker_of(select(2, M.get(path, "/v1/workers")), name)
    return worker.state == state
  end)
  assert(state == worker.state, ("%s is %s, not %s"):format(name, worker.state, state))
  return worker
end

return M
