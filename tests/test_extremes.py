"""What runs to its end is told at its end: tables, verdicts and figures of every study at the extremes of its flags."""

import dataclasses
import json
import shutil
import types
import warnings
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import toy
from annotated_types import Interval
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import texts_of

from jaxstudies import jobs, results, studies
from jaxstudies.commands import command, flags, options
from jaxstudies.commands.flags import UsageError
from jaxstudies.engine import tracing
from jaxstudies.engine.monte_carlo import Timing
from jaxstudies.evidence.claims import sentence
from jaxstudies.networks.activations import activation_named
from jaxstudies.output import default_figures, plotting
from jaxstudies.output.table import stacked
from jaxstudies.studies.depth_width.beside import fit_baselines
from jaxstudies.studies.depth_width.design import networks
from jaxstudies.study import Claim, Results, from_module, load, task_of

NAMES = list(studies.packaged())
DATASET = {name: {"dataset": "digits"} for name in ("initialization", "order_chaos", "lenet")}


@pytest.fixture(autouse=True)
def style():
    plotting.use_style()
    plt.rcParams["savefig.dpi"] = 40
    yield
    plt.close("all")


# Tables that were never run: shapes by tracing, numbers of all kinds.

FILLS = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "0": 0.0, "1": 1.0, "huge": 3e38, "tiny": 1e-42, "-1": -1.0}
HOW = (*FILLS, "mixed", "random")


def filled(shape, kind, how, rng):
    """Return an array of one kind of number; truth values and integers are as such."""
    if kind in "biu":
        most = {"0": 1, "1": 2}.get(how, 2)
        drawn = rng.integers(1 if how == "1" else 0, most, shape)
        return drawn.astype(bool) if kind == "b" else drawn.astype(np.int32)
    if how in FILLS:
        return np.full(shape, FILLS[how], np.float32)
    return (rng.choice(list(FILLS.values()), shape) if how == "mixed" else rng.random(shape)).astype(np.float32)


def made_up(study, config, how):
    """Return results of a config as if it had been run."""
    task, rng, parts = task_of(study, config, config.seeds), np.random.default_rng(0), {}
    for group in task.design.groups:
        shapes = tracing.trace(task.simulate, group, dict(task.data), task.identity).shapes
        for i, position in enumerate(group.positions):
            n = min(group.num_seeds or config.seeds, config.seeds)
            columns = {name: [labels[position]] * n for name, labels in task.design.labels.items()}
            columns["seed"] = np.arange(n)
            for name, shape in shapes.items():
                values = filled((n, *shape.shape), shape.dtype.kind, how, rng)
                if (study.name, name) == ("perceptron", "epochs"):
                    epochs = group.mapped["epochs"][i] if "epochs" in group.mapped else group.fixed["epochs"]
                    values = np.repeat(np.asarray(epochs)[None], n, axis=0)
                columns[name] = list(values) if values.ndim > 1 else values
            if study.name == "depth_width":
                columns["nonfinite"] = ~np.isfinite(columns["validation_rmse"])
            elif how in ("nan", "inf", "-inf"):  # as runs say it themselves
                told = {"nonfinite": True, "first_nonfinite_layer": 1, "first_dead_layer": 0}
                columns |= {name: np.full(n, value) for name, value in told.items() if np.ndim(columns.get(name)) == 1}
            parts[position] = pd.DataFrame(columns)
    runs = study.derive(pd.concat([parts[i] for i in sorted(parts)], ignore_index=True))
    times = jobs.times_table(task.design, [Timing(1.0, 1.0, 10)] * len(task.design.groups))
    return Results(config, runs.assign(count=1) if study.condense else runs, times, beside_of(study, config))


def beside_of(study, config):
    if study.name == "lenet":
        return {"steps": pd.DataFrame({"arm": list(config.arms), "ms_per_step": 1.0})}
    if study.name == "depth_width":
        alone = pd.DataFrame([network.labels | {"seconds_per_epoch": 1.0} for network in networks(config)])
        return {"alone": alone, "baselines": fit_baselines(config, lambda name, compute: compute())}
    return {}


