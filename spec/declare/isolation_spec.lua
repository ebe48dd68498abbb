-- SPDX-License-Identifier: AGPL-3.0-or-later
-- docs/isolation.md and the gallery of examples/hostile.lua tell of the same rows.

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local text = read "docs/isolation.md"
local gallery = assert(loadfile("examples/hostile/gallery.lua"))

-- name -> true, of each row
local function rows()
  local path, names = package.path, {}
  package.path = "examples/?.lua;" .. path
  local ok, result = pcall(gallery)
  package.path = path
  assert(ok, result)
  for _, row in ipairs(result.rows) do
    assert(not names[row.name], row.name)
    names[row.name] = true
  end
  return names, #result.rows
end

describe("docs/isolation.md", function()
  it("has an entry for each row of the gallery, and none for others", function()
    local names, n = rows()
    local entries = {}
    local chapter = text:match "\n## The rows\n(.-)\n## "
    for entry in chapter:gmatch "\n%- %*%*(.-)%*%*:" do
      entries[(entry:gsub("`", ""))] = true
    end
    assert.same(names, entries)
    assert(n >= 30, n)
  end)

  it("quotes a run with all rows of the gallery", function()
    local names = rows()
    local run = text:match "\n## A run, measured\n.-\n```\n(.-)\n```\n"
    local lines = {}
    for line in run:gmatch "[^\n]+" do
      local name = line:match "^(.-) *%*?  +"
      if names[name] then
        lines[name] = true
      end
    end
    assert.same(names, lines)
  end)

  it("leads to each of its chapters", function()
    local anchors = {}
    for title in text:gmatch "\n##+ ([^\n]+)" do
      anchors[title:lower():gsub("[^%w%s-]", ""):gsub("%s", "-")] = true
    end
    for anchor in text:gmatch "%]%(#([^)]+)%)" do
      assert(anchors[anchor], anchor)
    end
  end)
end)
