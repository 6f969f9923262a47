"""Claims that are written down before anything is run, so that whoever reads a verdict knows what was said first."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from jaxstudies.evidence import claims
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.verdicts import Verdict, to_json

FILE = "registered.json"


def make(study: str, listed: Iterable[Claim], code: str | None) -> dict:
    """Return what is written down: the claims' records, their hash, and that of the code which takes the effects."""
    records = [claim.record() for claim in listed]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"study": study, "date": now, "sha256": claims.digest(records), "code": code, "claims": records}


def read(directory: Path) -> dict | None:
    """Return what is written down in a directory, None if nothing is, or nothing that can be read."""
    try:
        found = json.loads((directory / FILE).read_text("utf-8"))
        return found if found["sha256"] == claims.digest(found["claims"]) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def compare(directory: Path, judged: Iterable[Verdict], code: str | None) -> Mapping | None:
    """Return when the claims of a directory were written down, and which are others now; None if they were not."""
    registered = read(directory)
    if registered is None:
        return None
    before = {record["id"]: record for record in registered["claims"]}
    now = {entry["id"]: entry for entry in json.loads(json.dumps(to_json(judged)))}
    changed = [id_ for id_, record in before.items() if any(now.get(id_, {}).get(n) != v for n, v in record.items())]
    return {
        "date": registered["date"],
        "sha256": registered["sha256"],
        "changed": changed,
        "new": [id_ for id_ in now if id_ not in before],
        "code_changed": registered["code"] != code,
    }


def in_words(registered: Mapping | None) -> str:
    """Return whether claims were registered, when, and what has changed since."""
    if registered is None:
        return "not registered before the run"
    said = [f"registered {registered['date'][:10]}"]
    said += [f"changed since: {', '.join(registered['changed'])}"] * bool(registered["changed"])
    said += [f"new since: {', '.join(registered['new'])}"] * bool(registered["new"])
    said += ["their code has changed since"] * registered["code_changed"]
    return "; ".join(said) if len(said) > 1 else f"{said[0]}, unchanged"
