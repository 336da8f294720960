"""The settings of agent.toml as their own dataclasses document them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
from typing import Any

from felhom_agent.config import settings as config
from felhom_agent.config.huboptions import Grant


def texts_of(cls: type) -> dict[str, str]:
    """Given a class of settings, return the docstring of each field."""
    tree = ast.parse(inspect.getsource(config))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    body, found = classes[cls.__name__].body, {}
    for first, then in itertools.pairwise(body):
        if isinstance(first, ast.AnnAssign) and isinstance(then, ast.Expr):
            found[ast.unparse(first.target)] = " ".join(str(ast.literal_eval(then.value)).split())
    return found


def default_of(setting: dataclasses.Field[Any]) -> str:
    """Given a field, return its default as TOML; two quotes if it has none."""
    value = setting.default
    if value is None:
        return '""'
    if str(setting.type) == "tuple[Threshold, ...]":
        return "{}"
    if isinstance(value, tuple):
        if value and all(isinstance(v, str) for v in value):
            return json.dumps(list(value))
        grants = [f"{v.option} = {v}" for v in value if isinstance(v, Grant)]
        return f"{{ {', '.join(grants)} }}" if grants else "[]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, (int, float)) else f'"{value}"'
