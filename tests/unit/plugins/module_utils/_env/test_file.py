# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of environment files on disk: what is kept, what is refused, and that a preview is the run."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._env import file as env_file
from ansible_collections.dsa110.contimg.plugins.module_utils._env.file import exposed_secrets, run
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

MASK = "********"
CONTENT = b"# tuned by hand\nSTATE=/stage/state\nSMTP_PASSWORD=hunter22\n"


def parameters(path: object, **given: Any) -> dict[str, Any]:
    """Return the module's parameters with their defaults."""
    defaults: dict[str, Any] = {
        "path": str(path),
        "values": {},
        "directories": {},
        "secrets": {},
        "absent": [],
        "repoint": [],
        "expand": False,
        "restore_from": None,
        "backup_dir": None,
        "create": False,
        "content": "",
        "owner": None,
        "group": None,
        "mode": None,
    }
    return {**defaults, **given}


def facts(path: pathlib.Path) -> tuple[bytes, int, int, int, int]:
    """Return content, mode, owner, inode and time of a file."""
    status = path.stat()
    return path.read_bytes(), status.st_mode & 0o7777, status.st_uid, status.st_ino, status.st_mtime_ns


@pytest.fixture
def env(tmp_path: pathlib.Path) -> pathlib.Path:
    """An environment file with a secret, readable by its owner and group."""
    path = tmp_path / "contimg.env"
    path.write_bytes(CONTENT)
    path.chmod(0o640)
    return path


@pytest.mark.parametrize(
    "given",
    [
        {"values": {"STATE": "/data", "THREADS": 4}},
        {"secrets": {"SMTP_PASSWORD": "hunter33", "HOOK": "https://x"}},
        {"absent": ["SMTP_PASSWORD"]},
        {"repoint": [{"from": "/stage/", "to": "/data"}]},
        {"mode": "0600"},
        {"mode": 0o600},
    ],
)
def test_a_preview_changes_nothing_and_is_the_run_and_a_second_run_changes_nothing(
    env: pathlib.Path, given: dict[str, Any]
) -> None:
    asked = parameters(env, **given)
    before = facts(env)
    preview = run(asked, check=True)
    assert facts(env) == before
    done = run(asked, check=False)
    assert preview == done
    assert done["changed"]
    after = facts(env)
    assert after[:2] != before[:2]
    assert not run(asked, check=True)["changed"]
    assert not run(asked, check=False)["changed"]
    assert facts(env) == after


def test_what_is_kept_is_kept(env: pathlib.Path, tmp_path: pathlib.Path) -> None:
    env.chmod(0o604)
    os.chown(env, 1234, 2345)
    os.setxattr(env, "user.note", b"kept")
    if os.geteuid() == 0:  # a label is but an attribute where no SELinux looks at it
        os.setxattr(env, "security.selinux", b"system_u:object_r:etc_t:s0\0")
    subprocess.run(["setfacl", "-m", "u:12345:r", str(env)], check=True)  # shows as 0644: the group's bits are its mask
    attributes = {name: os.getxattr(env, name) for name in os.listxattr(env)}
    result = run(parameters(env, values={"STATE": "/data"}, backup_dir=str(tmp_path / "backups")), check=False)
    assert env.read_bytes() == CONTENT.replace(b"/stage/state", b"/data")
    backup = pathlib.Path(result["backup_file"])
    assert backup.read_bytes() == CONTENT
    for file in (env, backup):
        status = file.stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o644, 1234, 2345)
        assert {name: os.getxattr(file, name) for name in os.listxattr(file)} == attributes
    assert "system.posix_acl_access" in attributes
    assert sorted(os.listdir(tmp_path)) == ["backups", "contimg.env"]


