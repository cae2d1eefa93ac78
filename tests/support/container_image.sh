#!/usr/bin/env bash
# usage: container_image.sh localhost/contimg-systemd:SUITE[-VARIANT]
# Build an image of the tests, a Debian with systemd as PID 1, where podman does not hold it yet. No registry is asked:
# mmdebstrap lays the tree, podman imports it. The image carries the hash of this script, so an edit builds it anew.
set -euo pipefail

image=$1
tag=${image#localhost/contimg-systemd:}
suite=${tag%%-*}
variant=${tag#"$suite"}
packages=systemd,systemd-sysv,dbus,openssh-server,python3,rsync,sqlite3,acl,attr,procps,strace
PATH=$PATH:/usr/sbin:/sbin

refuse() {
  echo "There is no recipe for the image $image: $1." >&2
  exit 2
}
case $suite in
  bullseye | bookworm | trixie) ;;
  *) refuse "its suite is none of bullseye, bookworm and trixie" ;;
esac
case $variant in
  '') ;;
  -podman) packages+=,podman,podman-compose,runc ;;
  *) refuse "its variant is unknown" ;;
esac

bash "$(dirname "$0")/system_packages.sh" podman=podman runc=runc mmdebstrap=mmdebstrap

recipe=$(sha256sum <"$0" | cut -c 1-16)
built=$(podman image inspect --format '{{index .Labels "contimg.recipe"}}' "$image" 2>/dev/null || true)
[[ $built == "$recipe" ]] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Ansible's connection is an sshd of its own on the standard streams of `podman exec`: it needs no network, and no service in the
# host. Who may run podman there needs no password.
cat >"$work/sshd.conf" <<'END'
PermitRootLogin yes
PermitEmptyPasswords yes
UsePAM no
END
echo 'd /run/sshd 0755' >"$work/tmpfiles.conf"
# shellcheck disable=SC2016 # mmdebstrap gives its hooks the tree as $1
mmdebstrap --quiet --variant=minbase --include="$packages" \
  --customize-hook="upload $work/sshd.conf /etc/ssh/sshd_config.d/tests.conf" \
  --customize-hook="upload $work/tmpfiles.conf /etc/tmpfiles.d/sshd.conf" \
  --customize-hook='chroot "$1" passwd --delete root' --customize-hook='chroot "$1" systemctl disable ssh.service' \
  "$suite" "$work/root.tar"
podman import --quiet --change "LABEL contimg.recipe=$recipe" --change 'CMD ["/sbin/init"]' "$work/root.tar" "$image"
