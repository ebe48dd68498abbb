-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The whole standard library spoiled at once: the host and the workers that hold what they need in
-- locals go on, and SIGTERM still ends it well.

local poison = require "spec.support.poison"
local process = require "spec.process.process"

local HEAD = [[
package.path = "%s/?.lua;" .. package.path
local poison = require "spec.support.poison"
local targets = poison.library()
for _, target in ipairs(poison.luv()) do
  targets[#targets + 1] = target
end
local decnet = require "decnet"
local parts, concat, collectgarbage, stderr = {}, table.concat, collectgarbage, io.stderr
local log = function(part)
  parts[#parts + 1] = part
  if part == "deferred" then
    decnet.current().log:info("came to: " .. concat(parts, " "))
  end
end
poison.declare(function()
  %s
end, log)
]]

-- what else a worker can do to everybody's tables
local OTHERS = {
  ["traps on the globals"] = [[
    local error, rawset = error, rawset
    local trap = function() error "trap" end
    local globals = setmetatable(_G, { __index = trap, __newindex = trap, __metatable = false })
    for key in pairs(globals) do rawset(globals, key, nil) end]],
  ["metatables for every type"] = [[
    local trap = function() stderr:write "trap" end
    local meta = { __index = trap, __newindex = trap, __tostring = trap, __name = 5, __eq = trap,
      __call = trap, __close = trap, __len = trap, __metatable = trap }
    for _, value in ipairs { 1, true, print, coroutine.running() } do
      debug.setmetatable(value, meta)
    end
    debug.setmetatable(nil, meta)
    debug.setmetatable("", nil)]],
  ["no module left"] = [[
    for name in pairs(package.loaded) do package.loaded[name] = nil end
    for name in pairs(package.preload) do package.preload[name] = nil end
    package.path, package.cpath, package.searchers = "", "", {} ]],
  ["the process's settings"] = [[
    os.setlocale "C.UTF-8"
    os.setlocale("de_DE.UTF-8")
    warn "@on"
    arg = nil
    collectgarbage "stop" ]],
}

describe("a host whose worker spoils", function()
  teardown(process.cleanup)

  local function survives(spoiling)
    local head = HEAD:format(process.tree ".", spoiling)
    local host = process.run(head, { "--keep-alive" }, nil, {})
    local parts = table.concat(poison.parts, " ")
    assert.equal(parts, host:says 'came to: ([%a ]+)')
    host:stop("sigterm", 0)
  end

  for what in pairs(poison.venoms) do
    it(("everything, by %s, goes on"):format(what), function()
      survives(("poison.spoil(targets, poison.venoms[%q])"):format(what))
    end)
  end

  for what, spoiling in pairs(OTHERS) do
    it(what .. " goes on", function()
      survives(spoiling)
    end)
  end
end)
