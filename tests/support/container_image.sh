#!/usr/bin/env bash
# Build the image of the tests, a Debian 12 with systemd as PID 1, where podman does not hold it yet. No registry is asked:
# mmdebstrap lays the tree, podman imports it. The image carries the hash of this script, so an edit builds it anew.
set -euo pipefail

image=localhost/contimg-systemd:bookworm
packages=systemd,systemd-sysv,dbus,python3,rsync,sqlite3,acl,attr,procps,strace
PATH=$PATH:/usr/sbin:/sbin

bash "$(dirname "$0")/system_packages.sh" podman=podman runc=runc mmdebstrap=mmdebstrap

recipe=$(sha256sum <"$0" | cut -c 1-16)
built=$(podman image inspect --format '{{index .Labels "contimg.recipe"}}' "$image" 2>/dev/null || true)
[[ $built == "$recipe" ]] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=minbase --include="$packages" bookworm "$work/root.tar"
podman import --quiet --change "LABEL contimg.recipe=$recipe" --change 'CMD ["/sbin/init"]' "$work/root.tar" "$image"
