"""What the flags allow runs to its end: at the extremes numbers may be NaN, and figures say so."""

import warnings
from typing import get_args, get_type_hints

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jaxstudies.commands import command, flags, options
from jaxstudies.engine import memory, programs
from jaxstudies.output import table
from jaxstudies.studies import packaged
from jaxstudies.study import load

NAMES = list(packaged())
SMALL = {
    "born_dead": "--seeds 3 --depths 1 2 --widths 1 2 --epochs 1 --trained-seeds 2 --num-examples 20",
    "depth_width": "--seeds 1 --shapes 1 --epochs 1 --num-examples 100",
    "dying_relu": "--seeds 2 --depths 2 --epochs 1 --long-epochs 1 --num-examples 20",
    "initialization": "--seeds 2 --dataset digits --depth 2 --width 3 --num-images 20 --epochs 1",
    "lenet": "--seeds 1 --dataset digits --epochs 1 --arms plain raw_bn",
    "order_chaos": "--seeds 2 --dataset digits --points 2 --depth 4 --width 3",
    "perceptron": "--seeds 3 --num-train 4 --epochs 1 --num-test 5 --no-map",
}
SLOW = {"depth_width", "lenet"}
"""Studies whose programs take long to compile."""


@pytest.fixture(scope="module", params=NAMES)
def finished(request, tmp_path_factory):
    """A study of ours, and a small run of it."""
    study, out = load(request.param), tmp_path_factory.mktemp(request.param)
    command.main(study, [*SMALL[study.name].split(), "--out", str(out)])
    return study, out


FILLINGS = {
    "NaN": [np.nan],
    "infinite": [np.inf, -np.inf],
    "zeros": [0.0],
    "large": [1e30, -1e30],
    "some": [np.nan, 1.0],
}


