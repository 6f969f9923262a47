"""Which code a run reaches: the source behind names in files, and functions that stand in none."""

import ast
import contextlib
import dataclasses
import dis
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import NamedTuple

import jax
import numpy as np

import jaxstudies
from jaxstudies.output.provenance import array_digest, digest

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
    return names | {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def is_followed(path: Path) -> bool:
    """Return whether a module is of the project or the user's, not of an installed library."""
    if Path(jaxstudies.__file__).parent in path.parents:
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
    except (OSError, SyntaxError):
        return None
    # Where a file lies is no part of what it does.
    return digest(sorted((path.stem, name, texts) for (path, name), texts in seen.items() if texts))


def _imported(source: Source, name: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the dotted names that a name may stand for, and those that its statements mention."""
    yield source.imports.get(name, "")
    yield from (f"{star}.{name}" for star in source.stars)
    for node in nodes:
        if isinstance(node, ast.Attribute):
            head, _, tail = ast.unparse(node).partition(".")
            if head in source.imports and tail.replace(".", "").isidentifier():
                yield f"{source.imports[head]}.{tail}"


class Unreadable(Exception):
    """An object whose code and content cannot be read."""


def object_digest(objects: object) -> str | None:
    """Return a digest of functions, of what they reach, and of values; None where it cannot be read.

    Functions of files count as their source does, others, such as lambdas and a notebook's, by what they were compiled
    to. Libraries count by name.
    """
    seen: dict[int, object] = {}
    try:
        return digest([_described(objects, seen)])
    except Unreadable:
        return None


def _described(value: object, seen: dict[int, object]) -> object:
    """Return what tells an object from others, as JSON has it."""
    value = inspect.unwrap(value) if callable(value) else value
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return array_digest(value)
    if id(value) in seen:
        return "above"
    seen[id(value)] = value
    if isinstance(value, Mapping):
        return [[_described(k, seen), _described(v, seen)] for k, v in value.items()]
    if isinstance(value, tuple | list | set | frozenset):
        parts = [_described(part, seen) for part in value]
        return [type(value).__name__, *(sorted(map(str, parts)) if isinstance(value, set | frozenset) else parts)]
    if isinstance(value, partial):
        return _described((value.func, value.args, value.keywords), seen)
    if isinstance(value, MethodType):
        return _described((value.__func__, value.__self__), seen)
    if isinstance(value, ModuleType | BuiltinFunctionType | np.ufunc):
        return f"named {value.__name__}"
    if isinstance(value, FunctionType | type):
        return _described_definition(value, seen)
    if dataclasses.is_dataclass(value):
        content = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return [_described(type(value), seen), _described(content, seen)]
    if hasattr(value, "__dict__"):
        return [_described(type(value), seen), _described(vars(value), seen)]
    raise Unreadable(type(value))


def _described_definition(value: FunctionType | type, seen: dict[int, object]) -> object:
    """Return what tells a function or a class from others."""
    module = sys.modules.get(value.__module__)
    found = vars(module).get("__file__") if module else None
    inside = [value.__defaults__, value.__kwdefaults__, cells(value)] if isinstance(value, FunctionType) else []
    plain = isinstance(value, type) and value.__module__ == "builtins"
    if plain or (found and not is_followed(Path(found).resolve())):
        return [f"{value.__module__}.{value.__qualname__}", _described(inside, seen)]
    named = vars(module).get(value.__name__) if module else None
    if found and callable(named) and inspect.unwrap(named) is value:  # it may be wrapped, say by jit
        source = reachable_code([(value.__module__, Path(found).resolve(), value.__name__)])
        if source is None:
            raise Unreadable(value)
        live = _described_values(value, seen) if isinstance(value, FunctionType) else []
        return [source, _described(inside, seen), live]
    if isinstance(value, type):
        own = {k: v for k, v in vars(value).items() if isinstance(v, FunctionType | staticmethod | classmethod)}
        return [value.__qualname__, _described(value.__bases__, seen), _described(own, seen)]
    return [_described(inside, seen), _described_code(value.__code__, value.__globals__, seen)]


def cells(function: FunctionType) -> list[object]:
    """Return what a function has closed over."""
    return [cell.cell_contents for cell in function.__closure__ or ()]


def _described_values(function: FunctionType, seen: dict[int, object]) -> list[object]:
    """Return what tells the values of now behind the names that a function of a file mentions from those of before."""
    described = []
    for name, value in sorted(_reached(function.__code__, function.__globals__).items()):
        if isinstance(value, FunctionType):
            described.append(_described(value, seen))
        elif not callable(value) and not isinstance(value, ModuleType):  # of those the source tells
            try:
                described.append([name, _described(value, seen)])
            except Unreadable:
                described.append([name, type(value).__qualname__])
    return described


def _reached(code: CodeType, names: Mapping[str, object]) -> dict[str, object]:
    """Return the globals that compiled code mentions; of the user's modules, what it mentions of them."""
    inside = [_reached(c, names) for c in code.co_consts if isinstance(c, CodeType)]
    reached = {name: names[name] for name in code.co_names if name in names}
    for module in [v for v in reached.values() if isinstance(v, ModuleType)]:
        file = vars(module).get("__file__")
        if file and is_followed(Path(file).resolve()):
            reached |= {f"{module.__name__}.{n}": v for n, v in vars(module).items() if n in code.co_names}
    return {name: value for part in (*inside, reached) for name, value in part.items()}


def _described_code(code: CodeType, names: Mapping[str, object], seen: dict[int, object]) -> object:
    """Return the instructions that a function was compiled to, and what the globals are that it mentions."""
    steps = []
    for step in dis.get_instructions(code):
        inner = isinstance(step.argval, CodeType)
        constant = step.opname in ("LOAD_CONST", "RETURN_CONST") and not inner
        steps.append([step.opname, _described(step.argval, seen) if constant else "" if inner else step.argrepr])
    inside = [_described_code(c, names, seen) for c in code.co_consts if isinstance(c, CodeType)]
    return [steps, inside, _described(_reached(code, names), seen)]
