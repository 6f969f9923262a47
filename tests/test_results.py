"""Tables that are written and read in blocks are the tables that were written."""

import numpy as np
import pandas as pd
import pytest

from jaxstudies import results

PROVENANCE = {"key": "0", "study": "toy"}


def frame(seeds, **more):
    seeds = np.asarray(seeds)
    columns = {"name": ["a"] * len(seeds), "seed": seeds, "odd": seeds % 2 == 1}
    return pd.DataFrame({**columns, "value": np.float32(0.1) * seeds, **more})


def count_odd(table):
    return table.groupby(["name", "odd"], as_index=False)["count"].sum()


def test_blocks_make_one_table(tmp_path):
    path, whole = tmp_path / "runs.parquet", frame(range(10))
    results.write_runs(path, (whole[i : i + 4] for i in range(0, 10, 4)), PROVENANCE)
    pd.testing.assert_frame_equal(results.read_runs(path), whole)
    assert results.read_provenance(path) == PROVENANCE
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs.parquet"]


def test_columns_that_a_later_block_lacks_are_missing_there(tmp_path):
    """On a map more networks are initialized than trained."""
    path = tmp_path / "runs.parquet"
    mixed = pd.concat([frame([0, 1], layer=[3, 4]), frame([0, 1], dead=[True, False])])
    later = frame([2, 3], layer=[5, 0]).drop(columns=["odd"])
    results.write_runs(path, iter([mixed, later]), PROVENANCE)
    read = results.read_runs(path)
    assert list(read["seed"]) == [0, 1, 0, 1, 2, 3]
    assert read["layer"].dropna().to_list() == [3, 4, 5, 0]
    assert read["dead"].dropna().to_list() == [True, False]
    assert read["odd"].isna().sum() == 2


def test_later_blocks_are_condensed_on_reading(tmp_path):
    path, whole = tmp_path / "runs.parquet", frame(range(10))
    results.write_runs(path, (whole[i : i + 3] for i in range(0, 10, 3)), PROVENANCE)
    read = results.read_runs(path, count_odd)
    pd.testing.assert_frame_equal(read[:3][list(whole)], whole[:3], check_dtype=False)
    assert len(read) == 3 + 2
    assert read.set_index("odd")["count"].dropna().to_dict() == {True: 4, False: 3}


def test_rows_that_condensing_loses_are_noticed(tmp_path):
    path, whole = tmp_path / "runs.parquet", frame(range(9))
    results.write_runs(path, (whole[i : i + 3] for i in range(0, 9, 3)), PROVENANCE)
    forgetful = lambda table: count_odd(table.assign(count=1))  # noqa: E731
    with pytest.raises(ValueError, match="9 rows"):
        results.read_runs(path, forgetful)


@pytest.mark.parametrize("block", [0, 1])
def test_damage_in_any_block_is_found(tmp_path, block):
    path = tmp_path / "runs.parquet"
    values = np.random.default_rng(0).random(4000)
    whole = pd.DataFrame({"seed": np.arange(4000), "value": values})
    results.write_runs(path, (whole[:2000], whole[2000:]), PROVENANCE)
    content = bytearray(path.read_bytes())
    place = content.index(values[2000 * block + 1000].tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    for read in (results.read_runs, results.check_runs):
        with pytest.raises(results.UnreadableRuns, match="is damaged"):
            read(path)
