# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the module as Ansible calls it: what it prints, to the last byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.dsa110.contimg.plugins.modules import env_file

if TYPE_CHECKING:
    import pathlib


def called(capsys: pytest.CaptureFixture[str], **arguments: Any) -> tuple[dict[str, Any], str]:
    """Return the module's result, and everything that it printed."""
    with patch_module_args(arguments), pytest.raises(SystemExit):
        env_file.main()
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.out + printed.err


def test_secrets_are_in_the_file_and_in_nothing_that_is_printed(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "contimg.env"
    path.write_bytes(b"OLD_PASSWORD=planted-1\n# planted-2\n")
    result, printed = called(
        capsys,
        path=str(path),
        values={"STATE": "/data", "A_TOKEN": "planted-3"},
        secrets={"HOOK": "planted-4"},
        _ansible_diff=True,
    )
    assert result["changed"]
    assert result["assignments"]["STATE"] == "/data"
    assert "planted" not in printed
    assert [path.read_bytes().count(b"planted-%d" % number) for number in (1, 2, 3, 4)] == [1, 1, 1, 1]


def test_an_error_names_the_path_and_no_secret(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.env"
    result, printed = called(capsys, path=str(path), secrets={"HOOK": "planted"})
    assert result["failed"]
    assert result["msg"].startswith(f"{path}: could not read the environment file: No such file or directory")
    assert "planted" not in printed
    assert not path.exists()
