"""What functions and values are at this moment, down to all that they reach: nothing that has changed goes unseen."""

import dataclasses
import dis
import inspect
import json
import sys
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

import jax
import numpy as np

import jaxstudies
from jaxstudies.engine.functions import cells
from jaxstudies.output.provenance import array_digest, digest
from jaxstudies.output.reach import is_followed, reachable_code


class Unreadable(Exception):
    """An object whose code and content cannot be read."""


Seen = dict[int, tuple[int, object]]
"""By their identity: when objects were met, and these themselves, so that they stay."""


def object_digest(objects: object) -> str | None:
    """Return a digest of functions and values as they are now, of what they reach; None where it cannot be read.

    Functions and classes of the user's count by what they were compiled to, by what they have closed over and by the
    globals that they mention, ours by their source, those of libraries by their names. Whatever else is reached counts
    by its content. What cannot be read to its end is not guessed: then nothing that was computed before is used again.
    """
    try:
        return digest([_described(objects, {})])
    except (Unreadable, RecursionError):
        return None


def _described(value: object, seen: Seen) -> object:
    """Return what tells an object from others, as JSON has it."""
    if value is None or value is ... or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, np.ndarray | np.generic | jax.Array) and getattr(value.dtype, "kind", "") != "O":
        return array_digest(value)
    if id(value) in seen:
        return f"object {seen[id(value)][0]} above"
    if (name := _library_name(value)) is not None:
        return f"named {name}"
    inside = getattr(value, "__wrapped__", None)
    if isinstance(value, jax.stages.Wrapped) and inside is not None:
        return _described(inside, seen)  # compiled, it does the same
    seen[id(value)] = len(seen), value
    kind = type(value).__qualname__
    match value:
        case Mapping():
            return [kind, [[_described(k, seen), _described(v, seen)] for k, v in value.items()]]
        case set() | frozenset():
            return [kind, sorted(json.dumps(_described(part, dict(seen))) for part in value)]
        case tuple() | list():
            return [kind, [_described(part, seen) for part in value]]
        case partial():
            return [kind, _described([value.func, value.args, value.keywords], seen)]
        case MethodType():
            return [kind, _described([value.__func__, value.__self__], seen)]
        case BuiltinFunctionType() if not isinstance(value.__self__, ModuleType | None):
            return [kind, value.__name__, _described(value.__self__, seen)]
        case ModuleType() | BuiltinFunctionType() | np.ufunc():
            return f"named {value.__name__}"
        case property():
            return [kind, _described([value.fget, value.fset], seen)]
        case staticmethod() | classmethod():
            return [kind, _described(value.__func__, seen)]
        case FunctionType():
            return _described_function(value, seen)
        case type():
            return _described_class(value, seen)
    if type(value).__module__ == "nanobind":  # a function of JAX's that is none of Python
        return f"named {getattr(value, '__name__', kind)}"
    if dataclasses.is_dataclass(value):
        content: object = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return [_described(type(value), seen), _described(content, seen)]
    if inside is not None:  # with derivatives of its own, cached
        own = {name: part for name, part in getattr(value, "__dict__", {}).items() if not name.startswith("__")}
        return [kind, _described([inside, own], seen)]
    return [kind, _described(_reduced(value), seen)]


def _reduced(value: object) -> list[object]:
    """Return what an object would be made from anew."""
    try:
        parts = value.__reduce_ex__(2)
    except Exception as error:  # whatever an object of the user's raises
        raise Unreadable(type(value)) from error
    if isinstance(parts, str):
        return [type(value), parts]
    make, arguments, state, listed, named = (*parts, None, None, None)[:5]
    return [make, arguments, state, list(listed or ()), list(named or ())]


