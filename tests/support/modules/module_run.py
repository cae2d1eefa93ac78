# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module as Ansible calls it, in this process: its own ``main``, with the result instead of the printed line."""

from __future__ import annotations

import importlib
import json
import os
from typing import TYPE_CHECKING, Any
from unittest import mock

import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.testing import patch_module_args

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BEGIN", "PLUGINS", "default_options", "reported", "run_module"]

#: A path that is looked at when a module has its parameters: what comes before it is Ansible's.
BEGIN = "/the work of a module begins"
#: The package of what is run.
PLUGINS = "ansible_collections.dsa110.contimg.plugins"


def default_options(name: str) -> dict[str, Any]:
    """Return each option of a module as Ansible gives it where it is not set, by its documentation."""
    documented = yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{name}").DOCUMENTATION)
    return {option: described.get("default") for option, described in documented["options"].items()}


class _EndedError(Exception):
    """Carries the result of a module that has ended."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__("the module has ended")
        self.result = result


class _Observed(AnsibleModule):  # type: ignore[misc]
    """A module that ends with an exception, and marks where its work begins."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        os.path.lexists(BEGIN)

    def exit_json(self, **result: Any) -> None:
        raise _EndedError(remove_values(result, self.no_log_values))

    def fail_json(self, msg: str, **result: Any) -> None:
        raise _EndedError(remove_values({**result, "msg": msg, "failed": True}, self.no_log_values))


def run_module(
    name: str,
    parameters: Mapping[str, Any],
    *,
    check: bool = False,
    constants: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Call a module and return what it would print, secrets masked as Ansible masks them.

    :param constants: values for constants of ``module_utils``, by ``_file:_NAME``, where a test has no such place.
    :param variables: further variables of the environment.
    :raises ContimgError: when the module fails, with its message.
    """
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    module.AnsibleModule = _Observed  # type: ignore[attr-defined]
    for place, value in (constants or {}).items():
        file, _colon, constant = place.partition(":")
        setattr(importlib.import_module(f"{PLUGINS}.module_utils.{file}"), constant, value)
    asked = {**parameters, "_ansible_check_mode": check, "_ansible_diff": True}
    try:
        with mock.patch.dict(os.environ, variables or {}), patch_module_args(asked):
            module.main()
    except _EndedError as ended:
        result = ended.result
        if result.pop("failed", False):
            raise ContimgError(result["msg"].rstrip("."), errno=result.get("errno")) from None
        return result
    raise AssertionError("the module ended without a result")


def reported(name: str, parameters: dict[str, Any], constants: dict[str, Any], variables: dict[str, str]) -> str:
    """Call a module, and return its result as JSON. Raises ContimgError, see :func:`run_module`."""
    return json.dumps(run_module(name, parameters, constants=constants, variables=variables), default=str)
