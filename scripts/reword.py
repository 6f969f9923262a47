"""Put the words that the code has for claims today into references whose runs were not kept.

    python scripts/reword.py lenet

Verdicts, effects and intervals stay as they are: where the code has another claim, or holds one against another region
or by another estimand, nothing is written, and the study is to be run again. `jaxstudies report figures --out
figures/report.html` then makes the page again.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxstudies.commands import endings

with endings.explained("reword", after=""):  # Ctrl-C while they are imported is one line
    import tyro
    from reference import names_of

    from jaxstudies import configs, results
    from jaxstudies.commands import flags
    from jaxstudies.commands.endings import UsageError
    from jaxstudies.evidence import records
    from jaxstudies.evidence.claims import without_absent
    from jaxstudies.output import files
    from jaxstudies.study import load

FIGURES = Path(__file__).parent.parent / "figures"
WORDS = ("claim", "source", "where", "says", "method", "margin", "selection", "population", "not_shown", "figure")
"""Fields of a claim that decide nothing."""
DECISIVE = ("region", "ends", "estimand", "arguments", "level", "primary", "near_normal", "bounds", "unit", "readings")


@dataclass(frozen=True)
class Options:
    """Which references are worded again."""

    studies: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Names of studies, if not all."""


def directories_of(names: Iterable[str]) -> list[Path]:
    """Return where references of studies lie: of each the first one, and further ones inside."""
    inside = "*/" + records.CLAIMS
    return [d for name in names for d in [FIGURES / name, *(p.parent for p in sorted((FIGURES / name).glob(inside)))]]


def now_of(directory: Path) -> dict[str, dict]:
    """Return the records of the claims that the code has today, for a directory's configuration, by identifier."""
    origin = json.loads((directory / records.CONFIG).read_text("utf-8"))
    study = load(origin["study"])
    config = configs.from_json(study.Config, origin["config"])
    return {claim.id: json.loads(json.dumps(claim.record())) for claim in results.claims_of(study, config)}


def differences(there: Mapping, now: Mapping, fields: tuple[str, ...]) -> list[str]:
    """Return the fields in which a claim that was judged is not the code's; one without words is left out in both."""
    return [name for name in fields if (there.get(name) or None) != (now.get(name) or None)]


def reworded(directory: Path) -> dict:
    """Return what claims.json of a directory says, in the words of today's code.

    Raises:
        UsageError: The code has other claims, or decides one otherwise.
    """
    record, now = records.read(directory), now_of(directory)
    if others := set(now) ^ {claim["id"] for claim in record["claims"]}:
        raise UsageError(f"{directory}: {min(others)} is no claim of both; run the study again")
    for claim in record["claims"]:
        if differ := differences(claim, now[claim["id"]], DECISIVE):
            raise UsageError(f"{directory}: {claim['id']} has another {differ[0]}; run the study again")
        claim |= {name: now[claim["id"]].get(name, "") for name in WORDS}
    record["claims"] = [without_absent(claim) for claim in record["claims"]]
    return record | {"sha256": records.seal(record)}


def reword(names: tuple[str, ...]) -> None:
    """Word references again, all if none is named."""
    for directory in directories_of(names_of(names)):
        before, record = records.read(directory), reworded(directory)
        changed = [a["id"] for a, b in zip(before["claims"], record["claims"], strict=True) if differences(a, b, WORDS)]
        if changed:
            files.write_json(directory / records.CLAIMS, record)
        print(f"{directory.relative_to(FIGURES)}: {', '.join(changed) or 'nothing to be said otherwise'}")


if __name__ == "__main__":
    with endings.explained("reword"):
        reword(flags.parse(Options, sys.argv[1:], prog="reword.py", description=__doc__ or "").studies)
