-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What the long tests and the benchmarks leave behind when they are told to end.
local process = require "spec.process.process"
local uv = require "luv"

-- Start a program of the tree in the tree, with a mark in its environment and its children's.
local function start(args)
  local mark = process.dir()
  local command = { "-c", 'cd "$0" && exec "$@"', process.tree "", process.host, "lua" }
  table.move(args, 1, #args, #command + 1, command)
  local env = { TIDY_MARK = mark, DECNET_HOST = process.host }
  return process.start("sh", command, { env = env }), mark
end

local function of_process(pid, what)
  return process.read(("/proc/%s/%s"):format(pid, what))
end

-- The process IDs of all who bear the mark, but for the program itself.
local function marked(child, mark)
  local found, entries = {}, assert(uv.fs_scandir "/proc")
  for name in function() return uv.fs_scandir_next(entries) end do
    if name:find "^%d+$" and tonumber(name) ~= child.pid
      and of_process(name, "environ"):find("TIDY_MARK=" .. mark, 1, true) then
      found[#found + 1] = name
    end
  end
  return found
end

local function ends_by(child, signal)
  child:kill(signal)
  assert.truthy(process.wait(function() return child.code end))
  assert.not_equal(0, child.signal_number)
end

local function is_alone(child, mark)
  return process.wait(function() return #marked(child, mark) == 0 end, 10) or false
end

describe("what is told to end", function()
  lazy_teardown(process.cleanup)

  for _, signal in ipairs { "sigint", "sigterm" } do
    it(("leaves no process and no directory: starvation, %s"):format(signal), function()
      if not uv.fs_stat((process.host:gsub("[^/]+$", "decnet-starved"))) then
        pending "decnet-starved is not part of a sanitised build"
      end
      local child, mark = start { "spec/starve/run.lua", "--jobs", "2", "crash" }
      local dir
      process.wait(function()
        local playing = marked(child, mark)[1]
        dir = playing and of_process(playing, "environ"):match "STARVE_SOCKET=(.-)/%d+/control"
        return dir
      end)
      assert.truthy(uv.fs_stat(dir))
      ends_by(child, signal)
      assert.is_true(is_alone(child, mark))
      assert.is_nil(uv.fs_stat(dir))
    end)
  end

  it("leaves no program that was measured", function()
    local child, mark = start { "bench/run.lua", "--rounds", "1", "echo" }
    assert.truthy(process.wait(function()
      local measured = marked(child, mark)[1]
      return measured and of_process(measured, "cmdline"):find "^[^%z]*decnet%-host%zrun"
    end))
    ends_by(child, "sigkill")
    assert.is_true(is_alone(child, mark))
  end)
end)
