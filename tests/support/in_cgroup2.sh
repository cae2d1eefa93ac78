#!/usr/bin/env bash
# usage: in_cgroup2.sh COMMAND...
# Run a command where systemd can be PID 1 of a container: on a host with the unified cgroup hierarchy that is here, on a
# hybrid or v1 host it is a private mount namespace that sees nothing but cgroup v2. Nested calls change nothing more.
set -euo pipefail

if [[ $(stat --file-system --format=%T /sys/fs/cgroup) == cgroup2fs ]]; then
  exec "$@"
fi
if [[ $(id -u) != 0 ]]; then
  echo "This host has no unified cgroup hierarchy, and only root can give a container one: run this as root." >&2
  exit 1
fi
CONTAINERS_CONF=$(realpath "$(dirname "$0")/containers.conf")
export CONTAINERS_CONF
# shellcheck disable=SC2016 # the inner shell expands "$@"
exec unshare --mount sh -c '
  mount --make-rprivate / && umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"
' sh "$@"
