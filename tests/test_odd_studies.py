"""A reader's study may return what it likes, and be wrong: what can be written is, and the rest is one line."""

import dataclasses
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import toy

from jaxstudies import configs, presentation, results, study
from jaxstudies.commands import command
from jaxstudies.engine.monte_carlo import shapes_of
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.verdicts import KINDS
from jaxstudies.networks import activations
from jaxstudies.output import default_figures, files, plotting
from jaxstudies.output.words import words, words_apart
from jaxstudies.study import Results
from jaxstudies.tasks import task_of

LARGE = float(np.finfo(np.float32).max)
FILLINGS = {
    "all NaN": [np.nan],
    "all infinite": [np.inf, -np.inf],
    "large": [LARGE, -LARGE],
    "zeros": [0.0],
    "tiny": [1e-45, -1e-45],
    "some NaN": [np.nan, 1.0, 2.0, 3.0],
}
NAMES = ["a/b", "..", "n" * 300, "$\\frac", "x_1 $ y", "é", "n", "measure"]


@dataclasses.dataclass(frozen=True)
class Config:
    rate: tuple[float, ...] = (0.1, 0.10000001, 3.0)
    word: tuple[str, ...] = ("x$y", "x_$", "a b", "a_b")


def simulate(key, rate, *, word):
    number = jax.random.normal(key)
    named = {name: number for name in NAMES}
    return named | {"curve": jnp.zeros(3), "one": jnp.zeros(1), "none": jnp.zeros(0), "grid": jnp.zeros((2, 2))}


ODD = dataclasses.replace(
    toy.STUDY, Config=Config, simulate=simulate, AXES={}, CLAIMS=(), beside=lambda c, r: {}, plot=None
)


def runs_of(filling, num_seeds):
    """Return a table of the odd study, its measures filled again and again with some numbers."""
    task = task_of(ODD, Config(), num_seeds)
    rows = num_seeds * task.design.num_settings
    columns: dict[str, object] = {name: np.repeat(column, num_seeds) for name, column in task.design.labels.items()}
    columns["seed"] = np.tile(np.arange(num_seeds), task.design.num_settings)
    for name, shape in shapes_of(task).items():
        values = np.resize(np.array(filling, np.float32), (rows, *shape.shape))
        columns[name] = list(values) if shape.shape else values
    return pd.DataFrame(columns)


