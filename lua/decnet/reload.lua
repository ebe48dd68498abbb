-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Loading the script again while its workers run (SIGHUP).
--
--   stage      the script is loaded aside (decnet.stage) by a task that can be given up
--   compare    who has changed, by declaration or fingerprint, or shares state with who has
--   commit     without a wait in it; the core stops and starts in dependency order
--   trial      a changed worker that crashes too soon goes back to the version before
--
-- Whatever is wrong with the script is found before the commit, and then nothing has happened.

local stdlib = require "decnet.stdlib"()
local _ENV = stdlib

if stdlib.kept "decnet.reload" then -- somebody has cleared package.loaded
  return stdlib.kept "decnet.reload"
end

local core = require "decnet.core"
local decnet = require "decnet"
local made = require "decnet.made"
local script_of = require "decnet.script"
local stage_of = require "decnet.stage"

local M = {}

--- Seconds that loading the script may take.
M.LIMIT = 10

--- Seconds that who has asked for a reload waits for new versions to become ready.
M.PATIENCE = 10

-- Names in one list of the log line.
local NAMES = 10

-- What a reload that is under way, or whose workers are on trial, keeps: host -> table.
local states = setmetatable({}, { __mode = "k" })

local function state_of(host)
  local state = states[host]
  if not state then
    state = { trials = {}, waiters = {} }
    states[host] = state
  end
  return state
end

-- ---- stage -------------------------------------------------------------------------------------

-- The options of a worker as a declaration takes them; nil if it is gone.
local function options_of(handle)
  local options = handle:options()
  if options then
    options.max_memory = options.max_memory or nil
  end
  return options
end