def test_a_new_file_is_private(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new.env"
    asked = parameters(path, values={"A": "1"}, create=True)
    preview = run(asked, check=True)
    assert not path.exists()
    assert preview == run(asked, check=False)
    assert preview["diff"]["after"] == "# mode 0640\nA=1\n"
    assert facts(path)[:2] == (b"# BEGIN dsa110.contimg\nA=1\n# END dsa110.contimg\n", 0o640)
    assert not run(asked, check=False)["changed"]


def test_a_new_file_begins_with_what_is_given(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new.env"
    asked = parameters(path, values={"A": "1"}, secrets={"HOOK": "planted"}, create=True, content="# made by us\nA=0\n")
    preview = run(asked, check=True)
    assert not path.exists()
    assert preview == run(asked, check=False)
    assert path.read_bytes() == b"# made by us\nA=1\n# BEGIN dsa110.contimg\nHOOK=planted\n# END dsa110.contimg\n"
    assert not run({**asked, "content": "# another\n"}, check=False)["changed"]


def test_no_secret_is_told(env: pathlib.Path) -> None:
    secrets = {"SMTP_PASSWORD": "hunter33", "HOOK": "plain-hook"}
    asked = parameters(env, secrets=secrets, values={"URL": "x-${HOOK}", "A_TOKEN": "given-token"}, expand=True)
    result = run(asked, check=False)
    assert result["assignments"] == {
        "STATE": "/stage/state",
        "SMTP_PASSWORD": MASK,
        "A_TOKEN": MASK,
        "HOOK": MASK,
        "URL": MASK,
    }
    assert f"SMTP_PASSWORD={MASK} (changed)\n" in result["diff"]["after"]
    assert b"URL=x-plain-hook\n" in env.read_bytes()
    assert not [secret for secret in ("hunter22", "hunter33", "plain-hook", "given-token") if secret in repr(result)]
    assert exposed_secrets(asked) == {"given-token"}
    assert result["warnings"] == ["A_TOKEN looks like a secret: give it in 'secrets', Ansible logs 'values'"]


def test_edits_are_undone_byte_for_byte_where_nobody_else_has_changed_the_file(
    env: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    os.setxattr(env, "user.note", b"kept")
    directory = str(tmp_path / "backups")
    run(parameters(env, absent=["STATE"], mode="0600", backup_dir=directory), check=False)
    run(parameters(env, values={"NEW": "1"}, secrets={"SMTP_PASSWORD": "hunter33"}, backup_dir=directory), check=False)
    asked = parameters(env, restore_from=directory)
    before = facts(env)
    preview = run(asked, check=True)
    assert facts(env) == before
    assert preview == run(asked, check=False)
    head = f"# mode 0640, owner {os.getuid()}, group {os.getgid()}\n"
    assert preview["diff"]["after"] == f"{head}STATE=/stage/state\nSMTP_PASSWORD={MASK} (changed)\n"
    assert facts(env)[:2] == (CONTENT, 0o640)
    assert os.getxattr(env, "user.note") == b"kept"
    assert not run(asked, check=False)["changed"]
    journal = (tmp_path / "backups" / "edits.json").read_text()
    assert "hunter" not in journal


def test_only_what_an_edit_changed_is_undone_and_what_was_changed_since_stays(
    env: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    directory = str(tmp_path / "backups")
    env.write_bytes(b"# tuned by hand\nSTATE='/stage/state' # old\nDB=/stage/db\nSMTP_PASSWORD=hunter22\nTHREADS=4\n")
    paths = [{"from": "/stage", "to": "/data"}]
    run(parameters(env, repoint=paths, values={"NEW": "1"}, backup_dir=directory), check=False)
    run(parameters(env, secrets={"HOOK": "given-hook"}, backup_dir=directory), check=False)
    text = env.read_bytes().replace(b"hunter22", b"rotated9").replace(b"DB=/data/db", b"DB=/mine/db")
    env.write_bytes(b"# later\n" + text.replace(b"THREADS=4\n", b"THREADS=8\nADDED=yes\n"))
    env.chmod(0o600)
    preview, result = (run(parameters(env, restore_from=directory), check=check) for check in (True, False))
    assert preview == result
    assert env.read_bytes() == (
        b"# later\n# tuned by hand\nSTATE='/stage/state' # old\nDB=/mine/db\nSMTP_PASSWORD=rotated9\nTHREADS=8\nADDED=yes\n"
    )
    assert env.stat().st_mode & 0o7777 == 0o600
    assert result["kept_names"] == ["DB"]
    assert result["warnings"] == [f"{env}: DB: changed by somebody else since, so the newer value stays"]
    again = run(parameters(env, restore_from=directory), check=False)
    assert (again["changed"], again["kept_names"]) == (False, ["DB"])


def test_a_file_that_an_edit_has_made_goes_but_not_what_somebody_has_added(tmp_path: pathlib.Path) -> None:
    path, directory = tmp_path / "new.env", str(tmp_path / "backups")
    make = parameters(path, values={"A": "1"}, create=True, content="# ours\n", backup_dir=directory)
    run(make, check=False)
    assert run(parameters(path, restore_from=directory), check=True)["changed"]
    assert path.exists()
    assert run(parameters(path, restore_from=directory), check=False)["changed"]
    assert not path.exists()
    assert not run(parameters(path, restore_from=directory), check=False)["changed"]
    run(make, check=False)
    path.write_bytes(path.read_bytes() + b"MINE=2\n")
    result = run(parameters(path, restore_from=directory), check=False)
    assert path.read_bytes() == b"# ours\nMINE=2\n"
    assert "was made by the move and changed by somebody else since" in result["warnings"][0]


def test_a_file_that_is_gone_comes_back_as_it_was(env: pathlib.Path, tmp_path: pathlib.Path) -> None:
    directory = str(tmp_path / "backups")
    run(parameters(env, values={"STATE": "/data"}, backup_dir=directory), check=False)
    env.unlink()
    assert run(parameters(env, restore_from=directory), check=False)["changed"]
    assert facts(env)[:2] == (CONTENT, 0o640)


def test_without_an_edit_there_is_nothing_to_undo(env: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert not run(parameters(env, restore_from=str(tmp_path / "none")), check=False)["changed"]
    assert env.read_bytes() == CONTENT


@pytest.mark.parametrize("content", ["", "[]", '{"edits": [{}]}', '{"edits": 1}', "\0"])
def test_a_damaged_journal_is_refused(env: pathlib.Path, tmp_path: pathlib.Path, content: str) -> None:
    directory = tmp_path / "backups"
    run(parameters(env, values={"STATE": "/data"}, backup_dir=str(directory)), check=False)
    (directory / "edits.json").write_text(content)
    before = facts(env)
    with pytest.raises(ContimgError, match=r"edits.json: is not a journal of edits\. Nothing was touched\."):
        run(parameters(env, restore_from=str(directory)), check=False)
    assert facts(env) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"values": {"A B": "hunter33"}}, "'A B' is no name that systemd accepts"),
        ({"absent": ["A=hunter"]}, "is no name"),
        ({"secrets": {"A": True}}, "the value of A is neither text nor a number"),
        ({"secrets": {"A": None}}, "the value of A is neither text nor a number"),
        ({"secrets": {"A": "hunter33\0"}}, "the value of A holds a character that systemd does not accept"),
        ({"values": {"A": "1"}, "secrets": {"A": "hunter33"}}, "A is given twice"),
        ({"values": {"A": "1"}, "absent": ["A"]}, "A is given twice"),
        ({"directories": {"A": "/d"}, "absent": ["A"]}, "A is given twice"),
        ({"repoint": [{"from": "", "to": "/data"}]}, "'repoint' takes absolute paths other than /"),
        ({"repoint": [{"from": "/", "to": "/data"}]}, "'repoint' takes absolute paths other than /"),
        ({"repoint": [{"from": "/stage", "to": "/stage/new"}]}, "'repoint' would move /stage/new again"),
        ({"mode": "u+rw"}, "'u\\+rw' is no octal mode such as 0640"),
        ({"mode": "-1"}, "is no octal mode"),
        ({"mode": True}, "is no octal mode"),
        ({"owner": "no-such-user"}, "there is no user 'no-such-user'"),
    ],
)
def test_bad_input_is_told_before_anything_is_touched(env: pathlib.Path, given: dict[str, Any], message: str) -> None:
    before = facts(env)
    with pytest.raises(ContimgError, match=message) as raised:
        run(parameters(env, **given), check=False)
    assert "Nothing was touched." in str(raised.value)
    assert "hunter33" not in str(raised.value)
    assert facts(env) == before


def test_files_that_cannot_be_edited_are_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "nul.env").write_bytes(b"A=1\0")
    (tmp_path / "directory.env").mkdir()
    os.mkfifo(tmp_path / "pipe.env")
    (tmp_path / "comment.env").write_bytes(b"# c \\\nB=1\n")
    for name, create, message in (
        ("none.env", False, "No such file or directory"),
        ("none/contimg.env", True, "No such file or directory"),
        ("nul.env", False, "holds a NUL byte"),
        ("directory.env", False, "is not a regular file"),
        ("pipe.env", False, "is not a regular file"),
        ("comment.env", False, "not every systemd would read these as asked: B"),
    ):
        with pytest.raises(ContimgError, match=message) as raised:
            run(parameters(tmp_path / name, absent=["B"], create=create), check=True)
        assert str(raised.value).startswith(str(tmp_path / name))


