-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What of the branches in src/ was taken, from what gcov prints about the objects of a build. A
-- line of assert() does not count, nor one whose comment says "unreached:" and why.

local M = {}

--- The text of a C file by line, and which lines do not count.
local function read_source(path)
  local skipped, lines, is_assert = {}, {}, false
  for line in io.lines(path) do
    lines[#lines + 1] = line
    is_assert = is_assert or line:find "^%s*assert%("
    skipped[#lines] = is_assert or line:find "unreached: " ~= nil
    is_assert = is_assert and not line:find ";%s*$" and not line:find ";%s*/%*"
  end
  return lines, skipped
end

--- Read what `gcov --stdout` prints about one object into `files`: path -> line -> branch -> count.
local function read_report(report, root, files)
  local branches, line
  for text in report:lines() do
    local path = text:match "^ *%-: *0:Source:(.+)$"
    local number = text:match "^ *[^:]+: *(%d+):"
    local branch, taken = text:match "^branch +(%d+) (.+)$"
    if path then
      path = path:gsub("^" .. root:gsub("%p", "%%%0") .. "/", "")
        :gsub("^build/[^/]+/include/[^/]+/", "src/") -- by a link (dh_room)
      branches = path:find "^src/" and not path:find "^src/spec/" and (files[path] or {}) or nil
      files[path] = branches
    elseif number then
      line = tonumber(number)
    elseif branch and branches then
      branch = tonumber(branch)
      branches[line] = branches[line] or {}
      local count = tonumber(taken:match "^taken (%d+)") or 0
      branches[line][branch] = (branches[line][branch] or 0) + count
    end
  end
end

--- What the objects of a build have counted: path -> { total =, taken =, missing = { { line =,
--- text =, branches = "0,3" } } }
function M.read(root, build)
  local files = {}
  -- the fuzzers compile files of src/ once more, or include them
  local list = assert(io.popen("find '" .. build .. "' -path '*/src/*.gcno' -o -path "
    .. "'*/fuzz_*.dir/*.gcno'"))
  for object in list:lines() do
    local report = assert(io.popen("gcov --stdout -b -c '" .. object .. "' 2>/dev/null"))
    read_report(report, root, files)
    assert(report:close(), "gcov failed")
  end
  list:close()
  local result = {}
  for path, branches in pairs(files) do
    local lines, skipped = read_source(path)
    local file = { total = 0, taken = 0, missing = {} }
    for line, counts in pairs(branches) do
      local never = {}
      for branch, count in pairs(skipped[line] and {} or counts) do
        file.total = file.total + 1
        if count > 0 then
          file.taken = file.taken + 1
        else
          never[#never + 1] = branch
        end
      end
      if #never > 0 then
        table.sort(never)
        file.missing[#file.missing + 1] = { line = line, branches = table.concat(never, ","),
          text = lines[line] }
      end
    end
    table.sort(file.missing, function(a, b) return a.line < b.line end)
    result[path] = file
  end
  return result
end

return M
