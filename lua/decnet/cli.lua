-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The command line of decnet-host.

local suggest = require "decnet.suggest"

local M = {}

local OK, USAGE = 0, 2

local HELP = [[
usage: decnet-host [run] [options] workers.lua [args...]   host the workers (args in the global arg)
       decnet-host check workers.lua                       load and validate, run nothing
       decnet-host lua FILE [args...]                      a plain Lua with decnet and luv built in
       decnet-host doctor                                  what this build and this Lua can do

options:
  --log-level L          debug, info, warn or error (info)
  --log-format F         pretty, logfmt or json (pretty on a terminal, else logfmt)
  --shutdown-timeout S   kill what has not stopped S seconds after the first signal
  --keep-alive           stay when no worker can run again
  --version, --help

signals: SIGTERM and SIGINT stop politely, a second one at once; SIGUSR1 logs what every worker does
exit codes: 0 ended cleanly or stopped in time, 1 a worker failed, 2 usage or configuration,
            3 something would not stop
]]

local function complain(message)
  io.stderr:write("decnet-host: ", message, "\n")
  return USAGE
end

local function seconds(text)
  local value = tonumber(text)
  if not value or value ~= value or value < 0 then
    return nil, "a number of seconds >= 0"
  end
  return value
end

local function one_of(...)
  local words = { ... }
  return function(text)
    for _, word in ipairs(words) do
      if word == text then
        return text
      end
    end
    return nil, "one of " .. table.concat(words, ", ")
  end
end

-- option -> key of the host's options, reader of its value (none: a flag)
local OPTIONS = {
  ["--log-level"] = { key = "log_level", read = one_of("debug", "info", "warn", "error") },
  ["--log-format"] = { key = "log_format", read = one_of("pretty", "logfmt", "json") },
  ["--shutdown-timeout"] = { key = "shutdown_timeout", read = seconds },
  ["--keep-alive"] = { key = "keep_alive" },
}

local function unknown_option(word)
  local names = { "--help", "--version" }
  for name in pairs(OPTIONS) do
    names[#names + 1] = name
  end
  table.sort(names)
  local near = suggest.near(word, names)
  return ("unknown option '%s'; %s"):format(word,
    near and ("did you mean '%s'?"):format(near) or "see decnet-host --help")
end

-- Reads options from args[at] on. Returns the options and where the rest begins, or nil and why.
local function read_options(args, at)
  local options = {}
  while args[at] and args[at]:sub(1, 1) == "-" and args[at] ~= "-" do
    local word, value = args[at]:match "^(%-%-[^=]+)=(.*)$"
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
      if not value then
        return nil, ("%s: a value expected"):format(word)
      end
      local read, expected = option.read(value)
      if read == nil then
        return nil, ("%s: %s expected, got '%s'"):format(word, expected, value)
      end
      options[option.key] = read
    elseif value then
      return nil, ("%s takes no value"):format(word)
    else
      options[option.key] = true
    end
    at = at + 1
  end
  return options, at
end

-- Creates a host and loads args[at] into it. Returns the host, or nil and why.
local function load_script(args, at, options)
  local path = args[at]
  if not path then
    return nil, "no script given; see decnet-host --help"
  end
  local core = require "decnet.core"
  local host = core.host(options)
  local ok, message = require "decnet.script".load(host, path, table.move(args, at + 1, #args, 1, {}))
  if not ok then
    host:close()
    return nil, message
  end
  return host, path
end

local function run(args, at)
  local options, rest = read_options(args, at)
  if not options then
    return complain(rest)
  end
  options.signals = true
  local host, message = load_script(args, rest, options)
  if not host then
    return complain(message)
  end
  if #host:workers() == 0 then
    io.stderr:write(("decnet-host: %s declares no workers; declare one with "
      .. "decnet.worker(\"name\", function(self) ... end)\n"):format(message))
  end
  local code, why = host:run()
  host:close()
  if why then
    return complain(why)
  end
  return code
end

local function check(args)
  local host, message = load_script(args, 2, { log = false })
  if not host then
    return complain(message)
  end
  local workers = host:workers()
  print(("%s: ok, %d worker%s"):format(message, #workers, #workers == 1 and "" or "s"))
  for _, worker in ipairs(workers) do
    print("  " .. worker.name)
  end
  host:close()
  return OK
end

local function lua(args)
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
  local ok, err = xpcall(chunk, debug.traceback, table.unpack(_G.arg))
  if not ok then
    io.stderr:write("decnet-host: ", tostring(err), "\n")
    return 1
  end
  return OK
end

local function doctor(_, version)
  local uv = require "luv"
  print(("decnet-host %s, %s, libuv %s"):format(version, _VERSION, uv.version_string()))
  print "ok   functions, factories and coroutines as workers, restarted with backoff"
  print "ok   signals: SIGTERM, SIGINT, SIGUSR1"
  print "ok   awaits in nested coroutines, iterators, pcall, metamethods, <close>"
  return OK
end

local VERBS = { run = function(args) return run(args, 2) end, check = check, lua = lua, doctor = doctor }

--- Carry out a command line; returns the exit code.
---@param version string
---@param args string[] with the program's name at 0
---@return integer
function M.main(version, args)
  local first = args[1]
  if first == "--version" then
    print("decnet-host " .. version)
    return OK
  elseif first == "--help" or first == "-h" then
    io.stdout:write(HELP)
    return OK
  elseif not first then
    io.stderr:write(HELP)
    return USAGE
  end
  local verb = VERBS[first]
  if verb then
    return verb(args, version)
  end
  return run(args, 1)
end

return M
