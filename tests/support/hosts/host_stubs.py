# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs for PATH that keep units or containers in files, for the points at which a module dies while it writes its own.

They answer, refuse and fail as systemctl and podman do. Real units and containers are held in the scenarios of molecule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Mapping

__all__ = ["write_failing_docker", "write_podman", "write_systemctl", "write_systemd_run"]

# A unit is a file that holds its state; UNIT.triggers names what triggers it, UNIT.held is a drop-in that systemd has loaded.
_SYSTEMCTL = """#!/bin/sh
cd "${0%/*}" || exit 1
[ "$1" = --no-pager ] && shift
verb=$1
shift
asked=
while [ $# -gt 0 ]; do case $1 in --) shift; break;; -p) asked=,$2,; shift 2;; -*) shift;; *) break;; esac; done
put() { echo "$2" > "$TMPDIR/stub.$$"; /bin/mv "$TMPDIR/stub.$$" "$1"; }
say() { case $asked in *,"${1%%=*}",*) echo "$1";; esac; }
case $verb in
show)
  first=1
  for unit; do
    [ $first = 1 ] || echo
    first=0
    say "Id=$unit"
    say "Names=$unit"
    if [ -f "$unit" ]; then
      read -r state < "$unit"
      triggers=
      [ -f "$unit.triggers" ] && read -r triggers < "$unit.triggers"
      sub=dead
      [ "$state" = active ] && sub=running
      held=no
      [ -f "$unit.held" ] && read -r held < "$unit.held"
      wanted=no
      [ -f "$STUB_DROP_INS/$unit.d/90-contimg-hold.conf" ] && wanted=yes
      reload=yes
      [ $held = $wanted ] && reload=no
      for fact in LoadState=loaded "ActiveState=$state" "SubState=$sub" UnitFileState=enabled Transient=no CanStart=yes \\
        CanStop=yes Type=simple Result=success "TriggeredBy=$triggers" "FragmentPath=$PWD/$unit" "NeedDaemonReload=$reload"; do
        say "$fact"
      done
    else
      for fact in LoadState=not-found ActiveState=inactive SubState=dead; do say "$fact"; done
    fi
  done;;
stop) for unit; do case $unit in
    contimg-hold-limit*) for timer in armed-$unit; do [ ! -f "$timer" ] || /bin/rm "$timer"; done;;
    *) put "$unit" inactive;;
  esac; done;;
daemon-reload)
  for unit in *.service *.timer; do
    case $unit in armed-*) continue;; esac
    if [ -f "$STUB_DROP_INS/$unit.d/90-contimg-hold.conf" ]; then put "$unit.held" yes; else put "$unit.held" no; fi
  done;;
start)
  status=0
  for unit; do
    held=no
    [ -f "$unit.held" ] && read -r held < "$unit.held"
    if [ "$held" = yes ]; then echo "Assertion failed on job for $unit." >&2; status=1; else put "$unit" active; fi
  done
  exit $status;;
reset-failed) ;;
--version) echo "systemd 252 (252)";;
*) echo "Unknown command verb $verb." >&2; exit 1;;
esac
"""
# A timer is a file armed-NAME.timer. It notes how it was called, and whether the unit api.service ran then.
_SYSTEMD_RUN = """#!/bin/sh
cd "${0%/*}" || exit 1
put() { echo "$2" > "$TMPDIR/stub.$$"; /bin/mv "$TMPDIR/stub.$$" "$1"; }
[ -e refused ] && { echo "Failed to start transient timer unit: Access denied" >&2; exit 1; }
if [ -f api.service ]; then read -r state < api.service; put timer.seen "api.service was $state"; fi
put timer.called "$(for word; do echo "$word"; done)"
for word; do case $word in --unit=*) put "armed-${word#--unit=}.timer" waiting;; esac; done
"""
# A container is a file ID.status that holds its state. As with the real podman, whatever looks for containers makes a storage.
_PODMAN = """#!/bin/sh
cd "${0%/*}" || exit 1
[ "$1" = --version ] && { echo "podman version 4.3.1"; exit 0; }
[ -d storage/libpod ] || /bin/mkdir -p storage/libpod || exit 125
put() { echo "$2" > "$TMPDIR/stub.$$"; /bin/mv "$TMPDIR/stub.$$" "$1"; }
case $1 in
ps) for file in *.status; do [ ! -f "$file" ] || echo "${file%.status}"; done;;
container)
  shift 2
  printf '['
  separator=
  for id; do
    [ -f "$id.status" ] || { echo "Error: no such container $id" >&2; exit 125; }
    read -r status < "$id.status"
    printf '%s{"Id": "%s", "Name": "%s", "State": {"Status": "%s"}, "Config": {}}' "$separator" "$id" "$id" "$status"
    separator=,
  done
  printf ']';;
stop) shift 3; put "$1.status" exited;;
start) [ -f "$2.status" ] || exit 125; put "$2.status" running;;
*) echo "Error: unrecognized command $1" >&2; exit 125;;
esac
"""


def write_systemctl(directory: pathlib.Path, units: Mapping[str, str]) -> None:
    """Write a ``systemctl``, with units that all run.

    :param units: what triggers each, by its name; empty where nothing does.
    """
    _write(directory / "systemctl", _SYSTEMCTL)
    for name, triggers in units.items():
        (directory / name).write_text("active\n")
        (directory / f"{name}.triggers").write_text(f"{triggers}\n")
        (directory / f"{name}.held").write_text("no\n")


def write_systemd_run(directory: pathlib.Path) -> None:
    """Write a ``systemd-run`` beside a ``systemctl``, which stops the timer again; the file ``refused`` lets it fail."""
    _write(directory / "systemd-run", _SYSTEMD_RUN)


def write_podman(directory: pathlib.Path, containers: Iterable[str]) -> None:
    """Write a ``podman``, with containers that all run. It has a storage, ``storage``, once it has a container or was asked.

    ``CONTAINERS_STORAGE_CONF`` is to be ``storage.conf`` there.
    """
    _write(directory / "podman", _PODMAN)
    (directory / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{directory}/storage"\nrunroot = "{directory}/run"\n'
    )
    for name in containers:
        (directory / "storage" / "libpod").mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.status").write_text("running\n")


def write_failing_docker(directory: pathlib.Path) -> None:
    """Write a ``docker`` whose daemon is down."""
    _write(directory / "docker", "#!/bin/sh\n[ $1 = --version ] && exit 0\necho 'the daemon is down' >&2; exit 1\n")


def _write(path: pathlib.Path, program: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(program)
    path.chmod(0o755)
