# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Symbolic links of a tree that is moved: where each leads, where its copy will lead, and which still lead into the old tree.

A link is copied as it is. One that names the old tree by its absolute path, or leaves the tree by a relative one, then leads
to another place than a reader of the new tree expects. A database behind such a link is not copied at all, and who writes
to it through the copied link changes the original.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import require_globs
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import destination_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import is_excluded, read_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import is_database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry

__all__ = ["Links", "StateLink", "links_into", "require_direct"]

_NAMED = 10  # links that an error lists
_OLD, _OUTSIDE, _CHANGED = "old", "outside", "changed"


class StateLink(NamedTuple):
    """A link of the source whose copy leads elsewhere than into the new tree.

    :ivar path: below the source.
    :ivar target: what it says.
    :ivar kind: ``old``: the copy leads into the old tree; ``outside``: both lead to the same place outside; ``changed``: the
        copy leads to another place.
    :ivar leads_to: the absolute path that it leads to.
    :ivar then: the absolute path that its copy leads to if it says the same.
    :ivar corrected: what the copy has to say to lead to the counterpart of ``leads_to``.
    :ivar database: whether a database is behind it that a copy of the link would share with the source.
    :ivar directory: whether that is a directory of databases.
    """

    path: bytes
    target: bytes
    kind: str
    leads_to: bytes
    then: bytes
    corrected: bytes
    database: bool = False
    directory: bool = False

    def meaning(self, *, retargeted: bool) -> str:
        """Return what it means for the new tree, as a line for the operator."""
        seen = self.then if self.kind == _CHANGED else self.leads_to
        there = "" if os.path.exists(seen) else ", where nothing is"
        if self.kind == _OUTSIDE:
            what = f"leads out of the tree{there}; what is there is neither copied nor proved"
        elif retargeted:
            what = f"its copy points to {printable(self.corrected)}"
        else:
            into = "still leads into the old tree" if self.kind == _OLD else f"would lead to {printable(self.then)}"
            what = f"its copy {into}{there}; contimg_retarget_links: true points it to {printable(self.corrected)}"
        return f"{printable(self.path)} -> {printable(self.target)}: {what}"

    def stops(self, *, retargeted: bool) -> bool:
        """Return whether the tree cannot be moved with it: a database cannot be in two trees at once."""
        return self.database and not (self.directory and retargeted)

    def as_dict(self, *, retargeted: bool) -> dict[str, Any]:
        """Return it as a module's result."""
        return {
            "path": printable(self.path),
            "target": printable(self.target),
            "kind": self.kind,
            "leads_to": printable(self.leads_to),
            "new_target": printable(self.corrected if retargeted else self.target),
            "meaning": self.meaning(retargeted=retargeted),
        }


class Links:
    """Judges the links of a source.

    :param rename: files that are called otherwise below the destination.
    :param retarget: whether copies are to lead to the counterpart in the new tree of what the originals lead to.
    """

    def __init__(self, src: str, dest: str, rename: Mapping[bytes, bytes], *, retarget: bool) -> None:
        self.rename, self.retarget = rename, retarget
        self.src, self.dest = os.fsencode(os.path.realpath(src)), os.fsencode(os.path.realpath(dest))
        self._named_dest = os.fsencode(os.path.abspath(dest))
        self._names = (os.fsencode(os.path.abspath(src)), self.src)
        self.found: list[StateLink] = []

    def copied(self, entry: Entry) -> Entry:
        """Return an entry as it is to be copied, and remember a link of which there is something to report."""
        link = self._judged(entry) if entry.target else None
        if link is None:
            return entry
        self.found.append(link)
        return entry._replace(target=link.corrected) if self.retarget else entry

    def require_none(self, state: str) -> None:
        """Check that no database of the source is such a link. Raises ContimgError which names the first ones."""
        found = [link for link in sorted(self.found) if link.stops(retargeted=self.retarget)]
        if found:
            names = "; ".join(f"{printable(link.path)} -> {printable(link.target)}" for link in found[:_NAMED])
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            hint = (
                f"{state} The old and the new tree would share what they lead to: a write to the new one would change the old one."
                " Put the database itself there, make the link a relative one to a database of the same tree, or exclude the link"
                " (contimg_exclude)."
            )
            if any(link.directory for link in found):
                hint += " contimg_retarget_links: true is enough for links to directories of the old tree."
            raise ContimgError(
                f"has databases that are symbolic links out of the tree or to its absolute path: {names}{more}",
                path=self._names[0], hint=hint, links=self.report(),
            )  # fmt: skip

    def report(self) -> list[dict[str, Any]]:
        """Return what was found as a module's result, sorted."""
        return [link.as_dict(retargeted=self.retarget) for link in sorted(self.found)]

    def _judged(self, entry: Entry) -> StateLink | None:
        judge = self._absolute if entry.target.startswith(b"/") else self._relative
        link = judge(entry.path, entry.target)
        return None if link is None else self._with_database(link)

    def _absolute(self, path: bytes, target: bytes) -> StateLink:
        leads_to = os.path.normpath(target)
        below = self._below_source(leads_to)
        if below is None:
            return StateLink(path, target, _OUTSIDE, leads_to, leads_to, target)
        return StateLink(path, target, _OLD, leads_to, leads_to, self._counterpart(below))

    def _relative(self, path: bytes, target: bytes) -> StateLink | None:
        """Judge by the names: what other links on the way mean is reported for these."""
        goes = destination_of(path, self.rename)
        leads_to = os.path.normpath(os.path.join(self.src, parent_of(path), target))
        then = os.path.normpath(os.path.join(self.dest, parent_of(goes), target))
        below = _below(leads_to, self.src)
        if below is not None:
            wanted = os.path.normpath(os.path.join(self.dest, destination_of(below, self.rename)))
            corrected = os.path.relpath(wanted, os.path.join(self.dest, parent_of(goes)))
            same = then == wanted
        else:
            below = self._below_source(leads_to)
            wanted = corrected = leads_to if below is None else self._counterpart(below)
            same = os.path.realpath(then) == os.path.realpath(wanted)
        if same:
            return None if below is not None else StateLink(path, target, _OUTSIDE, leads_to, then, target)
        kind = _CHANGED if self._below_source(then) is None else _OLD
        return StateLink(path, target, kind, leads_to, then, corrected)

    def _below_source(self, path: bytes) -> bytes | None:
        """Return where a path lies below the source, by its name or by where it really leads."""
        found = [_below(path, name) for name in self._names]
        return next((below for below in [*found, _below(os.path.realpath(path), self.src)] if below is not None), None)

    def _counterpart(self, below: bytes) -> bytes:
        return os.path.normpath(os.path.join(self._named_dest, destination_of(below, self.rename)))

    def _with_database(self, link: StateLink) -> StateLink:
        if link.kind == _CHANGED and _below(link.leads_to, self.src) is not None:
            return link  # it misses a renamed file: no other tree has a part in it
        if link.kind == _OLD and os.path.isdir(link.leads_to):
            return link._replace(database=_holds_database(link.leads_to), directory=True)
        return link._replace(database=_is_database(link.leads_to))


