-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What is installed works from wherever it has been moved to.
local http = require "spec.process.http"
local plane = require "spec.process.plane"
local process = require "spec.process.process"
local uv = require "luv"

local BUILD = process.host:match "^(.*)/[^/]*$"

local SMOKE = [[
  local decnet = require "decnet"
  local stop = decnet.event()
  decnet.run_group({ { "w", function()
    print("worked", decnet.offload(function() return 6 * 7 end))
    stop:set()
  end } }, { stop = stop })
]]

local function run(file, args, options)
  local child = process.start(file, args, options)
  process.wait(function() return child.code end, 60)
  return child
end

describe("what is installed", function()
  local prefix
  lazy_setup(function()
    local dir = process.dir()
    assert.equal(0, run("cmake", { "--install", BUILD, "--prefix", dir .. "/first" }).code)
    prefix = dir .. "/moved"
    assert(uv.fs_rename(dir .. "/first", prefix))
  end)
  lazy_teardown(process.cleanup)

  it("hosts workers, has a control plane, and looks for nothing where it was built", function()
    local dir = process.dir()
    process.write(dir .. "/w.lua", [[
      print(package.path)
      require "decnet".worker("w", function(self) require "decnet".park() end)
    ]])
    local child = process.start(prefix .. "/bin/decnet-host",
      { "--socket", dir .. "/s", "w.lua" }, { cwd = dir })
    local path = child:says "^([^\n]+)\n"
    local first = "./?.lua;./?/init.lua;" .. prefix .. "/share/decnet-host/lua/?.lua;"
    assert.equal(first, path:sub(1, #first))
    assert.is_nil(path:find(process.tree "lua", 1, true))
    process.wait(function() return pcall(http.ask, dir .. "/s", "GET", "/livez") end)
    plane.in_state(dir .. "/s", "w", "running")
    local maps = process.read(("/proc/%d/maps"):format(child.pid))
    assert.is_truthy(maps:find(prefix .. "/lib/decnet-host/decnet/control.so", 1, true))
    assert.is_nil(maps:find(process.tree "", 1, true))
    child:stop()
  end)

  it("has documents that name nothing that is not there", function()
    local docs = prefix .. "/share/doc/decnet-host"
    local count = 0
    local function headings(text)
      local list = {}
      for line in text:gsub("```.-```", ""):gmatch "[^\n]+" do
        local title = line:match "^#+ (.+)"
        if title then
          list[title:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-")] = true
        end
      end
      return list
    end
    local function look(path)
      local text = process.read(path)
      count = count + 1
      for _, words in ipairs { "./dev", "build/", "bench/", "src/", "<!-- source",
        "<!-- Generated" } do
        assert.is_nil(text:find(words, 1, true), path .. ": " .. words)
      end
      for target in text:gmatch "%]%(([^)]+)%)" do
        local file, anchor = target:match "^([^#]*)#?(.*)$"
        local where = file == "" and path or path:match "^.*/" .. file
        if not target:find "^https?:" then
          local link = path .. ": " .. target
          assert.is_truthy(uv.fs_stat(where), link)
          assert.is_true(anchor == "" or headings(process.read(where))[anchor], link)
        end
      end
    end
    for _, dir in ipairs { docs, docs .. "/docs" } do
      for name in function(request) return uv.fs_scandir_next(request) end, uv.fs_scandir(dir) do
        if name:find "%.md$" and name ~= "CHANGELOG.md" then -- which tells of the source tree, too
          look(dir .. "/" .. name)
        end
      end
    end
    assert.equal(5, count)
    look(prefix .. "/share/man/man1/decnet-host.1")
  end)

  it("can be started by a link", function()
    local dir = process.dir()
    assert(uv.fs_symlink(prefix .. "/bin/decnet-host", dir .. "/linked"))
    process.write(dir .. "/f.lua", SMOKE)
    assert.equal("worked\t42\n", run(dir .. "/linked", { "lua", "f.lua" }, { cwd = dir }):stdout())
  end)

  it("lets modules of the user's in, by LUA_PATH", function()
    local dir = process.dir()
    process.write(dir .. "/mine.lua", "return 'mine'")
    process.write(dir .. "/f.lua", "print(require 'mine', require 'decnet.options' ~= nil)")
    local child = run(prefix .. "/bin/decnet-host", { "lua", dir .. "/f.lua" },
      { env = { LUA_PATH = dir .. "/?.lua" } })
    assert.equal("mine\ttrue\n", child:stdout())
  end)

  it("says so if it is not whole", function()
    local dir = process.dir()
    assert(uv.fs_copyfile(process.host, dir .. "/decnet-host"))
    local child = run(dir .. "/decnet-host", { "--version" })
    assert.equal(2, child.code)
    assert.matches("is not installed whole: there is no .*/share/decnet%-host/lua", child:stderr())
  end)

  it("is for a plain lua5.4, too", function()
    if not uv.fs_stat(prefix .. "/lib/lua/5.4/decnet/core.so") then
      return pending "this build has no decnet/core.so"
    end
    local dir = process.dir()
    process.write(dir .. "/f.lua", SMOKE)
    local child = run("lua5.4", { "f.lua" }, { cwd = dir, env = {
      LUA_PATH = ("%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua;;"):format(prefix, prefix),
      LUA_CPATH = prefix .. "/lib/lua/5.4/?.so;;",
    } })
    assert.equal("worked\t42\n", child:stdout())
  end)
end)

describe("the version", function()
  lazy_teardown(process.cleanup)
  local version = process.read(process.tree "CMakeLists.txt")
    :match "project%(decnet%-host VERSION ([%d.]+) "

  it("of the program is that of the build", function()
    assert.equal(("decnet-host %s\n"):format(version), run(process.host, { "--version" }):stdout())
  end)

  it("of the rock is, too", function()
    local path = process.tree(("packaging/decnet-%s-1.rockspec"):format(version))
    local rock = {}
    assert(loadfile(path, "t", rock))()
    assert.equal(version .. "-1", rock.version)
  end)

  it("is the newest in the changelog, unless more has changed since", function()
    local text = process.read(process.tree "CHANGELOG.md")
    local newest, number = text:match "\n## ([^\n]+)", text:match "\n## (%d+%.%d+%.%d+)"
    assert.is_true(newest == "Unreleased" or number == version, newest)
    assert.is_true(number == nil or number == version, number)
  end)
end)
