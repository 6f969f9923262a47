"""Which code a run reaches: the source behind names in files."""

import ast
import contextlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import jaxstudies
from jaxstudies.output.provenance import digest

Place = tuple[str, Path, str]
"""A module, its file, and a name in it."""
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """What a module's file says."""

    statements: dict[str, list[ast.stmt]]
    """By the names that they define or act on."""
    imports: dict[str, str]
    """What the names of imports stand for."""
    stars: list[str]
    """Modules from which everything is imported."""


def read_source(name: str, path: Path) -> Source:
    """Parse a module's file, again where it was edited; comments and docstrings are left out."""
    about = path.stat()
    return _parsed(name, path, (about.st_mtime_ns, about.st_size))


@lru_cache(1000)
def _parsed(name: str, path: Path, modified: tuple[int, int]) -> Source:
    tree = ast.parse(path.read_bytes())
    source = Source({}, {}, [])
    around = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | Definition):
            kept = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            node.body = kept or [ast.Pass()]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                head = alias.name.partition(".")[0]
                source.imports[alias.asname or head] = alias.name if alias.asname else head
        elif isinstance(node, ast.ImportFrom):
            above = around[: len(around) - node.level + 1] if node.level else []
            package = ".".join([*above, *filter(None, [node.module])])
            source.imports.update({a.asname or a.name: f"{package}.{a.name}" for a in node.names if a.name != "*"})
            source.stars.extend(package for a in node.names if a.name == "*")
    for statement in tree.body:
        for defined in _subjects(statement):
            source.statements.setdefault(defined, []).append(statement)
    return source


def _subjects(statement: ast.stmt) -> set[str]:
    """Return the names that a statement defines or, such as a call or a decorator, acts on."""
    names, nodes = set(), [statement]
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            names, nodes = {statement.name}, statement.decorator_list
        case ast.Assign():
            nodes = statement.targets
        case ast.AnnAssign(target=ast.Name()) | ast.AugAssign(target=ast.Name()):
            nodes = [statement.target]
    inside = [n for node in nodes for n in ast.walk(node)]
    # A definition may stand in a branch.
    names |= {n.name for n in inside if isinstance(n, Definition)}
    return names | {n.id for n in inside if isinstance(n, ast.Name)}


def is_followed(path: Path) -> bool:
    """Return whether a module is of the project or the user's, not of an installed library."""
    if is_ours(path):
        return True
    installed = {Path(sysconfig.get_path(key)) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    # Libraries also lie where a .pth file or PYTHONPATH points to, or at a user's own.
    return not {"site-packages", "dist-packages"} & set(path.parts) and not installed & set(path.parents)


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


def reachable_code(roots: Iterable[Place]) -> str | None:
    """Return a digest of the source that names reach, in the project and in the user's files, None if unreadable.

    Comments, docstrings and layout make no difference, nor does what is not reached. A name that
    is mentioned counts as reached.
    """
    seen: dict[tuple[Path, str], list[str]] = {}
    roots = list(roots)
    todo = list(roots)
    try:
        while todo:
            module, path, name = todo.pop()
            if (path, name) in seen:
                continue
            source = read_source(module, path)
            statements = source.statements.get(name, [])
            seen[path, name] = [ast.unparse(statement) for statement in statements]
            nodes = [node for statement in statements for node in ast.walk(statement)]
            todo += [(module, path, node.id) for node in nodes if isinstance(node, ast.Name)]
            for dotted in _imported(source, name, nodes):
                owner, _, attribute = dotted.rpartition(".")
                if owner and (file := find_module(owner)):
                    todo.append((owner, file, attribute))
            for other, file in _whole(source, module, path, nodes):
                todo += [(other, file, defined) for defined in read_source(other, file).statements]
    except (OSError, SyntaxError):
        return None
    # Where a file lies is no part of what it does.
    roots_in_words = [name for _, _, name in roots]
    return digest([roots_in_words, sorted((path.stem, name, texts) for (path, name), texts in seen.items() if texts)])


LOOKUPS = {"globals", "locals", "vars", "eval", "exec", "__import__"}
"""What finds by text what neither a statement nor an instruction mentions."""


def _whole(source: Source, module: str, path: Path, nodes: Iterable[ast.AST]) -> Iterator[tuple[str, Path]]:
    """Yield the user's modules any part of which statements may reach: they go somewhere as values, or are searched."""
    nodes = list(nodes)
    heads = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if not isinstance(node, ast.Name) or id(node) in heads:
            continue
        dotted = source.imports.get(node.id, "")
        if dotted and (file := find_module(dotted)) and not is_ours(file):
            yield dotted, file
        if node.id in LOOKUPS and not is_ours(path):
            yield module, path


def is_ours(path: Path) -> bool:
    """Return whether a file is of this package."""
    return Path(jaxstudies.__file__).parent in path.parents


def _imported(source: Source, name: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the dotted names that a name may stand for, and those that its statements mention."""
    yield source.imports.get(name, "")
    yield from (f"{star}.{name}" for star in source.stars)
    for node in nodes:
        if isinstance(node, ast.Attribute):
            head, _, tail = ast.unparse(node).partition(".")
            if head in source.imports and tail.replace(".", "").isidentifier():
                yield f"{source.imports[head]}.{tail}"
