"""The library's `run` and `map_seeds`: in a directory they go on and grow, and a run can be had again."""

import functools
import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxstudies
from jaxstudies import Claim, Dataset, fit, study
from jaxstudies.calls import study_of
from jaxstudies.commands import command, main, replay_command
from jaxstudies.engine import compiler, gather, programs
from jaxstudies.engine.monte_carlo import KeyUnused
from jaxstudies.errors import DirectoryError, OtherVersions, StudyError
from jaxstudies.identity import live, provenance
from jaxstudies.output import stored, table
from jaxstudies.replays import find_setting, largest_difference

CONFIG = {"scale": (1.0, 2.0), "width": (2, 3)}
LINE = Dataset(jnp.linspace(-1, 1, 8)[:, None], jnp.linspace(-1, 1, 8)[:, None])


def simulate(key, scale, *, width):
    """Return what a training returns, in no time."""
    losses = jnp.abs(scale * jax.random.normal(key, (5, width))).mean(axis=1)
    return {"losses": losses, "last": losses[-1], "fell": losses[-1] < 9, "norm": jnp.linalg.norm(losses)}


def train(key, scale, *, width):
    """Train a small network; nothing of it is simple to the bit."""
    first, second, order = jax.random.split(key, 3)

    def init(key, inputs):
        return {"in": scale * jax.random.normal(first, (1, width)), "out": jax.random.normal(second, (width, 1))}

    model = init, lambda params, inputs: jnp.tanh(inputs @ params["in"]) @ params["out"]
    state, losses = fit(order, model, optax.sgd(0.1), optax.squared_error, LINE, num_epochs=5, batch_size=4)
    return {
        "losses": losses,
        "last": losses[-1],
        "fell": losses[-1] < losses[0],
        "norm": jnp.linalg.norm(state.params["in"]),
    }


def run(num_seeds, directory=None, simulate=simulate, **how):
    return jaxstudies.run(CONFIG, simulate, num_seeds=num_seeds, directory=directory, **how)


def replay(directory, setting, seed, simulate=train, **how):
    return jaxstudies.replay(CONFIG, setting, seed, simulate=simulate, directory=directory, **how)


def assert_same(one, other, rtol=1e-5):
    """Check that two tables have the same rows in one order, numbers by rounding."""
    assert list(one.columns) == list(other.columns)
    labels = ["scale", "width", "seed"]
    pd.testing.assert_frame_equal(one[labels], other[labels])
    for name in ("last", "norm", "losses"):
        np.testing.assert_allclose(table.stacked(one, name), table.stacked(other, name), rtol)


@pytest.fixture
def launched(monkeypatch):
    """The seeds that are really run, as (first, number), block by block."""
    seen, compiled = [], programs.Programs.run

    def noted(self, plan, block, seed):
        seen.append((block.seed, block.size.seeds))
        return compiled(self, plan, block, seed)

    monkeypatch.setattr(programs.Programs, "run", noted)
    return seen


# Growing.


def test_more_seeds_run_only_those_that_are_new(tmp_path, launched):
    run(6, tmp_path)
    launched.clear()
    grown = run(10, tmp_path)
    assert launched and min(first for first, _ in launched) == 6
    assert sum(number for _, number in launched) == 2 * 4  # two programs
    assert_same(grown, run(10))
    origin = stored.read_provenance(tmp_path / "runs.parquet")
    assert [(stage["first_seed"], stage["num_seeds"]) for stage in origin["stages"]] == [(0, 6), (6, 10)]
    assert [path.name for path in tmp_path.glob("runs*")] == ["runs.parquet"]  # the first table is part of it
    assert pd.DataFrame(origin["beside"]["times"])["runs"].tolist() == [20, 20]


def test_fewer_seeds_are_there_already_and_the_longer_table_is_kept(tmp_path, launched):
    longer = run(10, tmp_path)
    launched.clear()
    shorter = run(4, tmp_path)
    again = run(10, tmp_path)
    assert not launched
    assert len(shorter) == 4 * 4 and set(shorter["seed"]) == set(range(4))
    kept = longer[longer["seed"] < 4].reset_index(drop=True)
    pd.testing.assert_frame_equal(shorter.drop(columns="losses"), kept.drop(columns="losses"))
    pd.testing.assert_frame_equal(again.drop(columns="losses"), longer.drop(columns="losses"))


