-- SPDX-License-Identifier: AGPL-3.0-or-later
-- From main() to the script. Armed from the start, for ever.
require "starve".disarm()
local scenario = require "spec.starve.common"
scenario.has_begun()
