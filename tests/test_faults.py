"""Faults that a run must survive, or report in one line."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_table import old_table

from jaxstudies import locks
from jaxstudies.commands import answer, command
from jaxstudies.engine import chunks, compiler, monte_carlo
from jaxstudies.engine.chunks import Chunks
from jaxstudies.errors import DirectoryError
from jaxstudies.evidence import records
from jaxstudies.identity import provenance, reach
from jaxstudies.output import stored

HOLD = """
import sys, time
from pathlib import Path
from jaxstudies import locks
with locks.sole_writer(Path(sys.argv[1])):
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
        command.main(toy.STUDY, ["--seeds", "2", "--out", str(tmp_path)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--out {tmp_path}" in line and "another run" in line
    assert [path.name for path in tmp_path.iterdir()] == [locks.LOCK]


def test_the_lock_goes_with_a_killed_process(tmp_path, holder):
    with pytest.raises(DirectoryError, match="another run"), locks.sole_writer(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locks.sole_writer(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_removed_directory_is_one_line_and_not_made_again(tmp_path, monkeypatch, capsys):
    out, real, written = tmp_path / "out", chunks.write_atomic, []

    def remove_after_the_first(path, write):
        real(path, write)
        written.append(path)
        if len(written) == 1:
            shutil.rmtree(out)

    monkeypatch.setattr(chunks, "write_atomic", remove_after_the_first)
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, [*TINY, "--out", str(out)])
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

    monkeypatch.setattr(Chunks, "write", write)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, ["--out", str(tmp_path)])
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def assert_same_runs(path, whole):
    assert pq.read_table(path / "runs.parquet").equals(whole)


def must_not_run(monkeypatch):
    monkeypatch.setattr(monte_carlo, "run_design", lambda *a, **k: pytest.fail("ran"))


def test_runs_of_another_configuration_are_kept_aside(tmp_path, monkeypatch):
    command.main(toy.STUDY, ["--seeds", "4", "--out", str(tmp_path)])
    first = pq.read_table(tmp_path / "runs.parquet")
    command.main(toy.STUDY, ["--seeds", "3", "--out", str(tmp_path)])
    assert len(list(tmp_path.glob("runs-*.parquet"))) == 1
    must_not_run(monkeypatch)
    command.main(toy.STUDY, ["--seeds", "4", "--out", str(tmp_path)])
    assert_same_runs(tmp_path, first)


def test_runs_of_other_code_or_data_are_not_taken_for_these(tmp_path, monkeypatch, capsys):
    flags = ["--seeds", "4", "--out", str(tmp_path)]
    command.main(toy.STUDY, flags)
    for module, name, value in ((reach, "reachable_code", "another"), (provenance, "array_digest", "others")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda *arguments, value=value: value)
            command.main(toy.STUDY, flags)
        assert "runs already" not in capsys.readouterr().out
    command.main(toy.STUDY, flags)
    assert "runs already" in capsys.readouterr().out
    assert len(list(tmp_path.glob("runs-*.parquet"))) == 2


def test_a_study_that_was_typed_in_reuses_nothing(tmp_path, capsys):
    typed = dataclasses.replace(toy.STUDY, path=None)
    for _ in range(2):
        command.main(typed, ["--seeds", "2", "--out", str(tmp_path)])
        assert "runs already" not in capsys.readouterr().out


def test_a_commit_during_the_run_leaves_no_chunks_behind(tmp_path, monkeypatch):
    real, commits = provenance.environment, iter(range(1000))
    monkeypatch.setattr(provenance, "environment", lambda: real() | {"commit": str(next(commits))})
    command.main(toy.STUDY, ["--out", str(tmp_path)])
    assert not (tmp_path / "parts").exists()


def with_versions(patch, **versions):
    """Let packages have other versions."""
    real = provenance.version
    patch.setattr(provenance, "version", lambda name: versions.get(name) or real(name))


def begin(out, monkeypatch):
    """Begin a run with another optax and stop after two chunks; return these."""
    with monkeypatch.context() as patch:
        with_versions(patch, optax="0.0.7")
        written, write = [], Chunks.write

        def stop_after_two(self, name, columns):
            if len(written) == 2:
                raise KeyboardInterrupt
            written.append(name)
            write(self, name, columns)

        patch.setattr(Chunks, "write", stop_after_two)
        with pytest.raises(SystemExit) as stop:
            command.main(toy.STUDY, [*TINY, "--out", str(out)])
        assert stop.value.code == 130
    kept = sorted(out.glob("parts/*/*.npz"))
    assert len(kept) == 2
    return {path.name: path.read_bytes() for path in kept}


def test_chunks_of_other_versions_are_not_gone_on_with(tmp_path, monkeypatch, capsys):
    kept = begin(tmp_path, monkeypatch)
    capsys.readouterr()
    for flags in (TINY, [*TINY, "--shard", "1/2"]):
        with pytest.raises(SystemExit) as stop:
            command.main(toy.STUDY, [*flags, "--out", str(tmp_path)])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--out {tmp_path}" in line and "optax 0.0.7 (here" in line and "--fresh" in line
    assert {path.name: path.read_bytes() for path in tmp_path.glob("parts/*/*.npz")} == kept


def test_chunks_of_other_versions_are_set_aside_by_fresh(tmp_path, monkeypatch):
    kept = begin(tmp_path, monkeypatch)
    command.main(toy.STUDY, [*TINY, "--out", str(tmp_path), "--fresh"])
    assert len(stored.read_runs(tmp_path / "runs.parquet")) == 16
    (aside,) = tmp_path.glob("parts/*")
    assert aside.name.endswith("-old-1")
    assert {path.name: path.read_bytes() for path in aside.glob("*.npz")} == kept
    with monkeypatch.context() as patch:
        with_versions(patch, optax="0.0.7")
        command.main(toy.STUDY, [*TINY, "--out", str(tmp_path / "other")])
    assert (aside / "versions.json").exists()


def test_chunks_of_the_same_versions_are_removed_by_fresh(tmp_path, monkeypatch):
    begin(tmp_path, monkeypatch)
    with_versions(monkeypatch, optax="0.0.7")
    command.main(toy.STUDY, [*TINY, "--out", str(tmp_path), "--fresh"])
    assert not (tmp_path / "parts").exists()


def test_a_finished_table_of_other_versions_is_kept_and_said(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        with_versions(patch, jax="0.0.7")
        command.main(toy.STUDY, [*TINY, "--out", str(tmp_path)])
    whole = (tmp_path / "runs.parquet").read_bytes()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        must_not_run(patch)
        command.main(toy.STUDY, [*TINY, "--out", str(tmp_path)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "jax 0.0.7 (here" in line]
    assert len(lines) == 1
    assert (tmp_path / "runs.parquet").read_bytes() == whole
    # Versions that decide no numbers are nothing to speak of.
    with_versions(monkeypatch, pandas="0.0.7", numpy="0.0.7")
    command.main(toy.STUDY, [*TINY, "--out", str(tmp_path), "--fresh"])
    command.main(toy.STUDY, [*TINY, "--out", str(tmp_path)])
    assert "0.0.7" not in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--fresh"], ["--plots-only"], ["--shard", "1/2"]])
def test_a_table_of_the_first_version_is_refused_in_a_line_and_kept(tmp_path, monkeypatch, capsys, flags):
    old_table(tmp_path / "runs.parquet")
    before = (tmp_path / "runs.parquet").read_bytes()
    must_not_run(monkeypatch)
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, [*flags, "--out", str(tmp_path)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "version 0.1.0, in another format" in line and "runs.parquet" in line
    assert [path.name for path in tmp_path.iterdir()] == ["runs.parquet"]
    assert (tmp_path / "runs.parquet").read_bytes() == before


def test_without_memory_for_one_run_the_way_out_is_named(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.")

    monkeypatch.setattr(compiler, "compile_block", fail)
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, ["--out", str(tmp_path)])
    assert stop.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "out of memory with one run on each of" in line and "--devices" in line


def test_the_tables_beside_the_runs_and_the_effects_are_written(tmp_path):
    command.main(toy.STUDY, ["--out", str(tmp_path)])
    spread, times = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("spread", "times"))
    assert list(spread["scale"]) == [1, 2]
    assert list(times["runs"]) == [16] and list(times["settings"]) == [2]
    assert list(records.verify(tmp_path)) == []


def test_a_summary_of_one_row_is_printed(capsys):
    answer.print_table(pd.DataFrame({"rule": ["svm"], "n": [3]}))
    assert capsys.readouterr().out.strip() == "rule svm, n 3"


TINY = ["--seeds", "8", "--chunk-size", "4", "--devices", "1"]


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(tmp_path, monkeypatch, capsys):
    real, written = chunks.write_atomic, []

    def full_after_one(path, write):
        written.append(path)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "write_atomic", full_after_one)
        with pytest.raises(SystemExit) as stop:
            command.main(toy.STUDY, [*TINY, "--out", str(tmp_path)])
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


def test_a_small_disk_that_fills_up_is_one_line_and_a_larger_one_goes_on(small_disk, monkeypatch, capsys):
    flags = ["--chunk-size", "2", "--seeds", "50", "--devices", "1", "--out", str(small_disk)]
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, flags)
    assert stop.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device" in line and "--out" in line
    finished = len(list(small_disk.glob("parts/*/*.npz")))
    assert 0 < finished < 50
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    write, written = Chunks.write, []
    monkeypatch.setattr(Chunks, "write", lambda *a: written.append(a[1]) or write(*a))
    command.main(toy.STUDY, flags)
    assert len([name for name in written if not name.startswith("beside")]) == 50 - finished
    assert len(stored.read_runs(small_disk / "runs.parquet")) == 100


def test_a_directory_that_cannot_be_made_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, ["--out", "/proc/jaxstudies"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--out /proc/jaxstudies" in line


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_chunks_are_never_believed(tmp_path_factory, data):
    kept = Chunks(tmp_path_factory.mktemp("parts"))
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
    kept = Chunks(tmp_path)
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


def test_what_lies_among_chunks_and_is_none_does_no_harm(tmp_path):
    kept = Chunks(tmp_path, "c0ffee")
    kept.write("0000", {"x": np.arange(5)})
    (tmp_path / "notes.npz").write_bytes(b"x" * 100)
    assert kept.commits() == ["c0ffee"]
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(chunks.ChunksError, match=r"pipe\.npz is no file; remove it"):
        kept.read("pipe")


SHARED = ["--seeds", "8", "--chunk-size", "4"]


def test_a_damaged_chunk_of_another_share_is_run_by_whoever_finds_it(tmp_path, capsys):
    """Which damage is one is for others to say."""
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    command.main(toy.STUDY, [*SHARED, "--out", str(whole)])
    command.main(toy.STUDY, [*SHARED, "--out", str(shared), "--shard", "1/2"])
    path = sorted(shared.glob("parts/*/*.npz"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    command.main(toy.STUDY, [*SHARED, "--out", str(shared), "--shard", "2/2"])
    assert "is damaged: its runs are run again" in capsys.readouterr().err
    assert_same_runs(shared, pq.read_table(whole / "runs.parquet"))
    assert not (shared / "parts").exists()


def test_shares_under_other_settings_of_jax_are_of_other_runs(tmp_path, capsys):
    command.main(toy.STUDY, [*SHARED, "--out", str(tmp_path), "--shard", "1/2"])
    with jax.enable_x64(True):
        command.main(toy.STUDY, [*SHARED, "--out", str(tmp_path), "--shard", "2/2"])
    assert "2 of 4 chunks are there" in capsys.readouterr().out.splitlines()[-1]
    assert not (tmp_path / "runs.parquet").exists() and len(list((tmp_path / "parts").iterdir())) == 2
    command.main(toy.STUDY, [*SHARED, "--out", str(tmp_path), "--shard", "2/2"])
    settings = json.loads((tmp_path / "config.json").read_text())["jax_settings"]
    assert settings["jax_enable_x64"] is False and "jax_default_prng_impl" in settings


def test_more_chunks_than_a_directory_holds_are_refused_before_anything_runs(tmp_path, capsys, monkeypatch):
    must_not_run(monkeypatch)
    with pytest.raises(SystemExit) as stop:
        command.main(
            toy.STUDY, ["--seeds", "20000", "--chunk-size", "1", "--scale", "1:2:1000", "--out", str(tmp_path)]
        )
    assert stop.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "--chunk-size 1: 10,000,000 chunks; a larger one makes fewer" in line
