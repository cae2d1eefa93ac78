# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the rewrite: what is proved is replaced, means the new path, follows the environment; all else stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._references.composed import compositions
from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import Source, parsed
from ansible_collections.dsa110.contimg.plugins.module_utils._references.rewrite import Rewriting, rewriting
from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Needle
from ansible_collections.dsa110.contimg.plugins.module_utils._references.variables import Variable, Variables

if TYPE_CHECKING:
    from collections.abc import Mapping

OLD, NEW = "/stage/dsa110-contimg/state", "/data/dsa110-contimg/state"
VARIABLES = Variables(
    [
        Variable(OLD, "PIPELINE_STATE_DIR", NEW),
        Variable(f"{OLD}/db/products.sqlite3", "PIPELINE_PRODUCTS_DB", f"{NEW}/products.sqlite3"),
    ],
    OLD,
)
GETENV = f'os.getenv("PIPELINE_STATE_DIR", "{NEW}")'
PRODUCTS = f'os.getenv("PIPELINE_PRODUCTS_DB", "{NEW}/products.sqlite3")'

# One program, and how it must look afterwards.
REWRITTEN = {
    "a string": (f'import os\nx = "{OLD}"\n', f"import os\nx = {GETENV}\n"),
    "a Path": (f'import os\nx = Path("{OLD}")\n', f"import os\nx = Path({GETENV})\n"),
    "below": (f'import os\nx = "{OLD}/a/b"\n', f'import os\nx = os.path.join({GETENV}, "a/b")\n'),
    "a slash at the end": (f'import os\nx = "{OLD}/"\n', f'import os\nx = os.path.join({GETENV}, "")\n'),
    "the longest match": (f'import os\nx = "{OLD}/db/products.sqlite3"\n', f"import os\nx = {PRODUCTS}\n"),
    "quotes": (f"import os\nx = '{OLD}/a'\n", "import os\nx = os.path.join(" + GETENV.replace('"', "'") + ", 'a')\n"),
    "raw": (f'import os\nx = r"{OLD}"\n', f"import os\nx = {GETENV}\n"),
    "an odd name": (f'import os\nx = "{OLD}/a\'b"\n', f'import os\nx = os.path.join({GETENV}, "a\'b")\n'),
    "no import": (f'x = "{OLD}"\n', f"import os\n\nx = {GETENV}\n"),
    "an import before others": (
        f'"""D."""\n\nimport sys\nx = "{OLD}"\n',
        f'"""D."""\n\nimport os\nimport sys\nx = {GETENV}\n',
    ),
    "a future import": (
        f'"""D."""\nfrom __future__ import annotations\nx = "{OLD}"\n',
        f'"""D."""\nfrom __future__ import annotations\nimport os\n\nx = {GETENV}\n',
    ),
    "a star import": (f'from a import *\nx = "{OLD}"\n', f"from a import *\nimport os\n\nx = {GETENV}\n"),
    "a star before os": (f'from a import *\nimport os\nx = "{OLD}"\n', f"from a import *\nimport os\nx = {GETENV}\n"),
    "an alias": (f'import os as _os\nx = "{OLD}"\n', f"import os as _os\nx = _{GETENV}\n"),
    "getenv alone": (f'from os import getenv\nx = "{OLD}"\n', f"from os import getenv\nx = {GETENV[3:]}\n"),
    "getenv alone, below": (
        f'from os import getenv\nx = "{OLD}/a"\n',
        f'import os\nfrom os import getenv\nx = os.path.join({GETENV}, "a")\n',
    ),
    "os.path": (f'import os.path\nx = "{OLD}"\n', f"import os.path\nx = {GETENV}\n"),
    "an import that comes late": (f'x = "{OLD}"\nimport os\n', f"import os\n\nx = {GETENV}\nimport os\n"),
    "an import in a condition": (
        f'try:\n    import os\nexcept E:\n    pass\nx = "{OLD}"\n',
        f"import os\n\ntry:\n    import os\nexcept E:\n    pass\nx = {GETENV}\n",
    ),
    "CRLF": (f'"""D."""\r\nx = "{OLD}"\r\n', f'"""D."""\r\nimport os\r\n\r\nx = {GETENV}\r\n'),
    "tabs": (
        f'import os\ndef f():\n\tx = 1;\ty = "{OLD}"\t# c\n',
        f"import os\ndef f():\n\tx = 1;\ty = {GETENV}\t# c\n",
    ),
    "no newline at the end": (f'import os\nx = "{OLD}"', f"import os\nx = {GETENV}"),
    "many lines": (
        f'import os\nx = f(\n    1,\n    "{OLD}",  # é\n    b="é", c="{OLD}/a",\n)\n',
        f'import os\nx = f(\n    1,\n    {GETENV},  # é\n    b="é", c=os.path.join({GETENV}, "a"),\n)\n',
    ),
    "a dataclass": (
        f'import os\n@dataclass\nclass C:\n    state: Path = Path("{OLD}")\n',
        f"import os\n@dataclass\nclass C:\n    state: Path = Path({GETENV})\n",
    ),
    "argparse": (
        f'import os\np.add_argument("--x", default="{OLD}", help="not {OLD}")\n',
        f'import os\np.add_argument("--x", default={GETENV}, help="not {OLD}")\n',
    ),
    "a default": (
        f'import os\ndef f(a="{OLD}", *, b=Path("{OLD}")): pass\n',
        f"import os\ndef f(a={GETENV}, *, b=Path({GETENV})): pass\n",
    ),
    "join": (f'import os\nx = os.path.join("{OLD}", "a", n)\n', f'import os\nx = os.path.join({GETENV}, "a", n)\n'),
    "a slash of pathlib": (f'import os\nx = Path("{OLD}") / "a"\n', f'import os\nx = Path({GETENV}) / "a"\n'),
    "a default of its own": (
        f'x = os.environ.get("PIPELINE_STATE_DIR", "{OLD}/a")\n',
        f'x = os.environ.get("PIPELINE_STATE_DIR", "{NEW}/a")\n',
    ),
    "a default of another": (f'import os\nx = os.getenv("X", "{OLD}")\n', f'import os\nx = os.getenv("X", {GETENV})\n'),
    "or": (f'import os\nx = y or "{OLD}"\n', f"import os\nx = y or {GETENV}\n"),
    "glued": (f'import os\ndef f(): return"{OLD}"\n', f"import os\ndef f(): return {GETENV}\n"),
    "a comment above": (
        f'#!/usr/bin/python\n# c\nx = "{OLD}"\n',
        f"#!/usr/bin/python\n# c\nimport os\n\nx = {GETENV}\n",
    ),
    "a local import elsewhere": (
        f'import os\ndef f():\n    import os\nx = "{OLD}"\n',
        f"import os\ndef f():\n    import os\nx = {GETENV}\n",
    ),
    "some stay": (f'import os\nx = "{OLD}"\ny = f"{OLD}/{{x}}"\n', f'import os\nx = {GETENV}\ny = f"{OLD}/{{x}}"\n'),
}
STAYS = {
    "an f-string": f'x = f"{OLD}/{{y}}"',
    "within an f-string": f"x = f\"{{Path('{OLD}')}}\"",
    "a docstring": f'"""{OLD}"""',
    "a string alone": f'x = 1\n"{OLD}"',
    "a concatenation": f'x = "{OLD}" + "/a"',
    "two pieces": f'x = ("{OLD}" "/a")',
    "a template": f'x = "{OLD}/{{}}.log".format(1)',
    "a template of percent": f'x = "{OLD}/%s" % y',
    "a text": f'x = "see {OLD}"',
    "many lines of text": f'x = """{OLD}\n{OLD}"""',
    "bytes": f'x = b"{OLD}"',
    "compared": f'x = y == "{OLD}"',
    "looked for": f'x = y.startswith("{OLD}")',
    "replaced": f'x = y.replace("{OLD}", "{NEW}")',
    "a regular expression": f'x = re.sub("{OLD}", "x", y)',
    "a key": f'x = {{"{OLD}": 1}}',
    "an index": f'x = y["{OLD}"]',
    "a method": f'x = "{OLD}".encode()',
    "a type": f'x: Literal["{OLD}"] = y',
    "an annotation": f'def f(x: "{OLD}"): pass',
    "not normal": f'x = "{OLD}/../ms"',
    "two slashes": f'x = "{OLD}//a"',
    "a directory of what is renamed": f'x = "{OLD}/db"',
    "renamed by its parts": f'x = Path("{OLD}") / "db" / "products.sqlite3"',
    "renamed by a later line": f'x = Path("{OLD}")\ny = x / "db"',
    "os is another name": f'def f(os): pass\nx = "{OLD}"',
    "os is bound again": f'import os\nx = "{OLD}"\nos = 1',
    "os is local there": f'import os\ndef f():\n    x = "{OLD}"\n    import os',
    "a star afterwards": f'import os\nx = "{OLD}"\nfrom a import *',
    "a star in a condition": f'import os\nif a:\n    from a import *\nx = "{OLD}"',
    "a line that is shared": f'"""D."""; x = "{OLD}"',
    "another variable's land": 'x = "/stage/dsa110-contimg/ms"',
}


