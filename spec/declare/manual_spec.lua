-- SPDX-License-Identifier: AGPL-3.0-or-later
local spec = require "decnet.spec"

local function body() end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local manual = read "docs/manual.md"

-- Each example of the manual: its code, its kind ("", "program", "fragment") and a name.
local function examples()
  local list = {}
  for kind, code in manual:gmatch "\n```lua *(%l*)\n(.-\n)```" do
    list[#list + 1] = { kind = kind, code = code, name = "=example " .. #list + 1 }
  end
  return list
end

-- Anything that can be called, indexed and asked for its methods, and does nothing.
local function nothing()
  return setmetatable({}, { __index = nothing, __call = nothing })
end

-- `decnet` for a script that is only loaded: it checks what is declared, and counts it.
local function pretend()
  local count, defaults = 0, nil
  local function declared(...)
    assert(...)
    count = count + 1
  end
  local decnet = {
    worker = function(...) declared(spec.worker(defaults, ...)) end,
    defaults = function(given) defaults = assert(spec.defaults(defaults, given)) end,
    group = function(...) assert(spec.group(...)) end,
    supervise = function(name, fn, given)
      given.name, given.run = name, fn
      declared(spec.normalise(given))
    end,
    run_group = function(list) declared(spec.list(list)) end,
    on = nothing, event = nothing, channel = nothing,
  }
  local env = setmetatable({
    print = body,
    require = function(name) return name == "decnet" and decnet or nothing() end,
  }, { __index = _G })
  return env, function() return count end
end

describe("the manual", function()
  it("is what docs/generate.lua prints", function()
    local output = {}
    local env = { arg = { [0] = "docs/generate.lua" }, package = { path = "" } }
    env.io = { open = io.open, stdout = {
      write = function(_, text) output[#output + 1] = text end,
    } }
    assert(loadfile("docs/generate.lua", "t", setmetatable(env, { __index = _G })))()
    assert(table.concat(output) == manual, "run: lua5.4 docs/generate.lua > docs/manual.md")
  end)

  it("has examples that load and declare only what is accepted", function()
    local list = examples()
    assert(#list > 25)
    for _, example in ipairs(list) do
      local env, count = pretend()
      local chunk = assert(load(example.code, example.name, "t", env))
      if example.kind ~= "fragment" then
        local returned = #assert(spec.list(chunk()))
        assert(count() + returned > 0, example.name)
      end
    end
  end)

  it("quotes the messages as they are", function()
    local function quotes(_, message)
      assert(manual:find("\n" .. message .. "\n", 1, true), message)
    end
    quotes(spec.normalise { "flaky", body, max_backoff = "soon" })
    quotes(spec.normalise { "flaky", body, max_backof = 5 })
    quotes(spec.normalise { "flaky", body, restart = "on_failure" })
    quotes(spec.list { { "a", body }, { "b", body }, { "poller", body, jitter = 2 } })
  end)

  it("has a row for each option", function()
    for _, option in ipairs(spec.options) do
      local row = manual:find(("\n| `%s` |"):format(option.key), 1, true) ~= nil
      assert.equal(not option.required, row, option.key)
    end
  end)

  it("leads to each of its chapters", function()
    local anchors = {}
    for title in manual:gmatch "\n##+ ([^\n]+)" do
      anchors[title:lower():gsub("[^%w%s-]", ""):gsub("%s", "-")] = true
    end
    for anchor in manual:gmatch "%]%(#([^)]+)%)" do
      assert(anchors[anchor], anchor)
    end
  end)
end)