def test_a_link_is_edited_at_its_target(env: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "second").symlink_to("../contimg.env")
    (tmp_path / "first").symlink_to(tmp_path / "links" / "second")
    assert run(parameters(tmp_path / "first", values={"STATE": "/data"}), check=False)["changed"]
    assert (tmp_path / "first").is_symlink()
    assert env.read_bytes() == CONTENT.replace(b"/stage/state", b"/data")


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o777), (0, 0o775), (1234, 0o755)])
def test_a_link_that_others_can_redirect_is_refused(
    env: pathlib.Path, tmp_path: pathlib.Path, *, owner: int, mode: int
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "second").symlink_to(env)
    links.chmod(mode)
    os.chown(links, owner, owner)
    (tmp_path / "first").symlink_to(links / "second")
    with pytest.raises(ContimgError, match=r"is a link, and others may write to .*/links"):
        run(parameters(tmp_path / "first", values={"STATE": "/data"}), check=False)
    assert env.read_bytes() == CONTENT


def test_a_circle_of_links_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ContimgError, match="is a link that leads in circles"):
        run(parameters(tmp_path / "a"), check=False)


@pytest.mark.parametrize("existed", [True, False])
def test_an_edit_by_somebody_else_meanwhile_is_not_lost(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, *, existed: bool
) -> None:
    path = tmp_path / "contimg.env"
    if existed:
        path.write_bytes(CONTENT)
    read = env_file._read

    def read_and_be_overtaken(*arguments: Any, **options: Any) -> Any:
        found = read(*arguments, **options)
        path.write_bytes(b"OTHER=1\n")
        return found

    monkeypatch.setattr(env_file, "_read", read_and_be_overtaken)
    with pytest.raises(ContimgError, match="was changed by somebody else meanwhile"):
        run(parameters(path, values={"STATE": "/data"}, create=True), check=False)
    assert path.read_bytes() == b"OTHER=1\n"


