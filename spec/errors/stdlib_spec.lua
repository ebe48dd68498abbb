-- SPDX-License-Identifier: AGPL-3.0-or-later
-- decnet's own modules run after workers have had the chance to overwrite everything: they reach
-- the standard library through decnet.stdlib only, and nothing through the metatable of strings.

local decnet = require "decnet"
local run = require "spec.support.run"
local uv = require "luv"

local STRING_METHODS = { "byte", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep",
  "reverse", "sub", "upper" }

local function modules()
  local paths = {}
  for name in function(request) return uv.fs_scandir_next(request) end,
    assert(uv.fs_scandir "lua/decnet") do
    paths[#paths + 1] = "lua/decnet/" .. name
  end
  table.sort(paths)
  return paths
end

-- The lines of code of a text: comments are left out.
local function code_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = line:gsub("%-%-.*$", "")
  end
  return lines
end

-- What is wrong with a module: a list of "path:line: why".
local function complaints(path, text)
  local list, begins = {}, false
  local is_stdlib = path:find "/stdlib%.lua$" ~= nil
  for number, line in ipairs(code_of(text)) do
    if line:find 'require "decnet%.stdlib"%(%)' then
      begins = true
    elseif line:find "%S" and not begins and not is_stdlib then
      list[#list + 1] = ('%s:%d: before local _ENV = require "decnet.stdlib"()'):format(path,
        number)
      break
    end
    for _, method in ipairs(STRING_METHODS) do
      if line:find("[%w_%)%]\"']:" .. method .. "%s*[%(\"'%[{]") then
        list[#list + 1] = ("%s:%d: write string.%s(s, ...)"):format(path, number, method)
      end
    end
  end
  return list
end

describe("the modules of decnet", function()
  it("hold their own standard library, and call no methods of strings", function()
    local all, count = {}, 0
    for _, path in ipairs(modules()) do
      local file = assert(io.open(path))
      table.move(complaints(path, file:read "a"), 1, 100, #all + 1, all)
      file:close()
      count = count + 1
    end
    assert.same({}, all)
    assert.is_true(count > 15)
  end)

  it("would be told if they did not", function()
    local head = 'local _ENV = require "decnet.stdlib"()\n'
    assert.same({}, complaints("m.lua", "-- a comment\n\n" .. head .. "return string.find(a, b)"))
    assert.same({ 'm.lua:1: before local _ENV = require "decnet.stdlib"()' },
      complaints("m.lua", 'local core = require "decnet.core"\n' .. head))
    assert.same({ "m.lua:2: write string.find(s, ...)" }, complaints("m.lua", head .. 'a:find "x"'))
    assert.same({ "m.lua:2: write string.format(s, ...)" },
      complaints("m.lua", head .. '("x"):format(5)'))
  end)
end)

describe("decnet, which all workers share,", function()
  it("cannot be assigned to", function()
    for _, key in ipairs { "sleep", "uv", "mine" } do
      local _, err = pcall(function() decnet[key] = error end)
      run.contains(err, "stdlib_spec.lua:")
      run.contains(err, ("decnet.%s: cannot be assigned"):format(key))
    end
    run.raises("decnet.uv.fs_stat: cannot be assigned", function() decnet.uv.fs_stat = nil end)
    assert.equal("function", type(decnet.sleep))
  end)

  it("says at the caller's line what it has not, and what may be meant", function()
    local function complaint(key)
      return select(2, pcall(function() local _ = decnet[key] end))
    end
    run.contains(complaint "slep", "stdlib_spec.lua:")
    run.contains(complaint "slep", 'decnet has no "slep"; did you mean "sleep"?')
    run.contains(complaint "supervize", 'did you mean "supervise"?')
    run.contains(complaint "frobnicate", 'decnet has no "frobnicate"; there are atomic, await, ')
    assert.is_nil(complaint("frobnicate"):find("_declare", 1, true))
    assert.is_nil(decnet._VERSION) -- tools look for such
    assert.is_nil(decnet[1])
  end)

  it("can be listed", function()
    local names = {}
    for name, value in pairs(decnet) do
      names[name] = value
    end
    assert.equal(decnet.sleep, names.sleep)
    names = select(2, pairs(decnet))
    names.sleep = nil
    assert.equal("function", type(decnet.sleep))
  end)

  it("gives no metatable away", function()
    run.worker(function(self)
      local handle = decnet.get "w"
      local objects = { decnet, decnet.uv, self, self.log, handle, decnet.channel(1),
        decnet.event(), decnet.cancelled, decnet.spawn(function() end),
        select(2, pcall(decnet.fatal, "x")) }
      for _, object in ipairs(objects) do
        assert.equal("string", type(getmetatable(object)))
      end
      assert.equal(10, #objects)
    end)
  end)

  it("is loaded once, also when package.loaded has been cleared", function()
    local kept = {}
    for _, name in ipairs { "decnet", "decnet.core", "decnet.stdlib", "decnet.uv" } do
      require(name)
      kept[name], package.loaded[name] = package.loaded[name], nil
    end
    local again = require "decnet"
    local uv_again = require "decnet.uv"
    for name, module in pairs(kept) do
      package.loaded[name] = module
    end
    assert.equal(decnet, again)
    assert.equal(decnet.uv, uv_again)
  end)
end)
