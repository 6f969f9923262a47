"""The flags that every study has beside its own."""

import dataclasses
from pathlib import Path
from typing import Annotated

import annotated_types as at
import tyro

from jaxstudies.commands import flags, levels
from jaxstudies.commands.endings import UsageError
from jaxstudies.configs import Dataclass, MasterSeed, lists
from jaxstudies.engine.meeting import parse_address
from jaxstudies.engine.shares import parse_share
from jaxstudies.errors import StudyError


@dataclasses.dataclass(frozen=True)
class Seeds:
    """What decides a run beside the study's own config, where that does not name it."""

    seeds: Annotated[int, at.Interval(ge=1, le=10**9)] = 1000
    """Independent runs per setting."""
    seed: MasterSeed = 0
    """Master seed; run i depends on it and on i alone."""


def usual_seeds(config_class: type) -> int:
    """Return how many seeds a study takes unless it is told otherwise."""
    defaults = {field.name: field.default for field in dataclasses.fields(config_class)}
    return defaults.get("seeds", Seeds.seeds)  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class Options:
    """How and where a study runs; none of it changes results beyond rounding."""

    until_decided: bool = False
    """Look again and again, and go on until every claim is decided at its own level; settings whose
    claims are decided stop. Verdicts hold however often one looks. --seeds sets how far looks lie
    apart."""
    max_seeds: Annotated[int, at.Interval(ge=1, le=10**9)] | None = None
    """Seeds of a setting at most, with --until-decided or --plan (100 times --seeds)."""
    plan: bool = False
    """Say how many seeds each claim is likely to need and how long that takes here, from a pilot on
    other seeds; write nothing."""
    out: Path | None = None
    """Directory for the results (results/<study>). The same command goes on there after a kill;
    with more seeds it runs only those that are new."""
    chunk_size: Annotated[int, at.Ge(1)] | None = None
    """Runs at once, settings times seeds, which bounds the memory (512 per CPU core unless the
    study says otherwise, 8192 per accelerator)."""
    devices: Annotated[int, at.Ge(1)] | None = None
    """Devices to use (all; on a CPU every core is one)."""
    verbose: bool = False
    """Print the summary, and every claim, too."""
    pdf: bool = False
    """Write figures as PDF, too."""
    plots_only: bool = False
    """Redraw from DIR/runs.parquet without running anything."""
    fresh: bool = False
    """Run again even what is already there."""
    shard: str | None = None
    """Compute the i-th of n shares of the run, written i/n, into a directory that all n processes
    share; whichever finds all shares there puts the run together."""
    distributed: bool = False
    """Share the run with the other processes of a SLURM, Open MPI, Kubernetes or TPU job, or with
    those that the next three flags name; process 0 puts it together."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where JAX does not find the processes by itself."""
    num_processes: Annotated[int, at.Interval(ge=1, le=100_000)] | None = None
    """Number of processes, with --coordinator."""
    process_id: Annotated[int, at.Ge(0)] | None = None
    """Number of this process, from 0, with --coordinator."""
    connect_timeout: Annotated[int, at.Interval(ge=1, le=86_400)] | None = None
    """Seconds to wait until all processes are there, with --distributed (300)."""


def parse(
    config: type, name: str, text: str, argv: list[str], stored: dict[str, object] | None = None
) -> tuple[Dataclass, Seeds, Options]:
    """Return a study's config, its seeds and the options from flags, given its `Config`, its name and its docstring.

    Where no flag says otherwise they are as stored, if anything is.
    """
    check_fields(config, name)
    argv, ranges = levels.take_ranges(config, argv)
    kind = flags.explained(config, Seeds, Options)
    if stored is None:
        # There is one flag for what is true or false, which turns it over; to say the default is no harm.
        argv = [word for word in argv if word not in _defaults(kind)]
    prior = {"config": (tyro.conf.FlagCreatePairsOff,)} if stored is None else {"default": kind(**stored)}
    parsed = flags.parse(kind, argv, prog=f"{name}.py", description=text, **prior)
    # A value that is named twice counts once, as a seed that ran twice should.
    many = lists(config)
    values = {k: tuple(dict.fromkeys(v)) if k in many and type(v) is tuple else v for k, v in vars(parsed).items()}
    values |= ranges

    def filled(kind: type):
        return kind(**{field.name: values[field.name] for field in dataclasses.fields(kind)})

    try:
        chosen = filled(config)
    except ValueError as error:  # from a config that checks itself
        raise UsageError(flags.in_flags(str(error), config)) from error
    flags.check_values(chosen)  # the levels of ranges have not been looked at
    options = filled(Options)
    check(options)
    return chosen, filled(Seeds), options


def check_fields(config: type, name: str) -> None:
    """Raise StudyError where a study's `Config` has a field that can be no flag."""
    ours = {field.name for field in dataclasses.fields(Options)}
    for field in dataclasses.fields(config):
        if field.name in ours:
            raise StudyError(f"the study {name}: Config's field {field.name} has the name of a flag of every run")
        if not field.init:
            raise StudyError(f"the study {name}: Config's field {field.name} cannot be given, as init is False")


def _defaults(kind: type) -> set[str]:
    """Return the words that say the default of what is true or false, as --no-verbose."""
    said = {field.name: field.default for field in dataclasses.fields(kind) if isinstance(field.default, bool)}
    return {f"--{'' if default else 'no-'}{name.replace('_', '-')}" for name, default in said.items()}


def check(options: Options) -> None:
    """Check flags that depend on one another."""
    shard, number, count = options.shard, options.process_id, options.num_processes
    three = {"--coordinator": options.coordinator, "--num-processes": count, "--process-id": number}
    given, missing = ([f for f, value in three.items() if (value is None) == lacks] for lacks in (False, True))
    if options.plots_only and (shard is not None or options.distributed):
        raise UsageError("--plots-only: runs nothing, so that there is nothing to share")
    if shard is not None:
        try:
            parse_share(shard)
        except ValueError as error:
            raise UsageError(f"--shard {shard}: {error}") from error
        if options.distributed:
            raise UsageError("--shard: the processes of --distributed have their shares already")
        if options.fresh:
            raise UsageError("--fresh: a shard cannot know whose chunks are new; remove DIR/parts")
    if options.max_seeds is not None and not (options.until_decided or options.plan):
        raise UsageError(f"--max-seeds {options.max_seeds}: only with --until-decided or --plan")
    for name in ("until_decided", "plan"):
        for other in ("plots_only", "fresh", "shard", "distributed", *(["until_decided"] if name == "plan" else [])):
            if getattr(options, name) and getattr(options, other) not in (False, None):
                named = (f"--{flag.replace('_', '-')}" for flag in (name, other))
                raise UsageError(": cannot be used with ".join(named))
    waits = ["--connect-timeout"] * (options.connect_timeout is not None)
    if (named := given + waits) and not options.distributed:
        raise UsageError(f"{named[0]}: only with --distributed")
    if given and missing:
        raise UsageError(f"{missing[0]}: needed with {given[0]}")
    if number is not None and count is not None and number >= count:
        raise UsageError(f"--process-id {number}: must be less than --num-processes, {count}")
    if (address := options.coordinator) is not None:
        try:
            parse_address(address)
        except ValueError as error:
            shown = ascii(address)[1:-1]
            raise UsageError(f"--coordinator {shown[:60]}{'...' * (len(shown) > 60)}: {error}") from error
