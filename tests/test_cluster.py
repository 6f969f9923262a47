"""Processes that share a run: what they compute together equals what one computes alone."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import toy
from fault_server import Run, Server

from jaxstudies import jobs, locks
from jaxstudies.commands import command
from jaxstudies.engine import cluster
from jaxstudies.engine.cluster import ClusterError
from jaxstudies.engine.shares import Share, parse_share

HERE = Path(__file__).parent
RUN = """
import sys
sys.path.insert(0, {here!r})
import toy
from jaxstudies.commands import command
command.main(toy.STUDY, sys.argv[1:])
"""
FLAGS = ["--chunk-size", "2", "--devices", "1"]


NO_ADDRESSES = ["garbage", "host", "host:", "host:99999", "host:-1", "host:0", "::1:8476"]
TIMEOUTS = ["0", "-1", "86401", "1e400", "nan", "x"]


def named(address, number=1):
    """Return the flags of one of two processes."""
    return ["--coordinator", address, "--num-processes", "2", "--process-id", str(number)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    command.main(toy.STUDY, [*FLAGS, "--out", str(out)])
    return pq.read_table(out / "runs.parquet")


def assert_same_runs(out, whole):
    """Check that a table equals another to the bit."""
    assert pq.read_table(out / "runs.parquet").equals(whole)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def slurm(number, count, job):
    """What SLURM would tell a process."""
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


def run_together(server, *asked):
    """Run processes, each (study, flags, kill_at, environment); return statuses and outputs."""
    files = [server.directory / f"{i}" for i in range(len(asked))]
    for file in files:
        file.unlink(missing_ok=True)
    log = str(server.directory / "log")
    runs = [Run(study, flags, str(file), log, *rest) for file, (study, flags, *rest) in zip(files, asked, strict=True)]
    statuses = server.run_together(*runs)
    return statuses, [file.read_text() if file.exists() else "" for file in files]


def run_connected(server, outs, kill_at=None, by_slurm=False, study="toy", flags=FLAGS, lost=-1):
    """Run a process per directory; return exit statuses and outputs. One may be killed, by default the last."""
    port, asked = free_port(), []
    lost = range(len(outs))[lost]
    for number, out in enumerate(outs):
        named = ["--out", str(out), *flags, "--distributed"]
        if not by_slurm:
            named += ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(len(outs))]
            named += ["--process-id", str(number)]
        told = slurm(number, len(outs), port) if by_slurm else {}
        asked.append((study, named, kill_at if number == lost else None, told))
    return run_together(server, *asked)


@pytest.mark.parametrize(("names", "by_slurm"), [("00", True), ("0123", False)])
def test_connected_processes_equal_one_alone(server, alone, tmp_path, names, by_slurm):
    """In a common directory or each in its own, which is left empty by all but process 0."""
    outs = [tmp_path / name for name in names]
    statuses, outputs = run_connected(server, outs, by_slurm=by_slurm)
    assert statuses == [0] * len(names), outputs
    assert_same_runs(outs[0], alone)
    assert all("process 0 writes the results" in output for output in outputs[1:])
    for out in set(outs[1:]) - {outs[0]}:
        assert not list(out.iterdir())


@pytest.mark.slow
def test_a_run_is_made_afresh_together(server, alone, tmp_path):
    """Nobody begins before all have removed what was there."""
    for flags in (FLAGS, [*FLAGS, "--fresh"]):
        statuses, outputs = run_connected(server, [tmp_path] * 3, flags=flags)
        assert statuses == [0] * 3, outputs
        assert_same_runs(tmp_path, alone)
    assert "already" not in outputs[0]


def test_a_process_that_dies_is_said_and_nothing_is_lost(server, alone, tmp_path):
    outs = [tmp_path / "0", tmp_path / "1"]
    (status, killed), (output, _) = run_connected(server, outs, kill_at=20)
    assert (status, killed) == (2, -signal.SIGKILL)
    line = output.replace("\r", "\n").strip().splitlines()[-1]
    assert line.startswith("toy: error: ") and "process 1 has gone" in line
    assert not any(words in output for words in ("Traceback", "@ ", "Fatal"))
    kept = {path.name for out in outs for path in out.glob("parts/*/[!.]*.npz")}
    assert len(kept) >= 4  # all chunks of the survivor's share
    statuses, outputs = run_connected(server, outs)
    assert statuses == [0, 0], outputs
    assert_same_runs(outs[0], alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "kill_at"), [*((0, n) for n in (2, 4, 8, 20, 45)), *((1, n) for n in (2, 4, 8, 37, 45))]
)
def test_whichever_process_dies_whenever_the_other_says_so(server, alone, tmp_path, lost, kill_at):
    """Before all are connected, while they agree, in the middle and while they bring together; the rerun is whole."""
    outs, left = [tmp_path / "0", tmp_path / "1"], 1 - lost
    flags = [*FLAGS, "--connect-timeout", "3"]
    statuses, outputs = run_connected(server, outs, kill_at, flags=flags, lost=lost)
    if statuses[left] != 0:  # the other's last operations are its own affair
        said = outputs[left].replace("\r", "\n").strip().splitlines()
        assert statuses[left] == 2 and said[-1].startswith("toy: error: "), outputs
        expected = ("has gone", "has not come to process 0", "no connection to process 0", "has closed the connection")
        assert sum(words in said[-1] for words in expected) == 1
        assert not any(words in outputs[left] for words in ("Traceback", "@ ", "Fatal"))
    statuses, outputs = run_connected(server, outs)
    assert statuses == [0, 0], outputs
    assert_same_runs(outs[0], alone)


OURS = "--seeds 9 --chunk-size 4 --devices 1 --depths 1 3 --widths 2 3"


@pytest.mark.slow
def test_processes_that_share_a_study_of_ours_equal_one_alone(server, tmp_path):
    """Also if one of them is killed first."""
    whole = tmp_path / "whole"
    assert server.run(whole, study=("born_dead", *OURS.split())) == 0, server.output()
    outs, how = [tmp_path / "0", tmp_path / "1"], {"study": "born_dead", "flags": OURS.split()}
    (status, killed), outputs = run_connected(server, outs, kill_at=14, **how)
    assert (status, killed) == (2, -signal.SIGKILL), outputs
    statuses, outputs = run_connected(server, outs, **how)
    assert statuses == [0, 0], outputs
    assert_same_runs(outs[0], pq.read_table(whole / "runs.parquet"))
    assert (outs[0] / "summary.csv").read_bytes() == (whole / "summary.csv").read_bytes()
    verdicts = [json.loads((path / "claims.json").read_text())["claims"] for path in (outs[0], whole)]
    assert verdicts[0] == verdicts[1]


def test_jax_may_have_started_before(alone, tmp_path):
    """As here, or by what a study's file computes when it is imported."""
    flags = ["--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", "1", "--process-id", "0"]
    command.main(toy.STUDY, [*FLAGS, "--out", str(tmp_path), "--distributed", *flags])
    assert_same_runs(tmp_path, alone)


