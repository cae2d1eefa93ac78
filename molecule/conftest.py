# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all scenarios share: the host of the scenario, and a report of its own for each stage."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest
import testinfra
import yaml


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Name the JUnit report after the host of the scenario and the directory of the tests."""
    stage = pathlib.Path(config.args[0]).parent.name
    reports = config.rootpath / ".build" / "junit"
    config.option.xmlpath = str(reports / f"molecule-{_name()}-{stage}.xml")


@pytest.fixture(scope="session")
def host() -> Any:
    """The container of the scenario, asked directly: by way of Ansible each question would take a second."""
    return testinfra.get_host(f"podman://{_name()}")


def _name() -> str:
    """Return the name of the scenario's one host: that of its container, the suite in it."""
    configuration = yaml.safe_load(pathlib.Path(os.environ["MOLECULE_FILE"]).read_text())
    return str(configuration["platforms"][0]["name"])
