# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of many kinds, planted in every file that a move looks at: none is in an output, a record or any file but a copy."""

from __future__ import annotations

import itertools
import json
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from .conftest import Host

# Names of every kind, and what a value of theirs looks like.
NAMES = {
    "SMTP_PASS": "{}", "SMTP_PASSWORD": "{}", "PGPASSWORD": "{}", "MYSQL_PWD": "{}", "DB_PW": "{}", "WIFI_PSK": "{}",
    "AWS_SECRET_ACCESS_KEY": "{}/+x==", "AWS_ACCESS_KEY_ID": "{}", "api_key": "{}", "apiKey": "{}", "GITHUB_TOKEN": "{}",
    "SLACK_WEBHOOK_URL": "https://x.org/{}", "ALERT_URL": "https://hooks.slack.com/services/T0/{}",
    "DATABASE_URL": "postgres://me:{}@db/x?dir=OLD", "BROKER": "amqp://me:{}@mq", "SENTRY_DSN": "https://{}@sentry.org/1",
    "SECRET_KEY": "{}", "DJANGO_SECRET": "{}", "client_secret": "{}", "PRIVATE_KEY_B64": "{}", "SSH_PASSPHRASE": "{} two words",
    "HTTP_AUTHORIZATION": "Bearer {}", "EXTRA_HEADER": "Authorization: Bearer {}", "BASIC_AUTH": "me:{}", "JWT": "{}",
    "GOOGLE_CREDENTIALS": "{}", "SESSION_COOKIE": "{}", "PASSWORD_SALT": "{}", "GITLAB_PAT": "{}", "USER_OTP": "{}",
    "URL_SIGNATURE": "{}", "CONNECTION": "Server=x;Uid=me;Pwd={};", "EXTRA_ARGS": "--password={} --state=OLD",
    "CURL": "-u me:{} OLD",
}  # fmt: skip
COMMANDS = (
    "/bin/x --password={} --state OLD",
    "/bin/x --api-key {} OLD",
    "/bin/curl -H 'Authorization: Bearer {}' -o OLD/x https://h",
    "/usr/bin/mysqldump -u me -p{} -r OLD/x",
    "/usr/bin/curl -u me:{} OLD/x",
    "/usr/bin/sshpass -p {} scp h:/x OLD",
    "/bin/sh -c 'PGPASSWORD={} psql OLD'",
)


def planted(old: str) -> Callable[[str], str]:
    """Return what puts the next secret, and the old path, into a text."""
    numbers = itertools.count()
    return lambda text: text.replace("{}", f"planted-{next(numbers):03}-x").replace("OLD", old)


def key_block(put: Callable[[str], str], indent: str = "") -> str:
    """Return a private key, as it stands in a text."""
    lines = ["-----BEGIN RSA PRIVATE KEY-----", put("{}"), put("{}"), "-----END RSA PRIVATE KEY-----"]
    return f"\n{indent}".join(lines)


def values(put: Callable[[str], str]) -> dict[str, str]:
    """Return new secrets by their names."""
    return {name: put(value) for name, value in NAMES.items()}


def settings(put: Callable[[str], str], old: str) -> dict[str, str]:
    """Return the texts of an environment file, a unit file, a compose file and a crontab."""
    unit = "".join(f'Environment="{name}={value}"\n' for name, value in values(put).items())
    commands = "".join(f"ExecStartPre={put(command)}\n" for command in COMMANDS)
    mapped = "".join(f"      {name}: '{value}'\n" for name, value in values(put).items())
    listed = "".join(f'      - "{name}={value}"\n' for name, value in values(put).items())
    return {
        "more.env": "".join(f"{name}={value}\n" for name, value in values(put).items()),
        "x.service": f"[Service]\n{unit}{commands}ReadWritePaths={old}\n",
        "compose.yml": (
            f"services:\n  x:\n    environment:\n{mapped}      PRIVATE_KEY: |\n        {key_block(put, ' ' * 8)}\n"
            f"    volumes: ['{old}:/state']\n  y:\n    environment:\n{listed}"
            f"    command: {json.dumps(['x', '--password', put('{}'), old])}\n"
        ),
        "crontab": "".join(f"*/5 * * * * root {put(command)}\n" for command in COMMANDS),
    }


