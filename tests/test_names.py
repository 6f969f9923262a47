import ast
import importlib
import types
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parent.glob("*.py"))


def ours(name: str, part: str = "") -> object:
    """Return a module of the package, or what is in it under a name; an error if there is nothing."""
    module = importlib.import_module(name)
    if not part or hasattr(module, part):
        return getattr(module, part) if part else module
    return importlib.import_module(f"{name}.{part}")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_what_a_test_calls_in_the_package_is_there(path):
    """Also in tests that are run seldom, when something has moved."""
    tree = ast.parse(path.read_text())
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxstudies":
            for alias in node.names:
                found = ours(node.module or "", alias.name)
                if isinstance(found, types.ModuleType):
                    modules[alias.asname or alias.name] = found
    # A name that is something else in places, such as an argument, is left alone.
    other = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    other |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names = modules.keys() - other
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Attribute)):
        if isinstance(node.value, ast.Name) and node.value.id in names and isinstance(node.ctx, ast.Load):
            ours(modules[node.value.id].__name__, node.attr)
