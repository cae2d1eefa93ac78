#!/usr/bin/env bash
# The tests, one kind after the other; goes on after a failure, and closes with the sum of what passed and failed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export PATH=$PWD/.venv/bin:$PATH
rm -rf .build/junit
sessions=(lint docs unit playbooks sanity molecule)
failed=()
for session in "${sessions[@]}"; do
  arguments=()
  # The stories of containers, a rollback, a retirement and of interruptions take long: `make molecule` tells them too.
  [[ $session == molecule ]] && arguments=(-- default modules phases references split)
  nox --no-venv -f noxfile.py -s "$session" "${arguments[@]}" || failed+=("$session")
done
python tests/support/summary.py .build/junit "${#sessions[@]}" "${failed[@]}"