def code(put: Callable[[str], str], old: str) -> dict[str, str]:
    """Return texts of Python, YAML, JSON and TOML."""
    python = "".join(f"{name} = {value!r}\n\n\n\n\n" for name, value in values(put).items())
    yaml = "".join(f"{name}: {json.dumps(value)}\n" for name, value in values(put).items())
    toml = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values(put).items())
    nested = {"nested": {"tokens": [put("{}"), put("{} OLD")]}, "state": old}
    return {
        "x.py": (
            f'import os\n\n\n\nSTATE = "{old}"\n\n\n\n{python}X = os.getenv("SMTP_PASSWORD", "{put("{}")}") + "{old}"\n'
            f'API_TOKEN = """\n{put("{}")}{old}\n"""\nKEY = """{key_block(put)}"""\n'
            f'P, D = "{old}/x", dict(password="{put("{}")}")\n'
        ),
        "y.py": f'import os\n\n\n\nSTATE = "{old}"\n\nAPI_TOKEN = "{put("{}")}"\n',
        "x.yaml": f"{yaml}state: {old}\npasswords:\n  - {put('{}')}\n  - {put('{} OLD')}\n",
        "x.json": json.dumps({**values(put), **nested}),
        "x.toml": f'{toml}state = "{old}"\n',
    }


def plant(host: Host) -> dict[pathlib.Path, bytes]:
    """Lay files with secrets on a host, list them in its variables, and return what they hold."""
    old = str(host.src)
    put = planted(old)
    directory, cron = host.root / "data" / "code", host.root / "cron"
    texts = {directory / name: text for name, text in {**settings(put, old), **code(put, old)}.items()}
    texts[cron / "x"] = texts.pop(directory / "crontab")
    quoted = "".join(f'{name}="{value}"\n' for name, value in values(put).items())
    texts[host.env_file] = f'{host.env_file.read_text()}{quoted}PEM="{key_block(put)}"\n# OLD_PASSWORD={put("{}")}\n'
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o640)
    host.variables["contimg_env_files"] = [str(directory / "more.env")]
    host.variables["contimg_unit_files"] = [str(directory / "x.service"), str(directory / "compose.yml")]
    host.variables["contimg_code_paths"] = [str(directory)]
    host.variables["contimg_env_secrets"] = {"NEW_TOKEN": put("{}")}
    host.variables["contimg_env_values"] = {"NEW_URL": put("postgres://me:{}@db/x")}
    host.inside = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/cron.d && exec "$@"', str(cron)]
    return {path: path.read_bytes() for path in texts}


def assert_hidden(text: str, where: object) -> None:
    """Fail with the lines that show a secret."""
    assert not [line[:300] for line in text.splitlines() if "planted-" in line], where


def assert_shown(text: str) -> None:
    """Fail unless the diffs are there, with the names of what they hide."""
    for line in (
        '"EXTRA_ARGS=--password=******** ',
        '"CURL=-u me:******** ',
        "DATABASE_URL=******** (changed)",
        "ReadWritePaths=",
    ):
        assert line in text, line


def test_no_secret_is_shown_or_recorded(host: Host) -> None:
    before = plant(host)
    assert len(NAMES) >= 30
    known: dict[str, object] = {"contimg_known_references": ["/etc/cron.d/x"]}
    (host.run_dir / "backups").parent.mkdir()
    (host.run_dir / "backups").write_text("so that a run fails")
    runs: list[tuple[str, tuple[str, ...], dict[str, object], int]] = [
        ("migrate", ("--check", "--diff"), {}, 2),  # the crontab stops it
        ("migrate", ("--diff",), known, 2),
        ("migrate", ("--check", "--diff"), known, 0),
        ("migrate", ("--diff",), known, 0),
        ("verify", ("--diff",), {}, 2),
        ("audit", ("--diff",), {}, 2),
        ("rollback", ("--diff",), {}, 0),
    ]
    for number, (playbook, options, variables, status) in enumerate(runs):
        if number == 2:
            (host.run_dir / "backups").unlink()
        done = host.play(playbook, "-vvv", *options, **variables)
        assert done.returncode == status, done.stdout + done.stderr
        assert_hidden(done.stdout + done.stderr, runs[number])
        if (playbook, options, status) == ("migrate", ("--diff",), 0):
            assert_shown(done.stdout)
            assert "planted-" in host.env_file.read_text()
            assert str(host.src) not in (host.root / "data" / "code" / "compose.yml").read_text()
            assert "y.py" in (host.run_dir / "code.patch").read_text()
    assert {path: path.read_bytes() for path in before} == before
    # What is kept to go back is the file itself, for those who may read that.
    for path in (
        one for top in (host.run_dir, host.root / "volatile", host.root / "lasting") for one in top.rglob("*")
    ):
        content = path.read_bytes() if path.is_file() else b""
        copied = next((one for one, original in before.items() if original == content), None)
        if copied is None:
            assert_hidden(content.decode("latin-1"), path)
        else:
            assert stat.S_IMODE(path.stat().st_mode) | 0o600 == stat.S_IMODE(copied.stat().st_mode) | 0o600, path
