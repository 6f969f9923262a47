"""What is compiled is kept whole, in a place that is the user's alone, and read again by the next command."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstudies import compilation_cache
from jaxstudies.compilation_cache import ENTRY, OURS, VARIABLE, catch_up, kernel, place, programs_kept, publish


@pytest.fixture(autouse=True)
def kept_here(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(compilation_cache, "LEAST_SECONDS", 0.0)


def wave(x):
    for i in range(3):
        x = jnp.sin(x @ x) + i
    return x


HITS = []


def note_hit(event, **_):
    HITS.extend([event] * (event == "/jax/compilation_cache/cache_hits"))


jax.monitoring.register_event_listener(note_hit)


def computed():
    """Compile and run a program as a new process would; return what it returns, and how often it was read."""
    jax.clear_caches()
    before = len(HITS)
    values = np.asarray(jax.jit(wave).lower(jnp.eye(4)).compile()(jnp.eye(4)))
    return values, len(HITS) - before


def entries():
    return sorted(path.name for path in place().glob(f"jit_wave{ENTRY}"))


def test_a_program_is_compiled_once_and_read_by_the_next_command():
    with programs_kept():
        first, hits = computed()
        assert hits == 0 and entries() == []
    assert len(entries()) == 1
    with programs_kept():
        again, hits = computed()
    assert hits >= 1 and len(entries()) == 1
    np.testing.assert_array_equal(first, again)


def test_what_is_published_outlasts_a_command_that_is_stopped():
    with contextlib.suppress(KeyboardInterrupt), programs_kept():
        computed()
        publish()
        raise KeyboardInterrupt
    assert len(entries()) == 1 and not list(place().glob("process-*"))


def test_what_another_process_compiles_meanwhile_is_read(tmp_path):
    with programs_kept():
        computed()
    (compiled,) = entries()
    hits = []
    for asked in (False, True):
        (place() / compiled).rename(tmp_path / compiled)
        with programs_kept():
            (tmp_path / compiled).rename(place() / compiled)  # as another process keeps it
            if asked:
                catch_up()
                catch_up()  # what is there already does no harm
            hits.append(computed()[1])
    assert hits[1] == hits[0] + 1 and entries() == [compiled]


def test_what_was_being_written_when_a_process_was_killed_is_never_read():
    left = place() / "process-killed"
    left.mkdir()
    (left / "jit_wave-1-cache").write_bytes(b"half")
    with programs_kept():
        assert left.exists() and entries() == []  # it might be just being made
    (empty := left.with_name("process-empty")).mkdir()
    for path in (left, empty):
        os.utime(path, (0, 0))
    with programs_kept():
        assert left.exists() and not empty.exists()
    (left / "lock").touch()
    with programs_kept():
        assert not left.exists() and entries() == []


def test_the_directory_of_a_running_process_stays():
    with programs_kept():
        (own,) = place().glob("process-*")
        running = (
            "from jaxstudies import compilation_cache as c\nwith c.programs_kept(): print(*c.place().glob('process-*'))"
        )
        done = subprocess.run([sys.executable, "-c", running], capture_output=True, text=True, check=True)
        assert own.exists() and str(own) in done.stdout and len(done.stdout.split()) == 2


@pytest.mark.parametrize("function", ["link", "rename"])
def test_a_disk_that_cannot_keep_anything_stops_nothing(monkeypatch, function):
    def refused(*arguments):
        raise OSError("Operation not supported")

    with programs_kept():
        first, _ = computed()
    monkeypatch.setattr(os, function, refused)
    with programs_kept():
        again, hits = computed()
    assert hits == 0 and len(entries()) == 1 and not list(place().glob("process-*"))
    np.testing.assert_array_equal(first, again)


def test_what_another_process_removes_meanwhile_is_compiled(monkeypatch):
    with programs_kept():
        computed()
    link = os.link

    def late(source, target):
        Path(source).unlink()
        link(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", late)
        with programs_kept():
            patched.setattr(os, "link", link)
            _, hits = computed()
    assert hits == 0 and len(entries()) == 1


def test_a_damaged_program_is_compiled_and_then_kept_anew(recwarn):
    with programs_kept():
        first, _ = computed()
    (name,) = entries()
    path = place() / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with programs_kept():
        again, _ = computed()
    assert entries() == [name]
    with programs_kept():
        last, hits = computed()
    assert hits >= 1 and not [w for w in recwarn if "compilation cache" in str(w.message)]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, last)


def test_no_place_that_others_can_write_to_is_trusted(tmp_path, monkeypatch):
    directory = place()
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o770)
    assert place() is None
    with programs_kept():
        computed()
    directory.chmod(0o700)
    assert list(directory.iterdir()) == []
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    assert place() is None


@pytest.mark.parametrize("named", ["", "relative", "/dev/null", "/proc/nowhere", "\0"])
def test_where_nothing_can_be_kept_nothing_is(named, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ | {VARIABLE: named})
    assert place() is None
    with programs_kept():
        computed()
        assert jax.config.jax_compilation_cache_dir is None


def test_without_a_home_nothing_is_kept(tmp_path, monkeypatch):
    for name in (VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for home, found in ((str(tmp_path), f"{tmp_path}/.cache/jaxstudies/{OURS}"), ("/dev/null", "None")):
        monkeypatch.setenv("HOME", home)
        assert str(place()).startswith(found)


def test_a_cache_that_jax_was_told_of_stays_its_own(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    try:
        with programs_kept():
            assert jax.config.jax_compilation_cache_dir == str(tmp_path / "theirs")
            publish()
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    assert not (tmp_path / "cache").exists()


def test_settings_of_jax_are_as_they_were():
    before = dict(jax.config.values)
    with programs_kept():
        assert dict(jax.config.values) != before
    assert dict(jax.config.values) == before


def test_a_kernel_is_made_once_and_one_that_cannot_be_loaded_made_again():
    made = []

    def make(directory):
        made.append(directory)
        path = directory / "kernel.so"
        path.write_text("whole")
        return path

    def load(path):
        if path.read_text() != "whole":
            raise OSError("damaged")
        return path

    with programs_kept():
        path = kernel("k1", make, load)
        assert kernel("k1", make, load) == path == place() / "k1.so" and len(made) == 1
        path.write_text("half")
        assert kernel("k1", make, load).read_text() == "whole" and len(made) == 2
    kernel("k1", make, load)  # outside it is made for the process alone
    assert len(made) == 3 and not made[-1].exists() and not list(place().glob("process-*"))


def test_where_nothing_that_is_kept_may_be_run_a_kernel_is_made_elsewhere(tmp_path):
    def make(directory):
        (directory / "kernel.so").write_text("whole")
        return directory / "kernel.so"

    def load(path):
        if place() in path.parents:
            raise OSError("Operation not permitted")
        return path

    with programs_kept():
        assert kernel("k1", make, load).name == "kernel.so"


def test_what_was_not_used_for_the_longest_time_goes_first_and_nothing_of_the_user_s(tmp_path):
    directory = tmp_path / "cache"
    sizes = {f"{OURS}a/old-cache": 30, f"{OURS}b/older.so": 30, f"{OURS}a/new-cache": 30, f"{OURS}b/new.so": 30}
    for i, (name, size) in enumerate((sizes | {"mine.so": 99, f"{OURS}a/notes.txt": 99, "other/x-cache": 99}).items()):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        os.utime(path, (i, i))
    compilation_cache.make_room(directory, most=70)
    left = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert left == {f"{OURS}a/new-cache", f"{OURS}b/new.so", "mine.so", f"{OURS}a/notes.txt", "other/x-cache"}


EXAMPLE = Path(__file__).parent.parent / "scripts" / "examples" / "xor.py"


@pytest.mark.slow
def test_a_command_that_finds_its_programs_gives_the_same_table(tmp_path):
    def run(out):
        flags = ["--seeds", "4", "--width", "2", "--learning-rate", "0.3", "--out", str(tmp_path / out)]
        subprocess.run([sys.executable, "-m", "jaxstudies", str(EXAMPLE), *flags], capture_output=True, check=True)
        return {path.name: path.stat().st_mtime_ns for path in place().iterdir()}

    first = run("first")
    assert first and not any(name.startswith("process-") for name in first)
    assert run("second").keys() == first.keys()
    import pandas as pd

    pd.testing.assert_frame_equal(*(pd.read_parquet(tmp_path / out / "runs.parquet") for out in ("first", "second")))