def test_a_file_that_git_tracks_is_said_to_be_so(env: pathlib.Path) -> None:
    for command in (["init", "-q"], ["add", env.name]):
        subprocess.run(["git", "-C", str(env.parent), *command], check=True)
    warnings = run(parameters(env), check=True)["warnings"]
    assert warnings == [f"{env}: is tracked by git in {env.parent}: a checkout there would undo a change"]


def test_a_file_name_of_255_bytes_is_edited_backed_up_and_restored(tmp_path: pathlib.Path) -> None:
    path = tmp_path / ("x" * 251 + ".env")
    path.write_bytes(CONTENT)
    run(parameters(path, values={"STATE": "/data"}, backup_dir=str(tmp_path / "backups")), check=False)
    assert b"STATE=/data" in path.read_bytes()
    run(parameters(path, restore_from=str(tmp_path / "backups")), check=False)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("given", [{"values": {"STATE": "/data"}}, {"values": {"STATE": "/stage/state"}}])
def test_the_next_run_removes_the_secrets_that_a_killed_one_has_left(env: pathlib.Path, given: dict[str, Any]) -> None:
    child = os.fork()
    if not child:
        os.rename = lambda *_arguments, **_named: os.kill(os.getpid(), signal.SIGKILL)
        run(parameters(env, secrets={"HOOK": "planted"}), check=False)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(os.listdir(env.parent)) == 2
    run(parameters(env, **given), check=True)
    assert len(os.listdir(env.parent)) == 2  # a preview removes nothing
    run(parameters(env, **given), check=False)
    assert os.listdir(env.parent) == [env.name]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/stage/state", "/data/state"),
        ("/stage/state/", "/data/state/"),
        ("/stage/state/db", "/data/state/db"),
        ('"/stage/state/a b"', "/data/state/a b"),
        ("/data/state/db", "/data/state/db"),
        ("/stage/state/../elsewhere", "/data/state"),
        ("/stage/state:/other", "/data/state"),
        ("/stage/state.old", "/data/state"),
        ("/elsewhere", "/data/state"),
        ("", "/data/state"),
        (None, "/data/state"),
    ],
)
def test_a_directory_keeps_its_tail_below_the_new_place(
    tmp_path: pathlib.Path, value: str | None, expected: str
) -> None:
    path = tmp_path / "env"
    path.write_text("A=1\n" if value is None else f"A=1\nSTATE={value}\n")
    moves = [{"from": "/stage/state", "to": "/data/state"}]
    asked = parameters(path, directories={"STATE": "/data/state"}, repoint=moves)
    assert run(asked, check=True)["assignments"]["STATE"] == expected
    assert run(asked, check=False)["assignments"] == {"A": "1", "STATE": expected}
    assert not run(asked, check=False)["changed"]
    assert run({**asked, "values": {"STATE": "/x"}}, check=False)["assignments"]["STATE"] == "/x"
