"""Claims that are written down before anything is run, so that whoever reads a verdict knows what was said first."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxstudies.configs import without_execution
from jaxstudies.evidence import claims
from jaxstudies.evidence.claims import Claim

FILE = "registered.json"
CODE = "claims_code", "code"
"""Digests of the code that takes the effects, and of what is run."""
OTHER_CODE = "other code"


class Damaged(Exception):
    """What was written down cannot be read, or was changed since."""


def make(study: str, listed: Iterable[Claim], about: Mapping[str, Any]) -> dict:
    """Return what is written down: the claims' records, and the config, the master seed and the code to be run."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"study": study, "date": now, **about, "claims": [claim.record() for claim in listed]}
    record = json.loads(json.dumps(record))
    return record | {"sha256": claims.digest([record])}


def read(directory: Path) -> dict | None:
    """Return what is written down in a directory, None if nothing is.

    Raises:
        Damaged: It cannot be read, or was changed since.
    """
    path = directory / FILE
    if not path.exists():
        return None
    if not path.is_file():  # on a pipe one would wait
        raise Damaged(f"{path} is no file")
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["sha256"] != claims.digest([{name: part for name, part in found.items() if name != "sha256"}]):
            raise Damaged(f"{path} was changed after it was written")
        return found
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damaged(f"{path} cannot be read") from error


def compare(directory: Path, judged: Iterable[Mapping], code: str | None, origin: Mapping) -> Mapping | None:
    """Return when the claims of a directory were written down, and what is another now; None if they were not.

    Args:
        directory: Where they are.
        judged: Entries of claims.json.
        code: Digest of the code that takes the effects.
        origin: Provenance of the runs.
    """
    try:
        registered = read(directory)
    except Damaged as error:
        return {
            "date": None,
            "sha256": None,
            "changed": [],
            "new": [],
            "otherwise": [str(error).replace(f"{directory}/", "")],
        }
    if registered is None:
        return None
    before = {record["id"]: record for record in registered["claims"]}
    now = {entry["id"]: entry for entry in json.loads(json.dumps(list(judged)))}
    changed = [id_ for id_, record in before.items() if any(now.get(id_, {}).get(n) != v for n, v in record.items())]
    otherwise = [
        ("registered after the runs were begun", registered["date"] > (origin.get("begun") or "")),
        ("another config", registered["config"] != without_execution(origin["config"])),
        ("another master seed", registered["seed"] != origin["seed"]),
        ("another stopping rule", not _stopped_so(registered["stopping"], origin)),
        (OTHER_CODE, [registered[name] for name in CODE] != [code, origin["code"]]),
    ]
    return {
        "date": registered["date"],
        "sha256": registered["sha256"],
        "changed": changed,
        "new": [id_ for id_ in now if id_ not in before],
        "otherwise": [said for said, is_so in otherwise if is_so],
    }


def _stopped_so(rule: Mapping, origin: Mapping) -> bool:
    """Return whether runs ended by a rule: at a number of seeds, without a look before, or when claims were decided."""
    if rule["until_decided"]:
        return origin.get("until_decided") == {name: rule[name] for name in ("seeds", "max_seeds")}
    return seen_at(origin) == {rule["seeds"]} and len(origin["stages"]) == 1 and not origin.get("until_decided")


def looks_of(origin: Mapping) -> list[int] | None:
    """Return the numbers of seeds at which the runs of a table were looked at; None if their number was set before.

    A run that grew was looked at where each of its stages ended, and one that is cut from more was seen as a whole.
    """
    number, seen = origin["num_seeds"], seen_at(origin)
    if seen == {number} and not origin.get("until_decided"):
        return None
    return sorted(n for n in seen if n <= number)


def seen_at(origin: Mapping) -> set[int]:
    """Return all numbers of seeds at which the runs of a table, or others of the same in its directory, were seen."""
    return {origin["num_seeds"], *(stage["num_seeds"] for stage in origin["stages"]), *origin.get("seen", ())}


def in_words(registered: Mapping | None) -> str:
    """Return whether claims were registered, when, and what has changed since."""
    if registered is None:
        return "not registered before the run"
    if registered["date"] is None:
        return registered["otherwise"][0]
    said = [f"changed since: {', '.join(registered['changed'])}"] * bool(registered["changed"])
    said += [f"new since: {', '.join(registered['new'])}"] * bool(registered["new"])
    return "; ".join([f"registered {registered['date'][:10]}", *(said + registered["otherwise"] or ["unchanged"])])