def answer(study, finished, out):
    """Write what follows from results as the command does, warnings being errors; return verdicts and figures."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = results.summary_of(study, finished)
        verdicts, _ = results.judge(study, finished)
        results.tables_of(study, finished)
        figures = results.figures_of(study, finished, summary)
        paths = plotting.save(figures, out, study.CAPTIONS)
    assert paths and all(path.stat().st_size > 2000 for path in paths)
    return summary, verdicts, figures


# Flags by their types, at the ends of what they may be.

FEW = 4
"""What lays out arrays is as small as it may be, or a little larger."""
NUMBERS = {"seeds": st.integers(1, 3), "seed": st.sampled_from([0, 2**32 - 1]), "num_examples": st.integers(100, 101)}
HISTORY = {("initialization", "epochs"), ("lenet", "epochs"), ("depth_width", "epochs"), ("depth_width", "modern_epochs")}
ANY_SIZE = {"epochs", "long_epochs", "convergence_epochs", "batch_size", "num_images", "train_evaluated"}


def values_of(name, field, hint):
    """Return a strategy for a field from its type."""
    if get_origin(hint) is Annotated and get_args(hint)[0] in (int, float):
        kind, bound = get_args(hint)
        low, high = (bound.ge if bound.gt is None else 1e-30), bound.le
        if field in NUMBERS:
            return NUMBERS[field]
        if kind is float:
            return st.sampled_from([float(low), float(high), min(max(0.1, low), high)])
        if field in ANY_SIZE and (name, field) not in HISTORY:
            return st.sampled_from([low, low + 1, high])
        return st.integers(low, low + FEW - 1)
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if hint is bool:
        return st.booleans()
    if get_origin(hint) is tuple:
        inner = values_of(name, field, get_args(hint)[0])
        return st.lists(inner, min_size=1, max_size=2, unique=True).map(tuple)
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    return st.none() | values_of(name, field, kinds[0])


def configs(name):
    """Return a strategy for configs of a study."""
    kind = load(name).Config
    hints = get_type_hints(kind, include_extras=True)
    left_out = {"data_dir", "dataset", "map" if name == "dying_relu" else "", "phase", "shapes"}
    drawn = {field: values_of(name, field, hint) for field, hint in hints.items() if field not in left_out}
    drawn |= {field: st.just(value) for field, value in DATASET.get(name, {}).items()}
    if name == "depth_width":
        drawn["shapes"] = st.sampled_from([("1",), ("1-1-1-1",), ("2,3", "2-2,2-3"), ("512",)])
        drawn["sgd_rates"] = st.just(kind.sgd_rates)

    return st.fixed_dictionaries(drawn)


def configured(name, given):
    """Return a config, with the default number of epochs where flags together ask for too much."""
    kind = load(name).Config
    try:
        return kind(**given)
    except ValueError:
        return kind(**given | {"epochs": kind.epochs})


EVERY = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_answered_at_many_extremes(name, tmp_path):
    @settings(max_examples=25, **EVERY)
    @given(given_flags=configs(name), how=st.sampled_from(HOW))
    def check(given_flags, how):
        study = load(name)
        answer(study, made_up(study, configured(name, given_flags), how), tmp_path)
        plt.close("all")

    check()


def of(name, **given):
    return lambda: load(name).Config(seeds=2, **DATASET.get(name, {}), **given)


SMALLEST = {
    "born_dead": of("born_dead", depths=(1,), widths=(1,), epochs=1),
    "depth_width": of("depth_width", shapes=("2,2-2",), epochs=1, num_examples=100, recipes=("sgd",), modern_epochs=0),
    "dying_relu": of("dying_relu", num_examples=1),
    "initialization": of(
        "initialization", activations=("relu",), inits=("normal", "lsuv"), depth=2, width=2, num_images=1, epochs=1
    ),
    "lenet": of("lenet", arms=("plain", "bn_dropout"), epochs=1),
    "order_chaos": of("order_chaos", activations=("relu",), points=2, depth=4, width=2),
    "perceptron": of("perceptron", num_test=1),
}


@pytest.mark.parametrize("how", ["nan", pytest.param("mixed", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_runs_that_diverged_have_tables_and_figures_that_say_so_and_no_verdicts(name, how, tmp_path):
    study = load(name)
    finished = made_up(study, SMALLEST[name](), how)
    summary, verdicts, figures = answer(study, finished, tmp_path)
    said = [text for figure in figures.values() for text in texts_of(figure)]
    assert not any("nan" in text for text in said)
    if how == "mixed":
        return
    missing = [plotting.what_is_missing(ax) for figure in figures.values() for ax in figure.axes]
    # Of depth and width the baselines are left, and an epoch takes its time.
    assert name == "depth_width" or any("no finite" in text for text in [*said, *missing])
    judged = [verdict for verdict in verdicts if not verdict.id.startswith("time.")]
    assert all(sentence(verdict).startswith("Not tested") for verdict in judged if verdict.estimand != "share")
    assert len(summary)
