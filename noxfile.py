# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each `make` target runs. All sessions share the one virtual environment that the Makefile made."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil

import nox

ROOT = pathlib.Path(__file__).parent
BUILD = ROOT / ".build"
COLLECTIONS = BUILD / "collections"
JUNIT = BUILD / "junit"
# Programs that judge the results of unit tests, with the Debian package of each.
JUDGES = [
    "rsync=rsync",
    "sqlite3=sqlite3",
    "sqldiff=sqlite3-tools",
    "mkfs.btrfs=btrfs-progs",
    "setfacl=acl",
    "setfattr=attr",
    "strace=strace",
    "zstd=zstd",
    "ps=procps",
    "mkfs.ext4=e2fsprogs",
    "mkfs.xfs=xfsprogs",
]

# The fault suites that run with the unit tests, too. The others need a container, or have no points to choose from.
SAMPLED = ["test_sync_*.py", "test_*_faults.py"]

nox.options.sessions = ["unit", "lint"]
nox.options.error_on_external_run = False
os.environ.update(ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS), ANSIBLE_HOME=str(ROOT / ".cache" / "ansible"))


def _link_collection() -> pathlib.Path:
    """Show the checkout where Python and Ansible look for ``dsa110.contimg``."""
    link = COLLECTIONS / "ansible_collections" / "dsa110" / "contimg"
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # sessions run beside each other
        link.symlink_to(os.path.relpath(ROOT, link.parent))
    return link


def _copy_collection() -> pathlib.Path:
    """Lay a copy of what git tracks, for tools that insist on the real path (and write beside their input)."""
    copy = BUILD / "copy" / "ansible_collections" / "dsa110" / "contimg"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    return copy


def _sampled_faults() -> list[str]:
    """Return the fault suites that try a sample of their points, unless ``CONTIMG_FAULT_POINTS`` asks for all."""
    suites = [path for pattern in SAMPLED for path in ROOT.glob(f"tests/faults/{pattern}")]
    return sorted(str(path.relative_to(ROOT)) for path in suites)


@nox.session
def unit(session: nox.Session) -> None:
    """Unit tests, on real temporary databases and trees."""
    _link_collection()
    JUNIT.mkdir(parents=True, exist_ok=True)
    session.run("bash", "tests/support/system_packages.sh", *JUDGES)
    where = session.posargs or ["tests/unit", *_sampled_faults()]
    session.run("pytest", "-q", "-n", "2", f"--junitxml={JUNIT / 'unit.xml'}", *where)


@nox.session
def faults(session: nox.Session) -> None:
    """Every point of every fault suite; the unit tests take a sample."""
    _link_collection()
    JUNIT.mkdir(parents=True, exist_ok=True)
    session.run("bash", "tests/support/system_packages.sh", *JUDGES)
    session.run("bash", "tests/support/container_image.sh", "localhost/contimg-systemd:bookworm")
    where = session.posargs or ["tests/faults", "tests/playbooks/test_deaths.py"]
    command = ["pytest", "-q", "-n", "2", f"--junitxml={JUNIT / 'faults.xml'}", *where]
    session.run("bash", "tests/support/in_cgroup2.sh", *command, env={"CONTIMG_FAULT_POINTS": "0"})


@nox.session
def playbooks(session: nox.Session) -> None:
    """The playbooks themselves, on hosts without units below temporary directories."""
    _link_collection()
    JUNIT.mkdir(parents=True, exist_ok=True)
    where = session.posargs or ["tests/playbooks"]
    session.run("pytest", "-q", "-n", "2", f"--junitxml={JUNIT / 'playbooks.xml'}", *where)


@nox.session
def docs(session: nox.Session) -> None:
    """Whether the documentation of modules and roles is sound, its references too."""
    link = _link_collection()
    with session.chdir(link):
        session.run("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, mypy (strict), the house's size limits, yamllint and ansible-lint (production profile)."""
    _link_collection()
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "tests/support/house_rules.py")
    session.run("mypy", *_python_files(session))
    session.run("ansible-lint", "--offline", "--profile", "production", env={"PIP_FIND_LINKS": ""})


def _python_files(session: nox.Session) -> list[str]:
    listed = session.run("git", "ls-files", "-co", "--exclude-standard", "*.py", silent=True)
    return [name for name in str(listed).split() if (ROOT / name).exists()]


def _path_of_real_interpreters() -> str:
    """Return a PATH that shows ansible-test the interpreters themselves instead of a version manager's shims."""
    given = [directory for directory in os.environ["PATH"].split(os.pathsep) if not directory.endswith("/shims")]
    versions = pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.*/bin")
    return os.pathsep.join([*given, *(str(directory) for directory in sorted(versions))])


@nox.session
def sanity(session: nox.Session) -> None:
    """Every ``ansible-test sanity`` test, with no ignore file."""
    copy = _copy_collection()
    listed = session.run("git", "ls-files", "-co", "--exclude-standard", silent=True)
    for name in str(listed).splitlines():
        source = ROOT / name
        if source.is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy / name, follow_symlinks=False)
    session.run("bash", "tests/support/system_packages.sh", "shellcheck=shellcheck")
    session.run("bash", "tests/support/prepare_ansible_test.sh")
    with session.chdir(copy):
        session.run("git", "init", "-q")
        session.run("git", "add", "-A")
        session.env["PATH"] = _path_of_real_interpreters()
        session.run("ansible-test", "sanity", "--venv", "--requirements", "--junit", "--color", "no", *session.posargs)
    for report in (copy / "tests" / "output" / "junit").glob("*.xml"):
        JUNIT.mkdir(parents=True, exist_ok=True)
        shutil.copy2(report, JUNIT / report.name)


@nox.session
def molecule(session: nox.Session) -> None:
    """Every scenario (or those named), in containers with systemd as PID 1."""
    _link_collection()
    session.run("bash", "tests/support/molecule.sh", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job on a sample host below ``demo/``: preview, move, verify."""
    _link_collection()
    session.run("bash", "tests/support/demo.sh")
