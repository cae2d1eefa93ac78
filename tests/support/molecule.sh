#!/usr/bin/env bash
# usage: molecule.sh [SCENARIO[@SUITE]...]
# Run the named scenarios, or all, from create to destroy, two at a time; go on after one that fails. A suite names the
# Debian of the host: bullseye, bookworm (where none is named) or trixie.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export PATH=$PWD/.venv/bin:$PATH
export ANSIBLE_COLLECTIONS_PATH=$PWD/.build/collections ANSIBLE_HOME=$PWD/.cache/ansible
logs=.build/molecule
mkdir -p .build/junit "$logs"

# All plays share the modules that Ansible assembles.
export ANSIBLE_CALLBACK_PLUGINS=$PWD/tests/support/callbacks ANSIBLE_CALLBACKS_ENABLED=module_cache
CONTIMG_MODULE_CACHE=$(mktemp -d) && export CONTIMG_MODULE_CACHE
trap 'rm -rf "$CONTIMG_MODULE_CACHE"' EXIT

# The images that a scenario names itself, else that of the configuration which all share.
images_of() {
  local name suite file
  IFS=@ read -r name suite <<<"$1"
  for file in "molecule/$name/molecule.yml" .config/molecule/config.yml; do
    sed -n "s/\${CONTIMG_SUITE:-bookworm}/${suite:-bookworm}/; s/^ *image: *//p" "$file" | grep . && return
  done
}

# Each tells its story at its end, so that two do not mix.
tell() {
  local name suite
  IFS=@ read -r name suite <<<"$1"
  export CONTIMG_SUITE=${suite:-bookworm} MOLECULE_EPHEMERAL_DIRECTORY=$PWD/.cache/molecule/$1
  echo "Scenario $1 begins"
  if bash tests/support/in_cgroup2.sh molecule test --no-command-borders --scenario-name "$name" >"$2/$1.log" 2>&1; then
    echo "Scenario $1 passed"
  else
    cat "$2/$1.log"
    echo "Scenario $1 failed"
    exit 1
  fi
}
export -f tell

scenarios=("$@")
if ((!${#scenarios[@]})); then
  mapfile -t scenarios < <(cd molecule && printf '%s\n' */molecule.yml | xargs -n 1 dirname)
  scenarios+=(default@bullseye default@trixie)
fi
for scenario in "${scenarios[@]}"; do images_of "$scenario"; done | sort -u |
  xargs -n 1 bash tests/support/container_image.sh || exit 1
printf '%s\n' "${scenarios[@]}" | xargs -P 2 -I NAME bash -c 'tell NAME '"$logs"
