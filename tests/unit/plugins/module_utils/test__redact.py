# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ``_redact``: planted values under names of every kind, in every form of assignment."""

from __future__ import annotations

import time

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._redact import is_secret_name, redacted, secrets_in

SECRET_NAMES = [
    "SLACK_WEBHOOK_URL", "smtp_password", "SMTP_PASS", "SMTP_PASSWORD", "DB_PASSWD", "DBPASS", "MYSQL_PWD",
    "API_TOKEN", "GITHUB_TOKEN", "SECRET", "CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY",
    "API_KEY", "APIKEY", "apiKey", "api-key", "clientSecret", "dbPassword", "SSH_PASSPHRASE", "PRIVATE_KEY",
    "PRIVATE_KEY_B64", "ENCRYPTION_KEY_FILE", "GOOGLE_CREDENTIALS", "SENTRY_DSN", "BASIC_AUTH",
    "HTTP_AUTHORIZATION", "BEARER", "SESSION_COOKIE", "PASSWORD_SALT", "DISCORD_WEBHOOK", "CONNECTION_STRING",
    "GITLAB_PAT", "AZURE_SAS", "DB_PW", "WIFI_PSK", "JWT", "Pwd", "CARD_PIN", "URL_SIGNATURE", "USER_OTP", "access_token.value",
    "LDAP_BINDPW", "BINDPW", "USERPW", "ROOTPWD", "rootpwd", "DB_CREDS", "CREDS", "MQTTPASS", "VNCPASS", "INFLUXPASS", "MQTTPASS2",
    "ACCESSKEY", "SSHKEY", "MASTERKEY", "sshKey", "TOTP", "HMAC", "SLACK_HOOK", "TLS_KEY_PEM", "UNLOCK_CODE", "MNEMONIC",
    "CONN_STR",
]  # fmt: skip
PLAIN_NAMES = [
    "BANDPASS_DIR", "KEYS_DIR", "PIPELINE_STATE_DIR", "HDF5_DB_PATH", "PWD", "OLDPWD", "KEY", "MONKEY",
    "AUTHOR", "KEYBOARD", "COMPASS", "PASSES", "PATH", "PASSBAND_HZ", "PATTERN", "SALTED_MS_DIR", "SIGMA",
    "PINNED", "hdf5_file_index", "BYPASS", "bypass_cal", "COMPASS_DEG", "LOWPASS_HZ", "TRESPASS", "ENCOMPASS", "KEYS", "monkey",
    "HOTKEY", "primary_key", "FOREIGN_KEY", "OLD_STATE", "oldpwd", "STATUS_CODE", "EXIT_CODE", "GIT_HOOK", "HOOKS_DIR", "OPCODE",
    "passband", "getpass", "CREDITS",
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
    "<{0}>{1}</{0}>",
    'subprocess.run(["x", "--{}", "{}", "/y"])',
    'x = os.getenv("{}", "{}")',
    '{{"cmd": "x --a \\"{}\\": \\"{}\\""}}',
    "{}: |\n  a\n  {}\nb: 1",
    "{}:\n  - a\n  - {}\nb: 1",
    "{}:\n- a\n- {}\nb: 1",
    '{} = """\na\n{}\n"""',
    '{} = ["a", "{}"]',
    '{{"{}": [\n"a",\n"{}"\n]}}',
    "{}=os.environ.get('X', '{}')",
    "{}=a\\\n{}",
    "{}='a'\"{}\"",
    "A=1 {}+={}",
    "{}?={}",
    "{} += {!r}",
    "{}\\={}",
    "A=1 {}%3D{}",
    "if {} == {!r}:",
    "let {}: string = {!r}",
    "let {}: Token = {!r}",
    "var {} string = {!r}",
    "x = get('{}') or {!r}",
    "x = {} || {!r}",
    "add('--{}', default={!r})",
    "add(\n  '--{}',\n  type=str,\n  default={!r},\n)",
    "- name: {}\n  value: {}",
    "- name: {}\n  required: true\n  value: a {}\n",
    "- name: {}\n  value: |\n    a\n    {}\n- x",
    '{{"name":"{}","value":"{}"}}',
    '{{"Key": "{}", "Value": "{}"}}',
    '{{\n  "ParameterKey": "{}",\n  "ParameterValue": "{}"\n}}',
    '<add key="{}" value="{}"/>',
    "<name>{}</name>\n<value>{}</value>",
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


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nplantedA\nplantedB\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"A: |\n{KEY}\n",
        KEY.replace("\n", "\\n"),
        KEY.partition("-----END")[0],
        "curl -u me:planted https://x",
        "curl -ume:planted https://x",
        "curl --user=me:planted https://x",
        "curl --user 'me:planted' https://x",
        "curl -H 'X-Api-Key: planted planted' https://x",
        'curl -H "Authorization: token planted"',
        "mysql -u me -pplanted db",
        "mysqldump --all -pplanted",
        "sshpass -p planted ssh x",
        "redis-cli -h x -a planted",
        "ldapsearch -x -w planted",
        "openssl enc -pass pass:planted",
        "ALTER USER me IDENTIFIED BY 'planted'",
        "CREATE USER me WITH PASSWORD 'planted'",
        "machine x login y password planted",
        "postgres://me:pl/planted@host/db",
        "postgres://me:p@planted@host/db",
        "Server=x;Uid=me;Pwd=planted;",
        "AccountName=x;AccountKey=planted==;",
        "x --password=planted&planted;planted,planted",
        "x --password planted\\ planted",
        "https://hooks.slack.com/services/T0/B0/planted",
        "https://x/?token=planted#y",
        "X=sk_live_planted0123456789",
        "X=SG.planted0123456789012.planted",
        "x ${SMTP_PASS-planted} y",
        "x ${SMTP_PASS[0]?planted}",
        "TOKEN, X = 'planted', 1",
        "x, self.token = (1,\n  'planted')",
        "INSERT INTO users(name, password) VALUES('a', 'planted')",
        "SET PASSWORD FOR x = PASSWORD('planted')",
        "SET PASSWORD = 'planted'",
        "set_password('planted')",
        "SecretStr('planted')",
        "smtp.login('u', 'planted')",
        "htpasswd -b f u planted",
        "htpasswd -nb u planted",
        "htpasswd -c -b f u planted",
        "docker login -u x -p planted",
        "openssl enc -k planted",
        "echo planted | sudo -S x",
        "https://x/y?sig=planted&z=1",
        "password is planted",
        "x --password not-planted",
        "x --password to.planted",
        "machine x login y password <planted",
        "machine x login y password |planted",
        "machine x login y password !=planted",
        '["--password", planted=]',
        '["--password", a=planted]',
        "x = os.environ['SMTP_PASS'] if 'SMTP_PASS' in os.environ else 'planted'",
    ],
)
def test_a_secret_of_its_own_form_is_masked(text: str) -> None:
    assert "planted" not in redacted(text)
    assert redacted(text).count("\n") == text.count("\n")
    assert "planted" in "".join(secrets_in(text))
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "mkdir -p /stage/x",
        "docker run -u 1000:1000 -p 80:80 -v /stage/x:/y",
        "find /stage/x -print -perm 644",
        "http://127.0.0.1:8010/health?mail=a@b",
        'STATE = "/stage/x"; KEYS = ["a", "b"]',
        "key: /stage/x\nother: 1",
        "volumes:\n  - /stage/x:/y\n",
        "ssh -p 22 host",
        "docker run -p 80:80 x login",
        '<add key="A" value="/stage/x"/>',
        "- name: A\n  value: /stage/x\n- name: B\n  value: 1",
        "for token in tokens",
        "if token and other: x = y or 'z'",
        "${A:-/stage/x} ${B%/stage/x}",
        "a, b = '/stage/x', 1",
        "INSERT INTO t(a, b) VALUES ('/stage/x', 1)",
        "the password of the user, and a token for it",
    ],
)
def test_what_looks_alike_stays(text: str) -> None:
    assert redacted(text) == text
    assert secrets_in(text) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x --token=planted-secret-cron /stage/x /y", "x --token=******** /stage/x /y"),
        ("x --token planted-secret /stage/x", "x --token ******** /stage/x"),
        ("A_TOKEN='planted-secret', '/stage/x'", "A_TOKEN=********, '/stage/x'"),
        (
            '{"kind": "token", "password": "planted", "path": "/stage/x"}',
            '{"kind": "token", ********: ********, "path": "/stage/x"}',
        ),
        ("let SMTP_PASS: string = 'planted'; x", "let SMTP_PASS: string = ********; x"),
        ("add('--smtp-pass', type=str, default='planted')", "add('--smtp-pass', type=str, default=********)"),
        ("x ${SMTP_PASS:-a planted} y", "x ${SMTP_PASS:********} y"),
        ("x ${SMTP_PASS:=a{b} planted}/x", "x ${SMTP_PASS:=********}/x"),
        ("PRAGMA key = 'planted';", "PRAGMA key = ********;"),
        ("get(x, auth=HTTPBasicAuth('u', 'planted'))", "get(x, auth=********)"),
        ("x = HTTPBasicAuth('u', 'planted')", "x = HTTPBasicAuth('u', ********)"),
        ("htpasswd -b f u planted", "htpasswd -b f u ********"),
        ("SET PASSWORD FOR x = PASSWORD('planted')", "SET PASSWORD FOR x = ********"),
        ("x ${SMTP_PASS-planted} /stage/x", "x ${SMTP_PASS-********} /stage/x"),
        (
            "- name: TOKEN\n  value: a b\n- name: A\n  value: c",
            "- name: TOKEN\n  value: ********\n- name: A\n  value: c",
        ),
        (
            '<add key="TOKEN" value="x"/><add key="A" value="b"/>',
            '<add key="TOKEN" value=********><add key="A" value="b"/>',
        ),
        ("env:\n- name: A\n  valueFrom:\n    key: token\n- name: B\n  value: c", None),
    ],
)
def test_a_word_of_a_secret_is_no_name(text: str, expected: str | None) -> None:
    assert redacted(text) == (expected or text)


def test_the_lines_below_a_secret_block_stay() -> None:
    text = "a:\n  token: |\n    planted\n\n    planted\n  path: /stage/x\n"
    assert redacted(text) == "a:\n  token: ********\n********\n********\n********\n  path: /stage/x\n"


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "A=",
        "'",
        '"',
        "a b ",
        "[",
        "token=",
        "\\",
        "mysql -p",
        "\n",
        "a: |\n",
        "mysql ",
        "docker login ",
        "name: token ",
        "name: token\n",
        "'token', ",
        "${TOKEN-",
        "${TOKEN-\n",
        "token, ",
        "token: a ",
        "token or ",
        "<name>token</name>",
        "INTO x(token",
        "htpasswd -b ",
        "echo x ",
        "set_token(",
        "token\\",
        "let token: str ",
    ],
)
def test_long_text_takes_no_long_time(unit: str) -> None:
    start = time.process_time()
    redacted(unit * 20000)
    assert time.process_time() - start < 5


def test_lines_are_judged_one_by_one() -> None:
    assert redacted("A=1\nAPI_TOKEN=planted planted\nB=2\n") == "A=1\nAPI_TOKEN=********\nB=2\n"
