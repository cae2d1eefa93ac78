# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give each stage of the scenario a report of its own: tests/preview and tests/migrated run at different moments."""

from __future__ import annotations

import os
import pathlib

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Name the JUnit report after the scenario and the folder of the tests."""
    stage = pathlib.Path(config.args[0]).parent.name
    reports = config.rootpath / ".build" / "junit"
    config.option.xmlpath = str(reports / f"molecule-{os.environ['MOLECULE_SCENARIO_NAME']}-{stage}.xml")
