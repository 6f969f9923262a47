"""Faults that a run must survive, or report in one line."""

import contextlib
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstudies import cli, parts, results
from jaxstudies.studies import perceptron

HOLD = """
import sys, time
from pathlib import Path
from jaxstudies import parts
with parts.sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that writes into a directory."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_into_a_directory_says_so_and_stops(tmp_path, holder, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(perceptron, ["--seeds", "2", "--out", str(tmp_path)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--out {tmp_path}" in line and "another run" in line
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_the_lock_goes_with_a_killed_process(tmp_path, holder):
    with pytest.raises(parts.Occupied), parts.sole_writer(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with parts.sole_writer(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_removed_directory_is_one_line_and_not_made_again(tmp_path, monkeypatch, capsys):
    out, real, written = tmp_path / "out", parts.write_atomic, []

    def remove_after_the_first(path, write):
        real(path, write)
        written.append(path)
        if len(written) == 1:
            shutil.rmtree(out)

    monkeypatch.setattr(parts, "write_atomic", remove_after_the_first)
    with pytest.raises(SystemExit) as stop:
        cli.main(perceptron, [*TINY, "--out", str(out)])
    assert stop.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert str(out) in line and "No such file or directory" in line
    assert not out.exists()


@pytest.mark.parametrize("how", ["dropped", "turned into an error"])
def test_an_interrupt_that_gets_lost_still_ends_the_run(tmp_path, monkeypatch, capsys, how):
    def write(*arguments):
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            if how != "dropped":
                raise ValueError("something was odd") from None
        time.sleep(5)

    monkeypatch.setattr(parts.Parts, "write", write)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        cli.main(toy, ["--out", str(tmp_path)])
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_runs_of_another_configuration_are_kept_aside(tmp_path, monkeypatch):
    cli.main(toy, ["--seeds", "4", "--out", str(tmp_path)])
    first = results.read_runs(tmp_path / "runs.parquet")
    cli.main(toy, ["--seeds", "3", "--out", str(tmp_path)])
    monkeypatch.setattr(toy, "run", lambda *a, **k: pytest.fail("ran"))
    cli.main(toy, ["--seeds", "4", "--out", str(tmp_path)])
    assert first.equals(results.read_runs(tmp_path / "runs.parquet"))


def test_a_commit_during_the_run_leaves_no_chunks_behind(tmp_path, monkeypatch):
    real, commits = results.environment, iter(range(1000))
    monkeypatch.setattr(results, "environment", lambda: real() | {"commit": str(next(commits))})
    cli.main(toy, ["--out", str(tmp_path)])
    assert not (tmp_path / "parts").exists()


def test_a_summary_of_one_row_is_printed(capsys):
    cli.print_table(pd.DataFrame({"rule": ["svm"], "n": [3]}))
    assert capsys.readouterr().out.strip() == "rule svm, n 3"


TINY = ["--seeds", "8", "--chunk-size", "4", "--no-map", "--epochs", "1", "2",
        "--convergence-epochs", "0", "--num-train", "5", "6", "--num-test", "10"]  # fmt: skip


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(tmp_path, monkeypatch, capsys):
    real, written = parts.write_atomic, []

    def full_after_one(path, write):
        written.append(path)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "write_atomic", full_after_one)
        with pytest.raises(SystemExit) as stop:
            cli.main(perceptron, [*TINY, "--out", str(tmp_path)])
    assert stop.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "No space left on device" in line and "--out" in line
    (kept,) = tmp_path.glob("parts/*/*.npz")
    assert kept == written[0]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_small_disk_that_fills_up_is_one_line_and_a_larger_one_goes_on(
    small_disk, monkeypatch, capsys
):
    flags = ["--chunk-size", "2", "--seeds", "50", "--devices", "1", "--out", str(small_disk)]
    with pytest.raises(SystemExit) as stop:
        cli.main(toy, flags)
    assert stop.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device" in line and "--out" in line
    finished = len(list(small_disk.glob("parts/*/*.npz")))
    assert 0 < finished < 50
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    write, written = parts.Parts.write, []
    monkeypatch.setattr(parts.Parts, "write", lambda *a: written.append(a[1]) or write(*a))
    cli.main(toy, flags)
    assert len(written) == 50 - finished
    assert len(pd.read_parquet(small_disk / "runs.parquet")) == 100


def test_a_directory_that_cannot_be_made_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(toy, ["--out", "/proc/jaxstudies"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--out /proc/jaxstudies" in line


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_chunks_are_never_believed(tmp_path_factory, data):
    kept = parts.Parts(tmp_path_factory.mktemp("parts"))
    kept.write("0000", {"x": np.arange(50)})
    (path,) = kept.directory.iterdir()
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    noise = data.draw(st.binary(min_size=0, max_size=20))
    if content[start : start + len(noise)] == noise and noise:
        return
    path.write_bytes(content[:start] + noise + content[start + max(len(noise), 1) :])
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert kept.read("0000") is None
    assert path.name in said.getvalue() and not path.exists()


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_a_damaged_chunk_is_run_again_and_said(tmp_path, capsys, damage):
    kept = parts.Parts(tmp_path)
    columns = {"x": np.arange(5)}
    kept.write("0000", columns)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    else:
        content = content[:-7] if damage == "truncated" else bytearray()
    path.write_bytes(content)
    assert kept.read("0000") is None
    assert path.name in capsys.readouterr().err
    kept.write("0000", columns)
    np.testing.assert_array_equal(kept.read("0000")["x"], columns["x"])
