"""A study is a config and a simulation; what it does not write has a default."""

import json
import re
import subprocess
import sys
import types
from dataclasses import dataclass, replace
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import toy
from annotated_types import Interval

import jaxstudies
from jaxstudies import presentation, tasks
from jaxstudies import results as from_table
from jaxstudies import study as studies
from jaxstudies.commands import command, main
from jaxstudies.engine import tracing
from jaxstudies.engine.design import product_design
from jaxstudies.evidence import intervals
from jaxstudies.output import stored, table
from jaxstudies.runs import run
from jaxstudies.selection import Selector
from jaxstudies.study import Claim, Results, Setting, Study


@dataclass(frozen=True)
class Config:
    """A config."""

    rate: tuple[float, ...] = (0.1, 0.2)
    """Rates."""
    steps: int = 3
    """Steps."""
    name: tuple[str, ...] = ("a", "b")
    """Names."""
    unused: float = 7.0
    """Of something else."""


def simulate(key, rate, steps, points, *, name):
    x = rate * jax.random.normal(key) + steps + points.sum()
    return {"x": x, "positive": x > 3, "path": x + jnp.arange(3.0), "named": name == "a"}


def data(config):
    return {"points": np.ones(4, np.float32) / 4}


def make(**more):
    """Return a study from a module that defines these names beside the two that are needed."""
    module = types.ModuleType("made", "Is it so?\n\nMore of it.")
    own = {"Config": Config, "simulate": simulate, "data": data, "AXES": {"path": ("step",)}}
    vars(module).update(own | more)
    return studies.from_module(module)


def results_of(study, config=None, num_seeds=6):
    config = config or study.Config()
    runs = run(config, study.simulate, num_seeds=num_seeds, data=study.data(config), axes=study.AXES)
    return Results(config, runs, pd.DataFrame(), {})


# What a module may define.


def test_a_module_with_a_config_and_a_simulation_is_a_study():
    study = make()
    assert study.name == "made" and study.question == "Is it so?"
    assert study.path is None and study.CLAIMS == () and study.plot is None
    assert study.data(Config())["points"].shape == (4,)
    assert make().data is data


def test_every_name_of_a_study_may_be_defined():
    for name in ("settings", "derive", "condense", "beside", "claims", "summarize", "tables", "plot"):
        function = lambda *arguments: None  # noqa: E731
        assert vars(make(**{name: function}))[name] is function
    assert make(RUNS_PER_DEVICE=3).RUNS_PER_DEVICE == 3
    assert make(QUICK=("--seeds", "1")).QUICK == ("--seeds", "1")
    assert make(REFERENCE=("--seeds", "9")).REFERENCE == ("--seeds", "9") and make().REFERENCE == ()


def test_a_module_of_the_name_of_a_function_is_no_function():
    """A folder's file may be called `claims` or `data`."""
    study = make(claims=types.ModuleType("claims"))
    assert study.claims is None


@pytest.mark.parametrize(
    ("more", "named"),
    [({"Config": object}, "dataclass"), ({"Config": None}, "Config"), ({"simulate": None}, "simulate")],
)
def test_a_module_that_is_no_study_is_told_in_a_line(more, named):
    module = types.ModuleType("made")
    own = {"Config": Config, "simulate": simulate} | more
    vars(module).update({k: v for k, v in own.items() if v is not None})
    with pytest.raises(TypeError, match=f"made.*{named}"):
        studies.from_module(module)


def test_a_study_has_the_name_of_its_file_or_folder(tmp_path):
    for file, name in (("some/__init__.py", "some"), ("some/other.py", "other")):
        module = types.ModuleType("__main__")
        module.__file__ = str(tmp_path / file)
        vars(module).update(Config=Config, simulate=simulate)
        assert studies.from_module(module).name == name


# Designs.


def levels(study, config):
    return tasks.levels_of(study, config, study.data(config))


def test_the_design_is_the_product_of_what_simulate_takes():
    """In the config's order; of what is no tuple there is one level."""
    study = make()
    assert levels(study, Config()) == {"rate": (0.1, 0.2), "steps": (3,), "name": ("a", "b")}
    runs = results_of(study).runs
    assert list(runs)[:4] == ["rate", "steps", "name", "seed"]
    expected = [(r, 3, n, s) for r in (0.1, 0.2) for n in ("a", "b") for s in range(6)]
    assert list(runs[["rate", "steps", "name", "seed"]].itertuples(index=False, name=None)) == expected
    assert (runs["named"] == (runs["name"] == "a")).all()


