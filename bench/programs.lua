-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Who is measured: decnet-host, and what people would use instead. How each peer hosts a worker is
-- said in its program (bench/peers) and in docs/performance.md.

local M = {}

---@class decnet.bench.Peer
---@field name string
---@field group string what --peers= takes
---@field packages string of Debian: what brings it is the last one
---@field needs string[] what must be there
---@field argv string[] before BENCH and COUNT
---@field does table<string, boolean>

local BUILT = "build/bench/"
local PYTHON = { "/usr/bin/python3", "bench/peers/with_asyncio.py" }
local ERLANG = { "erl", "-noshell", "-noinput", "-pa", "build/bench", "-run", "with_erlang",
  "main" }
local ERLANG_PROCESSES = 200000 -- it allows by itself
local QUIET_ERLANG = { "erl", "-noshell", "-noinput", "+sbwt", "none", "+sbwtdcpu", "none",
  "+sbwtdio", "none", "-pa", "build/bench", "-run", "with_erlang", "main" }

local function join(list, ...)
  local joined = table.move(list, 1, #list, 1, {})
  return table.move({ ... }, 1, select("#", ...), #joined + 1, joined)
end

local function set(words)
  local all = {}
  for word in words:gmatch "%S+" do
    all[word] = true
  end
  return all
end

local ALL = "idle crash timers yield pingpong fanin starve shutdown cold echo"

local function peer(group, name, packages, needs, argv, does)
  return { group = group, name = name, packages = packages, needs = needs, argv = argv,
    does = set(does) }
end

local UVLOOP_NEEDS = { "/usr/bin/python3", "/usr/lib/python3/dist-packages/uvloop/__init__.py" }
local ERLANG_NEEDS = { "erl", BUILT .. "with_erlang.beam" }

---@type decnet.bench.Peer[]
M.peers = {
  peer("asyncio", "asyncio", "python3", { "/usr/bin/python3" }, PYTHON, ALL),
  -- what an expert does who has many long-lived tasks
  peer("asyncio", "asyncio, no GC", "python3", { "/usr/bin/python3" }, join(PYTHON, "--nogc"),
    "idle timers shutdown"),
  peer("uvloop", "uvloop", "python3 python3-uvloop", UVLOOP_NEEDS, join(PYTHON, "--uvloop"), ALL),
  -- without streams, which asyncio's documentation recommends against for speed
  peer("uvloop", "uvloop, protocol", "python3 python3-uvloop", UVLOOP_NEEDS,
    join(PYTHON, "--uvloop"), "echoproto"),
  -- OTP's supervisor walks the list of all restarts of its last period at each of them: one
  -- supervisor a worker is the tuned form
  peer("erlang", "Erlang, supervisors", "erlang-base", ERLANG_NEEDS, join(ERLANG, "supper"),
    "crash"),
  peer("erlang", "Erlang, one supervisor", "erlang-base", ERLANG_NEEDS, join(ERLANG, "sofo"),
    "idle shutdown cold"),
  peer("erlang", "Erlang, monitors", "erlang-base", ERLANG_NEEDS, join(ERLANG, "mon"), ALL),
  peer("erlang", "Erlang, no busy wait", "erlang-base", ERLANG_NEEDS, join(QUIET_ERLANG, "mon"),
    "timers echo"),
  peer("go", "Go", "golang-go", { BUILT .. "with_go" }, { BUILT .. "with_go", "bare" }, ALL),
  peer("node", "Node", "nodejs", { "node" }, { "node", "bench/peers/with_node.js" }, ALL),
  peer("luv", "luv by hand", "lua5.4 lua-luv",
    { "lua5.4", "/usr/lib/x86_64-linux-gnu/lua/5.4/luv.so" },
    { "lua5.4", "bench/peers/with_luv.lua" }, ALL),
  peer("cqueues", "cqueues", "lua5.4 lua-cqueues",
    { "lua5.4", "/usr/lib/x86_64-linux-gnu/lua/5.4/_cqueues.so" },
    { "lua5.4", "bench/peers/with_cqueues.lua" },
    "idle crash timers yield pingpong shutdown cold echo"),
  -- a guard page a fiber: 32,000 exhaust vm.max_map_count, so it has no A, G, C at 100,000
  peer("tarantool", "Tarantool", "tarantool", { "tarantool" },
    { "tarantool", "bench/peers/with_tarantool.lua" },
    "crash fewtimers yield pingpong fanin starve cold echo"),
  -- what the kernel and the clients cost: no workers
  peer("epoll", "C and epoll", "gcc", { BUILT .. "epoll" }, { BUILT .. "epoll" }, "echo"),
}

-- The words a peer's program takes for a benchmark; nil: it has none.
local function words(p, bench)
  if bench.kind == "server" and p.does.echoproto then
    return { "echoproto" }
  elseif p.group == "epoll" then
    return p.does[bench.verb] and {}
  elseif p.does[bench.name] or p.does[bench.verb] then
    return { bench.verb }
  end
end

--- The command of a peer for a benchmark; nil: it does not take part.
function M.command(p, bench, count)
  local before = words(p, bench)
  local argv = before and join(join(p.argv, table.unpack(before)), tostring(count))
  if argv and p.group == "erlang" and count > ERLANG_PROCESSES and bench.kind ~= "server" then
    table.insert(argv, 2, "+P")
    table.insert(argv, 3, tostring(2 * count))
  end
  return argv
end

--- Our own: 'row' is one of bench.ours.
function M.our_command(host, row, count, seconds)
  local argv = { host, "run", "--log-level", "warn" }
  if not row[1]:find "control plane" then
    argv[#argv + 1] = "--no-control"
  end
  return join(argv, ("bench/workers/%s.lua"):format(row[2]), tostring(count), tostring(seconds))
end

return M
