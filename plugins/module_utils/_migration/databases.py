# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each database of a host stands on both sides, and which copy is the truth."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import (
    is_there,
    require_directory,
    target_exists,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import is_split_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.access import lost_access
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import require_separate
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.rows import changed_tables
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import (
    content_checksum,
    describe,
    tables_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.newest import newest_row
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import is_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import Relation, relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.links import require_direct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Proofs

__all__ = ["Located", "Mapped", "Ours", "action_for", "guard", "locate", "report", "table_of"]

_UNTOUCHED = "Nothing was touched."
_DECISIONS = {"keep_dest": "keep", "take_source": "replace"}
_LOSSLESS = ("absent", "identical", "behind")
_COPIED = ("copy", "replace")
_STAYING = ("keep", "absent")  # the destination is read as it is
#: What a database of the destination is where a decision says nothing about it: this move has put it there, or will.
_NOT_THEIRS = ("absent", "ours")


@dataclass(frozen=True)
class Mapped:
    """A database as the operator describes it: its name, its candidate places below the source, its place at the end.

    :ivar integrity: the check of this database, ``None`` for that of all.
    """

    name: str
    src: tuple[str, ...]
    dest: str
    required: bool
    integrity: str | None = None

    @classmethod
    def of(cls, one: Mapping[str, Any]) -> Mapped:
        """Return it by an entry of the map, as the module has it."""
        return cls(one["name"], tuple(one["src"]), one["dest"], one["required"], one.get("integrity"))


@dataclass(frozen=True)
class Located:
    """A database as it was found.

    :ivar src: its place below the source, its first candidate where it stands nowhere.
    :ivar found: whether it stands in the source.
    :ivar integrity: see :class:`Mapped`.
    """

    name: str
    src: str
    dest: str
    src_path: str
    dest_path: str
    found: bool
    integrity: str | None = None


@dataclass(frozen=True)
class Ours:
    """What an earlier run of the same move has put at the destination.

    :ivar names: the databases.
    :ivar left: by name, their tables as that run left them, where it has recorded that.
    :ivar backups: the directory in which it has kept products databases that it has split.
    """

    names: tuple[str, ...] = ()
    left: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    backups: str | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any], backups: str | None) -> Ours:
        """Return it by the facts of the record of that run.

        The HDF5 database that its split has made is not its own where the products database of the destination was kept and
        split: the rows came from there.
        """
        kept = (facts.get("decisions") or {}).get("products") == "keep_dest"
        split = ["hdf5"] if facts.get("split_made") and not kept else []
        left = {**(facts.get("left") or {}), **(facts.get("baseline") or {})}
        return cls((*(facts.get("placed") or ()), *split), left, backups)

    def is_unchanged(self, one: Located, proofs: Proofs = NOTHING) -> bool:
        """Return whether a database is as that run left it. Where that was not recorded, its split is made again."""
        if one.name in self.left:
            return not changed_tables(self.left[one.name]["tables"], tables_of(one.dest_path, proofs=proofs))
        return self.backups is not None and is_split_of(one.dest_path, self.backups)


def locate(src: str, dest: str, databases: Sequence[Mapped]) -> tuple[Located, ...]:
    """Find every database of the map below the source; a required one must stand at exactly one of its places.

    :raises ContimgError: listing all that is wrong at once; also for a host on the unified layout.
    """
    require_directory(src, "source")
    require_separate(src, dest)
    _refuse_unified(src)
    found = {mapped.name: [place for place in mapped.src if is_there(os.path.join(src, place))] for mapped in databases}
    wrong = [_complaint(mapped, found[mapped.name]) for mapped in databases]
    if any(wrong):
        hint = f"{_UNTOUCHED} Correct contimg_databases, or move what is not in use out of the way."
        raise ContimgError("; ".join(filter(None, wrong)), path=src, hint=hint)
    located = tuple(_located(src, dest, mapped, found[mapped.name]) for mapped in databases)
    _require_direct(src, dest, located)
    for database in located:
        if database.found and not is_database(database.src_path):
            raise ContimgError(
                "is not a database", path=database.src_path, hint=f"{_UNTOUCHED} Restore it, or correct the map."
            )
    return located


def _complaint(mapped: Mapped, found: Sequence[str]) -> str:
    if len(found) > 1:
        return f"database {mapped.name} stands in more than one place: {', '.join(found)}"
    if not found and mapped.required:
        return f"database {mapped.name} stands at none of its places: {', '.join(mapped.src)}"
    return ""


def _located(src: str, dest: str, mapped: Mapped, found: Sequence[str]) -> Located:
    place = found[0] if found else mapped.src[0]
    return Located(
        name=mapped.name,
        src=place,
        dest=mapped.dest,
        src_path=os.path.join(src, place),
        dest_path=os.path.join(dest, mapped.dest),
        found=bool(found),
        integrity=mapped.integrity,
    )