def _library_name(value: object) -> str | None:
    """Return the dotted name of what a module of a library defines, None of anything else."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not callable(value) or not isinstance(module, str) or not isinstance(name, str):
        return None
    about = vars(sys.modules[module]) if module in sys.modules else {}
    path = Path(about["__file__"]) if about.get("__file__") else None
    return f"{module}.{name}" if about.get(name) is value and path is not None and _is_library(path) else None


def _is_ours(path: Path) -> bool:
    return Path(jaxstudies.__file__).parent in path.parents


@cache
def _is_library(path: Path) -> bool:
    return path.is_file() and not is_followed(path.resolve())


@cache
def _own_source(module: str, path: Path, name: str) -> str:
    found = reachable_code([(module, path, name)])
    if found is None:
        raise Unreadable(name)
    return found


def _described_function(function: FunctionType, seen: Seen) -> object:
    """Return what tells a function from others."""
    code, path = function.__code__, Path(function.__code__.co_filename)
    inner = inspect.unwrap(function)
    if inner is not function and _is_ours(Path(inner.__code__.co_filename)) and _is_library(path):
        return _described(inner, seen)  # checked by types while it is tested
    inside = [function.__defaults__, function.__kwdefaults__, cells(function)]
    attributes = {name: part for name, part in vars(function).items() if not name.startswith("__")}
    held = _described([inside, attributes], seen)
    if _is_library(path):
        return [path.name, code.co_qualname, held]
    if _is_ours(path):
        return [code.co_qualname, _own_source(function.__module__, path, code.co_qualname.partition(".")[0]), held]
    return [held, _described_code(code, function.__globals__, seen)]


GENERATED = ("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__", "__hash__")


def _described_class(kind: type, seen: Seen) -> object:
    """Return what tells a class from others: of the user's, all that its body says."""
    module = sys.modules.get(kind.__module__)
    about = vars(module) if module else {}
    path = Path(about["__file__"]) if about.get("__file__") else None
    if path is not None and _is_ours(path):
        return [kind.__qualname__, _own_source(kind.__module__, path, kind.__qualname__.partition(".")[0])]
    # What has neither a file nor a specification, a notebook or what was executed, is the user's.
    known = _is_library(path) if path else about.get("__spec__") is not None
    if known and kind.__module__ != "__main__":
        return f"named {kind.__module__}.{kind.__qualname__}"
    fields = vars(kind).get("__dataclass_fields__", {})
    body = {}
    for name, value in vars(kind).items():
        special = name.startswith("__") and name.endswith("__")
        written = not special or isinstance(value, FunctionType | classmethod)
        in_c = inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value)
        # What a dataclass makes of its fields.
        made = special and fields and isinstance(value, FunctionType) and value.__code__.co_filename == "<string>"
        if written and not in_c and not made and not name.startswith("_abc_") and name not in GENERATED:
            body[name] = value
    factories = {name: field.default_factory for name, field in fields.items()}
    bases = [base for base in kind.__bases__ if base is not object]
    return [kind.__qualname__, _described([bases, body, factories], seen)]


def _described_code(code: CodeType, names: Mapping[str, object], seen: Seen) -> object:
    """Return the instructions that a function was compiled to, and what the globals are that it mentions."""
    steps = []
    for step in dis.get_instructions(code):
        inner = isinstance(step.argval, CodeType)
        constant = step.opname in ("LOAD_CONST", "RETURN_CONST") and not inner
        steps.append([step.opname, _described(step.argval, seen) if constant else "" if inner else step.argrepr])
    inside = [_described_code(c, names, seen) for c in code.co_consts if isinstance(c, CodeType)]
    reached = {name: names[name] for name in code.co_names if name in names}
    # Of a module of the user's, what is mentioned is followed; of a library's, its name tells.
    modules = list(reached.values())
    for module in modules:
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if file and is_followed(Path(file).resolve()) and not _is_ours(Path(file)):
            found = {name: vars(module)[name] for name in code.co_names if name in vars(module)}
            reached |= {f"{vars(module)['__name__']}.{name}": value for name, value in found.items()}
            modules += [value for value in found.values() if value not in modules and isinstance(value, ModuleType)]
    return [steps, inside, _described(dict(sorted(reached.items())), seen)]
