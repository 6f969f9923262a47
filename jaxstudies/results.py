"""What follows from a table of runs: verdicts on the study's claims, and the files that keep them."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from jaxstudies import configs
from jaxstudies.configs import Dataclass
from jaxstudies.engine.design import Design
from jaxstudies.errors import StudyError
from jaxstudies.evidence import records, registration
from jaxstudies.evidence.claims import Claim, with_own_ids
from jaxstudies.evidence.effects import write_effects
from jaxstudies.evidence.judging import effects_of, is_of_truth_values, judge_all
from jaxstudies.evidence.verdicts import Verdict, to_json
from jaxstudies.output import files, owned, stored
from jaxstudies.output.nonfinite import NonFinite
from jaxstudies.output.table import Shapes
from jaxstudies.selection import Selector
from jaxstudies.study import Results, Study


def claims_of(study: Study, config: Dataclass) -> list[Claim]:
    """Return a study's claims, which are there before anything is run.

    Raises:
        StudyError: One is none, or two have the same id.
    """
    listed = with_own_ids(study.CLAIMS if study.claims is None else study.claims(config))
    return [replace(claim, population=claim.population or study.POPULATION) for claim in listed]


@np.errstate(all="ignore")
def judge(
    study: Study, results: Results, wrong: list[StudyError] | None = None, looks: Sequence[int] | None = None
) -> tuple[list[Verdict], pd.DataFrame]:
    """Return the verdicts on a study's claims, and the effects by seed that they rest on, see `judge_all`."""
    return judge_all(claims_of(study, results.config), Selector(results, study.AXES), wrong, looks)


MOST_TRIED = 10_000
"""Settings of a design, at most, on which claims are tried before it is run."""


def try_claims(study: Study, design: Design, shapes: Shapes) -> None:
    """Take the effects of a study's claims from two runs of zeros, so that a slip shows before anything is run.

    What an effect raises itself may be due to the zeros, and does not count here.

    Raises:
        StudyError: A claim asks for a measure or a label that is not there, or for several settings at once; its effect
            is none; or two claims have the same id.
    """
    listed = with_own_ids(study.CLAIMS)
    if not listed or design.num_settings > MOST_TRIED:
        return
    number = 2 * design.num_settings
    columns: dict[str, object] = {name: np.repeat(column, 2) for name, column in design.labels.items()}
    columns["seed"] = np.tile([0, 1], design.num_settings)
    for name, shape in shapes.items():
        zeros = np.zeros((number, *shape.shape), shape.dtype)
        columns[name] = zeros if zeros.ndim == 1 else list(zeros)
    try:
        with warnings.catch_warnings(action="ignore"):  # zeros may be no values of theirs
            runs = (study.derive or pd.DataFrame)(pd.DataFrame(columns))
    except Exception:  # of zeros it may not be able to derive anything
        return
    of = Selector(Results(None, runs, pd.DataFrame(), {}), study.AXES)
    for claim in listed:
        try:
            with np.errstate(all="ignore"):
                for reading in ("", *claim.readings):
                    effects_of(claim, of, reading)
        except StudyError as error:
            cause = error.__cause__
            if isinstance(cause, StudyError) or type(cause) is NameError or is_of_truth_values(cause):
                raise


def read(study: Study, directory: Path) -> tuple[Results, dict]:
    """Return what a directory holds, and where it comes from.

    Raises:
        UnreadableRuns: There are no runs, or they cannot be read.
    """
    path = directory / owned.RUNS
    origin = stored.read_provenance(path)
    runs = stored.read_runs(path, study.derive, study.condense)
    beside = {name: pd.DataFrame(columns) for name, columns in origin.pop("beside").items()}
    config = configs.from_json(study.Config, origin["config"])
    return Results(config, runs, beside.pop("times"), beside), origin


def names(tables: Iterable[str]) -> list[str]:
    """Return the names of the files that `write` writes."""
    return [records.CONFIG, records.CLAIMS, records.EFFECTS, *owned.file_names(tables, ".csv").values()]


def write(
    directory: Path,
    origin: dict,
    judged: tuple[list[Verdict], pd.DataFrame],
    tables: Mapping[str, pd.DataFrame],
    found: NonFinite,
    code: str | None = None,
    looks: list[int] | None = None,
) -> None:
    """Write beside the table of runs where it comes from, the verdicts with their effects, and tables by name.

    `code` is a digest of the code that took the effects, `looks` as in `rules.judge`.
    """
    listed, effects = judged
    files.write_json(directory / records.CONFIG, origin)
    write_effects(directory / records.EFFECTS, effects, records.content_digest(directory / owned.RUNS))
    failed = {"rows": found.of, "nonfinite": found.runs}
    registered = registration.compare(directory, to_json(listed), code, origin)
    record = records.make(directory, origin, listed, looks, failed, registered)
    files.write_json(directory / records.CLAIMS, record)
    for name, file in owned.file_names(tables, ".csv").items():
        files.write_csv(directory / file, tables[name])