def _below(path: bytes, root: bytes) -> bytes | None:
    """Return a path as one below a root, by its name; empty for the root itself, ``None`` for what lies elsewhere."""
    if path == root:
        return b""
    prefix = root.rstrip(b"/") + b"/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _is_database(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and is_database(os.fsdecode(path))
    except (OSError, ContimgError):  # it leads nowhere, or to what cannot be read
        return False


def _holds_database(directory: bytes) -> bool:
    return any(
        _is_database(os.path.join(place, name)) for place, _directories, names in os.walk(directory) for name in names
    )


def require_direct(root: str, path: str, *, state: str) -> None:
    """Check that a database is not reached through a symbolic link below a root.

    :param path: below the root.
    :raises ContimgError: naming where it leads.
    """
    named = os.path.join(os.path.realpath(root), os.path.normpath(path))
    real = os.path.realpath(named)
    if real != named:
        hint = (
            f"{state} A move copies databases and not what links lead to. Put the database itself there while its services are"
            " stopped; or, where it lies in the same directory tree, name its real place in contimg_databases."
        )
        raise ContimgError(f"is reached through a symbolic link to {real}", path=os.path.join(root, path), hint=hint)


def links_into(
    paths: Sequence[str], into: Sequence[str], *, exclude: Sequence[str] = ()
) -> tuple[list[dict[str, str]], list[str]]:
    """Find the symbolic links of some trees that lead into some directories, by what they say or by where they really lead.

    :param paths: directories, or links themselves; what does not exist has no links.
    :param into: directories that need not exist any more.
    :param exclude: globs as rsync takes them, of what is not looked at.
    :returns: the links, each with ``path``, ``target`` and ``leads_to``, and the directories that could not be read.
    :raises ContimgError: when a glob is none.
    """
    require_globs(exclude)
    names = [os.fsencode(os.path.abspath(path)) for path in into]
    unread: list[str] = []
    found = []
    for path in paths:
        own = os.fsencode(os.path.realpath(path))
        for place, target in _links_of(path, tuple(exclude), unread):
            if _leads_into(place, target, names, own):
                leads_to = os.path.realpath(place)
                found.append({"path": printable(place), "target": printable(target), "leads_to": printable(leads_to)})
    return sorted(found, key=lambda link: link["path"]), unread


def _leads_into(place: bytes, target: bytes, names: Sequence[bytes], own: bytes) -> bool:
    """Return whether a link says, or really leads to, a path below the names; where these lead to its own tree, what it says."""
    says = os.path.normpath(os.path.join(os.path.realpath(os.path.dirname(place)), target))
    real = os.path.realpath(os.path.join(os.path.dirname(place), target))
    stays = real != own and _below(real, own) is not None
    return _is_below(says, names) or (_is_below(real, map(os.path.realpath, names)) and not stays)


def _is_below(path: bytes, roots: Iterable[bytes]) -> bool:
    return any(_below(path, root) is not None for root in roots)


def _links_of(path: str, exclude: tuple[str, ...], unread: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the path and the target of a link and of every link below a directory."""
    named = os.fsencode(os.path.abspath(path))
    if os.path.islink(named):
        yield named, os.readlink(named)
    if not os.path.isdir(named):
        return
    with open_root(path) as root:
        pending = [b""]
        while pending:
            directory = pending.pop()
            try:
                entries = [entry for entry in read_directory(root, directory) if not is_excluded(entry, exclude)]
            except ContimgError as error:
                unread.append(f"{printable(os.path.join(named, directory))}: {error.what}")
                continue
            pending += [entry.path for entry in entries if entry.is_directory]
            yield from ((os.path.join(named, entry.path), entry.target) for entry in entries if entry.target)