def draw(key, scale):
    return {"x": scale * jax.random.normal(key)}


@settings(max_examples=6)
@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=4), most=st.sampled_from([10, 30, 1000]))
@pytest.mark.slow
def test_however_a_table_came_to_its_seeds_its_rows_are_the_same(tmp_path_factory, sizes, most):
    """Blocks of the table, and of the runs, end anywhere."""
    directory = tmp_path_factory.mktemp("grown")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "ROWS_AT_ONCE", most)
        for num_seeds in sizes:
            grown = jaxstudies.run({"scale": (1.0, 2.0, 3.0)}, draw, num_seeds=num_seeds, directory=directory)
        whole = jaxstudies.run({"scale": (1.0, 2.0, 3.0)}, draw, num_seeds=sizes[-1])
    pd.testing.assert_frame_equal(grown, whole)


def test_another_simulation_or_config_or_seed_is_another_run(tmp_path):
    scaled = functools.partial(jaxstudies.map_seeds, num_seeds=3, directory=tmp_path)
    one = scaled(lambda key: {"x": jax.random.normal(key)})["x"]
    two = scaled(lambda key: {"x": 2 * jax.random.normal(key)})["x"]
    np.testing.assert_allclose(two, 2 * one)
    assert not np.allclose(scaled(lambda key: {"x": jax.random.normal(key)}, seed=1)["x"], one)
    np.testing.assert_allclose(scaled(draw, 3.0)["x"], 3 * scaled(draw, 1.0)["x"], 1e-6)


def test_map_seeds_returns_what_it_would_without_a_directory(tmp_path):
    def returned(key):
        bits = jax.random.bits(key, (2, 3), jnp.uint8)
        return {"bits": bits, "half": jax.random.normal(key, (4,), jnp.float16), "sure": bits[0, 0] > 7, "one": 1}

    jaxstudies.map_seeds(returned, num_seeds=3, directory=tmp_path)
    for num_seeds in (7, 2):
        kept, plain = (jaxstudies.map_seeds(returned, num_seeds=num_seeds, directory=d) for d in (tmp_path, None))
        assert list(kept) == list(plain)
        for name in plain:
            np.testing.assert_array_equal(kept[name], plain[name])
            assert kept[name].dtype == plain[name].dtype and kept[name].shape[0] == num_seeds


KILLED = """
    import sys, time
    import jax
    import jaxstudies
    from jaxstudies.engine.chunks import Chunks

    written, count = Chunks.write, [0]
    def write(self, name, columns):
        written(self, name, columns)
        print(name, flush=True)
        count[0] += 1
        if sys.argv[2] == "stop" and count[0] == 3:
            time.sleep(60)
    Chunks.write = write

    def simulate(key, scale):
        return {"x": scale * jax.random.normal(key)}

    runs = jaxstudies.run({"scale": (1.0, 2.0)}, simulate, num_seeds=12, chunk_size=4, num_devices=1,
                          directory=sys.argv[1])
    print("done", len(runs))
"""


def test_a_run_that_is_killed_goes_on(tmp_path):
    (tmp_path / "own.py").write_text(textwrap.dedent(KILLED))
    command_ = [sys.executable, "own.py", "kept"]
    with subprocess.Popen([*command_, "stop"], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        before = [process.stdout.readline().strip() for _ in range(3)]
        os.kill(process.pid, signal.SIGKILL)
    after = subprocess.run([*command_, "go"], cwd=tmp_path, capture_output=True, text=True, check=True)
    *names, last = after.stdout.splitlines()
    assert last == "done 24" and names and not set(names) & set(before)


def test_other_versions_do_not_grow_and_a_finished_run_stays(tmp_path, monkeypatch):
    run(3, tmp_path)
    monkeypatch.setattr(provenance, "version", lambda name: "9.9.9")
    assert len(run(3, tmp_path)) == len(run(2, tmp_path)) + 4
    with pytest.raises(OtherVersions, match=r"cannot grow; install that") as error:
        run(8, tmp_path)
    assert "--" not in str(error.value) and f"directory {tmp_path}" in str(error.value)


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DirectoryError, match="file: is a file"):
        run(2, tmp_path / "file")


