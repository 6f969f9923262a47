"""What runs to its end is told at its end: tables, verdicts and figures of every study at the extremes of its flags."""

import dataclasses
import json
import shutil
import types
import warnings
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reading import texts_of

from jaxstudies import finishing, locks, presentation, results, run, studies
from jaxstudies.commands import command, flags, options
from jaxstudies.commands.endings import UsageError
from jaxstudies.engine import devices, tracing
from jaxstudies.engine.monte_carlo import Timing, shapes_of
from jaxstudies.engine.planes import Plane, refined_pictures
from jaxstudies.errors import DirectoryError
from jaxstudies.evidence.verdicts import sentence
from jaxstudies.networks.activations import activation_named
from jaxstudies.output import plotting
from jaxstudies.studies.depth_width.beside import fit_baselines
from jaxstudies.studies.depth_width.design import labels_of, networks
from jaxstudies.studies.depth_width.timing import REPEATS
from jaxstudies.studies.initialization import figures as initialization_figures
from jaxstudies.study import Claim, Results, from_module, load
from jaxstudies.tasks import task_of

NAMES = list(studies.packaged())
DATASET = {name: {"dataset": "digits"} for name in ("initialization", "order_chaos", "lenet", "depth_scales")}


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
    runs = (study.derive or pd.DataFrame)(pd.concat([parts[i] for i in sorted(parts)], ignore_index=True))
    times = finishing.times_table(task.design, [Timing(1.0, 1.0, 10)] * len(task.design.groups))
    return Results(config, runs.assign(count=1) if study.condense else runs, times, beside_of(study, config))


def beside_of(study, config):
    if study.name == "lenet":
        return {"steps": pd.DataFrame({"arm": list(config.arms), "ms_per_step": 1.0})}
    if study.name == "depth_width":
        timed = [labels_of(config, network) | {"seconds_per_epoch": 1.0} for network in networks(config)]
        alone = pd.concat([pd.DataFrame(timed).assign(repeat=i) for i in range(REPEATS)])
        return {"alone": alone, "baselines": fit_baselines(config, lambda name, compute: compute())}
    if study.name == "trainability" and config.refine:
        planes = {name: Plane((0.0, 0.0), 1.0, config.refine) for name in config.conditions}
        refined = refined_pictures(planes, lambda name, x, y: x + y < 0.1, lambda name, compute: compute())
        return {"refined": refined}
    return {}


