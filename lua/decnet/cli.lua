-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The command line of decnet-host.

local _ENV = require "decnet.stdlib"()
local core = require "decnet.core"
local checks = require "decnet.checks"
local show = require "decnet.show"
local suggest = require "decnet.suggest"

local loadlib = package.loadlib

local M = {}

local OK, FAILED, USAGE = 0, 1, 2

local HELP = [[
usage: decnet-host [run] [options] workers.lua [args...]    host the workers
       decnet-host check [options] workers.lua [args...]    load it, run nothing
       decnet-host plan [options] workers.lua [args...]     order, exact delays
       decnet-host simulate [options] workers.lua 'db crash@0,3,9; web stop@20'
                               [args...]   what would happen, on a virtual clock
       decnet-host lua FILE [args...]   a plain Lua with decnet and luv built in
       decnet-host doctor               what this build and this Lua can do

of a host that runs; more of these: decnet-host status --help
       decnet-host status [NAME] [--json]                  every worker, or one
       decnet-host start|stop|restart|retry|reset NAME...  tell its workers
       decnet-host reload | shutdown [--now]               tell the host
       decnet-host logs [-f] [NAME] | events | top         look on
       decnet-host wait [--ready] [--timeout S] [NAME]     until ended, or ready

options of a host:
  --log-level L          debug, info, warn or error (info)
  --log-format F         pretty, logfmt or json (on a terminal pretty, else
                         logfmt)
  --shutdown-timeout S   kill what has not stopped S seconds after the first
                         signal
  --slice MS             CPU that a worker may use while others are ready (10)
  --max-memory SIZE      what Lua may hold in all, such as 512M; above it the
                         run that holds most is crashed (no limit)
  --seed N               of jitter: the same delays each time (simulate: 1)
  --socket PATH          of the control socket (named after the script)
  --listen ADDR:PORT     status, metrics and health over TCP, too; read only;
                         on 127.0.0.1 unless an address is given
  --no-control           no control socket
  --keep-alive           stay when no worker can run again
  --version, --help

signals: SIGTERM and SIGINT stop politely, a second one at once; SIGHUP loads
         the script again and restarts what has changed; SIGUSR1 logs what
         every worker does
exit codes: 0 ended cleanly or stopped in time, 1 a worker failed, 2 usage or
            configuration, 3 something would not stop
]]

local function complain(message)
  io.stderr:write("decnet-host: ", message, "\n")
  return USAGE
end

-- ---- options -----------------------------------------------------------------------------------

-- A slice: as seconds.
local function milliseconds(text)
  local value = tonumber(text)
  if not value or not (value >= 0.1 and value <= 10000) then
    return nil, "milliseconds from 0.1 to 10000"
  end
  return value / 1000
end

local function seconds(text)
  local value = tonumber(text)
  if not value or value ~= value or value < 0 then
    return nil, "a number of seconds >= 0"
  end
  return value
end

-- A seed of 0 would be another one each time.
local function seed(text)
  local value = string.find(text, "^%d+$") and math.tointeger(tonumber(text))
  if not value or value < 1 or value > 2 ^ 53 then
    return nil, "a whole number from 1 on"
  end
  return value
end

local function size(text)
  local bytes = checks.size(text) or checks.size(tonumber(text))
  if not bytes or bytes < 2 ^ 20 then
    return nil, string.format("bytes, or a size such as %s (K, M or G), of at least 1M",
      checks.near_size(text) or "512M")
  end
  return bytes
end

local function not_empty(value)
  return value ~= "" and value or nil, "a value"
end

local function one_of(...)
  local words = { ... }
  return function(text)
    for _, word in ipairs(words) do
      if word == text then
        return text
      end
    end
    local near = suggest.near(text, words)
    return nil, "one of " .. table.concat(words, ", "), near
  end
end

-- option -> key of the host's options, reader of its value (none: a flag)
local OPTIONS = {
  ["--log-level"] = { key = "log_level", read = one_of("debug", "info", "warn", "error") },
  ["--log-format"] = { key = "log_format", read = one_of("pretty", "logfmt", "json") },
  ["--shutdown-timeout"] = { key = "shutdown_timeout", read = seconds },
  ["--max-memory"] = { key = "max_memory", read = size },
  ["--slice"] = { key = "slice", read = milliseconds },
  ["--seed"] = { key = "seed", read = seed },
  ["--socket"] = { key = "socket", read = not_empty },
  ["--listen"] = { key = "listen", read = not_empty },
  ["--no-control"] = { key = "no_control" },
  ["--keep-alive"] = { key = "keep_alive" },
  ["--help"] = { key = "help" },
  ["--version"] = { key = "version" },
}
OPTIONS["-h"] = OPTIONS["--help"]

