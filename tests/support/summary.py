# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add up the JUnit reports of all runners: the plain last line of ``make test``."""

from __future__ import annotations

import pathlib
import sys
import xml.etree.ElementTree as ET


def count(report: pathlib.Path) -> tuple[int, int]:
    """Return how many tests of a JUnit report passed and failed; a skipped test counts as neither."""
    passed = failed = 0
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is None:
            passed += 1
    return passed, failed


def main() -> int:
    """Print the sums; a session that failed as a whole counts as one failure more. Return the exit status."""
    directory, sessions, failed_sessions = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    counts = [count(report) for report in sorted(directory.glob("*.xml"))]
    passed = sum(ok for ok, _bad in counts) + sessions - len(failed_sessions)
    failed = sum(bad for _ok, bad in counts) + len(failed_sessions)
    if failed_sessions:
        print(f"Sessions that failed: {', '.join(failed_sessions)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
