# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as its users get it: what is packed, what ansible-doc shows, and specs that agree with defaults."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.dsa110.contimg.tests.support.house_rules import LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
PACKED = {
    "CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md",
    "changelogs", "docs", "meta", "playbooks", "plugins", "roles",
}  # fmt: skip
TYPES = {"bool": bool, "dict": dict, "int": int, "float": float, "list": list, "path": str, "str": str}


def command(*words: str, **environment: str) -> str:
    """Run a command of this virtual environment and return what it prints."""
    directory = pathlib.Path(sys.executable).parent
    merged = {**os.environ, "ANSIBLE_NOCOLOR": "1", **environment}
    done = subprocess.run(
        [str(directory / words[0]), *words[1:]], check=True, capture_output=True, text=True, env=merged
    )
    return done.stdout


def yaml_file(*parts: str) -> Any:
    """Return a YAML file of the collection, read as Ansible reads it."""
    return DataLoader().load_from_file(str(ROOT.joinpath(*parts)))


@pytest.fixture(name="installed", scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Build the collection from what git knows, and install it from its tarball."""
    directory = tmp_path_factory.mktemp("collection")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (directory / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / "source" / name).write_bytes((ROOT / name).read_bytes())
    command("ansible-galaxy", "collection", "build", str(directory / "source"), "--output-path", str(directory))
    (tarball,) = directory.glob("dsa110-contimg-*.tar.gz")
    where = str(directory / "installed")
    command(
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "-p",
        where,
        str(tarball),
        ANSIBLE_COLLECTIONS_PATH=where,
    )
    return directory


def test_only_what_a_host_or_a_controller_needs_is_packed(installed: pathlib.Path) -> None:
    (tarball,) = installed.glob("*.tar.gz")
    with tarfile.open(tarball) as archive:
        tops = {name.split("/")[0] for name in archive.getnames()}
    assert tops - PACKED == set()
    assert {"plugins", "roles", "playbooks", "README.md", "LICENSE"} <= tops


def test_ansible_doc_shows_every_module_of_the_installed_collection(installed: pathlib.Path) -> None:
    names = [f"dsa110.contimg.{name}" for name in MODULES]
    shown = json.loads(command("ansible-doc", "--json", *names, ANSIBLE_COLLECTIONS_PATH=str(installed / "installed")))
    assert sorted(shown) == names
    assert [name for name, doc in shown.items() if not (doc["examples"] and doc["return"])] == []


@pytest.mark.parametrize("name", MODULES)
def test_no_error_of_the_system_or_of_sqlite_leaves_a_module_as_a_traceback(name: str) -> None:
    source = ast.parse((ROOT / "plugins" / "modules" / f"{name}.py").read_text())
    (main,) = (one for one in source.body if isinstance(one, ast.FunctionDef) and one.name == "main")
    (attempt,) = (one for one in main.body if isinstance(one, ast.Try))
    (within,) = attempt.body
    assert isinstance(within, ast.With)
    assert ast.unparse(within.items[0].context_expr).startswith("error_context(")


# Keys that Ansible reads itself in the result of a task. A module that returns one with another meaning changes the task's fate.
RESERVED = {
    "skipped", "failed", "rc", "results", "ansible_facts", "deprecations", "invocation", "exception", "msg", "stdout", "stderr",
    "start", "end", "delta", "changed", "unreachable", "failures", "skip_reason", "module_stdout", "module_stderr", "stdout_lines",
    "stderr_lines", "cmd", "ansible_job_id", "finished", "started", "attempts", "censored",
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_no_module_returns_a_key_that_ansible_gives_a_meaning(name: str) -> None:
    text = (ROOT / "plugins" / "modules" / f"{name}.py").read_text()
    returned = DataLoader().load(text.partition('RETURN = r"""')[2].partition('"""')[0])
    assert returned
    assert RESERVED & set(returned) == set()


def test_the_action_group_holds_every_module() -> None:
    assert sorted(yaml_file("meta", "runtime.yml")["action_groups"]["contimg"]) == MODULES


def test_every_playbook_that_changes_a_host_gives_the_id_of_its_run_to_all_modules_that_take_one() -> None:
    takers = [
        name for name in MODULES if '"run_id": {"type"' in (ROOT / "plugins" / "modules" / f"{name}.py").read_text()
    ]
    assert yaml_file("meta", "runtime.yml")["action_groups"]["run"] == takers
    for name in ("migrate", "rollback", "split_hdf5", "unsplit_hdf5", "retire"):
        (play,) = yaml_file("playbooks", f"{name}.yml")
        assert play["module_defaults"] == {
            "group/dsa110.contimg.run": {"run_id": "{{ run_lease.run_id | default('') }}"}
        }


# For one host that of Ansible, which shows a task when it begins.
STRATEGY = "ansible.builtin.{{ 'linear' if ansible_play_hosts_all | length == 1 else 'host_pinned' }}"


def test_no_playbook_that_changes_a_host_lets_it_wait_for_another_one() -> None:
    for name in ("migrate", "rollback", "split_hdf5", "unsplit_hdf5", "retire"):
        assert yaml_file("playbooks", f"{name}.yml")[0]["strategy"] == STRATEGY


def test_the_spec_of_the_variables_agrees_with_their_defaults() -> None:
    options = yaml_file("roles", "contimg", "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = yaml_file("roles", "contimg", "defaults", "main.yml")
    assert {name: option.get("default") for name, option in options.items()} == defaults
    given = {name: option["type"] for name, option in options.items() if "default" in option}
    wrong = [name for name, kind in given.items() if not isinstance(defaults[name], TYPES[kind])]
    assert wrong == []


def test_every_path_among_the_variables_is_checked_for_its_spelling() -> None:
    options = yaml_file("roles", "contimg", "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    known = yaml_file("roles", "contimg", "vars", "main.yml")
    checked = {**known["contimg_paths"], **known["contimg_path_patterns"], **known["contimg_paths_below"]}
    paths = {name for name, option in options.items() if "path" in (option["type"], option.get("elements"))}
    paths |= {name for name, option in options.items() if "/" in str(option.get("default", ""))}
    assert paths - set(checked) == set()
    assert set(checked) - set(options) == set()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_spec_and_reads_the_variables_of_the_one_role_that_has_them(role: str) -> None:
    assert "main" in yaml_file("roles", role, "meta", "argument_specs.yml")["argument_specs"]
    if role != "contimg":
        assert yaml_file("roles", role, "meta", "main.yml")["dependencies"] == [{"role": "dsa110.contimg.contimg"}]
        assert not (ROOT / "roles" / role / "defaults").exists()


def test_every_task_in_which_a_run_is_interrupted_exists() -> None:
    """A renamed one would never be reached: the run would come to its end, and all that follows would fail."""
    for path in (
        "molecule/interrupted/tests/test_interrupted.py",
        "molecule/hold_limit/tests/test_hold_limit.py",
        "tests/playbooks/test_runs.py",
    ):
        named = re.findall(r'"([a-z0-9_]+) : ([^"]+)"', (ROOT / path).read_text())
        assert named
        for role, task in named:
            files = (ROOT / "roles" / role / "tasks").glob("*.yml")
            assert any(f"- name: {task}" in file.read_text() for file in files), f"{path}: {role} : {task}"


def module_utils() -> set[str]:
    """Return each file of ``module_utils`` by its path there, without its ending."""
    top = ROOT / "plugins" / "module_utils"
    return {str(path.relative_to(top).with_suffix("")) for path in top.rglob("*.py")}


def test_the_code_map_names_every_file() -> None:
    """The head of a table names a package, the first column its files."""
    named: set[str] = set()
    package = ""
    for line in (ROOT / "docs" / "code-map.md").read_text().partition("\n## One")[0].splitlines():
        names = re.findall(r"`(\w+)`", line.split("|")[1]) if line.startswith("| ") else []
        if names and names[0] in LAYERS:
            package = f"{names[0]}/"
        else:
            named.update(package + name for name in names)
    assert named == module_utils()


def test_each_file_has_a_test_of_its_own_or_the_code_map_says_what_holds_it() -> None:
    """The first column of the last table names files of ``plugins``, or directories of them."""
    table = (ROOT / "docs" / "code-map.md").read_text().partition("\n## Tests")[2]
    columns = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    excused = [name for first, _second in columns for name in re.findall(r"`([\w/]+)`", first)]
    plugins, tests = ROOT / "plugins", ROOT / "tests" / "unit" / "plugins"
    files = [path.relative_to(plugins).with_suffix("") for path in plugins.rglob("*.py")]
    alone = [str(path) for path in files if not (tests / path.parent / f"test_{path.name}.py").exists()]
    without = {path for path in alone if not path.replace("module_utils/", "").startswith(tuple(excused))}
    assert without == set()
    named = {name for _first, second in columns for name in re.findall(r"`(_\w+/test_\w+)`", second)}
    assert {name for name in named if not (tests / "module_utils" / f"{name}.py").exists()} == set()


def test_what_holds_each_guarantee_exists() -> None:
    """The page of guarantees names files of ``module_utils`` and tests."""
    named = set(re.findall(r"`(_?[a-z0-9_/]+)`", (ROOT / "docs" / "guarantees.md").read_text()))
    utilities = module_utils()
    files = [path for directory in ("tests", "molecule") for path in (ROOT / directory).rglob("test_*.py")]
    tests = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    assert len(named) > 50
    assert named - utilities - tests == set()


def test_no_moment_is_taken_by_the_clock_of_the_controller() -> None:
    """It may differ from that of the host, whose files and journals have the other moments."""
    clocks = re.compile(r"\bnow\(|ansible_date_time|\bstrftime\b|pipe.*\bdate\b")
    files = [path for directory in ("roles", "playbooks") for path in (ROOT / directory).rglob("*") if path.is_file()]
    assert any(path.suffix == ".j2" for path in files)
    assert [str(path) for path in files if clocks.search(path.read_text())] == []


def conditional(path: pathlib.Path, name: str, *, skipped: bool = False) -> Iterator[str]:
    """Yield the tasks of a file, and of those that it imports, that register a name and may be skipped."""
    for task in yaml_file(*path.relative_to(ROOT).parts) or []:
        yield from conditional_task(path, task, name, skipped=skipped)


def conditional_task(path: pathlib.Path, task: Any, name: str, *, skipped: bool) -> Iterator[str]:
    """Yield this task, or those within it, likewise."""
    skipped = skipped or "when" in task
    if skipped and task.get("register") == name:
        yield f"{path}: {task['name']}"
    for part in ("block", "rescue", "always", "tasks"):
        for inner in task.get(part, []):
            yield from conditional_task(path, inner, name, skipped=skipped)
    if "ansible.builtin.import_tasks" in task:
        yield from conditional(path.parent / task["ansible.builtin.import_tasks"], name, skipped=skipped)
    if "ansible.builtin.import_role" in task:
        role = task["ansible.builtin.import_role"]
        file = f"{role.get('tasks_from', 'main')}.yml"
        imported = ROOT / "roles" / role["name"].rpartition(".")[2] / "tasks" / file
        yield from conditional(imported, name, skipped=skipped)


def test_no_task_that_is_skipped_takes_the_place_of_the_record() -> None:
    """A task that is skipped registers, too. One that is included where it is due does not."""
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]
    assert len(files) > 50
    assert {task for file in files for task in conditional(file, "contimg_record")} == set()


def test_no_task_is_run_for_several_hosts_at_once() -> None:
    """Such a task fails under the strategies ``free`` and ``host_pinned``, and one host decides for all."""
    named = re.compile(
        r"^\s*(?:- )?(?:ansible\.builtin\.)?(pause|add_host|group_by|run_once|any_errors_fatal):", re.MULTILINE
    )
    files = [path for directory in ("roles", "playbooks") for path in (ROOT / directory).rglob("*.yml")]
    assert len(files) > 50
    assert [(str(path), found) for path in files for found in named.findall(path.read_text())] == []
