# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of paths that code composes of parts."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._references.composed import compositions
from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import parsed
from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Needle

STATE = "/stage/dsa110-contimg/state"
NEEDLE = Needle(STATE)

FOUND = {
    'Path("/stage/dsa110-contimg") / "state/db"': "state/db",
    'Path("/stage") / "dsa110-contimg" / "state"': "state",
    'pathlib.Path("/stage/dsa110-contimg", "state")': "state",
    'Path("/stage/dsa110-contimg").joinpath("state", "x")': "state/x",
    'os.path.join("/stage", "dsa110-contimg", "state", name)': "state/",
    'osp.path.join("/stage/dsa110-contimg/", "state")': "state",
    '"/stage/dsa110-contimg" + "/state/" + name': "state/",
    'str(Path("/stage/dsa110-contimg")) + "/state"': "state",
    'B = "/stage/dsa110-contimg"; f"{B}/state/{x}.log"': "state/",
    'B = Path("/stage/dsa110-contimg"); S = B / "state"; D = S / "db"': "state/db|state",
    'class C:\n    base: Path = Path("/stage/dsa110-contimg")\n    state = base / "state"': "state",
    'self.base = Path("/stage/dsa110-contimg"); x(self.base / "state")': "state",
    'Path(os.getenv("STAGE", "/stage/dsa110-contimg")) / "state"': "state",
    'os.path.join(os.environ.get("STAGE", "/stage/dsa110-contimg"), "state")': "state",
    '(Path("/stage/dsa110-contimg")\n   / "state"  # here\n   / name)': "state/",
}
NOT_FOUND = [
    'Path("/stage/dsa110-contimg") / "ms" / "state"',
    'Path("/stage/dsa110-contimg") / "state-old"',
    'Path("/stage/dsa110-contimg") / "state" / ".." / "ms"',
    'Path("/stage/dsa110-contimg") / name / "state"',
    'os.path.join("/stage/dsa110-contimg", "state", "/data/x")',
    'B = "/stage/dsa110-contimg"\nB = "/data"\nB + "/state"',
    'def f(B):\n    return B + "/state"\nB = "/stage/dsa110-contimg"',
    '"/stage/dsa110-contimg" - "/state"',
    "S = S / 'state'",
    f'Path("{STATE}")',  # one part: found as it stands
]


def texts(code: str) -> set[str]:
    """Return the composed paths of a program."""
    source = parsed(code.encode())
    assert source is not None
    return {one.value.text for one in compositions(source, NEEDLE)}


@pytest.mark.parametrize(("code", "expected"), FOUND.items())
def test_a_composed_path_is_found(code: str, expected: str) -> None:
    assert NEEDLE.may_be_composed(code)
    assert texts(code) == {f"/stage/dsa110-contimg/{one}" for one in expected.split("|")}


@pytest.mark.parametrize("code", NOT_FOUND)
def test_what_leads_elsewhere_is_not(code: str) -> None:
    assert texts(code) == set()


def test_a_very_long_concatenation_ends() -> None:
    assert texts("x = " + " + ".join(['"/stage"'] * 900)) == set()