@pytest.mark.slow
@pytest.mark.parametrize("filling", FILLINGS)
def test_a_table_of_any_numbers_is_judged_and_drawn(finished, tmp_path, filling):
    study, out = finished
    origin, blocks = table.read_provenance(out / "runs.parquet"), list(table.stored_blocks(out / "runs.parquet"))
    table.write_runs(
        tmp_path / "runs.parquet", [fill(rows, FILLINGS[filling], study.PADDED) for rows in blocks], origin
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        command.main(study, ["--plots-only", "--out", str(tmp_path)])
    assert (tmp_path / "claims.json").exists() and list(tmp_path.glob("*.png"))
    plt.close("all")


def fill(rows, filling, padded):
    """Return rows whose measures of floats are filled again and again with some numbers."""
    names = rows.schema.names
    for place, name in enumerate(names):
        column = rows.column(name).combine_chunks()
        nested = hasattr(column.type, "value_type")
        flat = column.flatten() if nested else column
        if place > names.index("seed") and str(flat.type) == "float" and not column.null_count:
            values = np.resize(np.array(filling, np.float32), len(flat))
            if name in padded:
                values = np.where(np.isnan(flat.to_numpy(zero_copy_only=False)), np.float32(np.nan), values)
            made = pa.array(values, flat.type)
            made = pa.FixedSizeListArray.from_arrays(made, type=column.type) if nested else made
            rows = rows.set_column(place, rows.schema.field(place), made)
    return rows


def whole_numbers(study):
    """Yield fields that are whole numbers, and their bounds."""
    for name, hint in get_type_hints(study.Config, include_extras=True).items():
        limits = list(flags.bounds(hint))
        if int in leaves(hint):
            yield name, limits


def leaves(hint):
    """Return the types inside a type."""
    inside = [leaf for part in get_args(hint) if isinstance(part, type) or get_args(part) for leaf in leaves(part)]
    return inside or [hint]


@pytest.mark.parametrize("name", NAMES)
def test_every_whole_number_has_an_upper_bound_that_32_bits_hold(name):
    for field, limits in whole_numbers(load(name)):
        assert any(high < 2**31 or (field == "seed" and high < 2**32) for _, high, _ in limits), field


@pytest.mark.parametrize("number", ["1e39", "-1e39", "1e-46", "3.5e38"])
def test_numbers_that_32_bits_do_not_hold_are_refused(number, monkeypatch):
    study = load("dying_relu")
    parse = lambda: options.parse(study.Config, study.name, study.text, [f"--learning-rate={number}"])  # noqa: E731
    with pytest.raises(flags.UsageError, match="--learning-rate"):
        parse()
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    if not number.startswith("-"):
        assert vars(parse()[0])["learning_rate"] == float(number)


def test_a_program_that_needs_more_memory_than_there_is_runs_in_smaller_blocks(monkeypatch, capsys):
    import jaxstudies

    def simulate(key):
        import jax

        return {"x": jax.numpy.sort(jax.random.normal(key, (1000,)))[:3]}

    whole = jaxstudies.map_seeds(simulate, num_seeds=64, num_devices=1, chunk_size=64)
    monkeypatch.setattr(programs, "_kept", type(programs._kept)(64))
    monkeypatch.setattr(memory, "available", lambda: 100_000.0)
    cut = jaxstudies.map_seeds(simulate, num_seeds=64, num_devices=1, chunk_size=64)
    assert "out of memory with 64 runs at once" in capsys.readouterr().err
    np.testing.assert_array_equal(cut["x"], whole["x"])
    monkeypatch.setattr(programs, "_kept", type(programs._kept)(64))
    monkeypatch.setattr(memory, "available", lambda: 10.0)
    with pytest.raises(programs.OutOfMemory, match=r"one run on each of 1 devices .* GB are needed"):
        jaxstudies.map_seeds(simulate, num_seeds=64, num_devices=1, chunk_size=64)


def test_there_is_some_memory_and_less_in_a_container(monkeypatch, tmp_path):
    assert 1e8 < memory.available() < 1e14
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.available() == 4_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() > 1e8


def extremes(hint):
    """Return a strategy of texts at the bounds of a type, whole numbers near the lower end."""
    limits = list(flags.bounds(hint))
    low = max((low for low, _, _ in limits if low > -1e300), default=0)
    if int in leaves(hint):
        return st.integers(int(low), int(low) + 2).map(str)
    most = min((high for _, high, _ in limits if high < 1e300), default=1e30)
    least = low if any(low == at and inclusive for at, _, inclusive in limits) else max(low, 1e-30) or 1e-30
    return st.sampled_from([least, most, 1e-3, 1.0]).map(repr)


TRIED = {
    "born_dead": ["epochs", "num_examples", "batch_size", "learning_rate", "init_std", "trained_seeds"],
    "depth_width": ["epochs", "batch_size", "sgd_rates", "adam_rates", "noise_variance"],
    "dying_relu": [
        "epochs",
        "long_epochs",
        "num_examples",
        "batch_size",
        "learning_rate",
        "init_std",
        "negative_slope",
    ],
    "initialization": ["depth", "width", "num_images", "epochs", "learning_rate", "batch_size", "sigmas"],
    "lenet": [
        "batch_size",
        "learning_rate",
        "input_rate",
        "hidden_rate",
        "train_evaluated",
        "bn_momentum",
        "bn_epsilon",
    ],
    "order_chaos": ["points", "depth", "width"],
    "perceptron": ["num_train", "learning_rates", "epochs", "convergence_epochs", "margins", "num_test"],
}


def run_some(name, number, tmp_path_factory):
    """Run a study, small, at so many extremes of its flags."""
    study = load(name)
    hints = get_type_hints(study.Config, include_extras=True)
    quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}

    @settings(max_examples=number, **quiet)
    @given(st.data())
    def run(data):
        argv = SMALL[name].split()
        for field in data.draw(st.lists(st.sampled_from(TRIED[name]), unique=True, min_size=1)):
            argv.append(f"--{field.replace('_', '-')}={data.draw(extremes(hints[field]))}")
        out = tmp_path_factory.mktemp(name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            command.main(study, [*argv, "--out", str(out)])
        assert {"runs.parquet", "claims.json", "summary.csv"} <= {path.name for path in out.iterdir()}
        plt.close("all")

    run()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_extremes_of_flags_run_to_their_end(name, tmp_path_factory):
    run_some(name, 1 if name in SLOW else 2, tmp_path_factory)


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_extremes_of_flags_run_to_their_end(name, tmp_path_factory):
    run_some(name, 15, tmp_path_factory)
