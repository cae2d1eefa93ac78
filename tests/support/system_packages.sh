#!/usr/bin/env bash
# usage: system_packages.sh PROGRAM=PACKAGE...
# Install the Debian packages of those programs that are missing, where we may; else name them in one line.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
for pair in "$@"; do
  command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
((${#missing[@]})) || exit 0
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  exec 9>/run/lock/contimg-system-packages && flock 9 # sessions run beside each other
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
else
  echo "The tests need ${missing[*]}. Install them first, for example: apt-get install ${missing[*]}" >&2
  exit 1
fi
