#!/usr/bin/env bash
# usage: molecule.sh [SCENARIO...]
# Run the named scenarios, or all, from create to destroy; go on after one that fails.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export PATH=$PWD/.venv/bin:$PATH
export ANSIBLE_COLLECTIONS_PATH=$PWD/.build/collections ANSIBLE_HOME=$PWD/.cache/ansible
mkdir -p .build/junit
bash tests/support/container_image.sh || exit 1

scenarios=("$@")
((${#scenarios[@]})) || mapfile -t scenarios < <(cd molecule && printf '%s\n' */molecule.yml | xargs -n 1 dirname)
failed=()
for scenario in "${scenarios[@]}"; do
  bash tests/support/in_cgroup2.sh molecule test --no-command-borders --scenario-name "$scenario" || failed+=("$scenario")
done
((${#failed[@]} == 0)) || { echo "Failed: ${failed[*]}" >&2; exit 1; }
