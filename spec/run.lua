-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Runs busted in the interpreter that runs this file, from the top of the tree:
--   decnet-host lua spec/run.lua [busted's options]

-- A sanitizer that has found something ends the process without flushing.
io.stdout:setvbuf "line"

require "busted.runner" { standalone = false }
