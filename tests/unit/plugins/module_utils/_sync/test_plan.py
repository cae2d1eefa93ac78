# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was observed of both sides, and the plan that is made from it, without a disk."""

from __future__ import annotations

import os
import stat
import zlib
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.examine import Findings
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    PLACED,
    RACY,
    VERIFIED,
    Ledger,
    LedgerEntry,
    record_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.observe import Observation
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.places import places_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.plan import make_plan, unproved
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Decisions, Plan

DIGEST = "ab" * 32
KINDS = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "link": stat.S_IFLNK, "fifo": stat.S_IFIFO}
ROOT = "metadata . (times of the directory)"
WISHES = "owner, mode, times or attributes"


def name(path: str, kind: str = "file", **changed: Any) -> Entry:
    """Return a name of a tree. Two with the same path are the same file unless something is changed."""
    target = changed.pop("target", "to" if kind == "link" else "")
    facts = {"size": 4 if kind == "file" else 0, "mtime_ns": 10**9, "ctime_ns": 10**9, "nlink": 1, **changed}
    number = facts.pop("ino", zlib.crc32(path.encode()) or 1)
    mode = KINDS[kind] | facts.pop("mode", 0o644)
    whole = {"mode": mode, "uid": 0, "gid": 0, "ino": number, "dev": 1, "blocks": 8, "rdev": 0, **facts}
    status = cast("os.stat_result", SimpleNamespace(**{f"st_{fact}": value for fact, value in whole.items()}))
    return entry_of(path.encode(), status, target.encode())


class Case(NamedTuple):
    """What was observed, and what is to be planned.

    :ivar placed: paths of which the ledger knows both sides as they are now.
    :ivar ours: paths of which it knows what stands at the destination, which came from an older source.
    :ivar seen: further facts of :class:`Trees` and :class:`Findings`.
    """

    source: list[Entry]
    target: list[Entry]
    steps: list[str]
    placed: str = ""
    ours: str = ""
    seen: dict[str, Any] = {}  # noqa: RUF012 (nothing changes it)
    decided: dict[str, Any] = {}  # noqa: RUF012
    conflicts: list[str] = []  # noqa: RUF012
    kept: str = ""


def observed(case: Case) -> Observation:
    trees = Trees(Ledger())
    trees.source = {entry.path: entry for entry in [name("", "directory"), *case.source]}
    trees.target = {entry.path: entry for entry in [name("", "directory"), *case.target]}
    seen = {"equal": {}, "altered": set(), "relations": {}, **case.seen}
    findings = Findings(seen.pop("equal"), seen.pop("altered"), seen.pop("relations"))
    for fact, value in seen.items():
        setattr(trees, fact, value)
    known = [*((path, trees.source.get(path)) for path in case.placed.encode().split())]
    known += [(path, name("older", ino=99)) for path in case.ours.encode().split()]
    for path, source in known:
        identity = source.identity if source else trees.target[path].identity
        one = LedgerEntry(identity, trees.target[path].identity, bytes.fromhex(DIGEST), PLACED | VERIFIED)
        trees.ledger.remember([record_of(path, one)])
    return Observation(trees, places_of(trees, decisions_of(case).rename), findings, [])


def decisions_of(case: Case) -> Decisions:
    return Decisions(**{"rename": {}, **case.decided})