def test_shards_in_one_directory_equal_one_alone(alone, tmp_path, capsys):
    for shard in ("3/3", "1/3", "2/3"):
        command.main(toy.STUDY, [*FLAGS, "--shard", shard, "--out", str(tmp_path)])
        assert (tmp_path / "runs.parquet").exists() == (shard == "2/3")
    said = capsys.readouterr().out
    assert "2 of 8 chunks are there" in said and "5 of 8 chunks are there" in said
    assert_same_runs(tmp_path, alone)
    assert not (tmp_path / "parts").exists()
    command.main(toy.STUDY, [*FLAGS, "--shard", "1/3", "--out", str(tmp_path)])
    assert "these runs already" in capsys.readouterr().out


def test_shards_that_end_together_put_the_run_together_once(server, alone, tmp_path):
    shards = [["--shard", f"{i}/3", *FLAGS, "--out", str(tmp_path)] for i in (1, 2, 3)]
    statuses, outputs = run_together(server, *(("toy", flags) for flags in shards))
    assert statuses == [0, 0, 0], outputs
    assert sum("runs.parquet, config.json" in output for output in outputs) == 1
    assert_same_runs(tmp_path, alone)


def test_no_share_waits_until_another_has_traced(tmp_path, monkeypatch, capsys):
    """Hundreds of programs take minutes."""
    traced = jobs.trace

    def trace(study, task):
        with locks.hold(tmp_path / f"{locks.LOCK}.finish"):  # raises where the share holds it
            return traced(study, task)

    monkeypatch.setattr(jobs, "trace", trace)
    command.main(toy.STUDY, [*FLAGS, "--shard", "1/2", "--out", str(tmp_path)])
    assert "share 1/2 is done" in capsys.readouterr().out


