#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# Prints docs/supervision.md: docs/supervision.in.md with the drawing of src/core/worker.h and the
# table of src/core/rules.c.
#
#   docs/supervision.sh build/release/print_rules [--check]
set -eu
cd "$(dirname "$0")/.."
print_rules=$1

drawing() {
  echo '```'
  sed -n '/^\*\*  *+---.*+$/,/^\*\*  state  /p' src/core/worker.h | sed -e '/^\*\* *$/d' -e '$d' -e 's/^\*\*//'
  echo '```'
}

document() {
  echo '<!-- Generated from docs/supervision.in.md, src/core/worker.h and src/core/rules.c by'
  echo '     ./dev docs -->'
  echo
  while IFS= read -r line; do
    case $line in
      '<!-- drawing -->') drawing ;;
      '<!-- rules -->') "$print_rules" ;;
      *) printf '%s\n' "$line" ;;
    esac
  done <docs/supervision.in.md
}

if [ "${2:-}" = --check ]; then
  document | cmp -s - docs/supervision.md || {
    echo "docs/supervision.md is out of date; regenerate it: ./dev docs" >&2
    exit 1
  }
else
  document
fi
