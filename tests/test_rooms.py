"""Imports point one way: no room uses one that stands behind it."""

import ast
from pathlib import Path

import jaxstudies

PACKAGE = Path(jaxstudies.__file__).parent
ORDER = [
    "errors",
    "ours",
    "configs",
    "arguments",
    "grids",
    "locks",
    "compilation_cache",
    "watching",
    "fused",
    "networks",
    "training",
    "evidence",
    "output",
    "engine",
    "identity",
    "studies",
    "study",
    "tasks",
    "selection",
    "presentation",
    "results",
    "jobs",
    "growth",
    "finishing",
    "planning",
    "deciding",
    "calls",
    "portraits",
    "runs",
    "replays",
    "STUDY",
    "commands",
    "__init__",
    "__main__",
]
"""From what uses nothing to what nobody uses; a study's folder is STUDY."""


def room_of(parts):
    """Return the room of a module, by the parts of its name behind the package's."""
    return "STUDY" if parts[0] == "studies" and len(parts) > 1 and parts[1] not in OWN else parts[0]


OWN = {path.stem for path in (PACKAGE / "studies").glob("*.py")} | {"packaged", "find_file"}


def imported(path):
    """Yield the rooms that a file imports when it is imported itself."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "jaxstudies":
            parts = str(node.module).split(".")[1:]
            yield from (room_of(parts) if parts else room_of([alias.name]) for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            yield from (room_of(parts[1:]) for parts in names if parts[0] == "jaxstudies" and len(parts) > 1)


def test_every_room_has_its_place():
    rooms = {room_of(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    assert rooms == set(ORDER)


def test_no_room_uses_one_behind_it():
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path.relative_to(PACKAGE).with_suffix("").parts)
        for other in imported(path):
            assert ORDER.index(other) <= ORDER.index(room), f"{path} imports {other}"