def answer(study, finished, out):
    """Write what follows from results as the command does, warnings being errors; return verdicts and figures."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = presentation.summary_of(study, finished)
        verdicts, _ = results.judge(study, finished, wrong := [])
        presentation.tables_of(study, finished)
        figures = presentation.figures_of(study, finished, summary)
        paths = plotting.save(figures, out, study.CAPTIONS)
    assert paths and all(path.stat().st_size > 2000 for path in paths)
    # Numbers are made up that no run can have, as accuracies beyond 1.
    assert all("bounds (" in str(error) for error in wrong), wrong
    return summary, verdicts, figures


# Flags by their types, at the ends of what they may be.

FEW = 4
"""What lays out arrays is as small as it may be, or a little larger."""
NUMBERS = {"seeds": st.integers(1, 3), "seed": st.sampled_from([0, 2**32 - 1]), "num_examples": st.integers(100, 101)}
HISTORY = {
    ("initialization", "epochs"),
    ("lenet", "epochs"),
    ("depth_width", "epochs"),
    ("depth_width", "modern_epochs"),
}
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
    if name == "trainability":  # of other lengths, or where points cannot be told apart, they are refused
        drawn["center"] = st.sampled_from([None, (0.0, 0.0), (-15.0, 15.0)])
        drawn["span"] = drawn["span_of_all"] = st.sampled_from([1e-9, 0.1, 30.0])

    return st.fixed_dictionaries(drawn)


def configured(name, given):
    """Return a config, with the default number of epochs where flags together ask for too much."""
    kind = load(name).Config
    try:
        return kind(**given)
    except ValueError:
        return kind(**given | {"epochs": kind.epochs})


EVERY = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.faults
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
    "collapse": of("collapse"),
    "depth_width": of("depth_width", shapes=("2,2-2",), epochs=1, num_examples=100, recipes=("sgd",), modern_epochs=0),
    "dying_relu": of("dying_relu", num_examples=1),
    "initialization": of(
        "initialization", activations=("relu",), inits=("normal", "lsuv"), depth=2, width=2, num_images=1, epochs=1
    ),
    "lenet": of("lenet", arms=("plain", "bn_dropout"), epochs=1),
    "order_chaos": of("order_chaos", activations=("relu",), points=2, depth=4, width=2),
    "perceptron": of("perceptron", num_test=1),
    "reported": of("reported", inits=("he_normal",)),
    "rescue": of("rescue", remedies=("none", "batch_norm"), depth=2),
    "trainability": of("trainability", points=2, points_of_all=2, zooms=0, steps=1),
    "depth_scales": of("depth_scales", depths=(2,), weight_variances=(1.0,), relu_depth=2, width=2, epochs=1),
}


LONG = {"collapse", "depth_width", "dying_relu", "initialization", "lenet", "perceptron", "reported", "depth_scales"}
"""Studies whose simulation or figures take long."""


@pytest.mark.parametrize("how", ["nan", "mixed"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in NAMES])
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


# A reader's study: measures, names and levels of all kinds, with the default summary and figures.

ODD_NAMES = ("a/b", "..", "x" * 300, "ü ß 損失", "a$b", "$x_{$", "a_b", "a b", ".hidden", "A/B", "con|<>*?")
MEASURES = {
    "all NaN": [np.nan] * 4,
    "all infinite": [np.inf, -np.inf, np.inf, np.inf],
    "beyond any mean": [1e308, 1e308, -1e308, 1e308],
    "one large number": [1e300] * 4,
    "all true": [True] * 4,
    "bounds of integers": [np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0, 1],
    "some missing": [None, True, None, False],
    "curves": [np.array([np.nan, 1.0])] * 4,
    "nothing": [np.empty(0)] * 4,
    "curves beyond": [np.array([1e308, 1e-308, 0.0])] * 4,
}


def own_study(**more):
    """Return a study of a reader's own, with one factor."""
    module = types.ModuleType("own", "Does it cost $5 or $x_{$?")
    simulate = more.pop("simulate", lambda key, rate: {"x": rate * jax.random.normal(key)})
    config = dataclasses.make_dataclass("Config", [("rate", tuple[float, ...], (0.1, 0.2))], frozen=True)
    vars(module).update({"Config": config, "simulate": simulate, **more})
    return from_module(module)