@pytest.mark.parametrize("num_seeds", [1, 3])
@pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS)
def test_any_numbers_are_summarized_judged_and_drawn(tmp_path, filling, num_seeds):
    runs = runs_of(filling, num_seeds)
    claim = Claim("a", "b", lambda of: of("n", rate=3.0, word="a b"), (0, 1))
    odd = dataclasses.replace(ODD, CLAIMS=(claim,))
    finished = Results(Config(), runs, pd.DataFrame(), {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = presentation.summary_of(odd, finished)
        (verdict,), _ = results.judge(odd, finished)
        assert verdict.verdict in KINDS
        plotting.use_style()
        # Of the many measures that are alike, one is drawn, and those that are arrays.
        runs = runs[["rate", "word", "seed", "$\\frac", "curve", "one"]]
        drawn = default_figures.draw_measures(
            summary[summary["measure"] == "$\\frac"], runs, {"curve": "step", "one": "step"}, "$?"
        )
        plotting.save({f"figure {i}": figure for i, figure in enumerate(drawn.values())}, tmp_path)
    files.write_csv(tmp_path / "summary.csv", presentation.with_labels_apart(summary, ["rate", "word"]))
    assert len(pd.read_csv(tmp_path / "summary.csv")[["rate", "word"]].drop_duplicates()) == 12


def test_a_panel_without_a_finite_run_says_so(tmp_path):
    finished = Results(Config(), runs_of([np.nan], 2), pd.DataFrame(), {})
    summary = presentation.summarize(ODD, finished)
    drawn = default_figures.draw_measures(summary[summary["measure"] == "n"], finished.runs, {"curve": "step"}, "?")
    for figure in drawn.values():
        assert plotting.what_is_missing(figure.axes[0]) == "no finite run"
    plotting.save(drawn, tmp_path)


def test_levels_that_round_to_the_same_are_told_apart():
    close = [0.1, 0.10000001, 3.0]
    assert words_apart(close) == ["0.1", "0.10000001", "3"] and words(0.10000001) == "0.1"
    assert len(set(words_apart(["a b", "a_b", "c"]))) == 3
    assert words_apart([0.001, 0.002, np.nan]) == ["0.001", "0.002", "none"]
    finished = Results(Config(), runs_of([1.0, 2.0], 2), pd.DataFrame(), {})
    drawn = default_figures.draw_measures(
        presentation.summarize(ODD, finished)[:0], finished.runs, {"curve": "step"}, "?"
    )
    (figure,) = drawn.values()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(set(names)) == len(names) == 7
    plt.close(figure)


WRONG_PLOTS = [
    (lambda results: [3], "plot returned 3"),
    (lambda results: {"a": 3}, "plot returned 3 as 'a'"),
    (lambda results: 1 / 0, "plot raised ZeroDivisionError: division by zero"),
    (lambda results: results.runs["none"], "plot raised KeyError: 'none' (line"),
]


@pytest.mark.parametrize(("plot", "said"), WRONG_PLOTS)
def test_a_wrong_plot_is_one_line_behind_the_answer(tmp_path, capsys, plot, said):
    wrong = dataclasses.replace(toy.STUDY, plot=plot)
    with pytest.raises(SystemExit) as stop:
        command.main(wrong, ["--seeds", "3", "--out", str(tmp_path)])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and said in err.splitlines()[-1] and "Traceback" not in err
    assert "twice the scale, twice the mean" in out
    assert {"claims.json", "summary.csv", "effects.parquet"} <= {path.name for path in tmp_path.iterdir()}
    plt.close("all")


def test_a_plot_may_return_one_figure_or_none(tmp_path):
    for plot, pictures in ((lambda results: plt.figure(), ["figure.png"]), (lambda results: None, [])):
        command.main(dataclasses.replace(toy.STUDY, plot=plot), ["--seeds", "3", "--out", str(tmp_path)])
        assert [path.name for path in tmp_path.glob("*.png")] == pictures


@pytest.mark.parametrize("name", ["summarize", "tables", "claims"])
def test_what_else_of_a_study_goes_wrong_is_one_line_and_the_rest_is_written(tmp_path, capsys, name):
    def wrong(results):
        raise RuntimeError("no")

    with pytest.raises(SystemExit) as stop:
        command.main(dataclasses.replace(toy.STUDY, **{name: wrong}), ["--seeds", "3", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert f"{name} raised RuntimeError: no (line" in capsys.readouterr().err.splitlines()[-1]
    assert {"claims.json", "summary.csv", "times.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_what_a_study_adds_to_its_runs_or_reads_goes_wrong_in_a_line(tmp_path, capsys):
    def missing(*arguments):
        return Path("nowhere.csv").read_text()

    for name, said in (("derive", "derive raised FileNotFoundError: "), ("data", "data: ")):
        with pytest.raises(SystemExit) as stop:
            command.main(
                dataclasses.replace(toy.STUDY, **{name: missing}), ["--seeds", "3", "--out", str(tmp_path / name)]
            )
        line = capsys.readouterr().err.splitlines()[-1]
        assert stop.value.code == 2 and said in line and "nowhere.csv" in line
    with pytest.raises(SystemExit) as stop:
        command.main(dataclasses.replace(toy.STUDY, data=missing), ["--plan"])
    assert stop.value.code == 2 and "data: " in capsys.readouterr().err.splitlines()[-1]


def test_a_name_that_is_none_trains_nothing():
    with pytest.raises(ValueError, match="activations 'gelu': one of leaky_relu, relu"):
        ours = study.load("dying_relu")
        config = ours.Config()
        object.__setattr__(config, "activations", ("relu", "gelu"))
        task_of(ours, config, 1)
    with pytest.raises(ValueError, match="activation 'Dense': one of tanh"):
        activations.activation_named("Dense")


@pytest.mark.parametrize(
    "name",
    [
        "born_dead",
        "depth_scales",
        "depth_width",
        "dying_relu",
        "initialization",
        "lenet",
        "order_chaos",
        "reported",
        "rescue",
        "trainability",
    ],
)
def test_defaults_are_among_the_choices(name):
    configs.check_choices(study.load(name).Config())