def _refuse_unified(src: str) -> None:
    path = os.path.join(src, "pipeline.sqlite3")
    if target_exists(path) and is_database(path):
        raise ContimgError(
            "is the newer unified layout, where one database holds what this move would split",
            path=path,
            hint=f"{_UNTOUCHED} This host needs no such move.",
        )


def action_for(relation: str, decision: str | None) -> str:
    """Return what a move does with a database: ``copy``, ``replace``, ``keep`` or ``undecided``.

    :param relation: what the destination's database is to the source's.
    :param decision: the operator's ``keep_dest`` or ``take_source``. It is about a database that this move has not put there.
    """
    if decision is not None:
        return _DECISIONS[decision] if relation != "absent" else "copy"
    return "copy" if relation in _LOSSLESS else "undecided"


def guard(
    located: Sequence[Located],
    decisions: Mapping[str, str],
    ours: Ours,
    *,
    relations: bool,
    integrity: str,
    proofs: Proofs = NOTHING,
) -> list[dict[str, Any]]:
    """Return what is to be done with each database; see the RETURN of ``state_databases_info``.

    :param relations: whether both sides are compared by content, which reads both.
    :param proofs: what is known of the databases; what it does not know is read and noted.
    :raises ContimgError: on a decision for an unknown database, an unknown decision, or a damaged source.
    """
    _check_decisions(located, decisions)
    return [
        _judge(one, decisions.get(one.name), ours, relations=relations, integrity=integrity, proofs=proofs)
        if one.found
        else _judge_lacking(one, decisions.get(one.name), ours, proofs)
        for one in located
    ]


def _check_decisions(located: Sequence[Located], decisions: Mapping[str, str]) -> None:
    names = {one.name for one in located}
    for name, decision in decisions.items():
        if name not in names:
            raise ContimgError(
                f"there is no database '{name}' in the map, only {', '.join(sorted(names))}", hint=_UNTOUCHED
            )
        if decision not in _DECISIONS:
            raise ContimgError(
                f"'{decision}' is not a decision for {name}, only {' or '.join(_DECISIONS)}", hint=_UNTOUCHED
            )


def _facts(one: Located, relation: str, action: str, check: str = "not checked") -> dict[str, Any]:
    names = {"name": one.name, "src": one.src, "dest": one.dest, "src_path": one.src_path, "dest_path": one.dest_path}
    found = {"relation": relation, "action": action, "integrity": check}
    return {**names, **found, "exists": target_exists(one.dest_path), "tables": {}, "newest": {}, "checksum": ""}


def _judge(
    one: Located, decision: str | None, ours: Ours, *, relations: bool, integrity: str, proofs: Proofs
) -> dict[str, Any]:
    exists = target_exists(one.dest_path)
    check = _checked(one.src_path, one.integrity or integrity, proofs)
    if not exists:
        return _facts(one, "absent", action_for("absent", None), check)
    if one.name in ours.names and (one.name not in ours.left or ours.is_unchanged(one, proofs)):
        return _facts(one, "ours", "replace", check)
    relation = relate(one.dest_path, one.src_path, proofs=proofs) if relations else Relation(decision or "absent")
    sides = {"src": one.src_path, "dest": one.dest_path} if relations else {}
    newest = {side: newest_row(path, proofs=proofs) for side, path in sides.items()}
    facts = _facts(one, relation.kind, action_for(relation.kind, decision), check)
    return {**facts, "tables": relation.as_dict(), "newest": newest}


def _judge_lacking(one: Located, decision: str | None, ours: Ours, proofs: Proofs) -> dict[str, Any]:
    """Judge a database that the source lacks: one that a split of an earlier run has made is removed, if it is as it was."""
    if one.name not in ours.names or not target_exists(one.dest_path) or not os.stat(one.dest_path).st_size:
        return _facts(one, "absent", "absent")
    unchanged = ours.is_unchanged(one, proofs)
    decided = {"keep_dest": "keep", "take_source": "remove"}.get(decision or "", "undecided")
    action = "remove" if unchanged else decided
    checksum = content_checksum(one.dest_path, proofs=proofs) if action == "remove" else ""
    return {**_facts(one, "ours" if unchanged else "changed", action), "checksum": checksum}


def _checked(path: str, integrity: str, proofs: Proofs) -> str:
    """Return what SQLite's check says of a database of the source. Raises ContimgError when it is damaged."""
    return (
        "not checked" if integrity == "none" else str(describe(path, integrity=integrity, proofs=proofs)["integrity"])
    )