def test_seeds_and_seed_in_a_config_are_no_factors():
    def counting(key, scale, seeds, seed):
        return {"x": scale + seeds}

    study = make(Config=toy.Config, simulate=counting, data=lambda config: {"seeds": jnp.float32(1)})
    assert list(levels(study, toy.Config())) == ["scale"]


def test_data_take_the_place_of_a_field_of_that_name():
    study = make(data=lambda config: data(config) | {"rate": np.float32(0.5)})
    assert "rate" not in levels(study, Config())


def test_a_parameter_that_nothing_fills_in_is_named():
    with pytest.raises(TypeError, match="'points' is neither a field of Config nor among"):
        levels(make(data=lambda config: {}), Config())


def test_what_simulate_does_not_take_is_named():
    """Otherwise a reader would believe to have varied it."""
    with pytest.raises(TypeError, match="config: simulate does not take rate"):
        run({"scale": (1.0,), "rate": (1.0, 2.0)}, lambda key, scale: {"x": scale}, num_seeds=2)


def test_a_list_is_a_factor_as_a_tuple_is():
    runs = run({"scale": [1.0, 2.0]}, lambda key, scale: {"x": scale}, num_seeds=2)
    assert list(runs["scale"]) == [1.0, 1.0, 2.0, 2.0]


def test_a_parameter_with_a_default_need_not_be_filled_in():
    def defaulted(key, rate, shift=2.0, *, name="c"):
        return {"x": rate + shift, "y": name == "c"}

    @dataclass(frozen=True)
    class Small:
        rate: float = 1.0

    runs = run(Small(), defaulted, num_seeds=2)
    assert (runs["x"] == 3).all() and runs["y"].all()


def test_a_simulation_may_take_the_whole_config():
    def whole(key, rate, *, config):
        return {"x": rate * config.unused}

    runs = run(Config(), whole, num_seeds=2)
    assert list(runs)[:-2] == ["rate"]
    np.testing.assert_allclose(runs["x"], 7 * runs["rate"])


def test_settings_take_the_place_of_the_product():
    def settings(config):
        return [
            Setting({"pair": f"{a}{b}"}, {"rate": a, "steps": b, "name": "a"}, num_seeds=b)
            for a, b in ((0.5, 2), (0.25, 3))
        ]

    study, config = make(settings=settings), Config()
    design = tasks.task_of(study, config, 1).design
    assert list(design.labels) == ["pair"] and design.num_settings == 2


# run().


def test_run_takes_a_mapping_too():
    runs = run(
        {"rate": (0.1, 0.2), "steps": 3, "name": ("a", "b")},
        simulate,
        num_seeds=6,
        data={"points": np.ones(4) / 4},
        axes=make().AXES,
    )
    own = results_of(make()).runs
    assert list(runs)[:3] == ["rate", "steps", "name"]
    np.testing.assert_allclose(runs["x"], own["x"])


def test_run_gives_the_same_seeds_and_other_master_seeds_others():
    one, again, other, some = (
        run({"rate": 1.0}, lambda key, rate: {"x": rate * jax.random.normal(key)}, **how)["x"]
        for how in (
            {"num_seeds": 5},
            {"num_seeds": 5, "chunk_size": 2, "num_devices": 1},
            {"num_seeds": 5, "seed": 1},
            {"num_seeds": 3},
        )
    )
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(one[:3], some)
    assert not set(one) & set(other)


def test_run_prints_verdicts(capsys):
    claim = Claim("id", "it is more than two", lambda of: of("x"), (2, np.inf))
    run({"x": 3.0}, lambda key, x: {"y": x}, num_seeds=4)
    assert capsys.readouterr().out == ""
    run({"a": 3.0}, lambda key, a: {"x": a + jax.random.uniform(key)}, num_seeds=30, claims=[claim])
    assert "Supported: it is more than two" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("how", "named"), [({"num_seeds": 0}, "num_seeds 0"), ({"num_seeds": 2, "num_devices": 99}, "num_devices 99")]
)
def test_run_speaks_of_its_arguments_and_of_no_flags(how, named):
    with pytest.raises(ValueError, match=named) as error:
        run({"a": 3.0}, lambda key, a: {"x": a}, **how)
    assert "--" not in str(error.value)


# Selecting.


def select(runs, axes, measure, **labels):
    return Selector(Results(None, runs, pd.DataFrame(), {}), axes)(measure, **labels)


@pytest.fixture(scope="module")
def runs():
    return results_of(make()).runs


