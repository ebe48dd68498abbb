-- SPDX-License-Identifier: AGPL-3.0-or-later
std = "lua54"
globals = { "arg" }
max_line_length = 100
ignore = { "211/_ENV" } -- the modules of decnet: see lua/decnet/stdlib.lua
exclude_files = { "build" }
files["spec"].std = "+busted"
-- as they were adopted; Tarantool's is LuaJIT
files["bench/peers"].ignore = { "211", "212", "311", "631" }