def table_of(databases: Sequence[Mapping[str, Any]]) -> str:
    """Return the databases as a table that an operator can read, a line for each database and for each differing table."""
    lines = [f"{'database':<14} {'there, to the source':<21} {'action':<10} place"]
    for one in databases:
        lines.append(
            f"{one['name']:<14} {one['relation']:<21} {one['action']:<10} {one['src_path']} -> {one['dest_path']}"
        )
        if one["integrity"] not in ("ok", "not checked"):
            lines.append(f"    check of the source {one['integrity']}")
        for side, moment in one["newest"].items():
            lines.append(f"    newest row, {'source' if side == 'src' else 'destination'}: {moment or 'unknown'}")
        for name, table in one["tables"].items():
            lines += _table_lines(name, table)
    return "\n".join(lines)


def _table_lines(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    here = f"{table['rows']} rows" if table["rows"] >= 0 else "no such table"
    there = table["other_rows"] if table["other_rows"] >= 0 else "no such table"
    yield (
        f"    {name}: {here} at the destination, {there} in the source;"
        f" {table['only_here']} only at the destination, {table['only_there']} only in the source"
    )
    if table["columns"]:
        differing = ", ".join(f"{column} ({rows})" for column, rows in table["columns"].items())
        yield f"      rows with the same key differ in: {differing}"


def _require_direct(src: str, dest: str, located: Sequence[Located]) -> None:
    """Check that no database of either side is reached through a symbolic link. Raises ContimgError."""
    for one in located:
        for root, place in ((src, one.src), (dest, one.dest)):
            if is_there(os.path.join(root, place)):
                require_direct(root, place, state=_UNTOUCHED)


def _copy_of(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``database_paths`` takes for a database."""
    replaced = one["action"] in _COPIED
    return {"path": one["dest_path"], "preview_from": one["src_path"], "replaced": replaced}


def _comparisons(judged: Sequence[Mapping[str, Any]], located: Sequence[Located]) -> Iterator[dict[str, Any]]:
    """Yield what ``sqlite_checksum`` takes for each database that is copied."""
    for one, place in zip(judged, located):
        if one["action"] in _COPIED:
            integrity = place.integrity or "quick"
            yield {"path": one["src_path"], "compare_to": one["dest_path"], "integrity": integrity}


def report(values: Mapping[str, Any], proofs: Proofs = NOTHING) -> dict[str, Any]:
    """Return what ``state_databases_info`` reports for its parameters.

    :param proofs: what is known of the databases.
    :raises ContimgError: see :func:`locate` and :func:`guard`; with all of the report on what ``fail_on`` names.
    """
    found = _report(values, proofs)
    if "undecided" in values["fail_on"] and found["undecided"]:
        what = f"{', '.join(found['undecided'])} there may hold what the source lacks"
        hint = f"Nothing was overwritten.\n{found['table']}\nAnswer with contimg_database_decisions and run again."
        raise ContimgError(what, path=values["dest"], hint=hint, **found)
    if "lost_access" in values["fail_on"] and found["lost_access"]:
        lost = [
            f"user {one['user']} could no longer {', '.join(one['lost'])} {one['path']}" for one in found["lost_access"]
        ]
        what = "users of the services could do less with the databases there than with those of the source"
        hint = "\n".join([*lost, "Look at owners, modes and the directories above it, and run again."])
        raise ContimgError(what, path=values["dest"], hint=hint, **found)
    return found


def _report(values: Mapping[str, Any], proofs: Proofs) -> dict[str, Any]:
    located = locate(values["src"], values["dest"], list(map(Mapped.of, values["databases"])))
    ours = Ours.of(values["facts"], values["split_backups"])
    decisions = {**(values["facts"].get("decisions") or {}), **values["decisions"]}
    judged = guard(
        located,
        decisions,
        ours if values["relations"] else Ours(),
        relations=values["relations"],
        integrity=values["integrity"],
        proofs=proofs,
    )
    found = {one.name for one in located if one.found}
    moving = [one for one in judged if one["action"] not in ("absent", "undecided") and one["name"] in found]
    return {
        "databases": judged,
        "rename": {one["src"]: one["dest"] for one in moving if one["src"] != one["dest"]},
        "sync_decisions": {one["dest"]: one["action"] for one in moving if one["action"] in ("keep", "replace")},
        "decided": {
            one["name"]: decisions[one["name"]]
            for one in judged
            if one["name"] in decisions and one["relation"] not in _NOT_THEIRS
        },
        "left_by_split": {name: tables for name, tables in ours.left.items() if name == "hdf5"},
        "undecided": [one["name"] for one in judged if one["action"] == "undecided"],
        "copies": list(map(_copy_of, judged)),
        "comparisons": list(_comparisons(judged, located)),
        "read_paths": {one["name"]: one["dest_path" if one["action"] in _STAYING else "src_path"] for one in judged},
        "table": table_of(judged),
        "lost_access": lost_access(values["users"], [(one.src_path, one.dest_path) for one in located if one.found]),
        "remembered": proofs.used,
    }
