-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Four workers in one process.
--
--   decnet-host examples/workers.lua [PORT [FILE]]
--
--   echo hello | nc -N 127.0.0.1 7007     the echo server answers
--   echo news >> follow.txt               the follower copies it to follow.txt.log
--
-- Ctrl-C or SIGTERM stops them; each cleans up after itself first.

local decnet = require "decnet"
local uv = require "luv"

local PORT = math.tointeger(tonumber(arg[1] or os.getenv "ECHO_PORT" or 7007))
local FILE = arg[2] or os.getenv "FOLLOW_FILE" or "follow.txt"

assert(PORT and PORT >= 0 and PORT <= 65535, "PORT: expected a number from 0 (any free) to 65535")

-- ---- a ticker ----------------------------------------------------------------------------------

decnet.worker("ticker", function(self)
  local ticks = 0
  -- Runs when this run ends, in whatever way.
  self:defer(function()
    self.log:info("ticked", { times = ticks })
  end)
  while true do
    ticks = ticks + 1
    self.log:info("tick", { run = self.run })
    decnet.sleep(1)
  end
end)

-- ---- a worker that crashes now and then --------------------------------------------------------

-- The log shows it come back after 1, 2, 4, 5, 5 … seconds; the others do not notice.
decnet.worker {
  name = "flaky", max_backoff = 5,
  run = function()
    decnet.sleep(0.2 + math.random() * 0.3)
    error "boom"
  end,
}

-- ---- a TCP echo server -------------------------------------------------------------------------

local IDLE_LIMIT = 60 -- seconds without a word, then the client is dropped

decnet.worker("echo", function(self)
  local clients = 0

  local function serve(client)
    clients = clients + 1
    local data = decnet.uv.read(client, IDLE_LIMIT)
    while data and decnet.uv.write(client, data) do -- waits until it is sent
      data = decnet.uv.read(client, IDLE_LIMIT)
    end
    clients = clients - 1
    client:close()
  end

  local server = uv.new_tcp()
  assert(server:bind("127.0.0.1", PORT))
  assert(server:listen(128, function(err)
    assert(not err, err)
    local client = uv.new_tcp()
    server:accept(client)
    decnet.spawn(serve, client) -- a task for each connection
  end))
  self.log:info("listening", { port = server:getsockname().port })

  -- The server and its connections belong to this run: the host closes them when it ends.
  self:defer(function()
    self.log:info("closed", { clients = clients })
  end)
  decnet.park()
end)

-- ---- a file follower ---------------------------------------------------------------------------

-- A file that is closed at the end of its block, if it is held in a <close> variable.
local function open(path, flags)
  local fd = assert(decnet.uv.fs_open(path, flags, tonumber("644", 8)))
  return setmetatable({ fd = fd }, {
    __close = function()
      uv.fs_close(fd)
    end,
  })
end

-- How much of FILE has been copied. Outside of the function, so that it outlives a crash: the next
-- run goes on where this one ended.
local position

local function copy_news()
  local stat, message, code = decnet.uv.fs_stat(FILE)
  if not stat then
    assert(code == "ENOENT", message) -- not there yet, or being rotated
    position = 0
    return
  elseif stat.size < position then -- truncated, or another file
    position = 0
  end
  if stat.size > position then
    local input <close> = open(FILE, "r")
    local output <close> = open(FILE .. ".log", "a")
    repeat
      local data = assert(decnet.uv.fs_read(input.fd, 65536, position))
      assert(decnet.uv.fs_write(output.fd, data, -1))
      position = position + #data
    until data == ""
  end
end

decnet.worker("follower", function(self)
  if not position then -- only what is new, as tail -f
    local stat = decnet.uv.fs_stat(FILE)
    position = stat and stat.size or 0
  end
  self.log:info("following", { file = FILE, from = position })
  self:defer(function()
    self.log:info("followed", { file = FILE, to = position })
  end)
  while true do
    copy_news()
    decnet.sleep(0.2)
  end
end)
