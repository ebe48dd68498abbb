-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A worker that overwrites the standard library: the host's own Lua must not mind. Everything at
-- once, in processes of their own: spec/process/poison_spec.lua.

local poison = require "spec.support.poison"
local testing = require "decnet.testing"

local ipairs, concat = ipairs, table.concat

-- Runs the workers of spec.support.poison, these targets spoiled. Returns how far they came, and
-- what stopped them.
local function survive(targets, venom)
  local parts, mend, status = {}, nil, nil
  testing.run(function(t)
    poison.declare(function() mend = poison.spoil(targets, venom) end, function(part)
      parts[#parts + 1] = part
    end)
    t:advance(1)
    t:stop()
    status = t:status "user"
  end)
  mend()
  return concat(parts, " "), status.last_error and status.last_error.message
end

local ALL = concat(poison.parts, " ")

describe("a host goes on when a worker", function()
  for _, what in ipairs { "nil", "a function that raises" } do
    it(("replaces any name of the standard library by %s"):format(what), function()
      local failed, library = {}, poison.library()
      for _, target in ipairs(library) do
        local parts, message = survive({ target }, poison.venoms[what])
        if parts ~= ALL then
          failed[#failed + 1] = ("%s: %s"):format(target[3], message or parts)
        end
      end
      assert.same({}, failed)
      assert.is_true(#library > 150)
    end)
  end

  it("replaces all of luv", function()
    for what, venom in pairs(poison.venoms) do
      local parts, message = survive(poison.luv(), venom)
      assert.equal(ALL, parts, what .. ": " .. tostring(message))
    end
  end)
end)
