#!/usr/bin/env bash
# All tests; goes on after a failure, and closes with the sum of what passed and failed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export PATH=$PWD/.venv/bin:$PATH
rm -rf .build/junit
mkdir -p .build
: >.build/failed

# The stories of containers, a rollback, a retirement, interruptions and vanished controllers take long: `make molecule` tells them too.
scenarios=(default modules phases references split)
in_order() {
  local session arguments
  for session in "$@"; do
    arguments=()
    [[ $session == molecule ]] && arguments=(-- "${scenarios[@]}")
    nox --no-venv -f noxfile.py -s "$session" "${arguments[@]}" || echo "$session" >>.build/failed
  done
}

# These keep one processor busy, those of pytest rarely both.
in_order lint docs sanity >.build/beside.log 2>&1 &
in_order unit playbooks
wait
cat .build/beside.log
in_order molecule
mapfile -t failed <.build/failed
python tests/support/summary.py .build/junit 6 "${failed[@]}"
