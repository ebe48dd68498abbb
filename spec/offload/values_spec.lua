-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local run = require "spec.support.run"

local function echo(...)
  return ...
end

local function here()
  local info = debug.getinfo(2, "Sl")
  return ("%s:%d: "):format(info.short_src, info.currentline)
end

describe("decnet.offload copies", function()
  it("nil, booleans, numbers and strings", function()
    run.worker(function()
      local got = table.pack(decnet.offload(echo, nil, true, false, "a\0b", "", nil))
      assert.same({ nil, true, false, "a\0b", "", nil, n = 6 }, got)
      assert.equal(0, select("#", decnet.offload(echo)))
      assert.equal(1 << 20, #decnet.offload(echo, ("x"):rep(1 << 20)))
    end)
  end)

  it("integers as integers and floats as floats", function()
    run.worker(function()
      local list = { 1, 1.0, math.maxinteger, math.mininteger, -0.0, math.huge, 1 << 53, 0.1 }
      for i, x in ipairs { decnet.offload(echo, table.unpack(list)) } do
        assert.equal(math.type(list[i]), math.type(x))
        assert.equal(list[i], x)
      end
      local nan = decnet.offload(echo, 0 / 0)
      assert.is_true(nan ~= nan)
      assert.equal("-inf", tostring(1 / decnet.offload(echo, -0.0)))
      assert.same({ "integer", "float" }, { decnet.offload(function(a, b)
        return math.type(a), math.type(b)
      end, 3, 3.0) })
    end)
  end)

  it("tables in tables", function()
    run.worker(function()
      local value = { 1, 2, { x = { y = { "z", [true] = 1.5, [2.5] = false } } }, n = {} }
      assert.same(value, decnet.offload(echo, value))
      local list = {}
      for i = 1, 10000 do
        list[i] = { id = i, name = "item " .. i }
      end
      assert.same(list, decnet.offload(echo, list))
      local long = decnet.offload(function(n)
        local numbers = {}
        for i = 1, n do
          numbers[i] = i
        end
        return numbers
      end, 40000)
      assert.equal(40000, #long)
      assert.equal(40000, long[40000])
    end)
  end)

  it("a table that occurs twice as one", function()
    run.worker(function()
      local shared = { 1 }
      local a, b = decnet.offload(echo, { shared, shared }, shared)
      assert.equal(a[1], a[2])
      assert.equal(a[1], b)
      assert.not_equal(shared, b)
      local deep = {}
      for _ = 1, 60 do
        deep = { deep, deep } -- 2^60 of them if each was copied
      end
      assert.is_table(decnet.offload(echo, deep))
    end)
  end)

  it("nothing that is not plain, and says where it is", function()
    run.worker(function()
      local cycle = { a = { b = {} } }
      cycle.a.b[1] = cycle.a
      local too_deep = {}
      for _ = 1, 1000 do
        too_deep = { too_deep }
      end
      for message, value in pairs {
        ["(is a function, which cannot be copied to another thread)"] = print,
        ["(.jobs[2].fn is a function, which cannot"] = { jobs = { {}, { fn = print } } },
        ["([\"a b\"][true] is a thread, which cannot"] = {
          ["a b"] = { [true] = coroutine.create(print) } },
        ["(is a userdata, which cannot"] = io.stdout,
        ["(.a.b[1] contains itself)"] = cycle,
        ["(.x has a metatable and cannot"] = { x = setmetatable({}, {}) },
        ["([a table] is not a plain key"] = { [{}] = 1 },
        ["is nested too deeply)"] = too_deep,
      } do
        run.raises(message, decnet.offload, echo, 1, value)
        run.raises("bad argument #3 to 'offload'", decnet.offload, echo, 1, value)
      end
    end)
  end)

  it("no result that is not plain", function()
    run.worker(function()
      run.raises("offload: result #2.a[1] is a function, which cannot be copied",
        decnet.offload, function() return 1, { a = { print } } end)
    end)
  end)
end)

describe("decnet.offload refuses", function()
  it("what is no Lua function, at the caller's line", function()
    run.worker(function()
      local line
      local _, err = pcall(function()
        line = here() decnet.offload(print)
      end)
      assert.equal(line .. "bad argument #1 to 'offload' (a C function cannot run on another "
        .. "thread)", err)
      run.raises("bad argument #1 to 'offload' (function expected, got nil)", decnet.offload)
      run.raises("bad argument #1 to 'offload' (function expected, got string)", decnet.offload,
        "f")
    end)
  end)

  it("a function with an upvalue, and names it", function()
    run.worker(function()
      local outer = 1
      run.raises("it uses 'outer', a local variable of another function", decnet.offload,
        function() return outer end)
      local globals = _G
      run.raises("it uses 'globals'", decnet.offload, function() return print and globals.print end)
      run.raises("it uses 'outer'", decnet.offload, function() return print(outer) end)
    end)
  end)

  it("nothing for lack of debug information", function()
    run.worker(function()
      local stripped = load(string.dump(function(x) return tostring(x) end, true))
      assert.equal("5", decnet.offload(stripped, 5))
    end)
  end)

  it("to be called where nobody can wait", function()
    run.raises("offload: only a worker can wait", decnet.offload, echo)
    run.worker(function()
      run.raises("offload: cannot wait inside decnet.atomic", decnet.atomic, decnet.offload, echo)
    end)
  end)
end)

describe("a function that was offloaded", function()
  it("has the standard libraries and what its caller can require", function()
    run.worker(function()
      assert.equal("AB", decnet.offload(function(s) return (s:upper():gsub("%s", "")) end, "a b"))
      assert.equal("function", decnet.offload(function()
        return type(require "spec.support.text".contains)
      end))
      run.raises("there is no decnet in a function that was offloaded", decnet.offload, function()
        return require "decnet"
      end)
    end)
  end)

  it("shares no globals with its caller or with other calls", function()
    run.worker(function()
      for _ = 1, 20 do
        assert.is_nil(decnet.offload(function()
          local before = rawget(_G, "leaked") or rawget(string, "leaked")
          rawset(_G, "leaked", true)
          rawset(string, "leaked", true)
          return before
        end))
      end
      assert.is_nil(rawget(_G, "leaked"))
      assert.is_nil(rawget(string, "leaked"))
    end)
  end)

  it("can end neither the process nor the hook", function()
    run.worker(function()
      run.raises("os.exit: the host cannot be ended", decnet.offload, function() os.exit(0) end)
      run.raises("the hook is the host's", decnet.offload, function() debug.sethook() end)
    end)
  end)

  it("may use coroutines", function()
    run.worker(function()
      run.raises("attempt to yield from outside a coroutine", decnet.offload, function()
        coroutine.yield(1)
      end)
      assert.same({ 1, 2, 3 }, decnet.offload(function()
        local list = {}
        for i in coroutine.wrap(function()
          for i = 1, 3 do coroutine.yield(i) end
        end) do
          list[#list + 1] = i
        end
        return list
      end))
    end)
  end)

  it("nothing that cannot be, and says where it is", function()
    run.worker(function()
      for path, value in pairs {
        [".a1._x.y"] = { a1 = { _x = { y = print } } },
        ['["1a"]["a b"]'] = { ["1a"] = { ["a b"] = print } },
        ['[""]'] = { [""] = print },
        ["[true][false]"] = { [true] = { [false] = print } },
        ["[1][2.5]"] = { { [2.5] = print } },
      } do
        local ok, err = pcall(decnet.offload, echo, value)
        assert.is_false(ok)
        run.contains(err, path)
      end
      for _, value in ipairs { { [{}] = 1 }, { [print] = 1 } } do
        local ok, err = pcall(decnet.offload, echo, value)
        assert.is_false(ok)
        run.contains(err, "is not a plain key")
      end
      assert.same({ [1] = 1 }, decnet.offload(echo, setmetatable({ 1 }, nil)))
    end)
  end)
end)
