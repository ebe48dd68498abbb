#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# layers.sh SRC LIBDH_CORE: no way round the rooms (CMakeLists.txt), nothing of the world in core.
set -u
bad=0

if grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"](\.\.|/)' "$1"; then
  echo "these includes leave their layer by path"
  bad=1
fi

symbols=$(nm -A -u "$2")
if [ -z "$symbols" ]; then
  echo "nm found nothing in $2"
  bad=1
fi
world='malloc|calloc|realloc|free|strn?dup|aligned_alloc'
world="$world|time|clock|clock_gettime|gettimeofday|nanosleep|s?rand(om)?|getrandom|getenv"
world="$world|v?f?printf|puts|fputs|fwrite|write|fopen|open|exit|signal|pthread_.*|uv_.*|luaL?_.*"
if echo "$symbols" | grep -E " U ($world)(@.*)?\$"; then
  echo "core must ask struct dh_env for these"
  bad=1
fi
exit $bad