local function words_of(map)
  local words = {}
  for word in pairs(map) do
    words[#words + 1] = word
  end
  table.sort(words)
  return words
end

local function unknown_option(word)
  local near = suggest.near(word, words_of(OPTIONS))
  return string.format("unknown option '%s'; %s", word,
    near and string.format("did you mean '%s'?", near) or "see decnet-host --help")
end

-- The value of an option that takes one, or nil and why not.
local function read_value(option, word, value)
  if not value then
    return nil, string.format("%s: a value expected", word)
  end
  local read, expected, near = option.read(value)
  if read == nil then
    return nil, string.format("%s: %s expected, got '%s'%s", word, expected, value,
      near and string.format("; did you mean '%s'?", near) or "")
  end
  return read
end

-- Reads options from args[at] on. Returns the options and where the rest begins, or nil and why.
local function read_options(args, at)
  local options = {}
  while args[at] and string.sub(args[at], 1, 1) == "-" and args[at] ~= "-" do
    local word, value = string.match(args[at], "^(%-%-[^=]+)=(.*)$")
    word = word or args[at]
    if word == "--" then
      return options, at + 1
    end
    local option = OPTIONS[word]
    if not option then
      return nil, unknown_option(word)
    elseif option.read then
      if not value then
        at = at + 1
        value = args[at]
      end
      local read, message = read_value(option, word, value)
      if read == nil then
        return nil, message
      end
      options[option.key] = read
    elseif value then
      return nil, string.format("%s takes no value", word)
    else
      options[option.key] = true
    end
    at = at + 1
  end
  return options, at
end

-- ---- verbs -------------------------------------------------------------------------------------

local VERBS

-- A word that is neither a file nor a verb may have been meant to be one.
local function what_else(word, is_first)
  if VERBS[word] then
    return string.format("no file is named '%s', and a command comes first: decnet-host %s ...",
      word, word)
  elseif not is_first or string.find(word, "[./]") then
    return nil
  end
  local near = suggest.near(word, words_of(VERBS))
  return string.format("no file and no command is named '%s'; %s", word,
    near and string.format("did you mean '%s'?", near) or "see decnet-host --help")
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

local function print_help()
  io.stdout:write(HELP)
  return OK
end

local function print_version(about)
  print("decnet-host " .. about.version)
  return OK
end

-- Creates a host for the command line from args[at] on and loads its script. Returns the host, the
-- script's path, the options and, if the verb has an operand, what stands between the script and
-- its own arguments; or nil and an exit code.
local function load_script(about, args, at, extra, has_operand)
  local options, rest = read_options(args, at)
  if not options then
    return nil, complain(rest)
  elseif options.help then
    return nil, print_help()
  elseif options.version then
    return nil, print_version(about)
  end
  local path = args[rest]
  if not path then
    return nil, complain "no script given; see decnet-host --help"
  end
  for key, value in pairs(extra) do
    options[key] = value
  end
  local host = core.host(options)
  local given = table.move(args, rest + 1, #args, 1, {})
  local operand = has_operand and table.remove(given, 1)
  local ok, message = require "decnet.script".load(host, path, given)
  if not ok then
    host:close()
    local may_be_verb = at == 1 and not exists(path)
    return nil, complain(may_be_verb and what_else(path, rest == 1) or message)
  end
  return host, path, options, operand
end

-- Starts the control plane: returns it, or nil where there is none, or nil and a message if there
-- must be one. A host whose default socket is not to be had runs without.
local function start_control(about, host, path, options)
  if options.no_control then
    return nil, (options.socket or options.listen)
      and "--no-control leaves nothing for --socket and --listen to do" or nil
  end
  local is_asked_for = options.socket or options.listen
  local open, message = loadlib(about.control, "luaopen_decnet_control")
  if not open then
    message = "the control plane cannot be loaded: " .. message
    if not is_asked_for then
      host:log("warn", message)
    end
    return nil, is_asked_for and message or nil
  end
  local plane, address, where, trouble = open().start(host, {
    script = path, version = about.version, socket = options.socket, listen = options.listen,
  })
  if plane then
    host:log(where and "debug" or "warn", where and "control socket: " .. where
      or "no control socket: " .. trouble)
    if options.listen then
      host:log("info", "listening at " .. address)
    end
    return plane
  end
  message = address
  if is_asked_for then
    return nil, message
  end
  host:log("warn", "no control socket: " .. message)
end

-- Nothing contains a segmentation fault: who can meet one is to know.
local function warn_of_defects(about, host)
  if core.has_concat_defect() then
    host:log("warn", string.format("this build of %s can end the process where a __concat recurses "
      .. "deeply; decnet-host doctor says what to do", about.lua))
  end
end

local function run(about, args, at)
  -- What workers print is seen when they print it, on a pipe too.
  io.stdout:setvbuf "line"
  local host, path, options = load_script(about, args, at,
    { signals = true, ends_process = true, service = true })
  if not host then
    return path
  end
  if not host:has_workers() then
    host:log("warn", string.format("%s declares no workers; declare one with "
      .. "decnet.worker(\"name\", function(self) ... end)", path))
  end
  local plane, trouble = start_control(about, host, path, options)
  if trouble then
    host:close()
    return complain(trouble)
  end
  warn_of_defects(about, host)
  local code, message = host:run()
  if plane then
    plane:stop()
  end
  host:close()
  if message then
    return complain(message)
  end
  return code
end

local function check(about, args)
  local host, path = load_script(about, args, 2, { log = false })
  if not host then
    return path
  end
  local workers = host:workers()
  print(string.format("%s: ok, %d worker%s", path, #workers, #workers == 1 and "" or "s"))
  for _, worker in ipairs(workers) do
    print("  " .. worker.name)
  end
  host:close()
  return OK
end

local function plan(about, args)
  local host, path, options = load_script(about, args, 2, { log = false })
  if not host then
    return path
  end
  local what = require "decnet.declared".read(host)
  host:close()
  local planner = require "decnet.plan"
  io.stdout:write(planner.text(planner.make(what, options), path, about.columns))
  return OK
end

local function simulate(about, args)
  local host, path, options, given = load_script(about, args, 2, { log = false }, true)
  if not host then
    return path
  end
  local what = require "decnet.declared".read(host)
  host:close()
  if not given or not string.find(given, "[^%s;]") then
    return complain("simulate: a scenario expected after the script, as in "
      .. "'db crash@0,3,9; web stop@20', or 'until 60'")
  end
  local names = {}
  for i, worker in ipairs(what.workers) do
    names[i] = worker.name
  end
  local scenario, message = require "decnet.scenario".parse(given, names)
  if not scenario then
    return complain("simulate: " .. message)
  end
  local simulation = require "decnet.simulate"
  io.stdout:write(simulation.text(simulation.run(what, scenario, options)))
  return OK
end

local function with_traceback(err)
  if type(err) ~= "string" then
    local meta = debug.getmetatable(err)
    local has_text = type(meta) == "table" and rawget(meta, "__tostring") ~= nil
    err = has_text and tostring(err) or string.format("error object is %s", show(err))
  end
  return debug.traceback(err, 2)
end

local function lua(_, args)
  local path = args[2]
  if not path then
    return complain "lua: no file given; see decnet-host --help"
  end
  require "decnet"
  _G.arg = table.move(args, 3, #args, 1, { [0] = path })
  local chunk, message = loadfile(path)
  if not chunk then
    return complain(message)
  end
  local ok, err = xpcall(chunk, with_traceback, table.unpack(_G.arg))
  if not ok then
    io.stderr:write("decnet-host: ", err, "\n")
    return FAILED
  end
  return OK
end

VERBS = {
  run = function(about, args) return run(about, args, 2) end,
  check = check,
  plan = plan,
  simulate = simulate,
  lua = lua,
  doctor = function(about) return require "decnet.doctor".main(about) end,
  help = print_help,
  version = print_version,
}

-- What asks a host that runs is carried out by another program, which takes the place of this one.
for verb in string.gmatch("status start stop restart retry reset reload shutdown logs top events "
  .. "wait", "%a+") do
  VERBS[verb] = function(about)
    return complain(select(2, about.become_client()))
  end
end

--- Carry out a command line; returns the exit code.
---@param about { version: string, build: string, lua: string, control: string, columns: integer?,
---  become_client: fun(): nil, string } this build, and how wide its terminal is, if it has one
---@param args string[] with the program's name at 0
---@return integer
function M.main(about, args)
  local first = args[1]
  if not first then
    io.stderr:write(HELP)
    return USAGE
  end
  local verb = VERBS[first]
  if verb then
    return verb(about, args)
  end
  return run(about, args, 1)
end

return M
