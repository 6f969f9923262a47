"""A study's claims judged over its results: what each makes of them, alone and as a family."""

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from jaxstudies.errors import StudyError
from jaxstudies.evidence.claims import Claim, with_own_ids
from jaxstudies.evidence.effects import with_absent
from jaxstudies.evidence.rules import judge, judge_records
from jaxstudies.evidence.verdicts import Undecidable, Verdict


class Taken(NamedTuple):
    """A claim's effects, and what is to be said of them."""

    effects: pd.DataFrame
    """By seed, see `as_effects`."""
    undecidable: str
    """Why they cannot decide it, if so."""
    absent: int
    """Seeds whose effect is no number, and that are left out."""


def effects_of(claim: Claim, of: Callable[..., pd.Series], reading: str = "") -> Taken:
    """Take a claim's effects.

    With the name of a reading, the effects are those under it.

    Raises:
        StudyError: The effect raises or is none; what it raised is the cause.
    """
    with _naming(claim, reading):
        try:
            effect, why = (claim.readings[reading] if reading else claim.effect)(of), ""
        except Undecidable as error:
            effect, why = error.effect, str(error)
        effects, absent = with_absent(effect, claim.estimand)
        return Taken(effects, why, absent)


@contextlib.contextmanager
def _naming(claim: Claim, reading: str = "") -> Iterator[None]:
    try:
        yield
    except Exception as error:  # it is whatever a claim's own code raises
        read = f", reading {reading}" if reading else ""
        raise StudyError(f"claim {claim.id}{read}: {_in_a_line(error)}") from error


def _in_a_line(error: Exception) -> str:
    if isinstance(error, StudyError):
        return str(error)
    if is_of_truth_values(error):
        return "its effect uses ~, & or |, but truth values are 1.0 and 0.0: write 1 - a, a * b or np.maximum(a, b)"
    text = " ".join(str(error).split())
    return f"its effect raises {type(error).__name__}{': ' if text else ''}{text[:200]}"


def is_of_truth_values(error: BaseException | None) -> bool:
    """Return whether an error was raised by an operator of truth values that met numbers."""
    frames = traceback.walk_tb(error.__traceback__) if isinstance(error, TypeError) else ()
    return any(
        frame.f_code.co_name in ("__invert__", "__and__", "__rand__", "__or__", "__ror__") for frame, _ in frames
    )


def judge_all(
    claims: Iterable[Claim] | Claim,
    of: Callable[..., pd.Series],
    wrong: list[StudyError] | None = None,
    looks: Sequence[int] | None = None,
) -> tuple[list[Verdict], pd.DataFrame]:
    """Return the verdicts, and the effects by seed of all claims as one table; `of` returns a measure by seed.

    In the table `reading` names the reading that a row is of; those of the claims' own effects have none.

    With a list for what is wrong, claims that cannot be judged are left out, and told there. For `looks` see `judge`.

    Raises:
        StudyError: An effect raises or is none, its estimand cannot be had of it, or two claims have the same id; the
            line names the claim.
    """
    records, tables, others = [], {}, []
    take_asked = getattr(of, "take_asked", lambda: None)
    take_lacking = getattr(of, "take_lacking", lambda: "")
    for claim in with_own_ids(claims):
        record = claim.record()
        take_asked()
        take_lacking()
        try:
            effects, undecidable, absent = effects_of(claim, of)
            asked = take_asked() or None  # what was kept from before asks for nothing
            record |= {"undecidable": undecidable, "asked": [record["settings"]] if record["settings"] else asked}
            lacking = take_lacking() or ("no run has a number" if absent else "")
            record |= {"absent": absent, "lacking": "" if len(effects) else lacking}
            with _naming(claim):
                judge(record, effects, looks)
            read = [_read(claim, name, of, record, looks) for name in claim.readings]
        except StudyError as error:
            if wrong is None:
                raise
            wrong.append(error)
            continue
        records.append(record)
        tables[claim.id] = effects
        others += read
    verdicts = judge_records(records, tables, looks)
    whole = [*(effects.assign(claim=id_) for id_, effects in tables.items()), *others]
    return verdicts, pd.concat(whole, ignore_index=True) if whole else NOTHING.assign(claim=[])


def _read(
    claim: Claim, reading: str, of: Callable[..., pd.Series], record: Mapping, looks: Sequence[int] | None
) -> pd.DataFrame:
    """Return the effects of a claim under a reading, once they can be judged; none if they cannot decide it."""
    effects, undecidable, _ = effects_of(claim, of, reading)
    with _naming(claim, reading):
        judge(record, effects, looks)
    return (effects[:0] if undecidable else effects).assign(claim=claim.id, reading=reading)


NOTHING = pd.DataFrame({"seed": [], "value": []})
"""Effects of no seed."""