def of(source: Source) -> Rewriting:
    """Return what becomes of a parsed program."""
    needle = Needle(OLD)
    return rewriting(source, needle, VARIABLES, list(compositions(source, needle)))


def becoming(code: str, encoding: str = "utf-8") -> Rewriting:
    """Return what becomes of a program."""
    source = parsed(code.encode(encoding))
    assert source is not None
    return of(source)


@pytest.mark.parametrize(("before", "after"), REWRITTEN.values(), ids=REWRITTEN)
def test_what_is_proved_is_replaced(before: str, after: str) -> None:
    assert becoming(before).text == after
    assert becoming(after).text == after


@pytest.mark.parametrize("code", STAYS.values(), ids=STAYS)
def test_what_is_not_proved_stays_and_is_explained(code: str) -> None:
    result = becoming(code)
    assert result.text == code
    assert all(result.reasons.values())
    assert bool(result.reasons) is (OLD in code)


def test_a_pattern_stays() -> None:
    code = f'match x:\n    case "{OLD}":\n        y = 1\n'
    source = parsed(code.encode())  # None before Python 3.10
    assert source is None or of(source).text == code


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-8", "cp1252"])
def test_encodings_survive(encoding: str) -> None:
    cookie = "" if encoding == "utf-8-sig" else f"# -*- coding: {encoding} -*-\n"
    code = f'{cookie}import os\nx = "{OLD}/é"; y = "\xe4"\n'
    source = parsed(code.encode(encoding))
    assert source is not None
    result = of(source)
    assert result.text == code.replace(f'"{OLD}/é"', f'os.path.join({GETENV}, "é")')
    assert result.text.encode(source.encoding).startswith(b"\xef\xbb\xbf") is (encoding == "utf-8-sig")