def told(rates, measures, study=None):
    """Return a table of two rates, two seeds each, and what a study without figures of its own makes of it."""
    runs = pd.DataFrame({"rate": np.repeat(np.array(rates, object), 4 // len(rates))}).infer_objects()
    runs["seed"] = np.tile(np.arange(4 // len(rates)), len(rates))
    study = own_study() if study is None else study
    return study, Results(study.Config(), pd.concat([runs, pd.DataFrame(measures)], axis=1), pd.DataFrame(), {})


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_of_any_numbers_is_summed_up_and_drawn(name, tmp_path):
    study, finished = told((0.1, 0.2), {name: MEASURES[name]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = presentation.summary_of(study, finished)
        plotting.save(presentation.figures_of(study, finished, summary), tmp_path)
    known = summary.dropna(subset=["low", "high"])
    assert (known["low"] <= known["high"]).all()


def test_a_name_of_any_letters_is_drawn_and_has_a_file_of_its_own(tmp_path):
    measures = {name: [0.1, 0.2, 0.3, 0.4] for name in ODD_NAMES}
    study, finished = told((0.1, 0.2), measures)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = presentation.figures_of(study, finished)
        captions = dict.fromkeys(figures, "It costs $5, and not $x_{$.")
        paths = plotting.save(figures, tmp_path, captions)
    assert {path.parent for path in paths} == {tmp_path} and set(tmp_path.iterdir()) == set(paths)
    names = [path.name.casefold() for path in paths]
    assert len(set(names)) == len(ODD_NAMES) and not any(name.startswith(".") for name in names)
    assert "a_b.png" in names and "a b.png" in names


@pytest.mark.parametrize(
    "levels",
    [
        (0.1, 0.10000001),
        (0.001, 0.002),
        (1 / 3, 1 / 3 + 1e-16),
        (np.float32(0.1).item(), 0.1),
        ("a_b", "a b"),
        ("adam", "Adam"),
        ("x" * 300 + "1" + "x" * 300, "x" * 300 + "2" + "x" * 300),
        (True, False),
    ],
)
def test_levels_that_round_to_the_same_words_stay_apart(levels, tmp_path):
    study, finished = told(levels, {"x": [1.0, 2.0, 3.0, 4.0], "curve": [np.ones(3)] * 4})
    figures = presentation.figures_of(study, finished)
    ticks = [label.get_text() for label in figures["x"].axes[0].get_xticklabels()]
    assert len(set(ticks)) == len(ticks) == 2 or (len(ticks) == 2 and "" in ticks)
    (legend,) = figures["curve"].legends
    assert len({text.get_text() for text in legend.get_texts()}) == 2
    table = presentation.with_labels_apart(presentation.summary_of(study, finished), ["rate"])
    written = pd.read_csv(tmp_path_csv(table, tmp_path), dtype=str)
    assert written["rate"].nunique() == 2


def tmp_path_csv(table, where):
    table.to_csv(where / "table.csv", index=False, float_format="%.7g")
    return where / "table.csv"


def test_a_study_s_own_labels_stay_apart():
    config = load("initialization").Config
    names = initialization_figures.name_inits
    assert names([("normal", 0.1), ("he_normal", np.nan)]) == ["σ = 0.10", "He normal"]
    for sigmas in ((0.001, 0.002), (0.1, 0.10000001), (0.1, 0.101, 0.102)):
        assert len(set(names([("normal", sigma) for sigma in sigmas]))) == len(sigmas)
    assert config.sigmas


# What a study's own code cannot do costs that alone.


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("own")
    command.main(own_study(), ["--seeds", "3", "--out", str(out)])
    return out


def fails(what):
    def failing(*arguments):
        raise what

    return failing


LEFT_OUT = {
    "plot raised": ({"plot": fails(RuntimeError("no\npen"))}, "plot raised RuntimeError: no pen"),
    "plot of text": ({"plot": lambda results: {"a": "text"}}, "plot returned 'text' as 'a'"),
    "summary": ({"summarize": fails(KeyError("x"))}, "summarize raised KeyError: 'x'"),
    "no summary": ({"summarize": lambda results: 3}, "summarize: 3 is no DataFrame"),
    "tables": ({"tables": fails(OSError("gone"))}, "tables raised OSError: gone"),
    "claims": ({"claims": fails(ZeroDivisionError())}, "claims raised ZeroDivisionError"),
    "no claim": ({"claims": lambda results: [3]}, "claims"),
    "share of numbers": (
        {"CLAIMS": (Claim("odd", "w", lambda of: of("x", rate=0.1), (0, 1), estimand="share_difference"),)},
        "claim odd: a share is of outcomes",
    ),
    "number": ({"CLAIMS": (Claim("odd", "words", lambda of: 0.5, (0, 1)),)}, "claim odd: its effect is 0.5: a Series"),
    "unfit to draw": ({"plot": lambda results: {"bad": unfit(), "good": plt.figure()}}, "figure bad raised"),
}


def unfit():
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    ax.xaxis.set_major_formatter(fails(ValueError("no ticks")))
    return figure


def test_nobody_else_writes_while_runs_are_read_judged_and_drawn(ran, tmp_path):
    """A second run into the directory would otherwise put its table between a first one's verdicts."""
    shutil.copytree(ran, tmp_path / "study")
    refused = []

    def try_there(directory):
        with pytest.raises(DirectoryError, match="another run is writing there"), locks.sole_writer(directory):
            pass
        refused.append(directory.name)

    def effect(of):
        try_there(tmp_path / "called")
        return of("x")

    command.main(
        own_study(plot=lambda results: try_there(tmp_path / "study")),
        ["--plots-only", "--out", str(tmp_path / "study")],
    )
    claim = Claim("small", "x is small", effect, (-9, 9))
    run({}, lambda key: {"x": jax.random.normal(key)}, num_seeds=5, claims=claim, directory=tmp_path / "called")
    assert set(refused) == {"study", "called"}


@pytest.mark.parametrize(
    ("returned", "said"), [(3, "beside returned 3: DataFrames"), ({"b": [1]}, "beside, 'b': [1] is no DataFrame")]
)
def test_what_lies_beside_the_runs_is_tables_or_told_in_a_line(returned, said, tmp_path, capsys):
    study = own_study(beside=lambda config, remember: returned)
    with pytest.raises(SystemExit) as stop:
        command.main(study, ["--seeds", "3", "--out", str(tmp_path)])
    assert stop.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("which", LEFT_OUT)
def test_what_a_study_cannot_do_is_left_out_and_told_in_a_line(which, ran, tmp_path, capsys):
    changed, said = LEFT_OUT[which]
    shutil.copytree(ran, tmp_path, dirs_exist_ok=True)
    for path in [*tmp_path.glob("*.csv"), *tmp_path.glob("*.png"), tmp_path / "claims.json"]:
        path.unlink()
    sound = Claim("sound", "x is small", lambda of: of("x", rate=0.1), (-9, 9))
    if "claims" not in changed:
        changed = changed | {"CLAIMS": (*changed.get("CLAIMS", ()), sound)}
    with pytest.raises(SystemExit) as stop:
        command.main(own_study(**changed), ["--plots-only", "--out", str(tmp_path)])
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if "judging" not in line]
    assert stop.value.code == 2 and said in line and "the rest is written" in line
    assert (tmp_path / "summary.csv").read_text().count("\n") == 3
    claims = json.loads((tmp_path / "claims.json").read_text())["claims"]
    if "claims" not in changed:
        assert [claim["id"] for claim in claims] == ["sound"] and "x is small" in printed.out
    if "plot" not in changed:
        assert (tmp_path / "x.png").exists()
    if which == "unfit to draw":
        assert (tmp_path / "good.png").exists()


FIGURES = {
    "figure": lambda results: plt.figure(),
    "list": lambda results: [plt.figure(), plt.figure()],
    "tuple": lambda results: (plt.figure(),),
    "axes": lambda results: plt.subplots()[1],
    "slash": lambda results: {"a/b": plt.figure(), "..": plt.figure()},
    "number": lambda results: {3: plt.figure()},
    "none at all": lambda results: {},
}


@pytest.mark.parametrize("which", FIGURES)
def test_figures_come_alone_in_lists_and_by_any_name(which, ran, tmp_path, capsys):
    shutil.copytree(ran, tmp_path, dirs_exist_ok=True)
    (tmp_path / "x.png").unlink()
    claim = Claim("alone", "x is small", lambda of: of("x", rate=0.1), (-9, 9))
    study = own_study(plot=FIGURES[which], CAPTIONS={"missing": "Nothing."}, CLAIMS=claim)
    command.main(study, ["--plots-only", "--out", str(tmp_path)])
    assert "x is small" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.png"))) == {"list": 2, "slash": 2, "none at all": 0}.get(which, 1)


# Bounds.


def integers():
    """Yield each integer flag of each study, and the most it may be."""
    for name in NAMES:
        for field, hint in get_type_hints(studies.config_of(name), include_extras=True).items():
            for _, high, _ in flags.bounds(hint):
                yield name, field, high


def parse(name, *argv):
    return options.parse(studies.config_of(name), name, "", list(map(str, argv)))


def test_every_number_has_an_upper_bound_that_fits_into_32_bits():
    listed = list(integers())
    assert len(listed) > 50
    for name, field, high in listed:
        hint = get_type_hints(studies.config_of(name), include_extras=True)[field]
        most = 3e38 if "float" in str(hint) else 2**32 if field == "seed" else 2**31
        assert high < most, (name, field)
    for name in NAMES:
        for field, hint in get_type_hints(studies.config_of(name), include_extras=True).items():
            assert ("int" not in texts(hint) and "float" not in texts(hint)) or list(flags.bounds(hint)), (name, field)


def texts(hint):
    """Return the names of the types inside a type."""
    return {part.__name__ for part in (hint, *get_args(hint)) if isinstance(part, type)}.union(
        *(texts(part) for part in get_args(hint) if get_args(part))
    )


@pytest.mark.parametrize(("name", "field", "high"), list(integers()))
def test_more_than_the_bound_is_refused_by_name(name, field, high):
    flag = f"--{field.replace('_', '-')}"
    for value in (2**31, 3e9) if high < 2**31 else (2**32,):
        hint = get_type_hints(studies.config_of(name), include_extras=True)[field]
        whole = "int" in str(hint)
        number = int(value) if whole else value * 1e30
        with pytest.raises(UsageError, match=f"^{flag} .*at most"):
            parse(name, flag, *[number] * (flags.number_of_values(hint) or 1))


TOGETHER = [
    "born_dead --depths 1000 --widths 10000",
    "born_dead --epochs 1000000 --num-examples 10000000 --batch-size 1",
    "depth_width --epochs 100000 --batch-size 1",
    "depth_width --modern-epochs 1000000 --batch-size 1",
    "depth_width --shapes 10000-10000 --num-examples 10000000 --batch-size 10000000",
    "depth_width --num-features 100000 --num-examples 10000000 --batch-size 10000000 --features fourier",
    "dying_relu --depths 1000 --widths 10000",
    "dying_relu --widths 10000 --num-examples 10000000 --batch-size 10000000",
    "dying_relu --epochs 1000000 --num-examples 10000000 --batch-size 1",
    "dying_relu --long-epochs 1000000 --num-examples 10000000 --batch-size 1",
    "initialization --depth 1000 --width 10000",
    "order_chaos --depth 1000 --width 10000",
    "perceptron --num-train 10000 --epochs 1000000",
    "perceptron --num-train 10000 --convergence-epochs 1000000",
]


@pytest.mark.parametrize("line", TOGETHER)
def test_numbers_that_are_too_large_together_are_refused_with_their_values_before_anything_runs(line):
    name, *argv = line.split()
    with pytest.raises(UsageError) as caught:
        parse(name, *argv)
    told, _ = str(caught.value).split(": ")
    for flag, (value,) in flags.given(argv):
        assert f"{flag} {value}" in told or flag == "--features"
    assert "\n" not in str(caught.value)


def test_what_a_large_device_holds_is_not_refused():
    for line in ("order_chaos --width 10000", "initialization --width 10000 --depth 20", "born_dead --widths 10000"):
        parse(*line.split())


LEAST = {
    "born_dead": "--depths 1 --widths 1 --num-examples 1",
    "collapse": "--epochs 0 --long-epochs 1",
    "depth_width": "--shapes 1 --epochs 1 --recipes sgd --num-examples 100 --modern-epochs 0",
    "dying_relu": "--activations relu --depths 1 --widths 1 --epochs 0 --long-epochs 0 --num-examples 1",
    "initialization": "--dataset digits --activations relu --inits he_normal --depth 2 --width 2 --num-images 1",
    "lenet": "--dataset digits --arms raw_bn --epochs 1 --train-evaluated 1",
    "order_chaos": "--dataset digits --activations relu --points 2 --depth 4 --width 2",
    "perceptron": "--num-train 1 --rules hinge --epochs 1 --convergence-epochs 0 --num-test 1 --no-map",
    "reported": "--inits he_normal --epochs 0",
    "rescue": "--remedies none --depth 1 --width 1 --epochs 0",
    "trainability": "--points 2 --points-of-all 2 --zooms 0 --steps 1",
    "depth_scales": "--dataset digits --depths 2 --weight-variances 1 --dropout-rates 0 --relu-depth 0 --epochs 0",
}
LONG = {("depth_width", "modern_epochs"), ("dying_relu", "depths"), ("dying_relu", "widths")}
LONG |= {
    ("collapse", "seeds"),
    ("reported", "seeds"),
    ("rescue", "depth"),
    ("depth_scales", "depths"),
    ("depth_scales", "relu_depth"),
}
"""They take long to trace."""
LONGEST = {("order_chaos", "points"), ("trainability", "points"), ("trainability", "points_of_all")}
"""Of 40,000 settings each number's type is checked."""
MOST = [
    pytest.param(
        *(name, field, int(high)),
        marks=[pytest.mark.slow] * ((name, field) in LONG) + [pytest.mark.faults] * ((name, field) in LONGEST),
    )
    for name, field, high in integers()
    if field != "seed" and "int" in str(get_type_hints(studies.config_of(name), include_extras=True)[field])
]


@pytest.mark.parametrize(("name", "field", "high"), MOST)
def test_the_most_of_a_number_alone_is_refused_in_a_line_or_overflows_nothing(name, field, high):
    """By shapes: no array of that size is made."""
    flag, study = f"--{field.replace('_', '-')}", load(name)
    try:
        config, seeds, _ = parse(name, "--seeds", 1, *LEAST[name].split(), flag, high)
    except UsageError as error:
        assert f"{flag} {high}" in str(error) and "\n" not in str(error)
        return
    if name == "depth_width":
        shapes = jax.eval_shape(lambda: load(name).data(config))
        made = jax.tree.map(lambda a: np.broadcast_to(np.zeros((), a.dtype), a.shape), shapes)
        study = dataclasses.replace(study, data=lambda config: made)
    task = task_of(study, config, seeds.seeds)
    # Programs of collapse know no number of its config: one is as good as all.
    few = task.design._replace(groups=task.design.groups[:1]) if name == "collapse" else task.design
    assert shapes_of(task._replace(design=few))
    task.execution.plans(task.design, seeds.seeds, 0, devices.choose_devices())


# Names.


def test_a_name_that_is_not_wired_in_is_an_error():
    with pytest.raises(ValueError, match="activation 'Dense': one of tanh, "):
        activation_named("Dense")
    for name, changed in (
        ("initialization", {"activations": ("swish",)}),
        ("initialization", {"inits": ("xavier",)}),
        ("initialization", {"optimizer": "sgd", "epochs": 1}),
        ("order_chaos", {"activations": ("swish",)}),
        ("dying_relu", {"activations": ("elu",)}),
        ("dying_relu", {"targets": ("cube",)}),
        ("dying_relu", {"inits": ("xavier",)}),
        ("dying_relu", {"losses": ("huber",)}),
        ("perceptron", {"rules": ("winnow",)}),
        ("lenet", {"arms": ("other",)}),
        ("lenet", {"arms": ("dropout",), "dropout_position": "output"}),
        ("depth_width", {"recipes": ("rmsprop",), "modern_epochs": 0}),
        ("depth_width", {"features": "random", "modern_epochs": 0}),
        ("depth_width", {"activation": "tanh", "modern_epochs": 0}),
    ):
        study, config = load(name), SMALLEST[name]()
        for field, value in changed.items():  # around the types, which are checked in tests
            object.__setattr__(config, field, value)
        with pytest.raises((ValueError, KeyError)):
            task = task_of(study, config, 1)
            for group in task.design.groups:
                tracing.trace(task.simulate, group, dict(task.data))
            pytest.fail(f"{name}: {changed}")


# Really run.

REAL = """
initialization --dataset digits --num-images 100 --seeds 2 --activations relu --inits normal he_normal --depth 100
initialization --dataset digits --num-images 5 --seeds 1 --activations relu --inits normal\
 --sigmas 1e30 --depth 3 --width 2 --epochs 1 --batch-size 100000 --learning-rate 1e30
lenet --dataset digits --seeds 1 --epochs 1 --learning-rate 1e30 --arms plain
perceptron --seeds 1 --num-train 1 --num-test 1 --epochs 1 --convergence-epochs 0 --no-map
perceptron --seeds 2 --num-train 1 2 --num-test 1 --epochs 1\
 --learning-rates 1e30 --margins 1e30 --rules hinge perceptron
rescue --seeds 2 --depth 20 --width 1 --epochs 1 --learning-rate 1e30 --remedies none batch_norm
order_chaos --dataset digits --seeds 1 --points 2 --depth 1000 --width 2 --activations relu
born_dead --seeds 1 --depths 1000 --widths 1 --init normal --init-std 1e30
dying_relu --seeds 2 --depths 1000 --widths 1 --epochs 1 --num-examples 1\
 --learning-rate 1e30 --init-std 1e30 --inits normal --long-epochs 2
depth_width --seeds 1 --shapes 1 --epochs 1 --num-examples 100\
 --noise-variance 0 --recipes sgd --sgd-rates 1e30 --modern-epochs 0
"""


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
@pytest.mark.parametrize("line", REAL.strip().splitlines(), ids=lambda line: line[:40])
def test_a_study_runs_to_its_end_at_its_extremes(line, tmp_path, capsys):
    name, *argv = line.split()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        command.main(load(name), [*argv, "--out", str(tmp_path)])
    assert {"runs.parquet", "summary.csv", "claims.json", "config.json"} <= {path.name for path in tmp_path.iterdir()}
    assert list(tmp_path.glob("*.png"))


TRIED = {
    "born_dead": ["epochs", "num_examples", "batch_size", "learning_rate", "init_std", "trained_seeds"],
    "collapse": ["epochs", "long_epochs"],
    "depth_width": ["epochs", "batch_size", "sgd_rates", "adam_rates", "noise_variance"],
    "dying_relu": ["epochs", "long_epochs", "num_examples", "batch_size", "learning_rate", "negative_slope"],
    "initialization": ["depth", "width", "num_images", "epochs", "learning_rate", "batch_size", "sigmas"],
    "lenet": ["batch_size", "learning_rate", "input_rate", "hidden_rate", "train_evaluated", "bn_epsilon"],
    "order_chaos": ["points", "depth", "width"],
    "perceptron": ["num_train", "learning_rates", "epochs", "convergence_epochs", "margins", "num_test"],
    "reported": ["epochs"],
    "rescue": ["epochs", "depth", "width", "learning_rate"],
    "trainability": ["points", "points_of_all", "zooms", "refine", "span", "span_of_all", "steps"],
    "depth_scales": ["epochs", "depths", "width", "num_images", "batch_size", "learning_rate", "weight_variances"],
}
SMALL = {
    "born_dead": "--seeds 3 --depths 1 2 --widths 1 2 --epochs 1 --trained-seeds 2 --num-examples 20",
    "collapse": "--seeds 2 --epochs 1 --long-epochs 1",
    "depth_width": "--seeds 1 --shapes 1 --epochs 1 --num-examples 100",
    "dying_relu": "--seeds 2 --depths 2 --epochs 1 --long-epochs 1 --num-examples 20",
    "initialization": "--seeds 2 --dataset digits --depth 2 --width 3 --num-images 20 --epochs 1",
    "lenet": "--seeds 1 --dataset digits --epochs 1 --arms plain raw_bn",
    "order_chaos": "--seeds 2 --dataset digits --points 2 --depth 4 --width 3",
    "perceptron": "--seeds 3 --num-train 4 --epochs 1 --num-test 5 --no-map",
    "reported": "--seeds 2 --epochs 1 --inits he_normal keras_normal",
    "rescue": "--seeds 2 --depth 2 --epochs 1 --remedies none residual",
    "trainability": "--seeds 2 --points 3 --points-of-all 3 --zooms 1 --steps 3 --conditions tanh drift",
    "depth_scales": "--seeds 2 --dataset digits --depths 3 --relu-depth 2 --epochs 1 --num-images 20",
}


def at_an_end(hint):
    """Return a strategy of texts at the bounds of a number, whole ones near the lower one."""
    limits = list(flags.bounds(hint))
    low = max((low for low, _, _ in limits if low > -1e300), default=0)
    if "int" in texts(hint):
        return st.integers(int(low), int(low) + 2).map(str)
    most = min(high for _, high, _ in limits)
    least = low if any(low == at and inclusive for at, _, inclusive in limits) else max(low, 1e-30)
    return st.sampled_from([least, most, 1e-3, 1.0]).filter(lambda value: least <= value <= most).map(repr)


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_extremes_really_run_to_their_end(name, tmp_path_factory):
    study, hints = load(name), get_type_hints(studies.config_of(name), include_extras=True)

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(st.data())
    def run(data):
        argv = SMALL[name].split()
        for field in data.draw(st.lists(st.sampled_from(TRIED[name]), unique=True, min_size=1)):
            argv.append(f"--{field.replace('_', '-')}={data.draw(at_an_end(hints[field]))}")
        out = tmp_path_factory.mktemp(name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            command.main(study, [*argv, "--out", str(out)])
        assert {"runs.parquet", "claims.json", "summary.csv"} <= {path.name for path in out.iterdir()}

    run()
