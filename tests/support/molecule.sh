#!/usr/bin/env bash
# usage: molecule.sh [SCENARIO...]
# Run the named scenarios, or all, from create to destroy, two at a time; go on after one that fails.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export PATH=$PWD/.venv/bin:$PATH
export ANSIBLE_COLLECTIONS_PATH=$PWD/.build/collections ANSIBLE_HOME=$PWD/.cache/ansible
logs=.build/molecule
rm -rf "$logs"
mkdir -p .build/junit "$logs"
bash tests/support/container_image.sh || exit 1

# Each tells its story at its end, so that two do not mix.
tell() {
  echo "Scenario $1 begins"
  if bash tests/support/in_cgroup2.sh molecule test --no-command-borders --scenario-name "$1" >"$2/$1.log" 2>&1; then
    echo "Scenario $1 passed"
  else
    cat "$2/$1.log"
    echo "Scenario $1 failed"
    exit 1
  fi
}
export -f tell

scenarios=("$@")
((${#scenarios[@]})) || mapfile -t scenarios < <(cd molecule && printf '%s\n' */molecule.yml | xargs -n 1 dirname)
printf '%s\n' "${scenarios[@]}" | xargs -P 2 -I NAME bash -c 'tell NAME '"$logs"
