-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What comes with the program: its manual page and its completions. They know what it knows.
local plane = require "spec.process.plane"
local process = require "spec.process.process"
local terminal = require "spec.process.terminal"

local MAN = process.tree "docs/man/decnet-host.1"
local BASH = process.tree "completions/decnet-host.bash"
local ZSH = process.tree "completions/_decnet-host"

local function say(...)
  return process.start(process.host, { ... }):ends(0):stdout()
end

local function sorted(set)
  local list = {}
  for word in pairs(set) do
    list[#list + 1] = word
  end
  table.sort(list)
  return list
end

local function words(text, pattern)
  local set = {}
  for word in text:gmatch(pattern) do
    set[word] = true
  end
  return set
end

-- Every option of the program, of a host and of the commands that ask one.
local function options()
  local own = say("--help"):match "\noptions.*" .. say("status", "--help")
  return words(" " .. own, "[%s%[](%-%-%l[%l-]*)")
end

local function verbs()
  local set = words(say "--help", "decnet%-host (%l[%l|]*)")
  local all = { run = true, shutdown = true, events = true, top = true }
  for word in pairs(set) do
    for verb in word:gmatch "%l+" do
      all[verb] = true
    end
  end
  all.workers = nil -- .lua
  return all
end

describe("the manual page", function()
  lazy_teardown(process.cleanup)

  it("has the options that the program has, and no others", function()
    local shown = {}
    for line in process.read(MAN):gmatch "\n%.It Fl ([^\n]*)" do
      for word in (" " .. line):gmatch " (%-%l[%l-]*)" do
        shown["-" .. word] = true
      end
    end
    local real = options()
    assert.is_true(#sorted(real) > 15)
    assert.same(sorted(real), sorted(shown))
  end)

  it("has the commands that the program has", function()
    local text = process.read(MAN)
    local real = verbs()
    assert.equal(18, #sorted(real))
    for verb in pairs(real) do
      assert.matches("\n%.[^\n]*Cm [^\n]*" .. verb .. "%f[%W]", text, verb)
    end
  end)

  it("is good mdoc", function()
    if process.has "mandoc" then
      local lint = process.start("mandoc", { "-Tlint", "-W", "warning", MAN }):ends(0)
      assert.equal("", lint:stdout() .. lint:stderr())
    elseif process.has "man" then
      local man = process.start("man", { "--warnings", "-E", "UTF-8", "-l", MAN }):ends(0)
      assert.equal("", man:stderr())
    else
      pending "neither mandoc nor man is installed"
    end
  end)
end)

describe("completion", function()
  local NAMED = [[
    local decnet = require "decnet"
    for _, name in ipairs { "ingest", "index", "with blank", "a/b é" } do
      decnet.worker(name, function() decnet.park() end)
    end
  ]]

  teardown(function()
    terminal.cleanup()
    process.cleanup()
  end)

  -- What bash would offer for these words, the last one being completed.
  local function bash(given, options_of)
    local list = {}
    for i, word in ipairs(given) do
      list[i] = "'" .. word .. "'"
    end
    local script = ([[
      compopt() { :; }
      source '%s'
      COMP_WORDS=('%s' %s)
      COMP_CWORD=%d
      _decnet_host
      printf '%%s\n' "${COMPREPLY[@]}"
    ]]):format(BASH, process.host, table.concat(list, " "), #given)
    local text = process.start("bash", { "--norc", "-c", script }, options_of):ends(0):stdout()
    return words(text, "[^\n]+")
  end

  it("knows in bash the commands and the options", function()
    if not process.has "bash" then
      return pending "bash is not installed"
    end
    assert.same(sorted(verbs()), sorted(bash { "" }))
    assert.same({ "--json", "--names" }, (function()
      local set = bash { "status", "-" }
      set["--socket"], set["--script"], set["--help"] = nil, nil, nil
      return sorted(set)
    end)())
    local all = {}
    for verb in pairs(verbs()) do
      for option in pairs(bash { verb, "--" }) do
        all[option] = true
      end
    end
    assert.same(sorted(options()), sorted(all))
    assert.same({ "debug", "error", "info", "warn" }, sorted(bash { "run", "--log-level", "" }))
    assert.same({ "json" }, sorted(bash { "run", "--log-format", "=", "j" }))
    local dir = process.dir()
    process.write(dir .. "/w.lua", "")
    process.write(dir .. "/w.txt", "")
    assert.same({ "w.lua" }, sorted(bash({ "run", "w" }, { cwd = dir })))
  end)

  it("knows in bash the workers of a host that runs", function()
    if not process.has "bash" then
      return pending "bash is not installed"
    end
    local _, path = plane.start(NAMED)
    assert.same({ "index", "ingest" }, sorted(bash { "stop", "--socket", path, "in" }))
    assert.same({ "ingest" }, sorted(bash { "logs", "--socket", "=", path, "-f", "ing" }))
    assert.same({ "with\\ blank" }, sorted(bash { "start", "--socket", path, "w" }))
    assert.same({}, sorted(bash { "reload", "--socket", path, "" }))
    assert.same({}, sorted(bash { "stop", "--socket", "/nowhere", "" }))
  end)

  it("knows in zsh the commands, the options and the workers", function()
    if not process.has "zsh" or not terminal.is_there() then
      return pending "zsh or script(1) is not installed"
    end
    local _, path = plane.start(NAMED)
    local dir = process.dir()
    process.write(dir .. "/.zshrc", ([[
      PS1='> '
      unsetopt beep
      unset zle_bracketed_paste
      fpath=('%s' $fpath)
      path=('%s' $path)
      autoload -Uz compinit && compinit -u -D
      setopt no_list_beep list_packed
      zstyle ':completion:*' list-prompt ''
    ]]):format(ZSH:match "^(.*)/", process.host:match "^(.*)/"))
    local t = terminal.start("zsh", { "-i" }, { env = { ZDOTDIR = dir }, rows = 60, cols = 120 })
    t:shows "^>"
    t:type "decnet-host shut\t"
    t:shows "> decnet%-host shutdown"
    t:type "\21decnet-host status --\t"
    t:shows "%-%-json +%-%- for programs"
    t:shows "%-%-socket +%-%- path of the control socket"
    t:type(("\21decnet-host restart --socket %s ing\t"):format(path))
    t:shows "%-%-socket [^\n]*/c%.sock ingest"
    t:type(("\21decnet-host stop --socket %s wi\t"):format(path))
    t:shows "c%.sock with\\ blank"
    t:type(("\21decnet-host logs --socket %s in\t"):format(path))
    t:shows "\nindex +ingest"
    t:type "\21exit\n"
    t:ends(0)
  end)

  it("is installed where shells look, with the client and the manual page", function()
    if not process.has "cmake" then
      return pending "cmake is not installed"
    end
    local build = process.host:match "^(.*)/"
    if process.read(build .. "/cmake_install.cmake") == "" then
      return pending "the program under test is not in a build tree"
    end
    local prefix = process.dir()
    process.start("cmake", { "--install", build, "--prefix", prefix }):ends(0)
    for _, file in ipairs { "libexec/decnet-host/decnet-ctl", "share/man/man1/decnet-host.1",
      "share/bash-completion/completions/decnet-host", "share/zsh/site-functions/_decnet-host" } do
      assert.is_true(#process.read(prefix .. "/" .. file) > 100, file)
    end
    local installed = prefix .. "/bin/decnet-host"
    assert.matches("^usage: ", process.start(installed, { "status", "--help" }):ends(0):stdout())
    os.remove(prefix .. "/libexec/decnet-host/decnet-ctl")
    assert.matches("^decnet%-host: cannot execute .*/libexec/decnet%-host/decnet%-ctl: No such "
      .. "file or directory; is decnet%-ctl installed%?\n$",
      process.start(installed, { "status" }):ends(2):stderr())
  end)
end)
