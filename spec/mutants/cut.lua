-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The mutants of a C file: one operator or constant is another one.

local M = {}

local OTHER = { -- operator -> what it becomes
  ["<"] = { "<=", ">=" }, ["<="] = { "<", ">" }, [">"] = { ">=", "<=" }, [">="] = { ">", "<" },
  ["=="] = { "!=" }, ["!="] = { "==" }, ["&&"] = { "||" }, ["||"] = { "&&" },
  ["+"] = { "-" }, ["-"] = { "+" }, ["/"] = { "*" }, ["%"] = { "/" },
  ["<<"] = { ">>" }, [">>"] = { "<<" }, ["++"] = { "--" }, ["--"] = { "++" },
  ["+="] = { "-=" }, ["-="] = { "+=" }, ["*="] = { "/=" }, ["|="] = { "&=" },
  ["true"] = { "false" }, ["false"] = { "true" },
}
local OPERATORS = { -- the longest first
  "<<=", ">>=", "<=", ">=", "==", "!=", "&&", "||", "<<", ">>", "+=", "-=", "*=", "/=", "|=", "&=",
  "->", "++", "--", "<", ">", "+", "-", "*", "/", "%", "!", "=", "&", "|", "^", "~", "?", ":",
}

--- What a number becomes: one more, one less, nothing.
local function other_numbers(text)
  local digits, suffix = text:match "^(%d+)([uUlL]*)$"
  if not digits then
    return {}
  end
  local n = math.tointeger(digits)
  local list = { ("%d%s"):format(n + 1, suffix) }
  if n > 0 then
    list[#list + 1] = ("%d%s"):format(n - 1, suffix)
  end
  if n > 1 then
    list[#list + 1] = "0" .. suffix
  end
  return list
end

--- The tokens of a C text that count: { at =, text = }, without comments, strings, lines of the
--- preprocessor that include, and assertions.
local function tokens(source)
  local list, at = {}, 1
  local function skip(pattern)
    local _, last = source:find("^" .. pattern, at)
    at = last and last + 1 or at
    return last ~= nil
  end
  while at <= #source do
    local is_skipped = skip "%s+" or skip "/%*.-%*/" or skip "#%s*include[^\n]*" or skip "#%s*%a+"
      or skip '"[^"\n]*"' or skip "'[^'\n]+'" or skip "_Static_assert%b()" or skip "assert%b()"
    if not is_skipped then
      local word = source:match("^[%w_]+%.?[%d]*", at)
      local text = word
      for _, operator in ipairs(word and {} or OPERATORS) do
        if source:sub(at, at + #operator - 1) == operator then
          text = operator
          break
        end
      end
      text = text or source:sub(at, at)
      list[#list + 1] = { at = at, text = text }
      at = at + #text
    end
  end
  return list
end

--- Is the operator between two operands, as a minus is that is no sign?
local function is_binary(before)
  return before and (before:find "^[%w_)%]]" and before ~= "return" and before ~= "case")
end

--- The name of the function, or what else begins in the first column, that `at` is in.
local function place_of(source, at)
  local name = ""
  for line in source:sub(1, at):gmatch "[^\n]+" do
    name = line:match "^[%a_][^;]-([%w_]+)%(" or line:match "^#%s*define%s+([%w_]+)" or name
  end
  return name
end

--- All mutants of a text: { key =, text = }. The key tells it in words that outlive a move:
--- "function: the line with what [was -> is]".
function M.mutants(source)
  local list, before = {}, nil
  local plain = source:gsub('\\"', "__") -- of the same length, and strings end at the next quote
  for _, token in ipairs(tokens(plain)) do
    local others = token.text:find "^%d" and other_numbers(token.text) or OTHER[token.text] or {}
    if (token.text == "-" or token.text == "+") and not is_binary(before) then
      others = {}
    end
    for _, other in ipairs(others) do
      local first = source:sub(1, token.at - 1):match "[^\n]*$"
      local rest = source:match("^[^\n]*", token.at + #token.text)
      local line = ("%s[%s -> %s]%s"):format(first, token.text, other, rest)
      list[#list + 1] = {
        key = ("%s: %s"):format(place_of(source, token.at),
          line:gsub("%s+", " "):gsub("^ ", ""):gsub(" ?\\? ?$", "")),
        text = source:sub(1, token.at - 1) .. other .. source:sub(token.at + #token.text),
      }
    end
    before = token.text
  end
  return list
end

return M
