-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What is measured: for each benchmark its figures, the first of which decides who is best, and the
-- goals of docs/performance.md.

---@class decnet.bench.Figure
---@field key string as the programs say it
---@field title string
---@field goal number
---@field is_rate boolean? more is better

---@class decnet.bench.Bench
---@field name string
---@field title string
---@field verb string what the peers' programs call it
---@field ours { [1]: string, [2]: string }[] row, script of bench/workers
---@field count integer
---@field is_scaled boolean? --scale changes the count
---@field seconds number how long it measures, where it does not end by itself
---@field kind "program"|"cold"|"server" how it is run
---@field by_name boolean? only when it is asked for
---@field bare table<string, boolean>? peers that do not do the same work: shown, not compared with
---@field figures decnet.bench.Figure[]

local US = "decnet-host"

local function figure(key, title, goal, is_rate)
  return { key = key, title = title, goal = goal, is_rate = is_rate }
end

local function bench(name, title, values)
  values.name, values.title = name, title
  values.verb = values.verb or name
  values.ours = values.ours or { { US, values.verb } }
  values.kind = values.kind or "program"
  values.seconds = values.seconds or 3
  return values
end

local RATE = true

return {
  bench("idle", "A: idle workers", {
    count = 100000, is_scaled = true, figures = {
      figure("bytes_per_worker", "bytes a worker", 1550), figure("start_ms", "started, ms", 150),
    },
  }),
  bench("million", "A: idle workers, a million", {
    verb = "idle", count = 1000000, is_scaled = true, by_name = true, figures = {
      figure("bytes_per_worker", "bytes a worker", 1600),
      figure("start_ms", "started, ms", 2000),
    },
  }),
  bench("crash", "B: crash and restart, no delay", {
    count = 1000, figures = {
      figure("restarts_s", "restarts/s", 1e6, RATE),
      figure("cpu_us_per_restart", "CPU µs each", 1),
    },
    -- loops around a call, which keep no record of the error
    bare = { ["Go"] = true, ["luv by hand"] = true, ["cqueues"] = true },
  }),
  bench("timers", "C: 100,000 workers, 200,000 wake-ups/s", {
    count = 100000, is_scaled = true, seconds = 10, figures = {
      figure("cpu_s_per_M", "CPU s a million", 1.5), figure("wakeups_s", "wake-ups/s", nil, RATE),
      figure("p50_ms", "p50 ms", 0.3), figure("p99_ms", "p99 ms", 1.2),
      figure("p999_ms", "p99.9 ms", 5),
    },
  }),
  bench("fewtimers", "C: 10,000 workers, 20,000 wake-ups/s", {
    verb = "timers", count = 10000, is_scaled = true, seconds = 10, figures = {
      figure("cpu_s_per_M", "CPU s a million", 3.5), figure("wakeups_s", "wake-ups/s", nil, RATE),
      figure("p50_ms", "p50 ms", 0.15), figure("p99_ms", "p99 ms", 1.0),
      figure("p999_ms", "p99.9 ms"),
    },
  }),
  bench("yield", "D: yield between two workers", {
    count = 2, figures = { figure("switches_s", "switches/s", 12e6, RATE) },
  }),
  bench("pingpong", "E: ping-pong over channels", {
    count = 2, figures = { figure("msgs_s", "messages/s", 6.5e6, RATE) },
  }),
  bench("fanin", "E: a thousand send to one", {
    count = 1000, figures = { figure("msgs_s", "messages/s", 10e6, RATE) },
  }),
  bench("starve", "F: a ticker every 10 ms beside an endless loop", {
    count = 1, seconds = 5, figures = {
      figure("p99_ms", "p99 ms late", 1.0), figure("p50_ms", "p50 ms"), figure("max_ms", "max ms"),
      figure("ticks_during_hog", "ticks of 500", nil, RATE),
    },
  }),
  bench("shutdown", "G: polite stop of workers with a cleanup each", {
    count = 100000, is_scaled = true, figures = {
      figure("cleaned_ms", "last cleanup, ms", 130), figure("cpu_s", "CPU s"),
    },
  }),
  bench("cold", "H: cold start, 10 workers", {
    kind = "cold", count = 10,
    ours = { { US, "cold" }, { US .. ", control plane", "cold" } },
    figures = { figure("wall_ms", "ms", 5), figure("rss_mb", "RSS MB", 5) },
  }),
  bench("echo", "I: TCP echo, 64 connections", {
    kind = "server", count = 64, seconds = 5,
    ours = { { US, "echo" }, { US .. ", callbacks", "callbacks" } },
    figures = {
      figure("server_us", "server CPU µs a request", 6.0), figure("p99_us", "p99 µs", 800),
      figure("p50_us", "p50 µs"), figure("req_s", "requests/s", nil, RATE),
    },
    bare = { ["C and epoll"] = true },
  }),
}
