# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the report: everything an operator needs, no secret."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import Edit
from ansible_collections.dsa110.contimg.plugins.module_utils._env.report import (
    Redactor,
    difference,
    is_secret,
    warnings_about,
)

NOTHING = Edit()
MASK = "********"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        (b"SLACK_WEBHOOK_URL", True),
        (b"smtp_password", True),
        (b"SMTP_PASS", True),
        (b"API_TOKEN", True),
        (b"SECRET", True),
        (b"AWS_ACCESS_KEY", True),
        (b"GIVEN", True),
        (b"BANDPASS_DIR", False),
        (b"KEYS_DIR", False),
        (b"PIPELINE_STATE_DIR", False),
    ],
)
def test_names_tell_secrets(name: bytes, *, secret: bool) -> None:
    assert is_secret(name, Edit(secret_names=frozenset({b"GIVEN"}))) is secret


def test_a_secret_is_hidden_wherever_it_stands() -> None:
    content = b"SMTP_PASSWORD=hunter22\nURL=smtp://me:x@host/\nMAIL='user hunter22'\nDIR=/data\nPIN_KEY=1\nN=1\n"
    assert Redactor.over(NOTHING, content).assignments(content) == {
        "SMTP_PASSWORD": MASK,
        "URL": MASK,
        "MAIL": MASK,
        "DIR": "/data",
        "PIN_KEY": MASK,
        "N": "1",
    }


def test_a_diff_shows_assignments_only_and_marks_a_changed_secret() -> None:
    before = b"# old secret: hunter11\nA=1\nA_KEY=hunter11\nB_KEY=same\nA=2\n"
    after = b"# old secret: hunter11\nA_KEY=hunter22\nB_KEY=same\nA=3\nC_KEY=new\n"
    assert difference(before, after, Redactor.over(NOTHING, before, after)) == (
        f"A=1\nA_KEY={MASK}\nB_KEY={MASK}\nA=2\n",
        f"A_KEY={MASK} (changed)\nB_KEY={MASK}\nA=3\nC_KEY={MASK}\n",
    )


@pytest.mark.parametrize(
    ("content", "warnings"),
    [
        (b"# c\nA=1\n", []),
        (b"\n\nexport A=1\n", ["line 3 begins with 'export': systemd drops it, bash does not"]),
        (b"KEY='x'\nMIIEv+Qhunter=\n", ["line 2 is no assignment to a valid name: systemd drops it"]),
        (b"A=\xff\n", ["line 1 holds what is not text in UTF-8, so systemd refuses the whole file"]),
        (b"A=${B}/x\nB=$C\n", ["A refers to another variable, which systemd does not expand"]),
        (
            b"# c \\\nA=1\n",
            ["A stands under a comment that ends in a backslash: systemd sees it from version 254 on"],
        ),
        (b"# c \\\n# d\nA=1\n", []),
    ],
)
def test_warnings_tell_what_is_not_expected(content: bytes, warnings: list[str]) -> None:
    assert list(warnings_about(content)) == warnings
