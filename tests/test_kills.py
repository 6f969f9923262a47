"""A run may be killed at any operation on a file: the same command goes on, and nothing is lost."""

import collections
import json
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SERVER = Path(__file__).parent / "fault_server.py"
MOST_OPERATIONS = 76
"""About as many as a run performs in its directory."""


class Server:
    """Runs the toy study; see fault_server.py."""

    def __init__(self, directory):
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), str(directory / "cache")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, out, *flags, kill_at=None, log="log"):
        assert self.process.stdin is not None and self.process.stdout is not None
        argv = ["--out", str(out), "--chunk-size", "2", "--devices", "1", *flags]
        files = {"log": str(self.directory / log), "output": str(self.directory / "output")}
        print(json.dumps({"argv": argv, "kill_at": kill_at, **files}), file=self.process.stdin)
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def output(self):
        return (self.directory / "output").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.process.kill()


@pytest.fixture(scope="module")
def uninterrupted(server, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    assert server.run(out) == 0
    return out


def computed(server, log):
    path = server.directory / log
    return collections.Counter(path.read_text().splitlines() if path.exists() else [])


def assert_whole(out, uninterrupted):
    assert {path.name for path in out.iterdir()} == {path.name for path in uninterrupted.iterdir()}
    table = pd.read_parquet(out / "runs.parquet")
    pd.testing.assert_frame_equal(table, pd.read_parquet(uninterrupted / "runs.parquet"))
    for name in ("summary.csv", "claims.json"):
        assert (out / name).read_bytes() == (uninterrupted / name).read_bytes()


def check_a_killed_run(server, uninterrupted, out, seed):
    """Kill one to four processes, alone or of two or three shards, then let the run finish."""
    rng, log = random.Random(seed), f"log-{seed}"
    count = rng.choice([1, 1, 2, 3])
    shards = [("--shard", f"{i + 1}/{count}") if count > 1 else () for i in range(count)]
    killed = 0
    for _ in range(rng.randint(1, 4)):
        number = rng.randint(1, MOST_OPERATIONS // count)
        status = server.run(out, *rng.choice(shards), kill_at=number, log=log)
        assert status in (0, -9), server.output()[-2000:]
        killed += status == -9
    for shard in rng.sample(shards, count):
        assert server.run(out, *shard, log=log) == 0, server.output()[-2000:]
    assert_whole(out, uninterrupted)
    # A chunk is kept and then noted, so a kill in between leaves it out of the log.
    assert set(computed(server, log).values()) == {1}
    return killed


def test_killed_runs_go_on_and_lose_nothing(server, uninterrupted, tmp_path):
    seed = killed = 0
    while killed < 50:
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
    for number in (5, 30, 60):
        server.run(out, "--fresh", kill_at=number)
        table = pd.read_parquet(out / "runs.parquet")
        pd.testing.assert_frame_equal(table, pd.read_parquet(uninterrupted / "runs.parquet"))
    assert server.run(out) == 0
    assert_whole(out, uninterrupted)


def test_chunks_of_another_configuration_are_left_alone(server, uninterrupted, tmp_path):
    out = tmp_path / "out"
    assert server.run(out, "--seed", "1", kill_at=30, log="one") == -9
    assert server.run(out, log="zero") == 0
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "runs.parquet"), pd.read_parquet(uninterrupted / "runs.parquet")
    )
    assert server.run(out, "--seed", "1", log="one") == 0
    assert set(computed(server, "one").values()) == {1}
    assert not (out / "parts").exists()


def test_nan_in_some_runs_is_counted(server, tmp_path):
    assert server.run(tmp_path / "out", "--bad", "--seeds", "40") == 0
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert (summary["n"] + summary["nonfinite"] == 40).all()
    assert (summary["nonfinite"] > 0).all() and summary["mean"].notna().all()