def test_the_command_line_grows_too(tmp_path, capsys):
    flags = ["--out", str(tmp_path)]
    command.main(toy.STUDY, ["--seeds", "5", *flags])
    capsys.readouterr()
    command.main(toy.STUDY, ["--seeds", "9", *flags])
    assert "holds 5 seeds of these runs; 4 more are run" in capsys.readouterr().out
    grown = stored.read_runs(tmp_path / "runs.parquet")
    command.main(toy.STUDY, ["--seeds", "9", "--out", str(tmp_path / "whole")])
    whole = stored.read_runs(tmp_path / "whole" / "runs.parquet")
    pd.testing.assert_frame_equal(grown.drop(columns="draws"), whole.drop(columns="draws"))
    np.testing.assert_array_equal(table.stacked(grown, "draws"), table.stacked(whole, "draws"))
    command.main(toy.STUDY, ["--seeds", "4", "--seed", "1", *flags])
    assert "is of another configuration, code or data; it is set aside" in capsys.readouterr().out
    command.main(toy.STUDY, ["--seeds", "4", *flags])
    assert "holds 4 seeds of these runs and more; none is run" in capsys.readouterr().out


def test_results_of_a_run_lie_beside_its_table(tmp_path, capsys):
    claim = Claim("falls", "the loss falls", lambda of: of("fell", scale=1.0, width=2), (0.5, 1), estimand="share")
    run(20, tmp_path, claims=[claim])
    assert capsys.readouterr().out.startswith("Supported: the loss falls")
    (record,) = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert record["id"] == "falls" and record["n"] == 20
    assert {"config.json", "effects.parquet", "summary.csv", "times.csv"} <= {path.name for path in tmp_path.iterdir()}


# What decides numbers.


def close_over(value):
    return lambda key: {"x": value * jax.random.normal(key)}


def test_functions_are_told_apart_by_what_they_do():
    """And by what they have closed over, their defaults and the globals that they mention; not by where they lie."""
    tell = live.object_digest
    assert tell(close_over(1.0)) == tell(close_over(1.0)) != tell(close_over(2.0))
    assert tell(close_over(np.ones(2))) == tell(close_over(np.ones(2))) != tell(close_over(np.ones(3)))
    assert tell(functools.partial(draw, scale=1.0)) != tell(functools.partial(draw, scale=2.0))
    assert tell(jnp.tanh) == tell(jnp.tanh) != tell(jnp.sin)
    assert tell(optax.sgd(0.1)) == tell(optax.sgd(0.1)) != tell(optax.sgd(0.2))
    assert tell(jax.jit(draw)) == tell(draw)
    typed = "def f(key, a=1):\n    {doc}\n    return helper(key) + {value}\ndef helper(key):\n    return key * {inner}"

    def typed_in(doc="", value=1, inner=2):
        names = {"__name__": "__main__"}
        exec(typed.format(doc=doc, value=value, inner=inner), names)
        return tell(names["f"])

    assert typed_in() == typed_in(doc="'It adds.'") == typed_in(doc="# a comment")
    assert len({typed_in(), typed_in(value=3), typed_in(inner=3)}) == 3


def test_what_cannot_be_read_is_not_used_again(tmp_path, launched):
    class Odd:
        def __init__(self):
            self.rows = (row for row in ())

        def __call__(self, key):
            return {"x": jax.random.normal(key)}

    assert live.object_digest(Odd()) is None
    for _ in range(2):
        launched.clear()
        with pytest.warns(UserWarning, match="cannot be read"):
            jaxstudies.map_seeds(Odd(), num_seeds=2, directory=tmp_path)
        assert launched


