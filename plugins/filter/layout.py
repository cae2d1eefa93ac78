# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``layout``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible.errors import AnsibleFilterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Database = Mapping[str, Any]

DOCUMENTATION = r"""
name: layout
short_description: Where the databases of a description are before and after a move
version_added: 0.1.0
author: The dsa110.contimg developers (@dsa110)
description:
  - Returns the old and new paths of databases, and the variables that name them. No path is looked up.
positional: src, dest
options:
  _input:
    description:
      - The databases, each with C(name), C(src) (its places below the old state directory), C(dest) (that below the new one) and
        C(environment), the variables that name it.
    type: list
    elements: dict
    required: true
  src:
    description: The old state directory.
    type: str
    required: true
  dest:
    description: The new state directory.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the new path of each database
  ansible.builtin.debug:
    msg: "{{ (contimg_databases | dsa110.contimg.layout(contimg_state_src, contimg_state_dest)).paths }}"
"""

RETURN = r"""
_value:
  description:
    - C(places) has the place of each database below the new directory by its name, C(paths) its new path, C(sources) all old paths.
    - C(repoint) has an entry with C(from) and C(to) for each old path of a database, and one for the directory. The longest C(from)
      that matches a path decides.
    - C(environment) has the new path by the name of each variable.
    - C(variables) says for code which variable stands for an old path, each with C(from), C(name) and C(default).
  type: dict
"""


def layout(databases: Sequence[Mapping[str, Any]], src: str, dest: str) -> dict[str, Any]:
    """Return the places of databases. Raises AnsibleFilterError for one without a name or a place."""
    try:
        return layout_of(databases, src, dest)
    except KeyError as error:
        raise AnsibleFilterError(f"layout: a database has no {error}") from error


_DIRECTORIES = (("", "PIPELINE_STATE_DIR"), ("/catalogs", "CATALOG_DB_DIR"))


def layout_of(databases: Sequence[Database], src: str, dest: str) -> dict[str, Any]:
    """Return the places of databases; see the documentation.

    :param databases: each with ``name``, ``src`` and ``dest`` (below the state directories), and the variables of its
        ``environment``.
    :param src: the old state directory.
    :param dest: the new one.
    """
    places = {one["name"]: one["dest"] for one in databases}
    moves = [
        (f"{src}/{place}", f"{dest}/{one['dest']}", _variables(one)) for one in databases for place in _sources(one)
    ]
    return {
        "places": places,
        "paths": {name: f"{dest}/{place}" for name, place in places.items()},
        "sources": [old for old, _new, _names in moves],
        "repoint": [{"from": old, "to": new} for old, new, _names in moves] + [{"from": src, "to": dest}],
        "environment": {name: f"{dest}/{one['dest']}" for one in databases for name in _variables(one)},
        "variables": [
            *({"from": old, "name": names[0], "default": new} for old, new, names in moves if names),
            *({"from": src + below, "name": name, "default": dest + below} for below, name in _DIRECTORIES),
        ],
    }


def _sources(database: Database) -> Iterable[str]:
    places: str | Iterable[str] = database["src"]
    return [places] if isinstance(places, str) else places


def _variables(database: Database) -> Sequence[str]:
    names: str | Sequence[str] = database.get("environment") or ()
    return [names] if isinstance(names, str) else names


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Return the filters of this file by name."""
        return {"layout": layout}
