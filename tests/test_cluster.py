"""Processes that share a run: what they compute together equals what one computes alone."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import toy

from jaxstudies import cli, cluster
from jaxstudies.cluster import Share, parse_share

HERE = Path(__file__).parent
RUN = """
import sys
sys.path.insert(0, {here!r})
import fault_server, toy
from jaxstudies import cli
if {kill_at}:
    fault_server.kill_at({kill_at}, {out!r})
cli.main(toy, sys.argv[1:])
"""
FLAGS = ["--chunk-size", "2", "--devices", "1"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    cli.main(toy, [*FLAGS, "--out", str(out)])
    return pd.read_parquet(out / "runs.parquet")


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def slurm(number, count, job):
    """What SLURM would tell a process."""
    return {
        "SLURM_JOB_ID": str(job), "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(count), "SLURM_PROCID": str(number), "SLURM_LOCALID": str(number),
    }  # fmt: skip


def run_connected(outs, kill_at=None, by_slurm=False):
    """Run a process per directory; return exit statuses and outputs. The last may be killed."""
    port, processes = free_port(), []
    for number, out in enumerate(outs):
        kill = kill_at if number == len(outs) - 1 else None
        code = RUN.format(here=str(HERE), kill_at=kill, out=str(out))
        command = [sys.executable, "-c", code, "--out", str(out), *FLAGS, "--distributed"]
        if not by_slurm:
            command += ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(len(outs))]
            command += ["--process-id", str(number)]
        told = slurm(number, len(outs), port) if by_slurm else {}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, text=True, env=os.environ | told, **pipes)
        processes.append(process)
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    return [process.returncode for process in processes], outputs


@pytest.mark.parametrize(
    ("names", "by_slurm"), [("00", True), ("01", False), ("0000", False), ("0123", False)]
)
def test_connected_processes_equal_one_alone(alone, tmp_path, names, by_slurm):
    """In a common directory or each in its own, which is left empty by all but process 0."""
    outs = [tmp_path / name for name in names]
    statuses, outputs = run_connected(outs, by_slurm=by_slurm)
    assert statuses == [0] * len(names), outputs
    pd.testing.assert_frame_equal(pd.read_parquet(outs[0] / "runs.parquet"), alone)
    assert all("process 0 writes the results" in output for output in outputs[1:])
    for out in set(outs[1:]) - {outs[0]}:
        assert not list(out.iterdir())


def test_a_process_that_dies_is_said_and_nothing_is_lost(alone, tmp_path):
    outs = [tmp_path / "0", tmp_path / "1"]
    (status, killed), (output, _) = run_connected(outs, kill_at=20)
    assert (status, killed) == (2, -signal.SIGKILL)
    line = output.strip().splitlines()[-1]
    assert "another process has gone" in line and "Traceback" not in output
    kept = {path.name for out in outs for path in out.glob("parts/*/[!.]*.npz")}
    assert len(kept) >= 4  # all chunks of the survivor's share
    statuses, outputs = run_connected(outs)
    assert statuses == [0, 0], outputs
    pd.testing.assert_frame_equal(pd.read_parquet(outs[0] / "runs.parquet"), alone)


def test_processes_that_differ_are_refused(monkeypatch):
    said = iter([1, 1, 2, 1])
    monkeypatch.setattr(cluster.jax, "process_count", lambda: 2)
    monkeypatch.setattr(cluster, "broadcast", lambda content, source=0: next(said))
    with pytest.raises(cluster.ClusterError, match="process 1"):
        cluster.agree(1)


def test_shards_in_one_directory_equal_one_alone(alone, tmp_path, capsys):
    for shard in ("3/3", "1/3", "2/3"):
        cli.main(toy, [*FLAGS, "--shard", shard, "--out", str(tmp_path)])
        assert (tmp_path / "runs.parquet").exists() == (shard == "2/3")
    said = capsys.readouterr().out
    assert "2 of 8 chunks are there" in said and "5 of 8 chunks are there" in said
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "runs.parquet"), alone)
    assert not (tmp_path / "parts").exists()
    cli.main(toy, [*FLAGS, "--shard", "1/3", "--out", str(tmp_path)])
    assert "these runs already" in capsys.readouterr().out


def test_shards_that_end_together_put_the_run_together_once(alone, tmp_path):
    code = RUN.format(here=str(HERE), kill_at=None, out=str(tmp_path))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, "--shard", f"{i}/3", "--out", str(tmp_path), *FLAGS],
            stdout=subprocess.PIPE, text=True,
        )
        for i in (1, 2, 3)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum("config.json, runs.parquet" in output for output in outputs) == 1
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "runs.parquet"), alone)


def test_every_chunk_is_in_one_share():
    shares = [parse_share(f"{i}/3") for i in (1, 2, 3)]
    for number in range(10):
        assert sum(share.owns(number) for share in shares) == 1
    assert Share().owns(7)


def test_a_terminated_run_goes_on(alone, tmp_path):
    code = RUN.format(here=str(HERE), kill_at=None, out=str(tmp_path))
    flags = ["--seeds", "20000", "--chunk-size", "1", "--devices", "1", "--out", str(tmp_path)]
    for stop, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = subprocess.Popen([sys.executable, "-c", code, *flags], stderr=subprocess.PIPE)
        before = len(list(tmp_path.glob("parts/*/*.npz")))
        while len(list(tmp_path.glob("parts/*/*.npz"))) < before + 3 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, stop)
        _, output = process.communicate(timeout=60)
        assert process.returncode == status
        line = output.decode().strip().splitlines()[-1]
        assert "the same command goes on from the last finished chunk" in line


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--shard", "4/3"], "--shard 4/3"),
        (["--shard", "0/3"], "--shard 0/3"),
        (["--shard", "half"], "--shard half"),
        (["--shard", "1/2", "--fresh"], "--fresh"),
        (["--shard", "1/2", "--distributed"], "--shard"),
        (["--process-id", "0"], "--process-id"),
        (["--distributed", "--coordinator", "localhost:1"], "--num-processes"),
        (
            ["--distributed", "--coordinator", "x:1", "--num-processes", "2", "--process-id", "2"],
            "--process-id 2",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, flags, named):
    with pytest.raises(SystemExit) as stop:
        cli.main(toy, [*flags, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not (tmp_path / "out").exists()


def test_without_a_cluster_the_way_out_is_named(monkeypatch):
    def no_cluster(*arguments, **settings):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(cluster.jax.distributed, "initialize", no_cluster)
    with pytest.raises(cluster.ClusterError, match="--coordinator"):
        cluster.connect(None, None, None)