def run(code: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what a program binds, run with a given environment."""
    names: dict[str, Any] = {}
    former = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment)
        exec(compile(code, "program", "exec"), names)
    finally:
        os.environ.clear()
        os.environ.update(former)
    return names


@pytest.mark.parametrize("rest", ["", "/", "/a", "/a b/é'\"\\x.log"])
@pytest.mark.parametrize("imports", ["", "import os\n", "import os as _os\n", "from os import getenv as g\n"])
@pytest.mark.parametrize(
    "shape", ["x = {}", "x = str(Path({}))", "class C:\n    y = {}\nx = C.y", "x = (lambda a={}: a)()"]
)
def test_the_result_means_the_new_path_and_follows_the_environment(rest: str, imports: str, shape: str) -> None:
    code = f"from pathlib import Path\n{imports}{shape.format(repr(OLD + rest))}\n"
    after = becoming(code).text
    assert after != code
    ends = rest.rstrip("/") if "Path" in shape else rest
    assert run(after, {})["x"] == NEW + ends
    assert run(after, {"PIPELINE_STATE_DIR": "/elsewhere"})["x"] == "/elsewhere" + ends


PIECES = st.sampled_from([
    f'"{OLD}"', f"'{OLD}/a'", f'Path("{OLD}")', f'f("{OLD}", k="{OLD}/b")', f'["{OLD}", 1]', f'("{OLD}" + y)', f'f"{OLD}{{y}}"',
    "1", '"é"', '"/stage/dsa110-contimg/ms"', '"""a\nb"""',
])  # fmt: skip
LINES = st.sampled_from(
    ["{} = {}", "{} = {}  # c", "def {}(a={}): pass", "if {}: x = {}", "class {}: b: str = {}", "{}, x = y, {}"]
)
HEADS = st.sampled_from(
    ["", "import os\n", "# é\n", '"""D."""\n', "import os as o\n", "from os import *\n", "import sys; import re\n"]
)


@given(HEADS, st.lists(st.tuples(LINES, PIECES), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_any_program_keeps_every_byte_but_the_literals(head: str, lines: list[tuple[str, str]], end: str) -> None:
    code = head + "".join(line.format(f"n{number}", piece) + "\n" for number, (line, piece) in enumerate(lines))
    code = code.replace("\n", end)
    after = becoming(code).text
    assert becoming(after).text == after
    undone = _undone(after)
    added = (f"import os{end}{end}", f"import os{end}")
    without = (
        undone[:at] + undone[at + len(line) :]
        for line in added
        for at in range(len(undone))
        if undone.startswith(line, at)
    )
    assert undone == code or code in without


def _undone(text: str) -> str:
    """Return a rewritten program with its literals put back by plain replacement."""
    for name in ("os", "o"):
        for quote in "\"'":
            value = f"{name}.getenv({quote}PIPELINE_STATE_DIR{quote}, {quote}{NEW}{quote})"
            for rest in ("a", "b"):
                text = text.replace(f"{name}.path.join({value}, {quote}{rest}{quote})", f"{quote}{OLD}/{rest}{quote}")
            text = text.replace(value, f"{quote}{OLD}{quote}")
    return text
