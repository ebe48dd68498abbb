-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What every scenario hosts besides: `calm`, who must not be harmed, and `judge`, who says so when
-- it is over. A scenario is a script that decnet-starved hosts:
--   scenario.begin(fn)     a worker that calls fn once, which arms the plan
--   scenario.verify(fn)    asked when it is over, until it returns true; else it says what is wrong
local decnet = require "decnet"
local starve = require "starve"

-- What one place is refused is refused to everybody who comes there.
local M = {
  min_backoff = 0.001, max_backoff = 0.004,
  is_calm_concerned = (os.getenv "DECNET_STARVE" or ""):find "^memory at" ~= nil,
}

decnet.defaults { min_backoff = M.min_backoff, max_backoff = M.max_backoff, stop_timeout = 1 }

local has_begun, verify = false, nil

decnet.worker("calm", function()
  while true do
    starve.tick()
    decnet.sleep(0.002)
  end
end)

local function patiently(what, pred)
  local trouble
  for _ = 1, 500 do
    local ok, why = pred()
    if ok then
      return
    end
    trouble = why
    decnet.sleep(0.002)
  end
  print(("harmed: %s: %s"):format(what, trouble))
  decnet.stop()
  decnet.park()
end

local function has_one_of(text, words)
  for _, word in ipairs(words) do
    if string.find(text, word, 1, true) then
      return true
    end
  end
  return false
end

-- Of what it is to be blamed for is memory alone, or what the scenario wanted.
local function is_expected(text)
  return has_one_of(text, { "memory", "ENOMEM", "EMFILE", "EAGAIN", "EINTR", "boom", "no thread",
    "oo many open files", "stack overflow", "no stack left" })
end

local function judge()
  for _, worker in ipairs(decnet.status()) do
    local err = worker.last_error
    if err and not is_expected(err.message) then
      print(("harmed: %s crashed: %s"):format(worker.name, err.message))
    end
    if worker.name == "calm" and worker.run > 1 and not M.is_calm_concerned then
      print("harmed: calm has crashed: " .. (err and err.message or "it could not start"))
    end
  end
  local before = starve.ticks()
  patiently("calm ticks no more", function() return starve.ticks() > before end)
  patiently("not as it should be", verify or function() return true end)
  print "unharmed"
end

function M.verify(fn)
  verify = fn
end

--- Do these run? Else who does not.
function M.are_running(...)
  for _, name in ipairs { ... } do
    local status = decnet.get(name):status()
    if status.state ~= "running" or not status.ready then
      return false, name .. " is " .. status.state
    end
  end
  return true
end

--- The worker `name` does it once: a later run of it only stays.
function M.begin(fn)
  decnet.worker("actor", function()
    if not has_begun then
      decnet.sleep(0.002)
      has_begun = true
      fn()
      starve.disarm()
    end
    decnet.park()
  end)
end

--- The worker `victim` does each step by itself, so that one that is refused does not keep the next
--- one from being tried. `words`: what else than memory an error may speak of. before(self)
function M.try_each(steps, words, before)
  local is_over = false
  local function try(i, step)
    local ok, err = pcall(step)
    local text = type(err) == "table" and "boom" or tostring(err)
    if decnet.is_cancelled(err) then
      error(err, 0) -- a callback had no memory, which is a crash of its run
    elseif not ok and not is_expected(text) and not has_one_of(text, words) then
      print(("harmed: step %d: %s"):format(i, text))
    end
  end
  decnet.worker("victim", function(self)
    if before then
      before(self)
    end
    if self.run == 1 then
      starve.arm()
      for i, step in ipairs(steps) do
        try(i, step)
      end
    end
    starve.disarm()
    is_over = true
    decnet.park()
  end)
  M.verify(function()
    if not is_over then
      return false, "it is not over"
    end
    return M.are_running "victim"
  end)
  M.begin(function()
    while not is_over do
      decnet.sleep(0.002)
    end
  end)
end

--- The plan is armed before the workers start, of which calm is one.
function M.has_begun()
  has_begun = true
  M.is_calm_concerned = true
end

decnet.worker("judge", function()
  repeat
    decnet.sleep(0.004)
  until has_begun and not starve.is_armed()
  judge()
  if M.last then
    M.last()
  end
  decnet.stop()
  decnet.park()
end)

return M
