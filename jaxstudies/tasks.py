"""What is run of a study: its design and data, and the code that its runs reach."""

import dataclasses
import inspect
from collections.abc import Hashable, Mapping
from functools import partial
from pathlib import Path

from jaxtyping import PyTree

from jaxstudies import configs
from jaxstudies.arguments import short
from jaxstudies.configs import Dataclass
from jaxstudies.engine import compiler
from jaxstudies.engine import design as designs
from jaxstudies.engine.design import Design, Setting, Simulate
from jaxstudies.engine.execution import DEFAULT, Execution
from jaxstudies.engine.functions import likeness
from jaxstudies.engine.monte_carlo import Task
from jaxstudies.errors import StudyError, study_errors
from jaxstudies.identity import live, provenance, reach
from jaxstudies.study import Study


def levels_of(study: Study, config: Dataclass, data: Mapping[str, PyTree]) -> dict[str, tuple]:
    """Return the levels of each factor, in the config's order; what is no tuple is one level.

    Raises:
        StudyError: A parameter of `simulate` is neither a field nor among the data.
    """
    before, behind = designs.parameters(study.simulate)
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for name, parameter in inspect.signature(study.simulate).parameters.items():
        missing = name in (*before, *behind) and parameter.default is parameter.empty
        if missing and name not in (*fields, *data, "config"):
            raise StudyError(
                f"simulate's parameter {name!r} is neither a field of Config nor among what data(config) returns"
            )
    taken = [n for n in fields if n in (*before, *behind) and n not in (*data, *configs.EXECUTION)]
    return {n: fields[n] if isinstance(fields[n], tuple) else (fields[n],) for n in taken}


def task_of(study: Study, config: Dataclass, num_seeds: int, seed: int = 0, execution: Execution = DEFAULT) -> Task:
    """Return what is run: the study's design, its data, and `simulate` with the config filled in.

    Raises:
        TypeError: A parameter of `simulate` cannot be filled in.
        ValueError: Settings contradict one another, or a word is none of those that a field may have.
    """
    configs.check_choices(config)
    with study_errors("data"):
        returned = study.data(config)
    if not isinstance(returned, Mapping):
        raise StudyError(f"data returned {short(returned)}: arrays by the name of a parameter of simulate")
    data = {name: designs.as_data(name, value) for name, value in returned.items()}
    if study.settings is not None:
        with study_errors("settings"):
            listed = study.settings(config)
            listed = listed if isinstance(listed, Design) else list(listed)
        if isinstance(listed, list) and (odd := [one for one in listed if not isinstance(one, Setting)]):
            raise StudyError(f"settings returned {short(odd[0])}: each is a Setting")
        design = listed if isinstance(listed, Design) else designs.make_design(study.simulate, listed)
    else:
        design = designs.product_design(study.simulate, levels_of(study, config, data))
    simulate = partial(study.simulate, config=config) if takes_config(study) else study.simulate
    return Task(simulate, design, num_seeds, seed, data, study.AXES, execution, identity_of(simulate, design))


def takes_config(study: Study) -> bool:
    """Return whether `simulate` takes the whole config."""
    return "config" in inspect.signature(study.simulate).parameters


def identity_of(simulate: Simulate, design: Design) -> Hashable:
    """Return what is equal for functions that do the same, whatever has changed around them; None if unreadable."""
    content = live.object_digest([simulate, [group.static for group in design.groups]])
    return None if content is None else (likeness(simulate), content)


def code_of(study: Study) -> str | None:
    """Return a digest of the code that a study's runs reach; None where it cannot be read."""
    if study.path is None:
        return None
    roots = ["simulate", "data", "settings", "beside"]
    if not reach.is_ours(study.path) and counts_config(study):
        roots.append("Config")
    own = [(study.module, study.path, name) for name in roots]
    engine = (compiler.__name__, Path(str(compiler.__file__)), "compile_block")
    source = reach.reachable_code([*own, engine])
    if source is None or reach.is_ours(study.path):
        return source
    # What a reader's file held when it was imported, say data that it had read, its source does not say.
    held = [live.object_digest([function]) for function in (study.simulate, study.data, study.settings, study.beside)]
    return provenance.digest([source, *(one for one in held if one is not None)])


def counts_config(study: Study) -> bool:
    """Return whether runs see what a config does, not only what it holds: its methods, or functions in its fields."""
    return takes_config(study) or any(callable(field.default) for field in dataclasses.fields(study.Config))


def claims_code_of(study: Study) -> str | None:
    """Return a digest of the code by which a study's claims are taken from its runs; None where it cannot be read."""
    if study.path is None:
        return None
    return reach.reachable_code([(study.module, study.path, name) for name in ("claims", "CLAIMS", "derive")])
