-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Medians, ratios, and the tables they are told in.

local M = {}

function M.median(values)
  table.sort(values)
  local middle = #values // 2
  return #values % 2 == 1 and values[middle + 1] or (values[middle] + values[middle + 1]) / 2
end

--- A figure with three digits that mean something.
function M.number(value)
  local size = math.abs(value)
  if size >= 1e6 then
    return ("%.2f M"):format(value / 1e6)
  elseif size >= 1000 then
    local whole = ("%d"):format((value + 0.5) // 1)
    return (whole:reverse():gsub("(%d%d%d)(%d)", "%1,%2"):reverse())
  end
  return ("%." .. (size >= 100 and 0 or size >= 10 and 1 or size >= 1 and 2 or 3) .. "f"):format(
    value)
end

--- A whole number, as in 100,000.
function M.whole(value)
  local digits = ("%d"):format(value)
  return (digits:reverse():gsub("(%d%d%d)(%d)", "%1,%2"):gsub("(%d%d%d)(%d)", "%1,%2"):reverse())
end

-- "median [min, max]"
local function spread(values)
  local median = M.median(values)
  if #values == 1 then
    return M.number(median)
  end
  return ("%s [%s, %s]"):format(M.number(median), M.number(values[1]), M.number(values[#values]))
end

local function line(cells)
  return "| " .. table.concat(cells, " | ") .. " |"
end

-- The best of the rounds: what a busy machine disturbed least.
local function best_round(values, figure)
  return figure.is_rate and math.max(table.unpack(values)) or math.min(table.unpack(values))
end

-- The figure of the best peer, and who it is. `of`: what stands for the values of the rounds.
local function best_of(results, rows, figure, of)
  local best, who
  for _, row in ipairs(rows) do
    local values = not row.is_ours and not row.is_bare and results[row.name][figure.key]
    local value = values and of(values, figure)
    if value and (not best or (value > best) == (figure.is_rate or false)) then
      best, who = value, row.name
    end
  end
  return best, who
end

-- How far ahead of the best peer: above 1 is ahead.
local function ratio(results, rows, ours, figure, of)
  local best, who = best_of(results, rows, figure, of)
  local values = results[ours.name][figure.key]
  if not best or best <= 0 or not values then -- libuv's clock stands: it may wake before its time
    return "-"
  end
  local value = of(values, figure)
  return ("×%.2f (%s)"):format(figure.is_rate and value / best or best / value, who)
end

--- One benchmark. `rows`: { name, is_ours, is_bare } in order; `results`: name ->
--- figure -> values, one a round; `others`: name -> how busy others were, one a round.
function M.bench(bench, count, rounds, rows, results, others)
  local titles, rule, goals = { "" }, { "---" }, { "goal" }
  for i, figure in ipairs(bench.figures) do
    titles[i + 1], rule[i + 1] = figure.title, "---"
    local sign = figure.is_rate and "≥ " or "≤ "
    goals[i + 1] = figure.goal and sign .. M.number(figure.goal) or ""
  end
  titles[#titles + 1], rule[#rule + 1], goals[#goals + 1] = "others' CPU", "---", ""
  local lines = { ("#### %s (`%s`, %s)"):format(bench.title, bench.name, M.whole(count)), "",
    line(titles), line(rule) }
  for _, row in ipairs(rows) do
    local cells = { row.is_ours and "**" .. row.name .. "**"
      or row.is_bare and row.name .. " (bare)" or row.name }
    for i, figure in ipairs(bench.figures) do
      local values = results[row.name][figure.key]
      cells[i + 1] = values and spread(values) or "-"
    end
    cells[#cells + 1] = #others[row.name] > 0 and ("%.1f"):format(M.median(others[row.name])) or "-"
    lines[#lines + 1] = line(cells)
  end
  local function add_ratios(title, of)
    for _, row in ipairs(rows) do
      if row.is_ours and not rows[#rows].is_ours then
        local cells = { row.name .. " ÷ best peer" .. title }
        for i, figure in ipairs(bench.figures) do
          cells[i + 1] = ratio(results, rows, row, figure, of)
        end
        cells[#cells + 1] = ""
        lines[#lines + 1] = line(cells)
      end
    end
  end
  add_ratios("", M.median)
  if rounds > 1 then
    add_ratios(", best rounds", best_round)
  end
  lines[#lines + 1] = line(goals)
  return table.concat(lines, "\n") .. "\n"
end

--- A table of rows of cells under titles.
function M.grid(titles, rows)
  local rule = {}
  for i in ipairs(titles) do
    rule[i] = "---"
  end
  local lines = { line(titles), line(rule) }
  for _, cells in ipairs(rows) do
    lines[#lines + 1] = line(cells)
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