-- Workers that the script did not declare stay: what it declares may wait for them.
local function add_others(stage)
  local named, others = {}, {}
  for _, entry in ipairs(stage.entries) do
    named[entry.name] = true
  end
  for _, handle in ipairs(stage.host:workers()) do
    local _, _, number = stage.host:version(handle)
    if number ~= stage.script.number and not named[handle.name]
      and not stage.host:is_removing(handle) then
      others[#others + 1] = handle
      named[handle.name] = true
    end
  end
  for _, handle in ipairs(others) do
    local policy, after = options_of(handle), {}
    for _, name in ipairs(policy.after) do
      after[#after + 1] = named[name] and name or nil
    end
    policy.after, policy.group = after, false
    stage.load:declare(handle.name, (stage.host:version(handle)), policy)
  end
  return others
end

-- Returns true, or nil and a message.
local function load_aside(stage)
  local path = stage.script.path
  local task = stage.load:spawn(stage_of.run, stage)
  local ok, message = task:join(M.LIMIT)
  if ok and #stage.entries == 0 then -- as while an editor writes it
    return nil, string.format("%s: declares no workers; to stop the host send it SIGTERM", path)
  elseif ok then
    stage.others = add_others(stage)
    return script_of.check(stage.load, path, stage.places)
  elseif message == "timeout" then
    return nil, string.format("%s: loading it took longer than %g s", path, M.LIMIT)
  elseif message == "crashed" or message == "cancelled" then
    return nil, string.format("%s: loading it was broken off", path)
  end
  return nil, message
end

-- ---- compare -----------------------------------------------------------------------------------

-- Modules whose tables nobody has written to since they were loaded hold code, not state.
local function code_modules(stage)
  local script, code = stage.script, {}
  local before <close> = made.session(script.base, script.globals, script.modules)
  for name, module in next, stage.modules do
    local old = script.modules[name]
    if type(module) == "table"
      and (old == nil or before:hash(old) == script.hashes.modules[name]) then
      code[module] = true
    end
  end
  return code
end

local function compare_workers(stage, session)
  for _, entry in ipairs(stage.entries) do
    local run, hash = stage.host:version(entry.handle)
    entry.hash = session:hash(entry.run)
    entry.is_new = run == nil
    entry.is_changed = run ~= nil
      and not (hash == entry.hash and stage.host:is_same(entry.handle, entry.policy))
  end
end

local function compare_hooks(stage, session)
  local old, hashes = stage.script.hooks, stage.script.hashes.hooks
  for i, hook in ipairs(stage.added) do
    hook.hash = session:hash(hook.fn)
    hook.is_changed = not (old[i] and old[i].event == hook.event and hashes[i] == hook.hash)
  end
end

-- Whoever shares state with somebody who is new or has changed is replaced with him: numbers in
-- 'group', and tainted groups.
local function find_groups(stage, session)
  local values, owners = {}, {}
  local function add(value, owner)
    values[#values + 1], owners[#owners + 1] = value, owner
  end
  for _, entry in ipairs(stage.entries) do
    add(entry.run, entry)
  end
  for _, hook in ipairs(stage.added) do
    add(hook.fn, hook)
  end
  stage.of_global, stage.of_module = {}, {}
  for name, value in next, stage.new_globals do
    stage.of_global[name] = { hash = session:hash(value) }
    add(value, stage.of_global[name])
  end
  for name, value in next, stage.modules do
    stage.of_module[name] = { hash = session:hash(value) }
    add(value, stage.of_module[name])
  end
  local tainted = {}
  for i, group in ipairs(session:link(values)) do
    local owner = owners[i]
    owner.group = group
    if group ~= 0 and (owner.is_new or owner.is_changed) then
      tainted[group] = true
    end
  end
  for _, owner in ipairs(owners) do
    owner.is_changed = owner.is_changed or (tainted[owner.group] and not owner.is_new)
  end
end

-- Is something of the script gone, or something of it new or changed?
local function differs(old_hashes, items)
  for name in next, old_hashes do
    if not items[name] then
      return true
    end
  end
  for name, item in next, items do
    if item.is_changed or old_hashes[name] ~= item.hash then
      return true
    end
  end
  return false
end

local function groups_differ(old, new)
  for name, options in next, old do
    local other = new[name]
    if not other then
      return true
    end
    for key, value in next, options do
      if other[key] ~= value then
        return true
      end
    end
  end
  for name in next, new do
    if not old[name] then
      return true
    end
  end
  return false
end

-- What there is to do.
local function compare(stage)
  local host, script = stage.host, stage.script
  stage.new_globals = stage:globals()
  local session <close> = made.session(script.base, stage.new_globals, stage.modules, stage.env,
    code_modules(stage), stage.stand_ins)
  compare_workers(stage, session)
  compare_hooks(stage, session)
  find_groups(stage, session)
  local plan = { changed = {}, added = {}, removed = {}, same = 0, names = {} }
  for _, entry in ipairs(stage.entries) do
    plan.names[entry.name] = true
    if entry.is_new then
      plan.added[#plan.added + 1] = entry
    elseif entry.is_changed then
      plan.changed[#plan.changed + 1] = entry
    else
      plan.same = plan.same + 1
    end
  end
  local order = {}
  for _, handle in ipairs(host:workers()) do
    local _, _, number = host:version(handle)
    if number == script.number and not host:is_removing(handle) then
      if plan.names[handle.name] then
        order[#order + 1] = handle
      else
        plan.removed[#plan.removed + 1] = handle
      end
    end
  end
  for i, entry in ipairs(stage.entries) do
    plan.is_reordered = plan.is_reordered or order[i] ~= entry.handle
  end
  plan.is_empty = #plan.changed + #plan.added + #plan.removed == 0 and not plan.is_reordered
    and not differs(script.hashes.globals, stage.of_global)
    and not differs(script.hashes.modules, stage.of_module)
    and not differs(script.hashes.hooks, stage.added)
    and not groups_differ(script.groups, stage.groups)
  return plan
end

-- ---- trial -------------------------------------------------------------------------------------

-- Each of the batch who is still on trial with it.
local function on_trial(trials, batch)
  local list = {}
  for _, member in ipairs(batch) do
    if trials[member] and trials[member].batch == batch then
      list[#list + 1] = member
    end
  end
  return list
end

-- A batch, all who share state, is on trial until each of them has proved himself: what they go
-- back to they share, too. Who is stopped or removed keeps nobody waiting. Then nobody can go back
-- to the versions before, and these are forgotten.
local function settle(host, batch)
  local trials = state_of(host).trials
  local list = on_trial(trials, batch)
  for _, member in ipairs(list) do
    local status = member:status()
    if not trials[member].is_proven and status and status.state ~= "stopped" then
      return
    end
  end
  for _, member in ipairs(list) do
    trials[member] = nil
  end
end

-- The version that worked: one that is still on trial has not, and what crashes has not either.
local function version_to_keep(host, handle)
  local trials = state_of(host).trials
  if trials[handle] then
    settle(host, trials[handle].batch)
  end
  if trials[handle] then
    return trials[handle].previous
  end
  local status = handle:status()
  if not status or status.streak > 0 or status.state == "failed" then
    return nil -- not status: removed meanwhile
  end
  local run, hash, number = host:version(handle)
  return { run = run, policy = options_of(handle), hash = hash, number = number }
end

-- Old function and options; but whom it waits for and its group are the new script's, or it might
-- wait for somebody who is no more.
local function go_back_alone(host, handle, previous)
  local policy, current = previous.policy, options_of(handle)
  if not current then
    return false -- removed meanwhile
  end
  policy.after, policy.group = current.after, current.group
  return host:change(handle, previous.run, policy, previous.hash, previous.number, false)
end

-- Those who share state go back together, whoever of them it was.
local function go_back(host, event)
  local trials = state_of(host).trials
  local handle = host:get(event.worker)
  local trial = handle and trials[handle]
  if not trial then
    return
  end
  local with = {}
  for _, member in ipairs(on_trial(trials, trial.batch)) do
    local of_member = trials[member]
    trials[member] = nil
    of_member.rejected_for = event
    if go_back_alone(host, member, of_member.previous) and member ~= handle then
      with[#with + 1] = member.name
    end
  end
  local when = event.lasted < 0.001 and "at once" or string.format("after %.3g s", event.lasted)
  host:log("warn", string.format("worker %q: the new version crashed %s: back to the version that "
    .. "worked%s; mend the script and reload", event.worker, when,
    with[1] and ", with it " .. table.concat(with, ", ") or ""))
end

local function prove(host, event)
  local handle = host:get(event.worker)
  local trial = handle and state_of(host).trials[handle]
  if trial then
    trial.is_proven = true
    settle(host, trial.batch)
  end
end

local function watch_trials(host)
  local state = state_of(host)
  if not state.is_watching then
    state.is_watching = true
    table.insert(decnet._listening(host).observers, function(event)
      if event.event == "rejected" then
        go_back(host, event)
      elseif event.event == "proven" then
        prove(host, event)
      end
      for happened in next, state.waiters do
        happened:set()
      end
    end)
  end
end

-- ---- commit ------------------------------------------------------------------------------------

local function change_workers(stage, plan)
  local host, trials = stage.host, state_of(stage.host).trials
  local batches = {}
  for _, entry in ipairs(plan.changed) do
    local previous = version_to_keep(host, entry.handle)
    local ok, is_restarted = host:change(entry.handle, entry.run, entry.policy, entry.hash,
      stage.script.number, previous ~= nil)
    entry.error, entry.is_restarted = not ok and is_restarted or nil, ok and is_restarted
    trials[entry.handle] = nil
    if ok and previous then
      local batch = entry.group ~= 0 and batches[entry.group] or {}
      batches[entry.group] = batch
      batch[#batch + 1] = entry.handle
      entry.trial = { previous = previous, batch = batch }
      trials[entry.handle] = entry.trial
    end
  end
  if next(trials) then
    watch_trials(host)
  end
end

local function put_in_order(stage)
  for _, entry in ipairs(stage.entries) do
    stage.host:move_last(entry.handle)
  end
  for _, handle in ipairs(stage.others) do
    stage.host:move_last(handle)
  end
end

-- What has not changed stays as it is: somebody may have written to it. No step of a commit may
-- raise, so no metamethod of theirs has a say.
local function put(target, old_hashes, new, items, base)
  for name, item in next, items do
    if item.is_changed or item.hash ~= old_hashes[name] then
      rawset(target, name, new[name])
    end
  end
  for name in next, old_hashes do
    if not items[name] then
      rawset(target, name, base[name])
    end
  end
end

local function put_hooks(stage)
  local script, hooks = stage.script, {}
  for i, hook in ipairs(stage.added) do
    hooks[i] = hook.is_changed and hook or script.hooks[i]
  end
  if #hooks == 0 and #script.hooks == 0 then
    return hooks
  end
  local listening = decnet._listening(stage.host)
  for _, hook in ipairs(script.hooks) do
    listening:remove(hook)
  end
  for _, hook in ipairs(hooks) do
    listening:add(hook)
  end
  return hooks
end

local function hashes_of(items)
  local hashes = {}
  for name, item in next, items do
    hashes[name] = item.hash
  end
  return hashes
end

local function commit(stage, plan)
  local host, script, state = stage.host, stage.script, decnet._state_of(stage.host)
  for name, options in next, stage.groups do
    host:change_group(name, options)
    state.groups[name] = options
  end
  change_workers(stage, plan)
  for _, handle in ipairs(plan.removed) do
    state_of(host).trials[handle] = nil
    host:remove(handle)
  end
  stage:keep()
  for _, entry in ipairs(plan.added) do
    local handle
    handle, entry.error = host:adopt(entry.handle, entry.policy, entry.hash, script.number)
    entry.error = not handle and entry.error or nil
  end
  for name in next, script.groups do
    if not stage.groups[name] then
      host:drop_group(name)
      state.groups[name] = nil
    end
  end
  if plan.is_reordered then
    put_in_order(stage)
  end
  put(_G, script.hashes.globals, stage.new_globals, stage.of_global, script.base.globals)
  put(package.loaded, script.hashes.modules, stage.modules, stage.of_module, {})
  script.hooks = put_hooks(stage)
  script.globals, script.modules = {}, {}
  for name in next, stage.of_global do
    script.globals[name] = rawget(_G, name)
  end
  for name in next, stage.of_module do
    script.modules[name] = rawget(package.loaded, name)
  end
  script.groups, state.defaults = stage.groups, stage.defaults
  script.hashes = { globals = hashes_of(stage.of_global), modules = hashes_of(stage.of_module),
    hooks = hashes_of(stage.added) }
end

-- ---- what to say -------------------------------------------------------------------------------

local function list(items)
  local names = {}
  for i = 1, math.min(#items, NAMES) do
    names[i] = items[i].name
  end
  if #items > NAMES then
    names[#names + 1] = "..."
  end
  return string.format("(%s)", table.concat(names, ", "))
end

local function summary(plan)
  local restarted, down, failed = {}, {}, {}
  for _, entry in ipairs(plan.changed) do
    local to = entry.error and failed or entry.is_restarted and restarted or down
    to[#to + 1] = entry
  end
  local parts = {}
  local function add(items, what)
    if #items > 0 then
      parts[#parts + 1] = string.format("%d %s %s", #items, what, list(items))
    end
  end
  add(restarted, "restarted")
  add(down, "changed but stopped")
  add(failed, "not changed")
  add(plan.added, "added")
  add(plan.removed, "removed")
  if #parts == 0 then
    parts[1] = plan.is_empty and "nothing changed" or "no worker changed"
  end
  if plan.same > 0 then
    parts[#parts + 1] = plan.same .. " unchanged"
  end
  return table.concat(parts, ", ")
end

local function log_errors(host, plan)
  for _, entries in ipairs { plan.changed, plan.added } do
    for _, entry in ipairs(entries) do
      if entry.error then
        host:log("error", string.format("worker %q: %s", entry.name, entry.error))
      end
    end
  end
end

-- ---- the whole of it ---------------------------------------------------------------------------

-- A name that is being removed is free when its worker has ended.
local function await_names(stage)
  for _, entry in ipairs(stage.entries) do
    local old = stage.host:get(entry.name)
    if old and stage.host:is_removing(old) then
      core.settle(old)
    end
  end
end

-- Returns the plan that was carried out, or nil and a message.
local function reload(host, script)
  local stage <close> = stage_of.new(host, script)
  local ok, message = load_aside(stage)
  if not ok then
    return nil, message
  end
  await_names(stage)
  local plan = compare(stage)
  if not plan.is_empty then
    core.atomic(commit, stage, plan)
    log_errors(host, plan)
  end
  return plan
end

local function await_all(plan)
  for _, entries in ipairs { plan.changed, plan.added } do
    for _, entry in ipairs(entries) do
      core.settle(entry.handle)
    end
  end
  for _, handle in ipairs(plan.removed) do
    core.settle(handle)
  end
end

-- May the new version still crash before it is ready? One that waits for others need not be long in
-- coming, or ever come.
local function is_starting(entry)
  if not entry.trial or entry.trial.rejected_for then
    return false
  end
  local status = entry.handle:status()
  return status ~= nil and not status.ready
    and (status.state == "running" or status.state == "backoff" or status.state == "closing")
end

-- Wait while this one is starting, until the deadline; returns whether it was. `happened` is set at
-- each event: it is cleared before the look, which may be preempted.
local function await_start(entry, happened, deadline)
  local was_starting = false
  happened:clear()
  while is_starting(entry) and core.now() < deadline do
    was_starting = true
    happened:wait(deadline - core.now())
    happened:clear()
  end
  return was_starting
end

-- Those who waited for the last one may have begun with it: so one more round.
local function await_verdicts(host, plan)
  local waiters, happened = state_of(host).waiters, core.event()
  local _ <close> = setmetatable({}, { __close = function() waiters[happened] = nil end })
  local deadline = core.now() + M.PATIENCE
  waiters[happened] = true
  local is_any_starting
  repeat
    is_any_starting = false
    for _, entry in ipairs(plan.changed) do
      is_any_starting = await_start(entry, happened, deadline) or is_any_starting
    end
  until not is_any_starting or core.now() >= deadline
end

-- Who of the plan has not become what the script says, and why; nothing if all have.
local function setbacks(plan)
  local parts, rejected, first = {}, {}, nil
  for _, entry in ipairs(plan.changed) do
    local event = entry.trial and entry.trial.rejected_for
    if event then
      rejected[#rejected + 1] = entry
      first = first or event
    end
  end
  if first then
    parts[1] = string.format("back to the version that worked %s: worker %q: %s", list(rejected),
      first.worker, first.error or first.reason or "it could not start")
  end
  for _, entries in ipairs { plan.changed, plan.added } do
    for _, entry in ipairs(entries) do
      if entry.error then
        parts[#parts + 1] = string.format("worker %q: %s", entry.name, entry.error)
      end
    end
  end
  return parts[1] and table.concat(parts, "; ")
end

local function answer(host, waiting, plans, is_ok, messages)
  for i, plan in next, plans do
    await_all(plan)
    await_verdicts(host, plan)
    local complaint = setbacks(plan)
    if complaint then
      is_ok = false
      messages[i] = messages[i] .. "; " .. complaint
    end
  end
  local message = table.concat(messages, "\n")
  for _, done in ipairs(waiting) do
    done(is_ok, message)
  end
end

-- Returns the plan, if it was carried out, and the line for the log.
local function reload_script(host, script)
  local ok, plan, message = xpcall(reload, debug.traceback, host, script)
  if not ok then
    plan, message = nil, string.format("%s: reload failed: %s", script.path, plan)
  end
  if plan then
    message = string.format("reloaded %s: %s", script.path, summary(plan))
    host:log("info", message)
  else
    message = "not reloaded, all goes on as before: " .. message
    host:log("error", message)
  end
  return plan, message
end

local function reload_once(host, waiting)
  local plans, messages, is_ok = {}, {}, true
  for i, script in ipairs(decnet._state_of(host).scripts) do
    local plan, message = reload_script(host, script)
    plans[i] = plan
    messages[i] = message
    is_ok = is_ok and plan ~= nil
  end
  if #waiting > 0 then
    host:spawn(answer, host, waiting, plans, is_ok, messages)
  end
end

local function finish(host, state)
  state.task = nil
  host:reloading(true)
end

-- Who has asked meanwhile; if nobody has, the next who asks needs a new task. At one moment, as
-- somebody may ask between any two instructions.
local function take(host, state)
  local waiting = state.waiting
  state.waiting = nil
  if not waiting then
    finish(host, state)
  end
  return waiting
end

local function reload_all(host)
  local state = state_of(host)
  local own = state.task
  local _ <close> = setmetatable({}, { __close = function()
    if state.task == own then -- it ends in the middle
      finish(host, state)
    end
  end })
  local waiting = core.atomic(take, host, state)
  while waiting do
    reload_once(host, waiting)
    waiting = core.atomic(take, host, state)
  end
end

--- Load the host's script again, or, if that is being done already, once more after that. Does not
--- wait. `done(ok, message)` is called when it has been refused, or all workers have been stopped
--- and started that it concerns, and those that may go back to the version before are ready: `ok`
--- is whether all are now what the script says.
---@param host any
---@param done? fun(ok: boolean, message: string)
function M.request(host, done)
  local state = state_of(host)
  state.waiting = state.waiting or {}
  table.insert(state.waiting, done)
  host:reloading(false)
  if not state.task or host:has_ended(state.task) then
    state.task = host:hold(reload_all, host)
  end
end

--- The same, in a task: wait until it is done.
---@param host any
---@return boolean ok, string message
function M.reload(host)
  return core.await(function(resume) core.atomic(M.request, host, resume) end)
end

return stdlib.keep("decnet.reload", M)
