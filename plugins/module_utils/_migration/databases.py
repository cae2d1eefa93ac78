# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each database of a host stands on both sides, and which copy is the truth."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import is_there, require_folder, target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import is_split_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.access import lost_access
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import require_separate
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.rows import changed_tables
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum, describe
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.newest import newest_row
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import is_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import Relation, relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.links import require_direct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

__all__ = ["Located", "Mapped", "Ours", "action_for", "guard", "locate", "report", "table_of"]

_UNTOUCHED = "Nothing was touched."
_DECISIONS = {"keep_dest": "keep", "take_source": "replace"}
_LOSSLESS = ("absent", "identical", "behind")
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

    def is_unchanged(self, one: Located) -> bool:
        """Tell whether a database is as that run left it. Where that was not recorded, its split is made again."""
        if one.name in self.left:
            return not changed_tables(self.left[one.name]["tables"], describe(one.dest_path, tables=True)["tables"])
        return self.backups is not None and is_split_of(one.dest_path, self.backups)


def locate(src: str, dest: str, databases: Sequence[Mapped]) -> tuple[Located, ...]:
    """Find every database of the map below the source; a required one must stand at exactly one of its places.

    :raises ContimgError: listing all that is wrong at once; also for a host on the unified layout.
    """
    require_folder(src, "source")
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


def action_for(relation: str, decision: str | None, *, ours: bool) -> str:
    """Return what a move does with a database: ``copy``, ``replace``, ``keep`` or ``undecided``.

    :param relation: what the destination's database is to the source's.
    :param decision: the operator's ``keep_dest`` or ``take_source``. It is about a database that this move has not put there.
    :param ours: whether an earlier run of the same move has put it there, and no process has used it since.
    """
    if ours:
        return "replace"
    if decision is not None:
        return _DECISIONS[decision] if relation != "absent" else "copy"
    return "copy" if relation in _LOSSLESS else "undecided"


def guard(
    located: Sequence[Located], decisions: Mapping[str, str], ours: Ours, *, relations: bool, integrity: str
) -> list[dict[str, Any]]:
    """Return what is to be done with each database; see the RETURN of ``state_databases_info``.

    :param relations: whether both sides are compared by content, which reads both.
    :raises ContimgError: on a decision for an unknown database, an unknown decision, or a damaged source.
    """
    _check_decisions(located, decisions)
    return [
        _judge(one, decisions.get(one.name), ours, relations=relations, integrity=integrity)
        if one.found
        else _judge_lacking(one, decisions.get(one.name), ours)
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
    return {**names, **found, "tables": {}, "newest": {}, "checksum": ""}


def _judge(one: Located, decision: str | None, ours: Ours, *, relations: bool, integrity: str) -> dict[str, Any]:
    exists = target_exists(one.dest_path)
    check = _checked(one.src_path, one.integrity or integrity)
    if not exists:
        return _facts(one, "absent", action_for("absent", None, ours=False), check)
    if one.name in ours.names and (one.name not in ours.left or ours.is_unchanged(one)):
        return _facts(one, "ours", action_for("ours", decision, ours=True), check)
    relation = relate(one.dest_path, one.src_path) if relations else Relation(decision or "absent")
    newest = {"src": newest_row(one.src_path), "dest": newest_row(one.dest_path)} if relations else {}
    facts = _facts(one, relation.kind, action_for(relation.kind, decision, ours=False), check)
    return {**facts, "tables": relation.as_dict(), "newest": newest}


def _judge_lacking(one: Located, decision: str | None, ours: Ours) -> dict[str, Any]:
    """Judge a database that the source lacks: one that a split of an earlier run has made is removed, if it is as it was."""
    if one.name not in ours.names or not target_exists(one.dest_path) or not os.stat(one.dest_path).st_size:
        return _facts(one, "absent", "absent")
    unchanged = ours.is_unchanged(one)
    decided = {"keep_dest": "keep", "take_source": "remove"}.get(decision or "", "undecided")
    action = "remove" if unchanged else decided
    checksum = content_checksum(one.dest_path) if action == "remove" else ""
    return {**_facts(one, "ours" if unchanged else "changed", action), "checksum": checksum}


def _checked(path: str, integrity: str) -> str:
    """Return what SQLite's check says of a database of the source. Raises ContimgError when it is damaged."""
    return "not checked" if integrity == "none" else str(describe(path, integrity=integrity)["integrity"])


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


def report(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``state_databases_info`` reports for its parameters.

    :raises ContimgError: see :func:`locate` and :func:`guard`.
    """
    mapped = [
        Mapped(one["name"], tuple(one["src"]), one["dest"], one["required"], one.get("integrity"))
        for one in values["databases"]
    ]
    located = locate(values["src"], values["dest"], mapped)
    ours = Ours(tuple(values["ours"]), values["left"], values["split_backups"])
    judged = guard(located, values["decisions"], ours, relations=values["relations"], integrity=values["integrity"])
    found = {one.name for one in located if one.found}
    moving = [one for one in judged if one["action"] not in ("absent", "undecided") and one["name"] in found]
    return {
        "databases": judged,
        "rename": {one["src"]: one["dest"] for one in moving if one["src"] != one["dest"]},
        "sync_decisions": {one["dest"]: one["action"] for one in moving if one["action"] in ("keep", "replace")},
        "decided": {
            one["name"]: values["decisions"][one["name"]]
            for one in judged
            if one["name"] in values["decisions"] and one["relation"] not in _NOT_THEIRS
        },
        "undecided": [one["name"] for one in judged if one["action"] == "undecided"],
        "table": table_of(judged),
        "lost_access": lost_access(values["users"], [(one.src_path, one.dest_path) for one in located if one.found]),
    }
