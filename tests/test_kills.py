"""A run may be killed at any operation on a file: the same command goes on, and nothing is lost."""

import collections
import json
import random

import pandas as pd
import pyarrow.parquet as pq
import pytest
from fault_server import Server

MOST_OPERATIONS = 98
"""About as many as a run of the toy performs in its directory."""
TOY = "toy", "--chunk-size", "2", "--devices", "1"


class Toys(Server):
    def run(self, out, *flags, study=TOY, **how):
        return super().run(out, *flags, study=study, **how)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Toys(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def uninterrupted(server, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    assert server.run(out) == 0
    return out


def computed(server, log):
    path = server.directory / log
    return collections.Counter(path.read_text().splitlines() if path.exists() else [])


def assert_same_runs(out, uninterrupted):
    """Check that two tables are equal to the bit."""
    one, other = (pq.read_table(path / "runs.parquet") for path in (out, uninterrupted))
    assert one.schema.equals(other.schema) and one.equals(other)


def assert_whole(out, uninterrupted):
    assert {path.name for path in out.iterdir()} == {path.name for path in uninterrupted.iterdir()}
    assert_same_runs(out, uninterrupted)
    for name in ("summary.csv", "spread.csv"):
        if (uninterrupted / name).exists():
            assert (out / name).read_bytes() == (uninterrupted / name).read_bytes()
    verdicts = (json.loads((path / "claims.json").read_text())["claims"] for path in (out, uninterrupted))
    assert next(verdicts) == next(verdicts)
    effects = (pq.read_table(path / "effects.parquet") for path in (out, uninterrupted))
    assert next(effects).equals(next(effects))


def check_a_killed_run(server, uninterrupted, out, seed, study=TOY, most=MOST_OPERATIONS):
    """Kill one to four processes, alone or of two or three shards, then let the run finish."""
    rng, log = random.Random(seed), f"log-{study[0]}-{seed}"
    count = rng.choice([1, 1, 2, 3])
    shards = [("--shard", f"{i + 1}/{count}") if count > 1 else () for i in range(count)]
    killed = 0
    for _ in range(rng.randint(1, 4)):
        number = rng.randint(1, most // count)
        status = server.run(out, *rng.choice(shards), kill_at=number, log=log, study=study)
        assert status in (0, -9), server.output()[-2000:]
        killed += status == -9
    for shard in rng.sample(shards, count):
        assert server.run(out, *shard, log=log, study=study) == 0, server.output()[-2000:]
    assert_whole(out, uninterrupted)
    # A chunk is kept and then noted, so a kill in between leaves it out of the log.
    assert set(computed(server, log).values()) == {1}
    return killed


@pytest.mark.slow
def test_killed_runs_go_on_and_lose_nothing(server, uninterrupted, tmp_path):
    seed = killed = 0
    while killed < 15:
        killed += check_a_killed_run(server, uninterrupted, tmp_path / str(seed), seed)
        seed += 1


@pytest.mark.faults
@pytest.mark.parametrize("batch", range(10))
def test_many_killed_runs_go_on_and_lose_nothing(server, uninterrupted, tmp_path, batch):
    for seed in range(1000 + 100 * batch, 1100 + 100 * batch):
        check_a_killed_run(server, uninterrupted, tmp_path / str(seed), seed)


@pytest.mark.faults
@pytest.mark.parametrize("number", range(1, MOST_OPERATIONS))
def test_a_kill_at_every_operation(server, uninterrupted, tmp_path, number):
    log = f"every-{number}"
    server.run(tmp_path / "out", kill_at=number, log=log)
    assert server.run(tmp_path / "out", log=log) == 0
    assert_whole(tmp_path / "out", uninterrupted)
    assert set(computed(server, log).values()) == {1}


def test_a_fresh_run_that_is_killed_keeps_the_older_table(server, uninterrupted, tmp_path):
    """Until the last step there is a whole table, the old one or the new one."""
    out = tmp_path / "out"
    assert server.run(out) == 0
    for number in (5, 40, 80):
        server.run(out, "--fresh", kill_at=number)
        assert_same_runs(out, uninterrupted)
    assert server.run(out) == 0
    assert_whole(out, uninterrupted)


def test_chunks_of_another_configuration_are_left_alone(server, uninterrupted, tmp_path):
    out = tmp_path / "out"
    assert server.run(out, "--seed", "1", kill_at=30, log="one") == -9
    assert server.run(out, log="zero") == 0
    assert_same_runs(out, uninterrupted)
    assert server.run(out, "--seed", "1", log="one") == 0
    assert set(computed(server, "one").values()) == {1}
    assert not (out / "parts").exists()


def test_nan_in_some_runs_is_counted(server, tmp_path):
    assert server.run(tmp_path / "out", "--bad", "--seeds", "40") == 0
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    means = summary[summary["measure"] == "mean"]
    assert len(means) == 2 and (means["n"] + means["nonfinite"] == 40).all()
    assert (means["nonfinite"] > 0).all() and means["estimate"].notna().all()
    finite = summary[summary["measure"] != "mean"]
    assert (finite["n"] == 40).all() and (finite["nonfinite"] == 0).all()


REAL = {
    "perceptron": "--no-map --epochs 1 2 --convergence-epochs 0 --num-train 5 6 --num-test 10",
    "born_dead": "--depths 1 3 --widths 2 3",
}
"""Studies of ours, small."""


def check_killed_runs_of_ours(server, tmp_path, name, number):
    study = (name, *["--seeds", "9", "--chunk-size", "4", "--devices", "1"], *REAL[name].split())
    whole, log = tmp_path / "whole", f"{name}-whole"
    assert server.run(whole, study=study, log=log) == 0, server.output()[-2000:]
    chunks = sum(computed(server, log).values())
    assert chunks >= 3
    for seed in range(number):
        check_a_killed_run(server, whole, tmp_path / str(seed), seed, study, 9 * chunks)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_killed_runs_of_our_studies_go_on_and_lose_nothing(server, tmp_path, name):
    check_killed_runs_of_ours(server, tmp_path, name, 1)


@pytest.mark.faults
@pytest.mark.parametrize("name", REAL)
def test_many_killed_runs_of_our_studies_go_on_and_lose_nothing(server, tmp_path, name):
    check_killed_runs_of_ours(server, tmp_path, name, 50)
