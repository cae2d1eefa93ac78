# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of health URLs, asked of a real service."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._services.health import ask, url_fault
from ansible_collections.dsa110.contimg.tests.support.hosts.health_server import health_server


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:8010/health", ""),
        ("https://api.example/health?full=1", ""),
        ("http://[::1]:8010/", ""),
        ("127.0.0.1:8010/health", "begins with http"),
        ("file:///etc/passwd", "begins with http"),
        ("", "begins with http"),
        ("http://", "names no host"),
        ("http://:8010/", "names no host"),
        ("http://host:0/", "names no host or port"),
        ("http://host:x/", "is not a URL: "),
        ("http://host:99999/", "is not a URL: "),
        ("http://[bad", "is not a URL: "),
        ("http://ho st/", "blanks"),
        ("http://host/\n", "blanks"),
        ("http://me:secret@host/", "holds a user"),
        (8010, "is not a URL"),
        (None, "is not a URL"),
    ],
)
def test_a_url_that_cannot_be_asked_is_told_apart(url: object, says: str) -> None:
    fault = url_fault(url)
    assert says in fault
    assert bool(says) == bool(fault)
    assert "secret" not in fault


def test_a_service_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with health_server() as server:
        assert ask(f"{server}/health") == (200, "")
        assert ask(f"{server}/x") == (503, "HTTP Error 503: Service Unavailable")
        status, error = ask(f"{server}/garbage")
        assert (status, bool(error)) == (0, True)
    assert ask("http://127.0.0.1:1/").status == 0
    assert "refused" in ask("http://127.0.0.1:1/").error
    assert ask("file:///etc/passwd") == (0, "is not a URL that begins with http:// or https://")