# Any run again.


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A directory whose table has grown, in chunks of two sizes, and the table."""
    directory = tmp_path_factory.mktemp("grown")
    run(6, directory, train, chunk_size=4)
    return directory, run(11, directory, train, chunk_size=6)


@pytest.mark.parametrize("setting", [{"scale": 2.0, "width": 2}, {"scale": 1.0, "width": 3}])
@pytest.mark.slow
def test_a_replay_equals_its_row_to_the_bit(grown, setting):
    """In each stage of a table that has grown, whatever the chunks were."""
    directory, runs = grown
    for seed in (5, 6, 10):
        again = replay(directory, setting, seed)
        here = [runs[name] == value for name, value in (setting | {"seed": seed}).items()]
        (row,) = runs[np.all(here, axis=0)].to_dict("records")
        assert again.setting == setting and set(again.values) == set(row) - {*setting, "seed"}
        for name, value in again.values.items():
            np.testing.assert_array_equal(value, row[name])
        assert set(again.difference.values()) == {0.0} and "to the bit" in str(again)


def test_a_replay_of_a_run_that_had_too_little_memory(tmp_path, monkeypatch):
    """The launches that a block took are noted, so that the very program runs again."""
    compile_block = compiler.compile_block

    def small(simulate, group, data, size, devices, traced):
        if size.seeds > 3:
            raise MemoryError
        return compile_block(simulate, group, data, size, devices, traced)

    with monkeypatch.context() as patch:
        patch.setattr(compiler, "compile_block", small)
        run(10, tmp_path, num_devices=1, chunk_size=20)
    (stage,) = stored.read_provenance(tmp_path / "runs.parquet")["stages"]
    assert stage["launches"]
    for seed in (2, 9):
        assert set(replay(tmp_path, {"scale": 2.0, "width": 3}, seed, simulate).difference.values()) == {0.0}


def test_a_replay_shows_what_the_caller_wants_to_see(grown, capsys):
    directory, runs = grown
    seen = replay(
        directory, {"scale": 1.0, "width": 2}, 4, observe=lambda state: {"norm": jnp.linalg.norm(state.params["in"])}
    )
    ((norms),) = (history["norm"] for history in seen.observed)
    assert norms.shape == (6,)  # the start, and five epochs
    row = runs[(runs["scale"] == 1.0) & (runs["width"] == 2) & (runs["seed"] == 4)]
    np.testing.assert_allclose(norms[-1], row["norm"].item(), 1e-5)
    assert max(seen.difference.values()) < 1e-5
    assert capsys.readouterr().err.splitlines()[-1] == f"replay: {str(seen).splitlines()[-1]}"
    said = str(seen).splitlines()[-1]
    assert "It differs from its row by up to" in said or "to the bit" in said


@pytest.mark.parametrize("each", [jax.vmap, lambda f: functools.partial(jax.lax.map, f)], ids=["vmap", "map"])
def test_networks_that_a_replay_cannot_tell_apart_are_not_mixed(each):
    model = lambda key, inputs: jax.random.normal(key, (1, 1)), lambda w, inputs: inputs @ w

    def several(key):
        one = lambda key: fit(key, model, optax.sgd(0.1), optax.squared_error, LINE, num_epochs=2).history[-1]  # noqa: E731
        return {"loss": each(one)(jax.random.split(key, 3))}

    with pytest.raises(StudyError, match="observe: a `fit` trains several networks"):
        jaxstudies.replay({}, {}, 0, simulate=several, observe=lambda state: state.params)


def test_a_replay_sees_the_fit_that_ran():
    model = lambda key, inputs: jax.random.normal(key, (1, 1)), lambda w, inputs: inputs @ w

    def either(key, scale):
        def run(rate):
            return fit(key, model, optax.sgd(rate), optax.squared_error, LINE, num_epochs=2).state.params[0, 0]

        return {"w": jax.lax.cond(scale > 1, lambda: run(0.1), lambda: run(0.2))}

    seen = jaxstudies.replay({"scale": 2.0}, {}, 0, simulate=either, observe=lambda state: state.params[0, 0])
    (history,) = seen.observed
    np.testing.assert_allclose(history[-1], seen.values["w"], 1e-6)


def test_a_replay_sees_epochs_whose_number_is_traced_and_every_fit():
    def twice(key, epochs):
        model = lambda key, inputs: jax.random.normal(key, (1, 1)), lambda w, inputs: inputs @ w
        how = {"optimizer": optax.sgd(0.1), "loss_fn": optax.squared_error, "data": LINE}
        first = fit(key, model, num_epochs=epochs, **how).state
        second = fit(key, model, num_epochs=2, **how).state
        return {"a": first.params[0, 0], "b": second.params[0, 0]}

    seen = jaxstudies.replay({"epochs": 4}, {}, 0, simulate=twice, observe=lambda state: state.params[0, 0])
    first, second = seen.observed
    assert first.shape == (5,) and second.shape == (3,)
    np.testing.assert_allclose([first[-1], second[-1]], [seen.values["a"], seen.values["b"]], 1e-6)
    np.testing.assert_allclose(first[:3], second, 1e-6)
    assert seen.row is None and "no row" in str(seen)


def test_a_replay_of_what_is_not_there_is_refused(grown):
    directory, _ = grown
    for setting, named in (({"width": 2}, "2 settings"), ({"width": 9}, "no setting"), ({"depth": 1}, "is no label")):
        with pytest.raises(ValueError, match=named):
            replay(directory, setting, 0)
    for seed in (-1, 2**32 + 3):
        with pytest.raises(ValueError, match=f"seed {seed}: a whole number from 0 to 4,294,967,295"):
            replay(directory, {"width": 2, "scale": 1.0}, seed)
    for seed in ("3", 3.7):
        with pytest.raises(TypeError, match=f"seed {seed!r}: a whole number from 0"):
            inspect.unwrap(jaxstudies.replay)(CONFIG, {"width": 2, "scale": 1.0}, seed, simulate=train)
    with pytest.raises(ValueError, match="its code is another"):
        jaxstudies.replay(CONFIG, {"width": 2, "scale": 1.0}, 0, simulate=lambda key, scale, *, width: {"x": scale},
                          directory=directory)  # fmt: skip
    with pytest.raises(ValueError, match="give the config"):
        jaxstudies.replay(directory, {"width": 2, "scale": 1.0}, 0)
    with pytest.raises(ValueError, match="does not call"):
        jaxstudies.replay({"scale": 1.0}, {}, 0, simulate=draw, observe=lambda state: state)
    beyond = replay(directory, {"width": 2, "scale": 1.0}, 11)
    assert beyond.row is None


def test_a_replay_without_a_table_is_given_the_master_seed(tmp_path):
    runs = jaxstudies.run({"scale": 1.0}, draw, num_seeds=3, seed=7, directory=tmp_path)
    alone = functools.partial(jaxstudies.replay, {"scale": 1.0}, {}, 2, simulate=draw)
    assert alone(master_seed=7).values["x"] == pytest.approx(runs["x"][2])
    assert alone().values["x"] == alone(master_seed=0).values["x"] != pytest.approx(runs["x"][2])
    for master_seed in (None, np.int64(7)):
        assert alone(directory=tmp_path, master_seed=master_seed).difference == {"x": 0.0}
    with pytest.raises(ValueError, match=r"master_seed 0: that of the table in .* is 7"):
        alone(directory=tmp_path, master_seed=0)


def test_a_replay_says_that_it_is_the_config_that_differs(grown):
    directory, _ = grown
    setting = {"scale": 1.0, "width": 2}
    for config, said in (
        (CONFIG | {"scale": (1.0, 3.0)}, r"config: 'scale' is \[1.0, 3.0\], and was \[1.0, 2.0\] when"),
        (CONFIG | {"width": 2}, r"config: 'width' is 2, and was \[2, 3\] when"),
    ):
        with pytest.raises(ValueError, match=said):
            jaxstudies.replay(config, setting, 0, simulate=train, directory=directory)


def test_runs_of_map_seeds_are_not_replayed(tmp_path):
    jaxstudies.map_seeds(draw, 2.0, num_seeds=3, directory=tmp_path)
    again = functools.partial(jaxstudies.replay, simulate=draw, directory=tmp_path)
    for config, data in (({"scale": 2.0}, None), ({}, {"scale": 2.0})):
        with pytest.raises(ValueError, match="those that map_seeds wrote; these are called again with map_seeds"):
            again(config, {}, 1, data=data)
    with pytest.raises(ValueError, match="or, if map_seeds wrote it, call that again"):
        jaxstudies.replay(tmp_path, {}, 1)


def test_a_replay_finds_none_and_labels_as_the_summary_rounds_them(tmp_path):
    def clipped(key, rate, *, clip):
        return {"x": rate * jax.random.normal(key) + (clip or 0)}

    config = {"rate": (1 / 3, np.float32(0.1), 123456.789), "clip": (None, 1.5)}
    jaxstudies.run(config, clipped, num_seeds=2, directory=tmp_path)
    again = functools.partial(jaxstudies.replay, config, simulate=clipped, directory=tmp_path)
    for clip, rate, found in ((1.5, 0.3333, 1 / 3), (None, np.float32(0.1), 0.1), (1.5, 123456.8, 123456.789)):
        seen = again({"clip": clip, "rate": rate}, 1)
        assert seen.setting == {"clip": clip, "rate": found} and seen.difference == {"x": 0.0}
    with pytest.raises(ValueError, match="no setting has"):
        again({"clip": None, "rate": 0.34}, 1)


def test_a_label_that_is_rounded_to_two_is_none_of_them():
    study = study_of({"rate": (0.12341, 0.12342)}, draw_at, {})
    from jaxstudies.tasks import task_of

    design = task_of(study, study.Config(rate=(0.12341, 0.12342)), 1).design
    assert find_setting(design, {"rate": 0.12342}) == 1
    with pytest.raises(ValueError, match=r"no setting has these labels \(rate: 0.12341, 0.12342\)"):
        find_setting(design, {"rate": 0.1234})


def draw_at(key, rate):
    return {"x": rate * jax.random.normal(key)}


def test_differences_take_nan_and_infinity_as_equal_to_themselves():
    a = np.array([np.nan, np.inf, 1.0])
    assert largest_difference(a, a) == 0 and largest_difference(a, a[::-1]) == np.inf
    assert largest_difference(np.array(True), np.array(False)) == 1


def test_a_setting_is_found_by_floats_and_none():
    study = study_of({"rate": (0.1, 0.3), "kind": ("a", None)}, lambda key, rate, *, kind: {}, {})
    from jaxstudies.tasks import task_of

    design = task_of(study, study.Config(rate=(0.1, 0.3), kind=("a", None)), 1).design
    assert find_setting(design, {"rate": 0.1 + 1e-12, "kind": "a"}) == 0
    assert find_setting(design, {"rate": 0.3, "kind": None}) == 3


OWN = '''"""Is it so?"""
from dataclasses import dataclass
import jax
from jaxstudies import main

@dataclass(frozen=True)
class Config:
    scale: tuple[float, ...] = (1.0, 2.0)

def simulate(key, scale):
    x = scale * jax.random.normal(key, (5,))
    return {"x": x, "mean": x.mean()}

main()
'''


@pytest.mark.slow
def test_the_command_line_replays_a_file_s_run_and_draws_it(tmp_path, capsys, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    subprocess.run([sys.executable, "own.py", "--seeds", "9"], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    main.main(["replay", "results/own", "7", "scale=2.0"])
    shown = capsys.readouterr().out
    assert "seed 7, scale 2.0" in shown and "It equals its row to the bit." in shown
    assert (tmp_path / "results" / "own" / "replay-7-scale=2.0.png").stat().st_size > 5000
    origin = json.loads((tmp_path / "results" / "own" / "config.json").read_text())
    assert origin["file"] == "../../own.py"
    with pytest.raises(SystemExit) as stop:
        replay_command.main(["results/own", "7"])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and "2 settings have these labels (scale: 1.0, 2.0)" in line
    monkeypatch.setattr(stored, "ARRAY_BYTES", 0)  # of a long table, arrays of the first rows alone are read
    replay_command.main(["results/own", "7", "scale=2.0"])
    assert "replay-7-scale=2.0.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["nowhere", "1"], "nowhere/runs.parquet does not exist"),
        (["toy", "1", "scale"], "scale: must be LABEL=VALUE"),
        (["toy", "-1", "scale=1.0"], "seed -1"),
        (["toy", "one"], "one"),
    ],
)
def test_a_mistake_in_a_replay_is_one_line(argv, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        replay_command.main(argv)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and named in line


# What looks wrong is said.


def test_a_simulation_that_does_not_use_its_key_is_named():
    """The graph tells, also where a function inside takes the key in vain; equal outcomes tell nothing."""
    with pytest.warns(KeyUnused):
        jaxstudies.run({"a": 1.0}, lambda key, a: {"x": a}, num_seeds=2)
    inner = jax.jit(lambda key, a: 2 * a)
    with pytest.warns(KeyUnused):
        jaxstudies.run({"a": 1.0}, lambda key, a: {"x": inner(jax.random.split(key)[0], a)}, num_seeds=2)


@pytest.mark.filterwarnings("error")
def test_equal_outcomes_are_no_sign_of_an_unused_key():
    jaxstudies.run({"a": 1.0}, lambda key, a: {"x": jax.random.normal(key) > 9}, num_seeds=2)
    jaxstudies.run({"n": (0, 1)}, lambda key, *, n: {"x": jax.random.normal(key) if n else jnp.zeros(())}, num_seeds=2)


def test_the_command_line_says_it_in_one_line(tmp_path, capsys):
    (tmp_path / "own.py").write_text(OWN.replace("scale * jax.random.normal(key, (5,))", "scale + jax.numpy.zeros(5)"))
    with study.apart():
        command.main(study.load(str(tmp_path / "own.py")), ["--seeds", "3", "--out", str(tmp_path / "out")])
    assert [line for line in capsys.readouterr().err.splitlines() if "warning" in line] == [
        "own: warning: simulate does not use its key, so that all seeds come out alike"
    ]


def test_runs_that_are_not_finite_are_counted_and_named_in_one_line(tmp_path, capsys):
    def wild(key, scale):
        x = scale * jax.random.normal(key)
        return {"root": jnp.sqrt(x), "steps": jnp.stack([x, jnp.where(x > 1.5, jnp.inf, x)]), "fine": x}

    runs = jaxstudies.run({"scale": (1.0, 2.0)}, wild, num_seeds=200, directory=tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    roots, steps = np.isnan(runs["root"]), ~np.isfinite(table.stacked(runs, "steps")).all(axis=1)
    both = roots | steps
    assert f"{both.sum()} of 400 runs, in root ({roots.sum()}), steps ({steps.sum()})" in line
    assert f"most with scale 2.0 ({both[runs['scale'] == 2.0].sum()})" in line


def test_a_slip_in_a_claim_shows_before_anything_is_run(launched):
    def claim(effect):
        return Claim("it", "it is", effect, (0, 1))

    for effect, named in (
        (lambda of: of("lost", width=2, scale=1.0), "claim it: there is no 'lost'; there are: scale, width"),
        (lambda of: of("last", depth=2, scale=1.0), "claim it: there is no 'depth'"),
        (
            lambda of: of("last", width=2),
            "claim it: last with {'width': 2}: several settings have these labels (scale: 1.0, 2.0)",
        ),
        (
            lambda of: of("losses", width=2, scale=1.0),
            "claim it: its effect's value is an array of shape (5,): a number",
        ),
        (lambda of: 3.0, "claim it: its effect is 3.0: a Series by seed"),
        (
            lambda of: pd.concat([of("last", width=w, scale=1.0) for w in (2, 3)]),
            "claim it: its effect has seed 0 twice",
        ),
        (lambda of: ~of("fell", width=2, scale=1.0), "claim it: its effect uses ~, & or |"),
        (lambda of: eval("misspelled"), "claim it: its effect raises NameError"),
    ):
        with pytest.raises(StudyError) as error:
            run(3, claims=[claim(effect)])
        assert str(error.value).startswith(named)
    with pytest.raises(StudyError, match="claim it: 2 claims have this id"):
        run(3, claims=[claim(lambda of: of("last", width=2, scale=1.0))] * 2)
    with pytest.raises(
        StudyError, match=r"claim it: losses with {'epoch': 5}: an index along its axes is epoch from 0 to 4"
    ):
        run(3, claims=[claim(lambda of: of("losses", width=2, scale=1.0, epoch=5))], axes={"losses": ("epoch",)})
    assert not launched


def test_what_only_zeros_make_wrong_stops_no_run(capsys):
    def quarters(of):
        return pd.qcut(of("x", scale=1.0), 4, labels=False)

    def absent(of):
        return of("x", scale=3.0)

    listed = [Claim(f.__name__, f.__name__, f, (0, 3), near_normal="a test") for f in (quarters, absent)]
    jaxstudies.run({"scale": (1.0, 2.0)}, draw, num_seeds=8, claims=listed)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Supported: quarters") and second.startswith("Not tested: absent")
    undefined = Claim("it", "it is", lambda of: pd.qcut(of("x", scale=1.0) > 9, 4, labels=False), (0, 3))
    with pytest.raises(StudyError, match="claim it: its effect raises ValueError") as error:
        jaxstudies.run({"scale": (1.0, 2.0)}, draw, num_seeds=8, claims=[undefined])
    assert type(error.value.__cause__) is ValueError


def test_a_summary_has_no_row_of_what_has_no_entry_and_factors_of_any_name(tmp_path):
    names = "mean", "total", "spread", "size", "measure", "all", "n", "std"

    def simulate(key, mean, total, spread, size, measure, all, n, std):
        return {"x": mean + jax.random.normal(key), "history": jnp.zeros(0)}

    config = dict.fromkeys(names, 1.0) | {"mean": (1.0, 2.0), "all": (3.0, 4.0)}
    jaxstudies.run(config, simulate, num_seeds=5, directory=tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert summary["measure"].tolist() == ["x"] * 4 and (summary["n"] == 5).all()
    assert summary["mean"].tolist() == [1, 1, 2, 2] and summary["all"].tolist() == [3, 4, 3, 4]
    assert {"n (factor)", "measure (factor)", "total", "spread", "size", "std"} <= set(summary)


def test_what_a_setting_has_not_is_no_run_that_went_wrong(tmp_path):
    """Levels beside None are whole numbers to Arrow, and floats to pandas."""

    def simulate(key, *, batch):
        return {"x": jax.random.normal(key)} | ({"whole": jax.random.normal(key)} if batch is None else {})

    jaxstudies.run({"batch": (None, 16, 32)}, simulate, num_seeds=5, directory=tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index(["measure", "batch"])
    assert summary.loc["whole", "n"].tolist() == [5, 0, 0]
    assert summary["nonfinite"].eq(0).all()


def test_a_short_run_on_a_cpu_has_steps_and_a_chunk_size_that_is_given_stays(launched):
    jaxstudies.run({"scale": 1.0}, draw, num_seeds=1000, num_devices=1)
    assert len(launched) == 8
    launched.clear()
    jaxstudies.run({"scale": 1.0}, draw, num_seeds=1000, num_devices=1, chunk_size=1000)
    assert len(launched) == 1
    launched.clear()
    jaxstudies.run({"scale": 1.0}, draw, num_seeds=20, num_devices=1)
    assert len(launched) == 2


def test_time_spent_compiling_is_not_in_the_rate_but_in_the_time_left():
    from jaxstudies.engine import progress

    bar = progress.Bar(total=10, file=open(os.devnull, "w"), smoothing=0)  # noqa: SIM115
    began = bar.start_t
    assert bar.left(0.0) == "?"
    bar.leave_out(5.0)
    bar.n = 5
    assert bar.start_t == began + 5 and time.time() < bar.start_t
    assert bar.left(7.0) == "00:07"
    bar.to_compile = 6
    assert bar.left(7.0) == "00:37"
    bar.close()


def test_a_run_of_the_library_uses_every_core(tmp_path):
    code = (
        "import os, jax, jaxstudies\n"
        "def draw(key):\n    return {'x': jax.random.normal(key)}\n"
        "jaxstudies.run({}, draw, num_seeds=2)\n"
        "assert jax.local_device_count() == len(os.sched_getaffinity(0))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