def planned(case: Case, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Plan, with all ways to the disk closed."""
    observation = observed(case)

    def refused(*_arguments: object, **_named: object) -> None:
        raise AssertionError("a plan looks at the disk")

    with monkeypatch.context() as closed:
        for call in ("open", "stat", "lstat", "scandir", "listdir", "readlink", "getxattr", "listxattr", "access"):
            closed.setattr(os, call, refused)
        return make_plan(observation, decisions_of(case))


def lines(plan: Plan) -> list[str]:
    return plan.diff()["after"].splitlines()


DATABASE = {"databases": {b"p"}}
WAL_GOES = "remove p-wal (does not belong to the copied database)"
NEW_LINK = "special l (new)"
CASES = {
    "nothing": Case([], [], []),
    "new file": Case([name("a")], [], ["copy a (new)", ROOT]),
    "new directory": Case(
        [name("d", "directory"), name("d/a")],
        [],
        ["directory d (new)", "copy d/a (new)", "metadata d (times of the directory)", ROOT],
    ),
    "settled": Case([name("a")], [name("a", ino=2)], [], placed="a"),
    "other times": Case(
        [name("a", mtime_ns=5)], [name("a", ino=2)], [f"metadata a ({WISHES})"], seen={"equal": {b"a": DIGEST}}
    ),
    "other mode of a directory": Case(
        [name("d", "directory", mode=0o700)], [name("d", "directory")], [f"metadata d ({WISHES})"]
    ),
    "other attributes": Case(
        [name("a")], [name("a")], [f"metadata a ({WISHES})"], placed="a", seen={"altered": {b"a"}}
    ),
    "changed and ours": Case([name("a", size=9)], [name("a")], ["copy a (changed)", ROOT], ours="a"),
    "changed, equal and ours": Case([name("a")], [name("a")], [], ours="a", seen={"equal": {b"a": DIGEST}}),
    "unknown and equal": Case([name("a")], [name("a")], [], seen={"equal": {b"a": DIGEST}}),
    "unknown and other": Case([name("a")], [name("a")], [], conflicts=["a: differs and is not of this copy"]),
    "unknown, kept": Case([name("a")], [name("a")], [], decided={"on_conflict": "keep"}, kept="a"),
    "unknown, replaced": Case(
        [name("a")],
        [name("a")],
        ["copy a (differs and is not of this copy; backed up)", ROOT],
        decided={"on_conflict": "replace"},
    ),
    "unknown, replaced by name": Case(
        [name("a"), name("b")],
        [name("a"), name("b")],
        ["copy b (differs and is not of this copy; backed up)", ROOT],
        decided={"on_conflict": "keep", "single": {b"b": "replace"}},
        kept="a",
    ),
    "directory where a file goes": Case(
        [name("a")], [name("a", "directory")], [], decided={"on_conflict": "replace"}, conflicts=["a: is a directory"]
    ),
    "file where a directory goes": Case(
        [name("d", "directory")],
        [name("d")],
        [],
        decided={"on_conflict": "replace"},
        conflicts=["d: is not a directory, the source has one"],
    ),
    # Renamed files
    "renamed": Case([name("a")], [], ["copy b (new)", ROOT], decided={"rename": {b"a": b"b"}}),
    "renamed into a directory that the source lacks": Case(
        [name("a")],
        [],
        ["directory n (new)", "copy n/b (new)", "metadata n (times of the directory)", ROOT],
        decided={"rename": {b"a": b"n/b"}},
    ),
    "renamed stays": Case(
        [name("a")], [name("b")], [], seen={"equal": {b"b": DIGEST}}, decided={"rename": {b"a": b"b"}}
    ),
    "renamed away from an extra": Case(
        [name("a")],
        [name("a"), name("b")],
        [],
        seen={"equal": {b"b": DIGEST}},
        decided={"rename": {b"a": b"b"}, "delete": True},
    ),
    # Hard links
    "two names": Case(
        [name("a", ino=1, nlink=2), name("b", ino=1, nlink=2)], [], ["copy a (new)", "link b (hard link to a)", ROOT]
    ),
    "two names are there": Case(
        [name("a", ino=1, nlink=2), name("b", ino=1, nlink=2)],
        [name("a", ino=3, nlink=2), name("b", ino=3, nlink=2)],
        [],
        seen={"equal": {b"a": DIGEST, b"b": DIGEST}},
    ),
    "a further name": Case(
        [name("a", ino=1, nlink=2), name("b", ino=1, nlink=2)],
        [name("a", ino=3)],
        ["link b (hard link to a)", ROOT],
        seen={"equal": {b"a": DIGEST}},
    ),
    "a further name is another file": Case(
        [name("a", ino=1, nlink=2), name("b", ino=1, nlink=2)],
        [name("a", ino=3), name("b", ino=4)],
        [],
        seen={"equal": {b"a": DIGEST}},
        conflicts=["b: differs"],
    ),
    "a further name is an equal file": Case(
        [name("a", ino=1, nlink=2), name("b", ino=1, nlink=2)],
        [name("a", ino=3), name("b", ino=4)],
        ["link b (hard link to a)", ROOT],
        seen={"equal": {b"a": DIGEST, b"b": DIGEST}},
    ),
    "links that may be lost": Case(
        [name("a", ino=1, nlink=2), name("b", ino=1, nlink=2)],
        [name("a", ino=3), name("b", ino=4)],
        [],
        placed="a b",
        decided={"policy": MetadataPolicy(losses=frozenset(["hardlink"]))},
    ),
    "two files share one there": Case(
        [name("a", ino=1), name("b", ino=2)],
        [name("a", ino=3, nlink=2), name("b", ino=3, nlink=2)],
        ["copy a (changed)", "copy b (changed)", ROOT],
        seen={"equal": {b"a": DIGEST, b"b": DIGEST}},
    ),
    # Links, FIFOs
    "new link": Case([name("l", "link")], [], [NEW_LINK, ROOT]),
    "same link": Case([name("l", "link")], [name("l", "link", ino=2)], []),
    "changed link, ours": Case(
        [name("l", "link")], [name("l", "link", target="x")], ["special l (changed)", ROOT], ours="l"
    ),
    "unknown link": Case([name("l", "link")], [name("l", "link", target="x")], [], conflicts=["l: is something else"]),
    "unknown file where a FIFO goes": Case(
        [name("f", "fifo")],
        [name("f")],
        ["special f (is something else; backed up)", ROOT],
        decided={"on_conflict": "replace"},
    ),
    "directory where a link goes": Case(
        [name("l", "link")], [name("l", "directory")], [], conflicts=["l: is a directory"]
    ),
    # What only the destination has
    "extras stay": Case([], [name("x")], []),
    "extras go": Case(
        [],
        [name("x"), name("y", "directory"), name("y/z")],
        [*(f"remove {path} (not in the source)" for path in ("y/z", "y", "x")), ROOT],
        decided={"delete": True},
    ),
    "extras above what is excluded stay": Case(
        [],
        [name("x", "directory"), name("x/y", "directory")],
        [],
        seen={"holding": {b"x/y"}},
        decided={"delete": True},
    ),
    "a database that the source never had stays": Case(
        [], [name("q"), name("q-wal")], [], seen={"foreign": {b"q"}}, decided={"delete": True}
    ),
    "left by a killed run": Case(
        [name("a")],
        [],
        ["remove x (left by an interrupted copy)", "copy a (new)", ROOT],
        seen={"left": {b"x"}},
    ),
    # Databases
    "new database": Case(
        [name("p"), name("p-wal"), name("p-shm")], [], ["copy p (new)", "copy p-wal (new)", ROOT], seen=DATABASE
    ),
    "its log comes with it": Case(
        [name("p", size=8), name("p-wal")],
        [name("p"), name("p-wal")],
        [WAL_GOES, "copy p (changed)", "copy p-wal (changed)", ROOT],
        ours="p p-wal",
        seen=DATABASE,
    ),
    "its log alone": Case(
        [name("p"), name("p-wal", size=9)],
        [name("p"), name("p-wal")],
        ["copy p-wal (changed)", ROOT],
        placed="p",
        ours="p-wal",
        seen=DATABASE,
    ),
    "stale log": Case(
        [name("p")], [name("p"), name("p-wal")], [WAL_GOES, "copy p (changed)", ROOT], placed="p", seen=DATABASE
    ),
    "empty stale log": Case(
        [name("p")], [name("p"), name("p-wal", size=0)], [WAL_GOES, ROOT], placed="p", seen=DATABASE
    ),
    "directory where a log was": Case(
        [name("p")],
        [name("p"), name("p-wal", "directory")],
        [],
        placed="p",
        seen=DATABASE,
        conflicts=["p-wal: is a directory"],
    ),
    "unknown, behind": Case(
        [name("p", size=8)],
        [name("p")],
        ["copy p (the database there is behind)", ROOT],
        seen={**DATABASE, "relations": {b"p": "behind"}},
    ),
    "unknown, ahead": Case(
        [name("p")],
        [name("p")],
        [],
        seen={**DATABASE, "relations": {b"p": "ahead"}},
        conflicts=["p: the database there is ahead"],
    ),
    "unknown, ahead, kept": Case(
        [name("p"), name("p-wal")],
        [name("p")],
        [],
        seen={**DATABASE, "relations": {b"p": "ahead"}},
        decided={"on_conflict": "keep"},
        kept="p",
    ),
    "unknown, ahead, replaced": Case(
        [name("p")],
        [name("p"), name("p-wal")],
        [WAL_GOES, "copy p (the database there is ahead; backed up)", ROOT],
        seen={**DATABASE, "relations": {b"p": "ahead"}},
        decided={"on_conflict": "replace"},
    ),
    "unknown, replaced with its log": Case(
        [name("p"), name("p-wal")],
        [name("p"), name("p-wal")],
        [
            WAL_GOES,
            *(f"copy {path} (the database there is not of this copy; backed up)" for path in ("p", "p-wal")),
            ROOT,
        ],
        seen={**DATABASE, "relations": {b"p": "not of this copy"}},
        decided={"single": {b"p": "replace"}},
    ),
    "directory where a database goes": Case(
        [name("p")],
        [name("p", "directory")],
        [],
        seen={**DATABASE, "relations": {b"p": "not comparable: is a directory"}},
        decided={"on_conflict": "replace"},
        conflicts=["p: is a directory"],
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=title) for title, case in CASES.items()])
def test_what_is_planned(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(case, monkeypatch)
    conflicts = [f"{path.decode()}: {reason}" for path, reason in plan.conflicts]
    assert (lines(plan), conflicts, b" ".join(plan.kept).decode()) == (case.steps, case.conflicts, case.kept)


@pytest.mark.parametrize(
    ("source", "target", "placed", "rename", "message"),
    [
        ([name("a"), name("b")], [], "", {b"a": b"b"}, "two files of the source go here, a and b"),
        ([name("d", "directory")], [], "", {b"d": b"e"}, "only single files are renamed"),
        ([name("a"), name("f")], [], "", {b"a": b"f/b"}, "cannot be made: f is not a directory"),
        ([name("a")], [name("f")], "", {b"a": b"f/b"}, "cannot be made: f is not a directory"),
    ],
)
def test_places_that_no_file_can_go_to(
    source: list[Entry], target: list[Entry], placed: str, rename: dict[bytes, bytes], message: str
) -> None:
    with pytest.raises(ContimgError, match=message):
        observed(Case(source, target, [], placed=placed, decided={"rename": rename}))


def test_a_replaced_file_is_backed_up_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for title, backed_up in (
        ("unknown, replaced", {b"a"}),
        ("unknown, replaced with its log", {b"p"}),
        ("its log alone", set()),
    ):
        plan = planned(CASES[title], monkeypatch)
        assert {step.path for step in plan.actions if step.backup} == backed_up


def test_members_of_a_database_are_one_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(CASES["unknown, ahead, replaced"], monkeypatch)
    assert [step.database for step in plan.actions if step.path.startswith(b"p")] == [b"p", b"p"]


@pytest.mark.parametrize(
    ("flags", "verify", "wanted"),
    [
        (PLACED | VERIFIED, True, []),
        (PLACED, True, [b"a"]),
        (PLACED, False, []),
        (PLACED | VERIFIED | RACY, True, []),
        (VERIFIED, True, [b"a"]),
        (None, True, [b"a"]),
        (None, False, [b"a"]),
    ],
)
def test_what_needs_no_copy_is_read_back_unless_it_was(
    flags: int | None, wanted: list[bytes], monkeypatch: pytest.MonkeyPatch, *, verify: bool
) -> None:
    case = Case([name("a")], [name("a", ino=2)], [], seen={"equal": {b"a": DIGEST}})
    observation = observed(case)
    if flags is not None:
        trees = observation.trees
        one = LedgerEntry(trees.source[b"a"].identity, trees.target[b"a"].identity, bytes.fromhex(DIGEST), flags)
        trees.ledger.remember([record_of(b"a", one)])
    plan = planned(case, monkeypatch)
    assert plan.unchanged == {b"a": b"a"}
    assert unproved(plan, observation.trees, verify=verify) == wanted


def test_a_further_name_has_the_digest_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["two names are there"]._replace(seen={}, placed="a")
    plan = planned(case, monkeypatch)
    assert plan.unchanged == {b"a": b"a", b"b": b"b"}
    assert plan.equal == {b"b": DIGEST}


def test_observations_are_not_changed_by_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    for case in CASES.values():
        before = observed(case)
        make_plan(observation := observed(case), decisions_of(case))
        assert (observation.findings, observation.places) == (before.findings, before.places)
        assert (observation.trees.source, observation.trees.target) == (before.trees.source, before.trees.target)
