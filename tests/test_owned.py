"""Nothing of the user's is replaced or removed, and a directory holds what its table says, no more."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import stat
import threading
import time

import matplotlib.pyplot as plt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

import jaxstudies
from jaxstudies import locks, ours
from jaxstudies.commands import command, docs_command, main, report_command
from jaxstudies.engine import chunks
from jaxstudies.errors import DirectoryError
from jaxstudies.output import files, owned, page, stored

SECRET = "of the user's"
USERS = [
    ".bashrc.2024",
    ".env.1",
    ".config.12.json",
    ".lock",
    ".lock.finish",
    ".runs.17.parquet",
    "notes.csv",
    "mine.png",
]


def draw_some(*names):
    """Return a study of draws that draws empty figures."""

    def plot(results):
        return {name: plt.figure() for name in names}

    return dataclasses.replace(toy.STUDY, plot=plot)


def run(study, out, *flags, status=None):
    """Run a study into a directory; return its line on stderr if it ends with a status."""
    if status is None:
        return command.main(study, ["--seeds", "2", "--out", str(out), *flags])
    with pytest.raises(SystemExit) as stop:
        command.main(study, ["--seeds", "2", "--out", str(out), *flags])
    assert stop.value.code == status
    return None


def contents(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file() and not p.name.startswith(ours.OURS)}


def test_files_of_the_users_outlast_runs_kills_and_fresh_runs(tmp_path):
    for name in USERS:
        (tmp_path / name).write_text(SECRET)
    leftover = tmp_path / f"{ours.OURS}0123456789abcdef.tmp.png"
    leftover.write_text("")
    run(draw_some("a"), tmp_path, "--pdf")
    run(draw_some("b"), tmp_path, "--fresh")
    run(draw_some(), tmp_path, "--seeds", "3")
    for name in USERS:
        assert (tmp_path / name).read_text() == SECRET
    assert not leftover.exists()


@pytest.mark.parametrize("name", owned.NAMES)
def test_a_file_of_the_user_in_the_way_is_one_line_before_anything_runs(tmp_path, capsys, monkeypatch, name):
    (tmp_path / name).write_text(SECRET)
    monkeypatch.setattr(command, "launch", lambda *a: pytest.fail("ran"))
    run(toy.STUDY, tmp_path, status=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--out {tmp_path}: " in line and name in line and "name another directory" in line
    assert contents(tmp_path) == {name: SECRET.encode()}
    with pytest.raises(DirectoryError, match=name):
        jaxstudies.run({"scale": 1.0}, lambda key, scale: {"x": scale}, num_seeds=2, directory=tmp_path)
    assert contents(tmp_path) == {name: SECRET.encode()}


def test_a_picture_of_the_user_in_the_way_is_one_line_and_costs_no_run(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.png").write_text(SECRET)
    run(draw_some("a"), tmp_path, status=2)
    assert "a.png is there, and not of this project" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "a.png").read_text() == SECRET
    (tmp_path / "a.png").rename(tmp_path / "mine.png")
    run(draw_some("a"), tmp_path)
    assert "holds these runs already" in capsys.readouterr().out
    assert (tmp_path / "mine.png").read_text() == SECRET and (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"


def test_what_an_older_run_left_does_not_stay_beside_the_new(tmp_path):
    run(draw_some("a", "both"), tmp_path, "--pdf")
    assert {"a.png", "a.pdf", "both.pdf"} <= set(contents(tmp_path))
    first = contents(tmp_path)["config.json"]
    run(draw_some("both"), tmp_path, "--seeds", "3")
    there = contents(tmp_path)
    assert [name for name in there if name.endswith((".png", ".pdf"))] == ["both.png"]
    assert there["config.json"] != first
    run(dataclasses.replace(toy.STUDY, beside=lambda config, remember: {}), tmp_path, "--seeds", "4")
    assert "spread.csv" in there and "spread.csv" not in contents(tmp_path)


def test_pdfs_of_the_same_runs_are_drawn_again_and_replays_stay_while_their_runs_do(tmp_path):
    run(draw_some("a"), tmp_path, "--pdf")
    owned.add(tmp_path, "replay-1.png")
    (tmp_path / "replay-1.png").write_text("")
    (tmp_path / "a.pdf").write_text("old")
    run(draw_some("a"), tmp_path, "--plots-only")
    assert contents(tmp_path)["a.pdf"].startswith(b"%PDF") and "replay-1.png" in contents(tmp_path)
    run(draw_some("a"), tmp_path, "--seeds", "3")
    assert not {"a.pdf", "replay-1.png"} & set(contents(tmp_path))


def test_a_kill_between_table_and_figures_leaves_nothing_old_for_good(tmp_path, monkeypatch):
    run(draw_some("a"), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_csv", lambda *a: pytest.exit("killed"))
        with pytest.raises(pytest.exit.Exception):
            run(draw_some("b"), tmp_path, "--seeds", "3")
    assert "a.png" not in contents(tmp_path)
    run(draw_some(), tmp_path, "--seeds", "3")
    assert not [name for name in contents(tmp_path) if name.endswith(".png")]


def test_the_page_shows_what_the_study_drew(tmp_path):
    run(draw_some("a"), tmp_path)
    for name in ("mine.png", f"{ours.OURS}0123456789abcdef.tmp.png", "replay-1.png"):
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    assert list(page.read_section(tmp_path).figures) == ["a"]
    (tmp_path / owned.LIST).unlink()
    assert list(page.read_section(tmp_path).figures) == ["a", "mine"]


def test_a_directory_without_a_list_is_ours_if_its_table_is(tmp_path):
    run(draw_some("a"), tmp_path)
    (tmp_path / owned.LIST).unlink()
    run(draw_some("a"), tmp_path, "--plots-only")
    (tmp_path / owned.LIST).write_text("[" * 100_000)
    run(draw_some("a"), tmp_path)
    assert owned.following(tmp_path, stored.read_provenance(tmp_path / owned.RUNS)["digest"]) >= {"a.png", *owned.NAMES}


def test_a_list_names_files_of_its_directory_alone(tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_text(SECRET)
    out = tmp_path / "out"
    run(draw_some("a"), out)
    listed = json.loads((out / owned.LIST).read_text())
    hostile = [*listed["names"], "../outside.png", str(outside), ".bashrc", "", 3]
    (out / ".bashrc").write_text(SECRET)
    (out / owned.LIST).write_text(json.dumps({"digest": "other", "names": hostile}))
    run(draw_some("b"), out)
    assert outside.read_text() == SECRET == (out / ".bashrc").read_text()


@pytest.mark.parametrize("how", ["footer", "page"])
def test_a_damaged_table_is_set_aside_with_a_word(tmp_path, capsys, how):
    run(toy.STUDY, tmp_path)
    path = tmp_path / owned.RUNS
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[6 if how == "page" else -20] ^= 255
    path.write_bytes(damaged)
    if how == "page":
        assert stored.read_provenance(path)
    capsys.readouterr()
    run(toy.STUDY, tmp_path)
    assert "runs.parquet is damaged; it is set aside as runs-damaged-1.parquet" in capsys.readouterr().out
    assert (tmp_path / "runs-damaged-1.parquet").read_bytes() == damaged
    assert pq.read_table(path).equals(pq.read_table(pa.BufferReader(whole)))


def test_plots_of_a_table_that_cannot_be_read_advise_nothing_that_loses_it(tmp_path, capsys):
    pq.write_table(pa.table({"x": [1]}), tmp_path / owned.RUNS)
    before = contents(tmp_path)
    run(toy.STUDY, tmp_path, "--plots-only", status=2)
    run(toy.STUDY, tmp_path, status=2)
    assert contents(tmp_path) == before


def test_a_key_in_a_table_leads_nowhere_else(tmp_path):
    out = tmp_path / "out"
    run(toy.STUDY, out)
    whole = stored.read_provenance(out / owned.RUNS)
    blocks = list(stored.row_groups(out / owned.RUNS))
    stored.write_runs(out / owned.RUNS, blocks, whole | {"digest": "../../elsewhere"})
    run(toy.STUDY, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (out / "runs-damaged-1.parquet").exists()


def test_what_is_no_table_of_these_runs_is_not_replaced_by_one_that_is_set_aside(tmp_path, capsys):
    run(toy.STUDY, tmp_path)
    digest = stored.read_provenance(tmp_path / owned.RUNS)["digest"]
    (tmp_path / f"runs-{digest}.parquet").write_text(SECRET)
    run(toy.STUDY, tmp_path, "--seed", "1", status=2)
    assert f"runs-{digest}.parquet is there" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / f"runs-{digest}.parquet").read_text() == SECRET
    assert stored.read_provenance(tmp_path / owned.RUNS)["digest"] == digest


def test_links_lead_nowhere(tmp_path, capsys):
    out, target = tmp_path / "out", tmp_path / "target"
    out.mkdir()
    target.write_text(SECRET)
    for name in (locks.LOCK, "a.png", "config.json"):
        (out / name).symlink_to(target)
        run(draw_some("a"), out, status=2)
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert name in line
        (out / name).unlink()
    run(draw_some("a"), out)
    assert target.read_text() == SECRET


def test_a_temporary_name_is_not_foreseen_and_never_one_that_is_there(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.write_text(SECRET)
    monkeypatch.setattr(ours.secrets, "token_hex", lambda number: "0" * 2 * number)
    (tmp_path / f"{ours.OURS}{'0' * 16}.tmp.json").symlink_to(target)
    with pytest.raises(FileExistsError):
        files.write_json(tmp_path / "a.json", {})
    assert target.read_text() == SECRET and not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("kind", ["directory", "pipe", "link", "socket"])
def test_what_is_in_the_place_of_a_lock_is_one_line(tmp_path, kind):
    path = tmp_path / locks.LOCK
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        os.mknod(path, {"pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK}[kind] | 0o600)
    before = path.lstat()
    with pytest.raises(DirectoryError, match=f"{locks.LOCK}.* remove it"), locks.sole_writer(tmp_path):
        pass
    assert os.path.samestat(path.lstat(), before)


def test_a_lock_that_another_user_has_left_is_taken_or_named(tmp_path, monkeypatch):
    path, opened = tmp_path / locks.LOCK, os.open
    path.write_text("theirs")

    def refuse(*modes):
        def opening(name, how, *rest):
            if how & 3 in modes:
                raise PermissionError(errno.EACCES, "Permission denied", str(name))
            return opened(name, how, *rest)

        return opening

    monkeypatch.setattr(os, "open", refuse(os.O_RDWR))
    with locks.sole_writer(tmp_path):
        assert path.read_text() == "theirs"
    path.write_text("theirs")
    monkeypatch.setattr(os, "open", refuse(os.O_RDWR, os.O_RDONLY))
    with pytest.raises(DirectoryError, match="cannot be opened"), locks.sole_writer(tmp_path):
        pass


def test_without_locks_a_run_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    def flock(descriptor, kind):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    run(draw_some(), tmp_path)
    assert "toy: warning: " in capsys.readouterr().err
    assert (tmp_path / "claims.json").exists()


def test_a_share_that_starts_while_the_last_one_ends_waits_for_a_moment(tmp_path, monkeypatch):
    with locks.shared_writer(tmp_path, "1-of-2"):
        descriptor = os.open(tmp_path / locks.LOCK, os.O_RDWR)
        begun = threading.Event()

        def other():
            begun.set()
            with locks.shared_writer(tmp_path, "2-of-2"):
                held.append(True)

        held = []
        # As the last holder has it for as long as it takes to remove it.
        monkeypatch.setattr(locks, "_is_there", lambda *a: begun.is_set() and time.sleep(0.05) is None)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        os.close(descriptor)
    assert held == [True] and not list(tmp_path.iterdir())


def test_many_that_hold_and_let_go_at_once_never_find_another_run(tmp_path):
    failed, inside = [], []

    def share(name):
        try:
            for _ in range(60):
                with locks.shared_writer(tmp_path, name):
                    inside.append(name)
        except DirectoryError as error:
            failed.append(error)

    threads = [threading.Thread(target=share, args=[f"{i}-of-4"]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(inside) == 240


@given(st.lists(st.text(min_size=0, max_size=400), max_size=8, unique=True))
def test_any_text_has_a_name_that_is_a_file_s_own(texts):
    found = owned.file_names(texts, ".png")
    assert list(found) == texts and len({name.casefold() for name in found.values()}) == len(texts)
    for name in found.values():
        assert owned.is_plain(name) and len(name.encode()) < 200 and name.isprintable()
        assert not set(name) & set('/\\:*?"<>|\0\n')


def test_a_study_s_figures_and_tables_may_have_any_name(tmp_path):
    out = tmp_path / "out"
    odd = ["../up", "a/b", "A/B", "x" * 300, "..", "été $x_1$"]
    tables = {name: pd.DataFrame({"x": [1]}) for name in odd}
    run(dataclasses.replace(draw_some(*odd), tables=lambda results: tables), out)
    names = set(contents(out))
    assert len([n for n in names if n.endswith(".png")]) == 6 and "été _x_1_.png" in names
    assert len([n for n in names if n.endswith(".csv")]) == 6 + 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_page_takes_no_other_file_s_place(tmp_path, capsys):
    run(draw_some("a"), tmp_path / "out")
    notes = tmp_path / "notes.html"
    notes.write_text(SECRET)
    argv = [str(tmp_path / "out"), "--out"]
    with pytest.raises(SystemExit) as stop:
        report_command.main([*argv, str(notes)])
    assert stop.value.code == 2 and notes.read_text() == SECRET
    assert "no page of verdicts" in capsys.readouterr().err
    for _ in range(2):
        report_command.main([*argv, str(tmp_path / "page.html")])


def test_pages_of_the_reference_take_no_other_file_s_place(tmp_path, capsys, monkeypatch):
    (tmp_path / "index.html").write_text(SECRET)
    with pytest.raises(SystemExit) as stop:
        docs_command.main(["--out", str(tmp_path)])
    assert stop.value.code == 2 and (tmp_path / "index.html").read_text() == SECRET
    assert contents(tmp_path) == {"index.html": SECRET.encode()}


@pytest.mark.parametrize("name", ["a/b", "..", "x" * 300, "a\nb", ""])
def test_what_a_study_remembers_may_have_any_name(tmp_path, name):
    kept = chunks.Chunks(tmp_path / "parts" / "0")
    compute = iter([{"x": pd.Series([1]).to_numpy()}])
    for _ in range(2):
        assert list(chunks.remember(kept, name, lambda: next(compute))) == ["x"]
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


@pytest.mark.parametrize("argv", [["toy", "--out", ""], ["toy", "--out="], [""], ["report", ""], ["docs", "--out", ""]])
def test_an_empty_path_is_not_the_current_directory(tmp_path, monkeypatch, capsys, argv):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        command.main(toy.STUDY, argv[1:]) if argv[0] == "toy" else main.main(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "''" in line or argv == [""]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_at_the_list_costs_nothing(tmp_path, monkeypatch):
    run(draw_some("a"), tmp_path)
    before = contents(tmp_path)
    with monkeypatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(owned, "_write", lambda *a: os.open("/nonexistent/x", os.O_RDONLY))
        run(draw_some("a"), tmp_path)
    assert contents(tmp_path) == before