def test_a_measure_by_seed_under_labels(runs):
    values = select(runs, {}, "x", rate=0.2, name="b")
    rows = runs[(runs["rate"] == 0.2) & (runs["name"] == "b")]
    assert list(values.index) == list(range(6))
    np.testing.assert_array_equal(values, rows["x"])


def test_labels_that_are_floats_are_met_but_for_rounding(runs):
    assert len(select(runs, {}, "x", rate=0.1 + 0.2 - 0.1, name="a")) == 6
    assert len(select(runs, {}, "x", rate=0.2001, name="a")) == 0


def test_an_axis_is_picked_by_its_name(runs):
    axes = {"path": ("step",), "grid": ("row", "column")}
    x = select(runs, axes, "x", rate=0.1, name="a")
    for step in (0, 2, -1):
        values = select(runs, axes, "path", rate=0.1, name="a", step=step)
        np.testing.assert_allclose(values, x + step % 3)
    whole = select(runs, axes, "path", rate=0.1, name="a")
    assert np.stack(whole.to_list()).shape == (6, 3)
    grids = runs.assign(grid=[np.arange(6).reshape(2, 3) + i for i in range(len(runs))])
    values = select(grids, axes, "grid", rate=0.1, name="a", row=1, column=-1)
    np.testing.assert_array_equal(values, 5 + np.arange(6))
    rows = select(grids, axes, "grid", rate=0.1, name="a", column=0)
    np.testing.assert_array_equal(np.stack(rows.to_list())[:, 1], 3 + np.arange(6))


def test_outcomes_subtract(runs):
    first, second = (select(runs, {}, "positive", rate=rate, name="a") for rate in (0.1, 0.2))
    assert set((first - second).unique()) <= {-1, 0, 1}
    paired = runs[runs["name"] == "a"].pivot(index="seed", columns="rate", values="positive").astype(int)
    np.testing.assert_array_equal(first - second, paired[0.1] - paired[0.2])


def test_comparisons_are_of_the_seeds_that_both_have(runs):
    """As arithmetic is: a setting may have stopped."""
    fewer = runs[(runs["rate"] != 0.2) | (runs["seed"] < 2)]
    first, second = (select(fewer, {}, "x", rate=rate, name="a") for rate in (0.1, 0.2))
    assert len(first) > len(second) == 2
    for less, more in ((first < second, second > first), (first - 0 <= second, second >= first)):
        np.testing.assert_array_equal(less.index, [0, 1])
        np.testing.assert_array_equal(less, more)
    np.testing.assert_array_equal(first < second, first.to_numpy()[:2] < second.to_numpy())
    assert (first == second).index.equals((first != second).index)
    assert (first < 0).index.equals(first.index)


def test_settings_that_are_not_there_are_empty(runs):
    assert len(select(runs, {}, "x", rate=9.0, name="a")) == 0
    assert len(select(runs, {"path": ("step",)}, "path", rate=9.0, name="a", step=0)) == 0
    assert len(select(runs, {}, "positive", rate=0.1, name="none")) == 0


def test_several_settings_and_columns_that_are_not_there_are_errors(runs):
    with pytest.raises(ValueError, match="several settings"):
        select(runs, {}, "x", rate=0.1)
    with pytest.raises(KeyError):
        select(runs, {}, "y", rate=0.1, name="a")
    with pytest.raises(KeyError):
        select(runs, {}, "x", rote=0.1, name="a")


