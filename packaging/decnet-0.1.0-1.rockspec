-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The module decnet for a plain lua5.4; the program decnet-host is not in it. From the top of the tree:
--
--   luarocks --lua-version 5.4 make packaging/decnet-0.1.0-1.rockspec
rockspec_format = "3.0"
package = "decnet"
version = "0.1.0-1"
source = {
  url = "git+file://.", -- 'make' takes nothing from there
}
description = {
  summary = "Supervised Lua workers: restarts with backoff, preemption, ownership of handles",
  license = "AGPL-3.0-or-later",
}
supported_platforms = { "linux" }
dependencies = {
  "lua ~> 5.4",
}
external_dependencies = {
  UV = { header = "uv.h" },
}
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "Release",
    DECNET_PROGRAM = "OFF",
    DECNET_TESTS = "OFF",
    DECNET_LUA_MODULES = "$(LUADIR)",
    DECNET_C_MODULES = "$(LIBDIR)",
  },
}
