"""Where a result comes from: the code that is reached, the data, the versions, the commit."""

import ast
import contextlib
import hashlib
import importlib.util
import json
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

import jaxstudies

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
NUMERICAL = ("jax", "flax", "optax")
"""Packages whose version decides numbers."""


def digest(content: object) -> str:
    """Return a short name for a JSON-like object: equal objects, equal names."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def array_digest(arrays: PyTree) -> str:
    """Return a name for the content of arrays in any structure."""
    total = hashlib.sha256()
    leaves, structure = jax.tree.flatten(arrays)
    total.update(str(structure).encode())
    for leaf in leaves:
        array = np.asarray(leaf)
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()[:16]


class Source(NamedTuple):
    """A module's statements by the names that they define, and what the names of imports stand for."""

    definitions: dict[str, list[ast.stmt]]
    effects: list[ast.stmt]
    """Statements that act on what is defined elsewhere, such as a call or a decorated function."""
    imports: dict[str, str]
    stars: list[str]
    """Modules from which everything is imported."""


@cache
def read_source(name: str, path: Path) -> Source:
    """Parse a module's file; comments and docstrings are left out."""
    tree = ast.parse(path.read_bytes())
    source = Source({}, [], {}, [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [child for child in node.body if not _is_string(child)] or [ast.Pass()]
        elif isinstance(node, ast.Import):
            source.imports.update({a.asname or a.name.split(".")[0]: _bound(a) for a in node.names})
        elif isinstance(node, ast.ImportFrom):
            package = _absolute(name, path, node)
            source.imports.update({a.asname or a.name: f"{package}.{a.name}" for a in node.names if a.name != "*"})
            source.stars.extend(package for a in node.names if a.name == "*")
    for statement in tree.body:
        names = _defined(statement)
        for defined in names:
            source.definitions.setdefault(defined, []).append(statement)
        if not names or _decorators(statement):
            source.effects.append(statement)
    return source


def _is_string(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _bound(alias: ast.alias) -> str:
    return alias.name if alias.asname else alias.name.split(".")[0]


def _absolute(name: str, path: Path, statement: ast.ImportFrom) -> str:
    """Return the full name of the module that is imported from."""
    parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    above = parts[: len(parts) - statement.level + 1] if statement.level else []
    return ".".join([*above, *filter(None, [statement.module])])


def _defined(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _decorators(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return statement.decorator_list
    return []


@cache
def _acts_on(statement: ast.stmt) -> set[str]:
    """Return the names that a statement acts on: of what is decorated, those in the decorators."""
    nodes = _decorators(statement) if _defined(statement) else [statement]
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def is_followed(path: Path) -> bool:
    """Return whether a module is of the project or the user's, not of an installed library."""
    if Path(jaxstudies.__file__).parent in path.parents:
        return True
    installed = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    # Libraries also lie where a .pth file or PYTHONPATH points to, or at a user's own.
    return not {"site-packages", "dist-packages"} & set(path.parts) and not any(
        Path(root) in path.parents for root in installed
    )


@cache
def find_module(name: str) -> Path | None:
    """Return the file of a module whose source is followed."""
    found = vars(sys.modules[name]).get("__file__") if name in sys.modules else None
    # To look for a module imports the packages around it, which may fail in any way.
    with contextlib.suppress(Exception):
        head = importlib.util.find_spec(name.partition(".")[0])
        library = head is not None and head.has_location and not is_followed(Path(str(head.origin)).resolve())
        if found is None and not library and (spec := importlib.util.find_spec(name)):
            found = spec.origin
    path = Path(found).resolve() if found and found.endswith(".py") else None
    return path if path is not None and path.is_file() and is_followed(path) else None


Place = tuple[str, Path, str]
"""A module, its file, and a name in it."""


def reachable_code(roots: Iterable[Place]) -> str | None:
    """Return a digest of the source that functions reach, in the project and in the user's files.

    Comments, docstrings and layout make no difference, nor does what is not reached. A name that
    is mentioned counts as reached.

    Args:
        roots: Where to start. A name that its module lacks reaches nothing.

    Returns:
        The digest, or None where a file cannot be read.
    """
    seen: dict[tuple[Path, str], list[str]] = {}
    todo = list(roots)
    try:
        while todo:
            module, path, name = todo.pop()
            if (path, name) in seen:
                continue
            source = read_source(module, path)
            statements = list(source.definitions.get(name, ()))
            statements += [s for s in source.effects if name in _acts_on(s) and s not in statements]
            seen[path, name] = [ast.unparse(statement) for statement in statements]
            passed_on = [source.imports.get(name, ""), *(f"{star}.{name}" for star in source.stars)]
            todo += [place for dotted in passed_on for place in _resolved(dotted)]
            for statement in statements:
                todo += _reached(source, module, path, statement)
    except (OSError, SyntaxError):
        return None
    # Where a file lies is no part of what it does.
    return digest(sorted((path.stem, name, texts) for (path, name), texts in seen.items() if texts))


def _reached(source: Source, module: str, path: Path, statement: ast.stmt) -> Iterator[Place]:
    """Yield what a statement mentions: names of its module, and dotted names of imported ones."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield module, path, node.id
        elif isinstance(node, ast.Attribute):
            head, _, tail = ast.unparse(node).partition(".")
            if head in source.imports and tail.replace(".", "").isidentifier():
                yield from _resolved(f"{source.imports[head]}.{tail}")


def _resolved(dotted: str) -> list[Place]:
    """Return the place that a dotted name means, if its module is followed."""
    module, _, name = dotted.rpartition(".")
    path = find_module(module) if module else None
    return [] if path is None else [(module, path, name)]


def environment() -> dict[str, str | None]:
    """Return versions, machine and commit: what else a result depends on."""
    return {
        "jaxstudies": jaxstudies.__version__,
        "commit": commit(Path(jaxstudies.__file__).parent.parent),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        **{package: version(package) for package in PACKAGES},
        "device_kind": jax.devices()[0].device_kind,
    }


def other_versions(of_table: Mapping[str, str | None]) -> str:
    """Return in words how the versions that wrote a table differ from those here, if they do."""
    here = {package: version(package) for package in NUMERICAL}
    differ = [f"{p} {of_table[p]} (here {v})" for p, v in here.items() if of_table.get(p, v) != v]
    return ", ".join(differ)


def commit(root: Path) -> str | None:
    """Return the commit of the checkout at `root`, `-dirty` if it was changed."""
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
