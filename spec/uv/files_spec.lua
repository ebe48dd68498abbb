-- SPDX-License-Identifier: AGPL-3.0-or-later
local decnet = require "decnet"
local luv = require "luv"
local real = require "spec.support.real"

local uv = decnet.uv

describe("decnet.uv on files", function()
  local dir, remove, fds

  before_each(function()
    fds = real.count_fds()
    dir, remove = real.temp_dir()
  end)

  after_each(function()
    remove()
    assert.equal(fds, real.count_fds())
    assert.equal(0, real.in_flight())
  end)

  -- A file with that text.
  local function file(name, text)
    local path = dir .. "/" .. name
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    return path
  end

  local function text_of(path)
    local f = assert(io.open(path))
    local text = f:read "a"
    f:close()
    return text
  end

  it("opens, writes, reads and closes", function()
    real.worker(function()
      local path = dir .. "/a"
      local fd = assert(uv.fs_open(path, "w+", tonumber("600", 8)))
      assert.equal("integer", math.type(fd))
      assert.equal(5, uv.fs_write(fd, "hello"))
      assert.equal(6, uv.fs_write(fd, { ", ", "you", "!" }))
      assert.equal(0, uv.fs_write(fd, {}))
      assert.equal(1, uv.fs_write(fd, "H", 0))
      assert.equal("Hello, you!", uv.fs_read(fd, 100, 0))
      assert.equal("you", uv.fs_read(fd, 3, 7))
      assert.equal("", uv.fs_read(fd, 100, 1000))
      assert.is_true(uv.fs_fsync(fd))
      assert.is_true(uv.fs_fdatasync(fd))
      assert.is_true(uv.fs_ftruncate(fd, 5))
      assert.equal(5, uv.fs_fstat(fd).size)
      assert.is_true(uv.fs_fchmod(fd, tonumber("640", 8)))
      assert.is_true(uv.fs_futime(fd, 1000, 2000))
      assert.equal(2000, uv.fs_fstat(fd).mtime.sec)
      assert.is_true(uv.fs_fchown(fd, luv.getuid(), luv.getgid()))
      assert.is_true(uv.fs_close(fd))
      assert.equal("Hello", text_of(path))
    end)
  end)

  it("has a mode for what it creates when none is given", function()
    real.worker(function()
      local fd = assert(uv.fs_open(dir .. "/a", "w"))
      assert.is_true(uv.fs_close(fd))
      assert.is_true(uv.fs_mkdir(dir .. "/b"))
      assert.equal("file", uv.fs_stat(dir .. "/a").type)
      assert.equal("directory", uv.fs_stat(dir .. "/b").type)
    end)
  end)

  it("asks and tells what belongs to a path", function()
    real.worker(function()
      local path = file("a", "text")
      assert.equal(4, uv.fs_stat(path).size)
      assert.is_true(uv.fs_access(path, "r"))
      assert.is_false(uv.fs_access(dir .. "/none", "r"))
      assert.is_true(uv.fs_chmod(path, tonumber("600", 8)))
      assert.is_true(uv.fs_utime(path, 1, 2))
      assert.equal(2, uv.fs_stat(path).mtime.sec)
      assert.is_true(uv.fs_chown(path, luv.getuid(), luv.getgid()))
      assert.is_true(uv.fs_symlink(path, dir .. "/link"))
      assert.is_true(uv.fs_lutime(dir .. "/link", 5, 6))
      assert.is_true(uv.fs_lchown(dir .. "/link", luv.getuid(), luv.getgid()))
      assert.equal("link", uv.fs_lstat(dir .. "/link").type)
      assert.equal(path, uv.fs_readlink(dir .. "/link"))
      assert.equal(luv.fs_realpath(path), uv.fs_realpath(dir .. "/link"))
      assert.equal("number", type(uv.fs_statfs(dir).bsize))
    end)
  end)

  it("copies, links, renames and removes", function()
    real.worker(function()
      local path = file("a", "text")
      assert.is_true(uv.fs_copyfile(path, dir .. "/b"))
      assert.same({ nil, "EEXIST" }, { nil, select(3, uv.fs_copyfile(path, dir .. "/b",
        { excl = true })) })
      assert.is_true(uv.fs_link(path, dir .. "/c"))
      assert.is_true(uv.fs_rename(dir .. "/c", dir .. "/d"))
      assert.equal("text", text_of(dir .. "/d"))
      local from = assert(uv.fs_open(path, "r"))
      local to = assert(uv.fs_open(dir .. "/e", "w"))
      assert.equal(3, uv.fs_sendfile(to, from, 1, 100))
      assert.is_true(uv.fs_close(from))
      assert.is_true(uv.fs_close(to))
      assert.equal("ext", text_of(dir .. "/e"))
      for _, name in ipairs { "a", "b", "d", "e" } do
        assert.is_true(uv.fs_unlink(dir .. "/" .. name))
      end
      assert.is_true(uv.fs_mkdir(dir .. "/sub", tonumber("700", 8)))
      assert.is_true(uv.fs_rmdir(dir .. "/sub"))
    end)
  end)

  it("makes temporary files and directories", function()
    real.worker(function()
      local fd, path = uv.fs_mkstemp(dir .. "/f-XXXXXX")
      assert.equal("file", uv.fs_stat(path).type)
      assert.is_true(uv.fs_close(fd))
      local sub = assert(uv.fs_mkdtemp(dir .. "/d-XXXXXX"))
      assert.equal("directory", uv.fs_stat(sub).type)
    end)
  end)

  it("lists a directory", function()
    for i = 1, 5 do
      file("f" .. i, "")
    end
    real.worker(function()
      local entries = assert(uv.fs_scandir(dir))
      local names = {}
      for name, kind in uv.fs_scandir_next, entries do
        names[#names + 1] = name .. " " .. kind
      end
      table.sort(names)
      assert.same({ "f1 file", "f2 file", "f3 file", "f4 file", "f5 file" }, names)

      local d = assert(uv.fs_opendir(dir, 2))
      local counts, n = {}, 0
      for part in uv.fs_readdir, d do
        counts[#counts + 1] = #part
        n = n + #part
      end
      assert.same({ 2, 2, 1 }, counts)
      assert.equal(5, n)
      assert.is_true(uv.fs_closedir(d))
      assert.same({ nil, "EBADF: bad file descriptor", "EBADF" }, { uv.fs_readdir(d) })
      assert.same({ nil, "EBADF: bad file descriptor", "EBADF" }, { uv.fs_closedir(d) })
    end)
  end)

  it("lists one entry at a time where nothing else is said", function()
    file("a", "")
    file("b", "")
    real.worker(function()
      local d = assert(uv.fs_opendir(dir))
      assert.equal(1, #uv.fs_readdir(d))
      assert.is_true(uv.fs_closedir(d))
    end)
  end)

  it("serves the tasks that read one directory in turn, and closes it after them", function()
    for i = 1, 30 do
      file("f" .. i, "")
    end
    real.worker(function()
      local d = assert(uv.fs_opendir(dir))
      local tasks = {}
      for i = 1, 30 do
        tasks[i] = decnet.spawn(uv.fs_readdir, d)
      end
      decnet.yield()
      assert.is_true(uv.fs_closedir(d))
      local names = {}
      for _, task in ipairs(tasks) do
        names[task:join()[1].name] = true
      end
      for i = 1, 30 do
        assert.is_true(names["f" .. i])
      end
    end)
  end)

  it("keeps nothing of the directories it has listed", function()
    real.worker(function()
      local function scan(n)
        for _ = 1, n do
          assert(uv.fs_scandir "/usr")
        end
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      scan(50)
      local before = scan(50)
      assert.is_true(scan(500) - before < 20)
    end)
  end)
end)

describe("decnet.uv without files", function()
  it("resolves names", function()
    real.worker(function()
      local list = assert(uv.getaddrinfo("127.0.0.1", "80", { socktype = "stream" }))
      assert.equal("127.0.0.1", list[1].addr)
      assert.equal(80, list[1].port)
      assert.is_table(uv.getaddrinfo("127.0.0.1"))
      assert.is_table(uv.getaddrinfo(nil, "80"))
      local host, service = uv.getnameinfo { ip = "127.0.0.1", port = 80 }
      assert.is_string(host)
      assert.is_string(service)
    end)
  end)

  it("makes random bytes", function()
    real.worker(function()
      local a, b = uv.random(16), uv.random(16)
      assert.equal(16, #a)
      assert.not_equal(a, b)
      assert.equal("", uv.random(0))
      assert.equal(200001, #uv.random(200001))
      assert.same({ "EINVAL" }, { select(3, uv.random(16, 12345)) })
      assert.same({ "E2BIG" }, { select(3, uv.random(-1)) })
      assert.same({ "E2BIG" }, { select(3, uv.random(1 << 40)) })
    end)
  end)

  it("makes random bytes for a callback, and loses no request (luv kept each)", function()
    real.worker(function()
      local function random(...)
        local args = { ... }
        return decnet.await(function(resume)
          local ok, err = luv.random(args[1], args[2], function(...) resume(true, ...) end)
          if ok ~= 0 then
            resume(false, err)
          end
        end)
      end
      local ok, err, bytes = random(16)
      assert.is_true(ok)
      assert.is_nil(err)
      assert.equal(16, #bytes)
      assert.same({ true, nil, "" }, { random(0) })
      assert.equal(16, #select(3, random(16, {})))
      assert.matches("^EINVAL", select(2, random(16, 12345)))
      assert.matches("^E2BIG", select(2, random(-1)))
      assert.has_error(function() luv.random("many", nil, print) end)
      assert.has_error(function() luv.random(8, "flags", print) end)
      for _, length in ipairs { 10, 1000 } do
        collectgarbage()
        local before = #debug.getregistry()
        for _ = 1, length do
          random(8)
        end
        collectgarbage()
        assert.is_true(#debug.getregistry() - before < 10)
      end
    end)
  end)
end)
