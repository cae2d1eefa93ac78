# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ``_redact``: planted values under names of every kind, in every form of assignment."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._redact import is_secret_name, redacted

SECRET_NAMES = [
    "SLACK_WEBHOOK_URL", "smtp_password", "SMTP_PASS", "SMTP_PASSWORD", "DB_PASSWD", "DBPASS", "MYSQL_PWD",
    "API_TOKEN", "GITHUB_TOKEN", "SECRET", "CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY",
    "API_KEY", "APIKEY", "apiKey", "api-key", "clientSecret", "dbPassword", "SSH_PASSPHRASE", "PRIVATE_KEY",
    "PRIVATE_KEY_B64", "ENCRYPTION_KEY_FILE", "GOOGLE_CREDENTIALS", "SENTRY_DSN", "BASIC_AUTH",
    "HTTP_AUTHORIZATION", "BEARER", "SESSION_COOKIE", "PASSWORD_SALT", "DISCORD_WEBHOOK", "CONNECTION_STRING",
    "GITLAB_PAT", "AZURE_SAS", "CARD_PIN", "URL_SIGNATURE", "USER_OTP", "access_token.value",
]  # fmt: skip
PLAIN_NAMES = [
    "BANDPASS_DIR", "KEYS_DIR", "PIPELINE_STATE_DIR", "HDF5_DB_PATH", "PWD", "OLDPWD", "KEY", "MONKEY",
    "AUTHOR", "KEYBOARD", "COMPASS", "PASSES", "PATH", "PASSBAND_HZ", "PATTERN", "SALTED_MS_DIR", "SIGMA",
    "PINNED", "hdf5_file_index",
]  # fmt: skip
FORMS = [
    "{}={}",
    "export {}={}",
    "  {} = {}",
    "#{}={}",
    "# {}={}",
    "; {}={}",
    "{}='{}'",
    '{}="{}"',
    "Environment={}={}",
    'Environment="{}={}"',
    'Environment="A=1" "{}={}" B=2',
    "Environment=A=1 {}={}",
    "{}: {}",
    "  - {}: {}",
    "  - {}={}",
    "  - '{}={}'",
    '{{"{}": "{}"}}',
    '{{"a": 1, "{}":"{}", "b": 2}}',
    "connect({}={!r}, path='/x')",
    "x --{} {}",
    "x --{}={}",
    "x --a 1 --{} '{}' --b",
    "curl https://host/?a=1&{}={}&b=2",
    "-{}={}",
    "+{}: {}",
    'os.environ["{}"] = "{}"',
    "{} := {}",
]
VALUES = ["planted", "plan;ted,planted)planted", "/stage/planted", "planted+/=="]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_a_name_of_no_secret_is_left_alone(name: str) -> None:
    assert not is_secret_name(name)
    assert redacted(f"{name}=/a/b") == f"{name}=/a/b"


@pytest.mark.parametrize("form", FORMS)
def test_a_planted_value_is_masked_in_every_form(form: str) -> None:
    for name in SECRET_NAMES:
        assert "planted" not in redacted(form.format(name, "planted")), name


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (form, value)
        for form in ("{}={}", "# {}={}", "{}: {}", '"{}={}"', "{}='{}'", '"{}": "{}"')
        for value in [*VALUES, "two words planted"]
    ],
)
def test_a_value_of_any_form_is_masked_whole(form: str, value: str) -> None:
    assert "planted" not in redacted(form.format("SMTP_PASSWORD", value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("connect(password=planted, path='/x')", "connect(password=********, path='/x')"),
        ("smtp://me:planted@host/x", "smtp://********@host/x"),
        (
            "see https://hooks.slack.com/services/T0/B0/planted now",
            "see https://hooks.slack.com/services/******** now".replace("services/", "", 1),
        ),
        ("https://discord.com/api/webhooks/1/planted", "https://discord.com/api/webhooks/********"),
        ("Authorization: Bearer planted", "Authorization: ********"),
        ("got header 'Bearer planted'", "got header 'Bearer ********'"),
        ("token ghp_abcdefghijklmnopqrst0123", "token ********"),
        ("A=1 B=2 # no secret: here", "A=1 B=2 # no secret: ********"),
        ("unable to open database file", "unable to open database file"),
        ("Environment=PIPELINE_STATE_DIR=/data/x HDF5=/y", "Environment=PIPELINE_STATE_DIR=/data/x HDF5=/y"),
    ],
)
def test_what_is_no_secret_stays(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_known_values_are_masked_wherever_they_stand() -> None:
    assert (
        redacted("a hunter22 b-hunter22-c hunter2", ["hunter22", "", "hunter2"]) == "a ******** b-********-c ********"
    )


def test_lines_are_judged_one_by_one() -> None:
    assert redacted("A=1\nAPI_TOKEN=planted planted\nB=2\n") == "A=1\nAPI_TOKEN=********\nB=2\n"
