-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A function that does a little of everything Lua can do and returns what it saw as one string. It
-- must see the same whoever interrupts it, and wherever.

local function corpus()
  local out = {}
  local function put(...)
    local values = table.pack(...)
    for i = 1, values.n do
      values[i] = tostring(values[i])
    end
    out[#out + 1] = table.concat(values, ",")
  end

  -- generators, generators in generators
  local function leaves(n)
    return coroutine.wrap(function()
      if n == 0 then
        coroutine.yield "leaf"
      else
        for x in leaves(n - 1) do coroutine.yield(n .. x) end
        for x in leaves(n - 1) do coroutine.yield(-n .. x) end
      end
    end)
  end
  for x in leaves(3) do put(x) end

  -- values both ways, an error object out of a coroutine
  local co = coroutine.create(function(a, b)
    put("in", a, b)
    local c, d = coroutine.yield(a + b)
    put("got", c, d)
    error { code = 5 }
  end)
  put(coroutine.resume(co, 1, 2))
  local ok, err = coroutine.resume(co, "x", "y")
  put(ok, type(err), err.code, coroutine.status(co))
  put(coroutine.resume(co))
  put(coroutine.isyieldable())

  -- closures that share upvalues
  local function counter()
    local n = 0
    return function() n = n + 1 return n end, function() return n end
  end
  local up, get = counter()
  for _ = 1, 5 do up() end
  put(get())
  local closures = {}
  for i = 1, 3 do closures[i] = function() i = i * 2 return i end end
  put(closures[1](), closures[2](), closures[2](), closures[3]())

  -- goto, loops over integers and floats
  do
    local i = 0
    ::again::
    i = i + 1
    if i < 10 then goto again end
    put(i)
  end
  local sum = 0.0
  for x = 1.0, 2.0, 0.125 do sum = sum + x end
  put(sum)
  for i = math.maxinteger - 2, math.maxinteger do put(i) end
  for i = 3, 1 do put(i) end
  local n = 0
  while true do
    n = n + 1
    if n % 7 == 0 then break end
  end
  repeat n = n - 1 until n <= 0
  put(n, 7 // 2, -7 // 2, 7 % -3, 2 ^ 10, 1 << 5, 5 & 3, 5 ~ 3, ~0)

  -- to-be-closed variables, on every way out
  local function closer(name)
    return setmetatable({}, { __close = function(_, e)
      local s = 0
      for i = 1, 9 do s = s + i end
      put("close", name, s, e)
    end })
  end
  local function scoped(how)
    local a <close> = closer "a"
    local b <close> = closer "b"
    if how == "error" then error("out", 0) end
    for i = 1, 3 do
      local _ <close> = closer("c" .. i)
      if i == 2 then return how, b ~= a end
    end
  end
  put(scoped "return")
  put(pcall(scoped, "error"))

  -- building strings, varargs, tables
  local s = ""
  for i = 1, 30 do s = s .. i .. (i % 2 == 0 and "e" or "o") end
  put(s, #s)
  local function va(...)
    local a, b = ...
    return select("#", ...), a, b, ...
  end
  put(va(1, nil, 3, nil))
  put(table.unpack({ 1, 2, nil, 4 }, 1, 4))
  local t = {}
  for i = 1, 50 do t[i] = (i * 7919) % 101 end
  table.sort(t, function(a, b) return a < b end)
  put(table.concat(t, " "))
  put((("hello world"):gsub("o", function(c) return c:upper() .. up() end)))
  for w in ("the quick brown fox"):gmatch "%a+" do put(w) end
  local keys = {}
  for k, v in pairs { a = 1, b = 2, c = 3 } do keys[#keys + 1] = k .. v end
  table.sort(keys)
  put(table.concat(keys))

  -- metamethods
  local mt = {}
  mt.__index = function(_, k) return k .. "!" end
  mt.__newindex = function(self, k, v) rawset(self, k, v * 2) end
  mt.__add = function(a, b) return (rawget(a, "x") or 0) + b end
  mt.__call = function(_, ...) return select("#", ...), ... end
  mt.__lt = function() return true end
  mt.__le = function() return false end
  mt.__eq = function() return true end
  mt.__len = function() return 42 end
  mt.__concat = function(a, b) return "cat" .. tostring(type(a)) .. tostring(type(b)) end
  mt.__unm = function() return "minus" end
  mt.__pairs = function() return function(_, k) if not k then return 1, "one" end end end
  local o = setmetatable({}, mt)
  o.x = 21
  put(o.foo, o.x, o + 1, o(1, nil), o < 1, o <= o, o == setmetatable({}, mt), #o, -o)
  put(o .. "x", "x" .. o)
  for k, v in pairs(o) do put(k, v) end

  -- errors: rethrown, with handlers, in nested pcalls
  put(pcall(error))
  put(pcall(function() pcall(error, "inner") error("outer", 0) end))
  put(xpcall(function() local x = nil; return x.y end, function(e)
    return "handled " .. tostring(e):gsub("^.-:%d+: ", "")
  end))
  put(select(2, pcall(string.rep)))
  local deep = 0
  local function down(i) if i > 0 then deep = deep + 1 return down(i - 1) end return deep end
  put(down(100))
  local function rec(i) if i == 0 then return 0 end return 1 + rec(i - 1) end
  put(rec(100))
  return table.concat(out, "\n")
end

return corpus