def test_every_chunk_is_in_one_share():
    shares = [parse_share(f"{i}/3") for i in (1, 2, 3)]
    for number in range(10):
        assert sum(share.owns(number) for share in shares) == 1
    assert Share().owns(7)


@pytest.mark.slow
def test_a_terminated_run_goes_on(alone, tmp_path):
    flags = ["--seeds", "4000", "--chunk-size", "1", "--devices", "1", "--out", str(tmp_path)]
    asked = [sys.executable, "-c", RUN.format(here=str(HERE)), *flags]
    for stop, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = subprocess.Popen(asked, stderr=subprocess.PIPE)
        before = len(list(tmp_path.glob("parts/*/[!.]*.npz")))
        while len(list(tmp_path.glob("parts/*/[!.]*.npz"))) < before + 3 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, stop)
        _, output = process.communicate(timeout=60)
        assert process.returncode == status
        line = output.decode().strip().splitlines()[-1]
        assert "the same command goes on from the last finished chunk" in line


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_process_that_waits_for_others_can_be_stopped(tmp_path, stop, status):
    port = free_port()
    flags = ["--distributed", *named(f"[::1]:{port}", 0), "--connect-timeout", "600", "--out", str(tmp_path)]
    asked = [sys.executable, "-c", RUN.format(here=str(HERE)), *flags]
    process = subprocess.Popen(asked, stderr=subprocess.PIPE)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    process.send_signal(stop)
    _, output = process.communicate(timeout=60)
    assert process.returncode == status
    (line,) = output.decode().strip().splitlines()
    assert "the same command goes on" in line


@pytest.mark.slow
def test_connected_processes_that_are_stopped_go_on(server, tmp_path):
    """All at once, as a batch system stops them."""
    own = ["--seeds", "1000", "--chunk-size", "8", "--devices", "1", "--out", str(tmp_path)]
    flags = [*own, "--distributed", "--num-processes", "2", "--coordinator", f"127.0.0.1:{free_port()}"]
    asked = [[sys.executable, "-c", RUN.format(here=str(HERE)), *flags, "--process-id", str(i)] for i in (0, 1)]
    processes = [subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) for words in asked]
    while len(list(tmp_path.glob("parts/*/[!.]*.npz"))) < 20 and all(p.poll() is None for p in processes):
        time.sleep(0.01)
    for process in processes:
        process.terminate()
    for process in processes:
        _, output = process.communicate(timeout=60)
        assert process.returncode == 143, output
        assert "the same command goes on from the last finished chunk" in output.decode().strip().splitlines()[-1]
    before = len(list(tmp_path.glob("parts/*/[!.]*.npz")))
    assert before >= 20
    (status,), (output,) = run_together(server, ("toy", own))
    assert status == 0, output
    assert pq.read_table(tmp_path / "runs.parquet").num_rows == 2000


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
        (["--distributed", *named("x:1", 2)], "--process-id 2"),
        *((["--distributed", *named(text)], f"--coordinator {text}: must be HOST:PORT") for text in NO_ADDRESSES),
        (["--distributed", *named("x" * 5000)], f"--coordinator {'x' * 60}...: must be HOST:PORT"),
        (["--distributed", *named("a\nb:1")], r"--coordinator a\nb:1: must be HOST:PORT"),
        (["--connect-timeout", "5"], "--connect-timeout: only with --distributed"),
        *((["--distributed", "--connect-timeout", text], f"--connect-timeout {text}: must be") for text in TIMEOUTS),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, flags, named):
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, [*flags, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not (tmp_path / "out").exists()


def test_without_a_cluster_the_way_out_is_named(tmp_path, capsys):
    with pytest.raises(ClusterError, match="name its coordinator") as error:
        cluster.connect(None, None, None)
    assert "--" not in str(error.value)
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, ["--distributed", "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no cluster was found" in line and "--coordinator" in line