def test_a_label_may_be_none_and_an_outcome_missing(tmp_path):
    def some(key, *, name):
        return {"x": jax.random.normal(key)} | ({"hit": jnp.bool_(True)} if name else {})

    runs = run({"name": ("a", None)}, some, num_seeds=4)
    assert len(select(runs, {}, "x", name=None)) == 4
    assert list(select(runs, {}, "hit", name="a")) == [1] * 4
    assert len(select(runs, {}, "hit", name=None).dropna()) == 0
    run({"name": ("a", None)}, some, num_seeds=4, directory=tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv").query("measure == 'hit'")
    assert summary["n"].tolist() == [4, 0] and summary["nonfinite"].tolist() == [0, 0]


# The default summary, verdicts and figure.


def test_the_default_summary_by_hand():
    study = make()
    results = results_of(study, num_seeds=40)
    summary = presentation.summarize(study, results)
    assert list(summary) == ["rate", "steps", "name", "measure", "n", "estimate", "low", "high", "nonfinite"]
    scalars = ["named", "positive", "x"]
    assert [m for m in summary["measure"].unique() if m in scalars] == scalars
    settings = list(summary[["rate", "name"]].drop_duplicates().itertuples(index=False, name=None))
    assert settings == [(rate, name) for rate in (0.1, 0.2) for name in ("a", "b")]
    for (rate, name), rows in results.runs.groupby(["rate", "name"]):
        here = summary[(summary["rate"] == rate) & (summary["name"] == name)].set_index("measure")
        numbers = ["estimate", "low", "high"]
        mean = intervals.mean_interval(rows["x"].to_numpy(float))
        np.testing.assert_allclose(here.loc["x", numbers].astype(float), mean, rtol=1e-6)
        share = intervals.wilson(int(rows["positive"].sum()), 40)
        np.testing.assert_allclose(here.loc["positive", numbers].astype(float), share)
        assert (here["n"] == 40).all() and (here["nonfinite"] == 0).all()
        last = [m for m in here.index if m not in scalars]
        assert len(last) == 1 and last[0].startswith("path")
        ends = intervals.mean_interval(table.stacked(rows, "path")[:, -1].astype(float))
        np.testing.assert_allclose(here.loc[last[0], numbers].astype(float), ends, rtol=1e-6)


def test_runs_that_are_not_finite_are_counted_and_left_out():
    def odd(key, rate):
        draw = jax.random.normal(key)
        return {"x": jnp.where(draw > 1, jnp.inf, jnp.where(draw < -1, jnp.nan, rate * draw))}

    results = results_of(make(simulate=odd, data=lambda config: {}, AXES={}), num_seeds=60)
    summary = presentation.summarize(make(simulate=odd), results)
    for rate, rows in results.runs.groupby("rate"):
        finite = rows["x"][np.isfinite(rows["x"])].to_numpy(float)
        (here,) = summary[summary["rate"] == rate].itertuples()
        assert 0 < here.nonfinite == 60 - len(finite) and here.n == len(finite)
        expected = intervals.mean_interval(finite)
        np.testing.assert_allclose((here.estimate, here.low, here.high), expected, rtol=1e-5)


def test_measures_that_settings_lack_have_no_estimate_there():
    def some(key, *, name):
        x = jax.random.normal(key)
        return {"x": x} | ({"hit": x > 0, "curve": jnp.ones(3), "y": x} if name == "a" else {})

    study = make(simulate=some, data=lambda config: {}, AXES={})
    results = results_of(study, num_seeds=10)
    summary = presentation.summarize(study, results).set_index(["name", "measure"])
    hits = int((results.runs["x"][:10] > 0).sum())
    numbers = ["estimate", "low", "high"]
    found = summary.loc[("a", "hit"), numbers].astype(float)
    np.testing.assert_allclose(found, intervals.wilson(hits, 10))
    for measure in ("hit", "y"):
        if ("b", measure) in summary.index:
            assert summary.loc[("b", measure), "n"] == 0
            assert summary.loc[("b", measure), numbers].isna().all()


def test_a_design_of_one_setting_has_a_summary():
    study = make(simulate=lambda key: {"x": jax.random.normal(key)}, data=lambda config: {}, AXES={})
    results = results_of(study, num_seeds=5)
    (row,) = presentation.summarize(study, results).itertuples()
    assert (row.measure, row.n) == ("x", 5)


def test_own_summaries_claims_and_figures_take_the_place_of_the_default():
    claim = Claim("id", "words", lambda of: of("x", rate=0.1, name="a"), (0, 9))
    own = pd.DataFrame({"a": [1]})
    study = make(summarize=lambda results: own, claims=lambda results: [claim], plot=lambda results: {})
    results = results_of(study)
    assert presentation.summary_of(study, results) is own
    assert presentation.figures_of(study, results) == {}
    verdicts, effects = from_table.judge(study, results)
    assert [v.id for v in verdicts] == ["id"] and len(effects) == 6
    verdicts, _ = from_table.judge(make(CLAIMS=(claim,)), results)
    assert [v.n for v in verdicts] == [6]


def test_the_default_figure_draws_every_measure():
    study = make()
    figures = presentation.figures_of(study, results_of(study))
    assert figures
    texts = " ".join(
        label
        for figure in figures.values()
        for axes in figure.axes
        for label in (axes.get_title(), axes.get_ylabel(), axes.get_xlabel())
    )
    for name in ("x", "positive", "path", "rate"):
        assert re.search(rf"\b{name}\b", texts), (name, texts)


# The command line of a file.


@dataclass(frozen=True)
class Seeded:
    """A config that sets the default of its seeds."""

    seeds: Annotated[int, Interval(ge=1, le=50)] = 7
    """Seeds, few."""
    rate: tuple[float, ...] = (0.5,)
    """Rates."""


def test_a_config_may_set_the_default_and_the_bounds_of_seeds(tmp_path, capsys):
    study = make(
        Config=Seeded,
        simulate=lambda key, rate: {"x": rate * jax.random.normal(key)},
        data=lambda config: {},
        AXES={},
        plot=lambda results: {},
    )
    _, seeds, _ = command.parse(study, [])
    assert (seeds.seeds, seeds.seed) == (7, 0)
    config, seeds, _ = command.parse(study, ["--seeds", "9", "--seed", "4"])
    assert (seeds.seeds, seeds.seed, config.seeds) == (9, 4, 9)
    command.main(study, ["--out", str(tmp_path)])
    runs = stored.read_runs(tmp_path / "runs.parquet")
    assert len(runs) == 7 and list(runs)[:2] == ["rate", "seed"]
    with pytest.raises(SystemExit):
        command.main(study, ["--seeds", "51", "--out", str(tmp_path)])
    assert "--seeds 51" in capsys.readouterr().err


def test_a_config_without_seeds_has_their_flags():
    _, seeds, _ = command.parse(make(), ["--seeds", "12"])
    assert (seeds.seeds, seeds.seed) == (12, 0)
    assert command.parse(make(), [])[1].seeds == 1000


OWN = '''"""Is a mean of normal draws zero?"""

from dataclasses import dataclass

import jax

from jaxstudies import study


@dataclass(frozen=True)
class Config:
    scale: tuple[float, ...] = (1.0, 2.0)
    """Scales."""


def simulate(key, scale, *, config):
    return {"x": scale * jax.random.normal(key)}


CLAIMS = (study.Claim("zero", "it is", lambda of: of("x", scale=1.0), (-1, 1)),)

if __name__ == "__main__":
    study.main()
'''


def test_a_file_of_one_s_own_is_a_study(tmp_path, capsys, monkeypatch):
    """Whichever way it is run."""
    (tmp_path / "own.py").write_text(OWN)
    asked = [sys.executable, "own.py", "--seeds", "30"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Supported: it is" in done.stdout
    out = tmp_path / "results" / "own"
    assert len(stored.read_runs(out / "runs.parquet")) == 60
    monkeypatch.chdir(tmp_path)
    with studies.apart():
        main.main(["own.py", "--seeds", "30"])
    assert "holds these runs already" in capsys.readouterr().out
    assert list(out.glob("*.png"))


def test_a_trial_of_the_claims_on_zeros_warns_of_no_value_that_is_none_of_theirs(recwarn):
    """A logarithm of what is never 0 in a run is taken of zeros there."""

    def derive(runs):
        return runs.assign(log=np.log(runs["x"]))

    claim = Claim("id", "words", lambda of: of("log"), (0, 1))
    study = replace(studies.from_module(toy), derive=derive, claims=None, CLAIMS=(claim,))
    design = product_design(lambda key: {}, {})
    from_table.try_claims(study, design, {"x": jax.ShapeDtypeStruct((), np.float32)})
    assert not recwarn.list


def test_the_toy_is_a_study():
    assert isinstance(toy.STUDY, Study) and toy.STUDY.name == "toy"
    assert tasks.code_of(toy.STUDY) is not None


@pytest.mark.parametrize("double", [False, True])
def test_a_config_asks_for_64_bits_and_they_are_asked_for_again_where_a_run_is_replayed(double, tmp_path):
    path = tmp_path / "thirds.py"
    path.write_text(
        '"""How long is a third?"""\n'
        "from dataclasses import dataclass\nimport jax\n"
        "@dataclass(frozen=True)\nclass Config:\n    double: bool = False\n"
        "def simulate(key):\n    return {'x': jax.random.uniform(key) / 3}\n"
    )
    command.main(studies.load(str(path)), ["--out", str(tmp_path / "out"), "--seeds", "4", *["--double"] * double])
    settings = json.loads((tmp_path / "out" / "config.json").read_text())["jax_settings"]
    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert settings["jax_enable_x64"] is double and runs["x"].dtype == ("float64" if double else "float32")
    assert jaxstudies.replay(tmp_path / "out", {}, 2).difference == {"x": 0.0}
    assert tracing.jax_settings()["jax_enable_x64"] is False
