# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Symbolic links of a state that is moved, on real trees with real databases."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.index import index_files
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.measurement_sets import reconcile
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import split, split_options
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import require_own_place
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import writable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rewrite import run
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.links import (
    links_into,
    require_direct,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import default_options
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

RENAME = {"db/p.sqlite3": "p.sqlite3"}


def database(path: pathlib.Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.commit()


@pytest.fixture(name="base")
def _base(tmp_path: pathlib.Path) -> pathlib.Path:
    """A source below ``h/old``, a destination below ``h/new``, and what lies beside the source."""
    base = tmp_path / "h"
    for name in ("old/src/db", "old/src/logs/a", "old/beside", "new"):
        (base / name).mkdir(parents=True)
    database(base / "old" / "src" / "db" / "p.sqlite3")
    database(base / "old" / "beside" / "o.sqlite3")
    (base / "old" / "src" / "logs" / "a" / "x").write_text("x")
    (base / "old" / "beside" / "file").write_text("beside")
    (base / "alias").symlink_to("old/src")
    return base


def sync(base: pathlib.Path, *, check: bool = False, **values: Any) -> dict[str, Any]:
    places = {"src": str(base / "old" / "src"), "dest": str(base / "new" / "src"), "rename": RENAME}
    return synchronize(options_from(sync_values(base, **{**places, **values})), check=check)


def say(base: pathlib.Path, target: str) -> str:
    return target.replace("SRC", str(base / "old" / "src")).replace("DEST", str(base / "new" / "src")).replace(
        "BASE", str(base)
    )  # fmt: skip


def state_of(link: pathlib.Path) -> tuple[int, int, int]:
    status = os.lstat(link)
    return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)


# name of the link, what it says, its kind (nothing where there is nothing to report), what its copy says when retargeted
CASES = [
    ("logs/relative", "a/x", "", "a/x"),
    ("logs/up", "../db", "", "../db"),
    ("in-again", "../src/logs/a/x", "", "../src/logs/a/x"),
    ("nothing", "gone", "", "gone"),
    ("logs/absolute", "SRC/logs/a/x", "old", "DEST/logs/a/x"),
    ("logs/dangling", "SRC//logs/./gone", "old", "DEST/logs/gone"),
    ("logs/alias", "BASE/alias/logs/a/x", "old", "DEST/logs/a/x"),
    ("directory-of-old", "SRC/logs/", "old", "DEST/logs"),
    ("outside", "BASE/old/beside/file", "outside", "BASE/old/beside/file"),
    ("directory", "BASE/old/beside", "outside", "BASE/old/beside"),
    ("nowhere", "/nonexistent/lock", "outside", "/nonexistent/lock"),
    ("above", "../beside/file", "changed", "BASE/old/beside/file"),
    ("far", "../../alias/logs/a/x", "old", "DEST/logs/a/x"),
    ("same", "../../new", "outside", "../../new"),
    ("renamed", "db/p.sqlite3", "changed", "p.sqlite3"),
    ("logs/renamed", "../db/p.sqlite3", "changed", "../p.sqlite3"),
]


@pytest.mark.parametrize(("name", "target", "kind", "corrected"), CASES)
def test_a_link_is_reported_and_its_copy_retargeted_on_request(
    base: pathlib.Path, name: str, target: str, kind: str, corrected: str
) -> None:
    link, copy = base / "old" / "src" / name, base / "new" / "src" / name
    link.symlink_to(say(base, target))
    before = state_of(link)
    for retarget, told in ((False, target), (True, corrected), (False, target)):
        preview = sync(base, check=True, retarget_links=retarget)
        made = sync(base, retarget_links=retarget)
        assert [one["kind"] for one in made["links"]] == ([kind] if kind else [])
        assert preview["links"] == made["links"]
        assert (preview["actions_digest"], preview["diff"]) == (made["actions_digest"], made["diff"])
        assert [one["new_target"] for one in made["links"]] == ([say(base, told)] if kind else [])
        assert os.readlink(copy) == say(base, told)
        again = sync(base, retarget_links=retarget)
        assert (again["changed"], again["links"], again["source_digest"]) == (
            False, made["links"], made["source_digest"],
        )  # fmt: skip
    assert (state_of(link), os.readlink(link)) == (before, say(base, target))


@pytest.mark.parametrize(("name", "target", "kind", "corrected"), CASES)
def test_a_retargeted_copy_leads_to_the_counterpart(
    base: pathlib.Path, name: str, target: str, kind: str, corrected: str
) -> None:
    (base / "old" / "src" / name).symlink_to(say(base, target))
    sync(base, retarget_links=True)
    source, copy = (os.path.realpath(base / side / "src" / name) for side in ("old", "new"))
    old = f"{base}/old/src"
    counterpart = source.replace(f"{old}/db/p.", f"{old}/p.").replace(old, f"{base}/new/src")
    assert copy == (source if kind == "outside" or name == "above" else counterpart), corrected


def test_a_link_through_the_old_tree_depends_on_it_wherever_it_ends(base: pathlib.Path) -> None:
    (base / "old" / "src" / "out").symlink_to("../beside")
    (base / "old" / "src" / "through").symlink_to(base / "old" / "src" / "out" / "file")
    found = sync(base, retarget_links=True)["links"]
    assert [(one["path"], one["kind"]) for one in found] == [("out", "changed"), ("through", "old")]
    assert os.readlink(base / "new" / "src" / "through") == str(base / "new" / "src" / "out" / "file")
    assert (base / "new" / "src" / "through").read_text() == "beside"


def test_each_link_says_what_it_means(base: pathlib.Path) -> None:
    for name, target in (("a", "SRC/logs"), ("b", "/nonexistent/x"), ("c", "../beside/file"), ("d", "db/p.sqlite3")):
        (base / "old" / "src" / name).symlink_to(say(base, target))
    meanings = [one["meaning"] for one in sync(base, check=True)["links"]]
    assert meanings == [
        say(
            base,
            "a -> SRC/logs: its copy still leads into the old tree; contimg_retarget_links: true points it to DEST/logs",
        ),
        "b -> /nonexistent/x: leads out of the tree, where nothing is; what is there is neither copied nor proved",
        say(
            base,
            "c -> ../beside/file: its copy would lead to BASE/new/beside/file, where nothing is;"
            " contimg_retarget_links: true points it to BASE/old/beside/file",
        ),
        say(
            base,
            "d -> db/p.sqlite3: its copy would lead to DEST/db/p.sqlite3, where nothing is;"
            " contimg_retarget_links: true points it to p.sqlite3",
        ),
    ]
    assert sync(base, retarget_links=True)["links"][0]["meaning"] == say(
        base, "a -> SRC/logs: its copy points to DEST/logs"
    )


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("retarget", [True, False])
@pytest.mark.parametrize(
    "target", ["BASE/old/beside/o.sqlite3", "../beside/o.sqlite3", "SRC/db/p.sqlite3", "../../alias/db/p.sqlite3"]
)
def test_a_database_that_is_a_link_out_of_the_tree_stops_the_copy(
    base: pathlib.Path, target: str, *, retarget: bool, check: bool
) -> None:
    (base / "old" / "src" / "o.sqlite3").symlink_to(say(base, target))
    with pytest.raises(ContimgError, match=r"has databases that are symbolic links .*: o.sqlite3 -> ") as caught:
        sync(base, check=check, retarget_links=retarget)
    assert "Nothing was touched." in caught.value.message
    assert list((base / "new").iterdir()) == []
    assert sync(base, exclude=["/o.sqlite3"])["links"] == []


def test_a_link_to_a_directory_of_databases_in_the_old_tree_stops_the_copy_unless_it_is_retargeted(
    base: pathlib.Path,
) -> None:
    (base / "old" / "src" / "current").symlink_to(base / "old" / "src" / "db")
    with pytest.raises(ContimgError, match="current -> "):
        sync(base)
    sync(base, retarget_links=True)
    assert os.readlink(base / "new" / "src" / "current") == str(base / "new" / "src" / "db")
    (base / "old" / "src" / "far").symlink_to(base / "old" / "beside")
    assert [one["kind"] for one in sync(base, retarget_links=True)["links"]] == ["old", "outside"]


def test_a_destination_that_lies_beside_the_source_is_not_mistaken_for_it(base: pathlib.Path) -> None:
    """There a relative link out of the source and in again leads into the old tree, from the copy too."""
    (base / "old" / "src" / "x").symlink_to("../src/logs/a/x")
    (base / "old" / "src" / "p").symlink_to("../src/db/p.sqlite3")
    dest = str(base / "old" / "copy")
    with pytest.raises(ContimgError, match=r"p -> \.\./src/db/p\.sqlite3"):
        sync(base, dest=dest)
    (made,) = sync(base, dest=dest, exclude=["/p"], retarget_links=True)["links"]
    assert (made["kind"], made["new_target"]) == ("old", "logs/a/x")


def test_a_mapped_database_behind_a_link_is_named(base: pathlib.Path) -> None:
    src = base / "old" / "src"
    require_direct(str(base / "alias"), "db/p.sqlite3", state="Nothing was touched.")
    (src / "p.sqlite3").symlink_to("db/p.sqlite3")
    (src / "fast").symlink_to(base / "old" / "beside")
    for path, real in (
        ("p.sqlite3", src / "db" / "p.sqlite3"),
        ("fast/o.sqlite3", base / "old" / "beside" / "o.sqlite3"),
    ):
        with pytest.raises(ContimgError, match=f"{path}: is reached through a symbolic link to {real}. Nothing was"):
            require_direct(str(src), path, state="Nothing was touched.")


def test_a_database_is_not_written_through_a_link_out_of_its_directory(base: pathlib.Path) -> None:
    src = base / "old" / "src"
    (src / "db" / "q.sqlite3").symlink_to("p.sqlite3")
    for fine in ("db/p.sqlite3", "db/q.sqlite3", "db/none.sqlite3"):
        require_own_place(str(src / fine))
        require_own_place(str(base / "alias" / fine))
    for target in (src / "db" / "p.sqlite3", "db/p.sqlite3", "/nonexistent/p.sqlite3"):
        (src / "p.sqlite3").symlink_to(target)
        with pytest.raises(
            ContimgError, match=r"p.sqlite3: is a symbolic link out of its directory, to .*p.sqlite3. Nothing"
        ):
            require_own_place(str(src / "p.sqlite3"))
        (src / "p.sqlite3").unlink()


def test_links_into_the_old_tree_are_found_wherever_they_are_looked_for(base: pathlib.Path) -> None:
    old, new = base / "old" / "src", base / "new" / "src"
    (new / "code").mkdir(parents=True)
    targets = {
        "absolute": str(old / "logs"),
        "relative": "../../old/src/logs",
        "code/alias": str(base / "alias" / "logs" / "a" / "x"),
        "dangling": str(old / "gone" / "x"),
        "chain": "absolute/a",
        "fine": "code",
        "outside": str(base / "old" / "beside"),
        "similar": f"{old}-2/x",
    }
    for name, target in targets.items():
        (new / name).symlink_to(target)
    found, unread = links_into([str(new)], [str(old)])
    assert [os.path.relpath(one["path"], new) for one in found] == [
        "absolute",
        "chain",
        "code/alias",
        "dangling",
        "relative",
    ]
    assert found[0] == {"path": str(new / "absolute"), "target": str(old / "logs"), "leads_to": str(old / "logs")}
    assert unread == []
    (base / "further").symlink_to("alias")
    for name in ("alias", "further"):
        assert [one["path"] for one in links_into([str(base / name), "/nonexistent"], [str(old)])[0]] == [
            str(base / name)
        ]
    assert links_into([str(new)], [str(old)], exclude=["code", "[adcr]*"])[0] == []


def test_links_of_a_new_tree_that_the_old_name_leads_to_are_its_own(base: pathlib.Path) -> None:
    new = base / "new" / "src"
    new.mkdir()
    (new / "x").symlink_to("y")
    (base / "was").symlink_to(new)
    assert links_into([str(new)], [str(base / "was")]) == ([], [])
    (new / "z").symlink_to(base / "was" / "y")
    assert [one["path"] for one in links_into([str(new)], [str(base / "was")])[0]] == [str(new / "z")]


def splits(path: str, other: str, *, check: bool) -> object:
    values = {**default_options("hdf5_db_split"), "products_db": path, "hdf5_db": other}
    return split(split_options(values, check=check), check=check)


def splits_into(path: str, other: str, *, check: bool) -> object:
    return splits(other, path, check=check)


def indexes(path: str, _other: str, *, check: bool) -> object:
    return index_files(hdf5_db=path, input_dir=os.path.dirname(path), rescan=False, check=check)


def reconciles(path: str, _other: str, *, check: bool) -> object:
    roots = [os.path.dirname(path)]
    return reconcile(products_db=path, roots=roots, max_removed_fraction=1, backup_dir="/nonexistent", check=check)


def opens(path: str, _other: str, *, check: bool) -> object:
    """The one way in which all of them open a database to write."""
    return (writable(path), check)


def rewrites(path: str, _other: str, *, check: bool) -> object:
    one = {"path": path, "preview_from": None}
    plain = {"paths": [], "known": [], "copies_pending": True}
    return run(
        {**plain, "databases": [one], "repoint": [{"from": "/a", "to": "/b"}], "state": "rewritten"}, check=check
    )


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("write", [splits, splits_into, indexes, reconciles, rewrites, opens])
def test_whatever_writes_to_a_database_refuses_such_a_link(
    base: pathlib.Path, write: Callable[..., object], *, check: bool
) -> None:
    new, old = base / "new", base / "old" / "src" / "db" / "p.sqlite3"
    (new / "p.sqlite3").symlink_to(old)
    database(new / "other.sqlite3")
    before = (old.read_bytes(), os.stat(old).st_ctime_ns)
    with pytest.raises(
        ContimgError, match=r"new/p.sqlite3: is a symbolic link out of its directory, to .* Nothing was"
    ):
        write(str(new / "p.sqlite3"), str(new / "other.sqlite3"), check=check)
    assert (old.read_bytes(), os.stat(old).st_ctime_ns) == before


def test_a_glob_that_is_none_does_not_make_a_directory_unreadable(tmp_path: pathlib.Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "name").touch()
    with pytest.raises(ContimgError, match="the range z-a is empty"):
        links_into([str(tmp_path / "tree")], [str(tmp_path)], exclude=["[z-a]"])
