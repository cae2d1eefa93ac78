# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The split as a module runs it: plan, refuse what must not be done, apply, report."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import ensure_private_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import (
    is_directory,
    is_file,
    is_there,
    target_exists,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.private_directory import (
    PRIVATE_NAME,
    private_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import Need, require_room
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.answers import answers_of, require_same_answers
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.apply import Made, apply_split, vacuum
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.plan import (
    SplitOptions,
    SplitPlan,
    conflict_error,
    exists,
    make_split_plan,
    schema_after,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.prepared import (
    file_of,
    forget,
    prepared_in,
    prepared_path,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import INDEX, LOCATIONS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.backup import back_up_database, plan_backup
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum, describe
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import real_path, require_own_place
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import require_short_name
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import Moves
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import is_database, sidecars
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, ContextManager

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Proofs

__all__ = ["carry_out", "is_split_of", "prepare", "refuse_places", "split", "split_options"]

_UNTOUCHED = "Nothing was touched."
_ANSWERS = (
    "Correct or remove these rows, or decide with contimg_hdf5_rejected (the option rejected of hdf5_db_split): fail stops here,"
    " keep_in_products leaves them in the products database and moves the others, quarantine exports them to the backups and"
    " moves the others."
)
_ROOM = "a prepared HDF5 database, and what the move keeps besides"
_UNTIL_CERTAIN = 0.05  # seconds: what is read of a file that has just been written is not remembered
_ROW_BYTES = 1024  # of the HDF5 database for a row, with its eight indexes; measured are 450


def split_options(values: Mapping[str, Any], *, check: bool) -> SplitOptions:
    """Return the options; in check mode a database that does not exist yet is read at its place in ``preview_from``.

    :raises ContimgError: when a path of ``repoint`` is not absolute, or a new one lies below an old one.
    """
    places = {}
    repoint = [(pair["from"], pair["to"]) for pair in values["repoint"]]
    for name in ("products_db", "hdf5_db"):
        preview = (values["preview_from"] or {}).get(name)
        places[name] = preview if check and preview and not target_exists(values[name]) else values[name]
    return SplitOptions(
        products=places["products_db"],
        hdf5=places["hdf5_db"],
        keep_source=values["keep_source"],
        on_conflict=values["on_conflict"],
        backup_dir=values["backup_dir"],
        vacuum=values["vacuum"],
        rejected=values["rejected"],
        moves=Moves(repoint) if check and repoint else None,
        compare_groups=values["compare_groups"],
        prepared_dir=values["prepared_dir"],
    )


def split(
    options: SplitOptions,
    *,
    check: bool,
    remember: Callable[[], ContextManager[Proofs]] | None = None,
) -> dict[str, Any]:
    """Plan the split, do it outside check mode, and return the module's result.

    :param remember: gives what is known of databases, once before the split and once after it. Without it nothing is known.
    :raises ContimgError: see :func:`carry_out`.
    """
    remember = remember or _forgetting
    with remember() as proofs:
        plan, changed, files = carry_out(options, check=check, proofs=proofs)
    with remember() as proofs:
        return _report(options, plan, proofs, changed=changed, files=files)


@contextlib.contextmanager
def _forgetting() -> Iterator[Proofs]:
    yield NOTHING


@dataclass(frozen=True)
class Files:
    """What a split has written.

    :ivar backup_file: the copy of the products database, empty where none was made.
    :ivar rejected_file: the rows that did not fit and have left products, empty where there were none.
    :ivar made: the HDF5 database where it is a prepared one.
    """

    backup_file: str = ""
    rejected_file: str = ""
    made: Made | None = None


def carry_out(options: SplitOptions, *, check: bool, proofs: Proofs = NOTHING) -> tuple[SplitPlan, bool, Files]:
    """Plan the split, do it outside check mode; return the plan, whether it changes anything, and what was kept.

    :param proofs: what is known of the products database, of its backup, and of a prepared HDF5 database.
    :raises ContimgError: when rows are unfit or in conflict (nothing has changed then), or a database cannot be used.
    """
    refuse_places(options.products, options.hdf5)
    plan = make_split_plan(options)
    _refuse_rows(options, plan)
    writes = plan.writes_target() or plan.removes
    vacuums = options.vacuum and bool(plan.removes or plan.free_pages)
    for path, changes in ((options.products, plan.removes or vacuums), (options.hdf5, plan.writes_target())):
        if changes:
            require_short_name(path)
    files = Files()
    if not check and (writes or vacuums):
        _require_space_or_forget(options, plan)
        if writes:
            files = _apply(options, plan, proofs)
        if vacuums:
            vacuum(options.products)
    if not check and not options.keep_source:
        with contextlib.suppress(ContimgError):  # the split is done; the next one that is prepared removes it
            forget(options.prepared_dir)
    return plan, writes or vacuums, files


def _require_space_or_forget(options: SplitOptions, plan: SplitPlan) -> None:
    """Check that there is room, for which what is prepared is given up. Raises ContimgError."""
    try:
        _require_space(options, plan)
    except ContimgError:
        if options.prepared_dir is None:
            raise
        forget(options.prepared_dir)
        _require_space(options, plan)


def _apply(options: SplitOptions, plan: SplitPlan, proofs: Proofs) -> Files:
    """Back products up, apply a plan, and compare the groups of before with those of after if that is wanted.

    Those of a prepared database were compared when it was made. If it turns out not to be current, those of the backup are.
    """
    backup = ""
    if options.backup_dir is not None:
        backup = back_up_database(plan_backup(options.products, options.backup_dir, proofs=proofs))
    prepared = prepared_in(options.prepared_dir, options.products, proofs)
    index, exact = plan.index, not exists(options.hdf5)
    compares = options.compare_groups and bool(index.moved + index.merged + index.conflicts)
    later = bool(backup) and prepared is not None and prepared.products is not None
    before = answers_of(options.products) if compares and not later else None
    exported, made = apply_split(options, plan, prepared)
    if compares and made is None:
        require_same_answers(
            before or answers_of(backup),
            source=options.products,
            target=options.hdf5,
            rejected=index.rejected,
            exact=exact,
            state=f"The products database as it was is {backup or 'not kept'}.",
        )
    return Files(backup, exported, made)


def prepare(
    options: SplitOptions, *, check: bool, remember: Callable[[], ContextManager[Proofs]] | None = None
) -> dict[str, Any]:
    """Make the HDF5 database of a split in ``prepared_dir``, with the backup of products, and return the module's result.

    Products is only read. What was prepared of another content is removed.

    :param remember: see :func:`split`.
    :raises ContimgError: see :func:`carry_out`, and where a file system would be left without room for the move.
    """
    remember, directory = remember or _forgetting, str(options.prepared_dir)
    with remember() as proofs:
        made = prepared_path(directory, content_checksum(options.products, proofs=proofs))
        if not check and proofs.recall(made) is None:
            forget(directory)
            require_room([Need(directory, _ROOM, 3 * os.stat(options.products).st_size)], hint=_UNTOUCHED)
            ensure_private_directory(directory)
        asked = replace(
            options,
            hdf5=made,
            private=True,
            keep_source=True,
            vacuum=False,
            compare_groups=True,
            prepared_dir=None,
        )
        plan, changed, files = carry_out(asked, check=check, proofs=proofs)
    if not check:
        time.sleep(_UNTIL_CERTAIN)
    with remember() as proofs:
        for path in filter(exists, (made, files.backup_file)):
            describe(path, proofs=proofs)
        return _report(asked, plan, proofs, changed=changed, files=files)


def is_split_of(hdf5: str, backups: str) -> bool:
    """Return whether an HDF5 database is what a split of one of the products databases in a directory makes, and no more.

    :param backups: the ``backup_dir`` of splits. Each is split again, into a private directory.
    :raises ContimgError: when the HDF5 database cannot be read.
    """
    wanted = content_checksum(hdf5)
    for name in sorted(os.listdir(backups)) if is_directory(backups) else []:
        copy = os.path.join(backups, name)
        if is_file(copy) and is_database(copy) and _made_again(copy) == wanted:
            return True
    return False


def _made_again(products: str) -> str:
    """Return the content checksum of the HDF5 database that a split makes, empty where there is nothing to split."""
    with private_directory(state=_UNTOUCHED) as scratch:
        made = os.path.join(scratch, PRIVATE_NAME)
        options = SplitOptions(
            products,
            made,
            keep_source=True,
            on_conflict="fail",
            backup_dir=None,
            vacuum=False,
            rejected="keep_in_products",  # whatever was decided for them, they are not in the HDF5 database
        )
        with contextlib.suppress(ContimgError):
            carry_out(options, check=False)
        return content_checksum(made) if exists(made) else ""


def refuse_places(products: str, hdf5: str) -> None:
    """Check what is at the places of the two databases.

    :raises ContimgError: when there is no products database, both are one, or the HDF5 database's place holds something else.
    """
    if not target_exists(products):
        raise ContimgError("the products database does not exist", path=products, hint=_UNTOUCHED)
    if is_there(hdf5) and not target_exists(hdf5):
        raise ContimgError("is a symbolic link to nothing", path=hdf5, hint=f"{_UNTOUCHED} Remove or correct it.")
    for path in (products, hdf5):
        require_own_place(path)
    if target_exists(hdf5) and os.path.samefile(hdf5, products):
        raise ContimgError("is the products database itself", path=hdf5, hint=_UNTOUCHED)
    left = [] if exists(hdf5) else [path for path in sidecars(hdf5) if not path.endswith("-shm")]
    if left:
        hint = f"{_UNTOUCHED} Put its database back, or move it out of the way."
        raise ContimgError("belongs to a database that is not there", path=left[0], hint=hint)


def _refuse_rows(options: SplitOptions, plan: SplitPlan) -> None:
    if plan.removes and plan.hanging:
        hint = f"{_UNTOUCHED} Drop them first, or keep the table (keep_source)."
        what = f"the {'table' if plan.drops else 'rows of'} {INDEX} cannot leave it while these use it: {', '.join(plan.hanging)}"
        raise ContimgError(what, path=options.products, hint=hint)
    if plan.index.rejected and options.rejected == "fail":
        raise ContimgError(
            f"{plan.index.rejected} rows of {INDEX} cannot satisfy the new schema: {'; '.join(plan.rejected_rows)}",
            path=options.products,
            hint=f"{_UNTOUCHED} {_ANSWERS}",
            tables=_tables(plan),
        )
    if plan.index.rejected and options.rejected == "quarantine" and plan.drops and options.backup_dir is None:
        hint = f"{_UNTOUCHED} Name a backup_dir, to which the rows are exported."
        raise ContimgError("a quarantine of rows needs a directory", path=options.products, hint=hint)
    conflicts = plan.index.conflicts + plan.locations.conflicts
    if conflicts and options.on_conflict == "fail":
        names, columns = plan.conflict_names, plan.conflict_columns
        raise conflict_error(
            _tables(plan), names=names, columns=columns, source=options.products, target=options.hdf5, stays="HDF5"
        )


def _require_space(options: SplitOptions, plan: SplitPlan) -> None:
    """Refuse a split for which a file system has no room. A table's bytes are not known: the estimate is generous."""
    products = os.stat(options.products).st_size
    there = os.stat(options.hdf5).st_size if exists(options.hdf5) else 0
    target, source = (os.path.dirname(os.path.abspath(path)) for path in (options.hdf5, options.products))
    needs = []
    if plan.writes_target():
        needs.append(Need(target, "the HDF5 database", min(2 * products, plan.index.moved * _ROW_BYTES) + there))
    if options.vacuum:
        needs.append(Need(source, "the products database without its free pages", 2 * products))
    if options.backup_dir is not None:
        needs.append(Need(options.backup_dir, "the backup of the products database", products))
        if plan.drops and plan.index.rejected:
            size = min(2 * products, plan.index.rejected * _ROW_BYTES)
            needs.append(Need(options.backup_dir, "the export of the rows that do not fit", size))
    require_room(needs, hint=f"{_UNTOUCHED} Make room and run again.")


def _tables(plan: SplitPlan) -> dict[str, dict[str, int]]:
    return {INDEX: asdict(plan.index), LOCATIONS: asdict(plan.locations)}


def _report(options: SplitOptions, plan: SplitPlan, proofs: Proofs, *, changed: bool, files: Files) -> dict[str, Any]:
    before = (plan.source_schema, plan.target_schema)
    products, hdf5 = schema_after(plan)
    places = {"products": options.products, "hdf5": options.hdf5}
    if files.made is not None:
        _note(proofs, options.hdf5, files.made)
    return {
        "changed": changed,
        "tables": _tables(plan),
        "conflict_columns": plan.conflict_columns,
        "rejected_rows": plan.rejected_rows,
        "backup_file": files.backup_file,
        "rejected_file": files.rejected_file,
        "checksums": {name: content_checksum(path, proofs=proofs) for name, path in places.items() if exists(path)},
        "diff": {"before": _shown(*before), "after": _shown([*products, *_left(plan)], hdf5)} if changed else {},
    }


def _note(proofs: Proofs, hdf5: str, made: Made) -> None:
    """Have it remembered what is known of the HDF5 database, unless a process has written to it since it got its name."""
    with proofs.taking(hdf5) as note:
        if made.file is not None and file_of(hdf5) == made.file:
            note(real_path(hdf5), made.facts)


def _left(plan: SplitPlan) -> list[str]:
    """Return what the diff shows of the rows that do not fit."""
    if not (plan.index.rejected and plan.removes):
        return []
    end = "are exported to the backups" if plan.drops else f"stay in {INDEX}"
    return [f"-- {plan.index.rejected} rows that do not fit the HDF5 database {end}"]


def _shown(products: list[str], hdf5: list[str]) -> str:
    lines = ["-- products", *products, "-- hdf5", *hdf5]
    return "".join(" ".join(line.split()) + "\n" for line in lines)
