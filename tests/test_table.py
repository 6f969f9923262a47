"""What is written into a table is what is read from it, or it is said that it cannot be."""

import itertools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxstudies.evidence import records
from jaxstudies.output import stored, table

PROVENANCE = {"digest": "0", "study": "toy"}
AXES = {"curve": ("epoch",), "grid": ("row", "column")}


def measures(seeds, settings, **more):
    """Arrays with axes of seeds and of settings first, all numbers different."""
    place = np.arange(len(seeds) * settings, dtype=np.float32).reshape(len(seeds), settings)
    place += 1000 * seeds[0]
    shape = (len(seeds), settings)
    return {
        "x": place / 7,
        "odd": place % 2 == 1,
        "count": place.astype(np.int32),
        "curve": place[..., None] + np.linspace(0, 0.9, 3, dtype=np.float32),
        "grid": (place[..., None] + np.arange(6) / 8).reshape(*shape, 2, 3).astype(np.float32),
        "hits": np.stack([place % 3 == 0, place % 5 == 0], axis=-1),
        **more,
    }


def shapes_of(arrays):
    return {k: jax.ShapeDtypeStruct(v.shape[2:], v.dtype) for k, v in arrays.items()}


LABELS = {"rate": np.array([0.1, 0.2, 0.3]), "name": np.array(["a", None, "b"], dtype=object)}


def block(first, last, schema=None):
    """Return rows of three settings, of which the last is of another group with fewer measures."""
    seeds = np.arange(first, last)
    many = measures(seeds, 2)
    few = {k: v for k, v in measures(seeds, 1).items() if k in ("x", "count")}
    schema = schema or table.make_schema(LABELS, shapes_of(many), AXES)
    pieces = [(np.array([0, 2]), seeds, many), (np.array([1]), seeds, few)]
    return table.assemble([table.rows_of(schema, LABELS, piece) for piece in pieces])


def write(path, *sizes):
    """Write so many seeds per block; return the rows."""
    ends = np.cumsum([0, *sizes])
    blocks = [block(a, b) for a, b in itertools.pairwise(ends)]
    stored.write_runs(path, iter(blocks), PROVENANCE)
    return pd.concat(map(table.to_pandas, blocks), ignore_index=True)


def assert_equal(a, b):
    """Check that tables are equal to the bit, arrays and what is missing among it."""
    assert list(a) == list(b) and len(a) == len(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        for x, y in zip(a[name], b[name], strict=True):
            assert np.asarray(x).dtype == np.asarray(y).dtype
            np.testing.assert_array_equal(x, y)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.parquet"


def test_blocks_make_one_table(path):
    whole = write(path, 4, 4, 2)
    assert_equal(stored.read_runs(path), whole)
    provenance = stored.read_provenance(path)
    assert provenance == PROVENANCE | {"format": stored.FORMAT}
    assert [entry.name for entry in path.parent.iterdir()] == ["runs.parquet"]


def test_rows_are_the_runs_that_they_were(path):
    """By hand: setting 2 is the second of the first group."""
    write(path, 5)
    runs, arrays = stored.read_runs(path), measures(np.arange(5), 2)
    assert list(runs["rate"]) == [0.1] * 5 + [0.2] * 5 + [0.3] * 5
    assert list(runs["seed"]) == [*range(5)] * 3
    names = [None if pd.isna(name) else name for name in runs["name"]]
    assert names == ["a"] * 5 + [None] * 5 + ["b"] * 5
    for place, rate in enumerate((0.1, 0.3)):
        rows = runs[runs["rate"] == rate]
        for name, values in arrays.items():
            read = table.stacked(rows, name)
            assert read.shape == values[:, place].shape
            np.testing.assert_array_equal(read, values[:, place])


def test_measures_that_settings_lack_are_missing_there(path):
    write(path, 2, 3)
    runs = stored.read_runs(path)
    lacking = runs["rate"] == 0.2
    for name in ("odd", "curve", "grid", "hits"):
        assert runs[name].isna().eq(lacking).all()
    assert runs["x"].notna().all() and runs["count"].notna().all()
    assert table.stacked(runs[~lacking], "grid").shape == (10, 2, 3)


KINDS = [bool, np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("kind", KINDS)
def test_any_number_is_read_as_it_was_written(path, kind):
    """To the bit: infinities, signed zeros and what is not a number as well."""
    rng = np.random.default_rng(0)
    odd = [0, 1, -0.0, np.inf, -np.inf, np.nan] if np.dtype(kind).kind == "f" else [0, 1]
    if np.dtype(kind).kind in "iu":
        odd += [np.iinfo(kind).min, np.iinfo(kind).max]
    values = np.array(odd, dtype=kind)
    arrays = {
        "one": values[:, None],
        "many": rng.permuted(np.tile(values, (len(values), 1)), axis=1)[:, None],
        "grid": rng.permuted(np.tile(values, (len(values), 6)), axis=1).reshape(len(values), 1, -1, 3),
    }
    labels, seeds = {"setting": np.array([1])}, np.arange(len(values))
    schema = table.make_schema(labels, shapes_of(arrays), {})
    rows = table.assemble([table.rows_of(schema, labels, (np.array([0]), seeds, arrays))])
    stored.write_runs(path, [rows], PROVENANCE)
    runs = stored.read_runs(path)
    for name, value in arrays.items():
        read = table.stacked(runs, name)
        assert read.dtype == kind
        np.testing.assert_array_equal(read, value[:, 0])
        if np.dtype(kind).kind == "f":
            np.testing.assert_array_equal(np.signbit(read), np.signbit(value[:, 0]))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([1, 2], "int64"),
        ([0.5, 2.0], "double"),
        (["a", "b"], "string"),
        ([True, False], "bool"),
        ([None, 3], "int64"),
        ([None, None], "string"),
        ([None, "a"], "string"),
    ],
)
def test_labels_keep_their_type(path, column, kind):
    labels = {"level": np.array(column, dtype=object if None in column else None)}
    arrays = measures(np.arange(3), 2)
    schema = table.make_schema(labels, shapes_of(arrays), {})
    assert str(schema.field("level").type) == kind
    rows = table.assemble([table.rows_of(schema, labels, (np.arange(2), np.arange(3), arrays))])
    stored.write_runs(path, [rows], PROVENANCE)
    read = stored.read_runs(path)["level"]
    assert [None if pd.isna(v) else v for v in read] == list(np.repeat(labels["level"], 3))


def test_a_measure_without_elements_is_read_as_such(path):
    """Such as the history of no epochs."""
    arrays = {"history": np.zeros((4, 1, 0), np.float32), "x": np.zeros((4, 1))}
    labels = {"setting": np.array([1])}
    schema = table.make_schema(labels, shapes_of(arrays), {})
    rows = table.assemble([table.rows_of(schema, labels, (np.array([0]), np.arange(4), arrays))])
    stored.write_runs(path, [rows], PROVENANCE)
    assert table.stacked(stored.read_runs(path), "history").shape == (4, 0)


def test_the_schema_names_shapes_and_axes(path):
    write(path, 2)
    schema = pq.read_schema(path)
    assert schema.names == ["rate", "name", "seed", "x", "odd", "count", "curve", "grid", "hits"]
    for name, shape, axes in (
        ("curve", [3], ["epoch"]),
        ("grid", [2, 3], ["row", "column"]),
        ("hits", [2], ["axis_0"]),
    ):
        field = schema.field(name)
        assert pa.types.is_fixed_size_list(field.type) and field.type.list_size == np.prod(shape)
        assert json.loads(field.metadata[b"shape"]) == shape
        assert json.loads(field.metadata[b"axes"]) == axes
    assert schema.field("x").metadata is None or b"shape" not in schema.field("x").metadata


def test_other_programs_read_the_table(path):
    whole = write(path, 3)
    plain = pd.read_parquet(path)
    assert list(plain) == list(whole)
    np.testing.assert_array_equal(plain["x"], whole["x"])
    np.testing.assert_array_equal(plain["grid"][0], whole["grid"][0].ravel())


def test_a_table_is_written_as_its_blocks_come(path, monkeypatch):
    """It need not fit into memory: of the blocks one at a time is alive."""
    seen = []

    def blocks():
        for i in range(4):
            (partial,) = path.parent.glob(".*") if i else (None,)
            seen.append(partial.stat().st_size if partial else 0)
            yield block(50 * i, 50 * (i + 1))

    stored.write_runs(path, blocks(), PROVENANCE)
    assert seen == sorted(set(seen)) and len(seen) == 4
    with pq.ParquetFile(path) as file:
        assert file.num_row_groups == 4
        assert [file.metadata.row_group(i).num_rows for i in range(4)] == [150] * 4
    assert [len(rows) for rows in stored.read_blocks(path)] == [150] * 4
    whole = stored.read_runs(path)
    monkeypatch.setattr(stored, "ROWS_READ", 100)
    assert [len(rows) for rows in stored.read_blocks(path)] == [100, 50] * 4
    pd.testing.assert_frame_equal(stored.read_runs(path), whole)


def test_of_a_long_table_the_arrays_of_the_first_rows_are_read(path, monkeypatch):
    whole = write(path, 4, 4, 4)
    monkeypatch.setattr(stored, "ARRAY_BYTES", 500)
    runs = stored.read_runs(path)
    assert list(runs) == list(whole) and len(runs) == 36
    scalars = ["rate", "name", "seed", "x", "odd", "count"]
    assert_equal(runs[scalars], whole[scalars])
    filled = runs["curve"].notna()
    assert 0 < filled.sum() < whole["curve"].notna().sum()
    last = filled[::-1].idxmax()
    assert_equal(runs[: last + 1], whole[: last + 1])


def test_of_a_long_table_all_arrays_are_there_for_what_is_derived_of_them(path, monkeypatch):
    whole = write(path, 4, 4, 4)
    monkeypatch.setattr(stored, "ARRAY_BYTES", 500)

    def derive(runs):
        return runs.assign(total=[np.nan if curve is None else np.sum(curve) for curve in runs["curve"]])

    runs = stored.read_runs(path, derive)
    assert_equal(runs[["total"]], derive(whole)[["total"]])
    filled = runs["curve"].notna()
    assert 0 < filled.sum() < whole["curve"].notna().sum() and filled[0]


@pytest.mark.parametrize(
    ("shape", "error", "named"),
    [
        (jax.ShapeDtypeStruct((), jnp.bfloat16), TypeError, "bfloat16"),
        (jax.ShapeDtypeStruct((2,), jnp.complex64), TypeError, "complex64"),
        (jax.eval_shape(lambda: jax.random.key(0)), TypeError, "key"),
    ],
)
def test_what_a_table_cannot_hold_is_refused(shape, error, named):
    with pytest.raises(error, match=named):
        table.check_measures(["rate"], {"x": shape}, {})


def count_odd(runs):
    return runs.groupby(["rate", "odd"], as_index=False)["count"].sum()


def write_scalars(path, *sizes):
    """Write a table of a setting with a measure."""
    labels, ends = {"rate": np.array([0.1])}, np.cumsum([0, *sizes])
    blocks = []
    for a, b in itertools.pairwise(ends):
        arrays = {"odd": np.arange(a, b)[:, None] % 2 == 1}
        schema = table.make_schema(labels, shapes_of(arrays), {})
        blocks.append(table.assemble([table.rows_of(schema, labels, (np.array([0]), np.arange(a, b), arrays))]))
    stored.write_runs(path, iter(blocks), PROVENANCE)
    return pd.concat(map(table.to_pandas, blocks), ignore_index=True)


def test_later_blocks_are_condensed_on_reading(path):
    whole = write_scalars(path, 3, 3, 3, 1)
    read = stored.read_runs(path, condense=count_odd)
    pd.testing.assert_frame_equal(read[:3][list(whole)], whole[:3], check_dtype=False)
    assert (read["count"][:3] == 1).all()
    assert len(read) == 3 + 2
    assert read[3:].set_index("odd")["count"].to_dict() == {True: 4, False: 3}


def test_rows_that_condensing_loses_are_noticed(path):
    write_scalars(path, 3, 3, 3)
    forgetful = lambda runs: count_odd(runs.assign(count=1))  # noqa: E731
    with pytest.raises(ValueError, match="9 rows"):
        stored.read_runs(path, condense=forgetful)
    with pytest.raises(ValueError, match="9 rows"):
        stored.read_runs(path, condense=lambda runs: runs[runs["odd"]])


def test_derived_columns_are_there_when_rows_are_condensed(path):
    write_scalars(path, 3, 3)
    derive = lambda runs: runs.assign(odd=~runs["odd"])  # noqa: E731
    assert_equal(stored.read_runs(path, derive), derive(stored.read_runs(path)))
    read = stored.read_runs(path, derive, count_odd)
    assert read[3:].set_index("odd")["count"].to_dict() == {True: 1, False: 2}


@pytest.mark.parametrize("number", [0, 1])
def test_damage_in_any_block_is_found(path, number):
    values = np.random.default_rng(0).integers(-(2**63), 2**63, 4000)  # nothing to compress
    labels = {"setting": np.array([1])}
    schema = table.make_schema(labels, {"x": jax.ShapeDtypeStruct((), values.dtype)}, {})
    pieces = [(np.array([0]), np.arange(a, a + 2000), {"x": values[a : a + 2000, None]}) for a in (0, 2000)]
    blocks = (table.assemble([table.rows_of(schema, labels, piece)]) for piece in pieces)
    stored.write_runs(path, blocks, PROVENANCE)
    assert stored.is_readable(path)
    content = bytearray(path.read_bytes())
    place = content.index(values[2000 * number + 1000].tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(stored.UnreadableRuns, match="is damaged"):
        stored.read_runs(path)
    assert not stored.is_readable(path)


def test_a_missing_a_foreign_and_a_changed_file_are_told(path):
    with pytest.raises(stored.UnreadableRuns, match="does not exist"):
        stored.read_provenance(path)
    pd.DataFrame({"x": [1]}).to_parquet(path)
    with pytest.raises(stored.UnreadableRuns, match="not a table of runs"):
        stored.read_runs(path)
    write(path, 2)
    rows = pq.read_table(path)
    pq.write_table(rows.rename_columns([*rows.column_names[:-1], "shots"]), path)
    with pytest.raises(stored.UnreadableRuns, match="is damaged"):
        stored.read_provenance(path)
    text = json.dumps(PROVENANCE | {"format": stored.FORMAT, "study": "another"})
    pq.write_table(rows.replace_schema_metadata({**rows.schema.metadata, b"jaxstudies": text}), path)
    with pytest.raises(stored.UnreadableRuns, match="is damaged"):
        stored.read_provenance(path)


def test_a_table_without_rows_is_damaged(path):
    write(path, 2)
    rows = pq.read_table(path)
    with pq.ParquetWriter(path, rows.schema):
        pass
    with pytest.raises(stored.UnreadableRuns, match="is damaged"):
        stored.read_runs(path)


def old_table(path, digest="0123456789abcdef"):
    """Write a table as version 0.1 did: columns `name_17`, and no format."""
    provenance = {"key": digest, "study": "toy", "environment": {"jaxstudies": "0.1.0"}}
    rows = pa.table({"scale": [1.0, 2.0], "seed": [0, 0], "draws_0": [0.5, 1.0], "mean": [0.5, 1.0]})
    pq.write_table(rows.replace_schema_metadata({"jaxstudies": json.dumps(provenance)}), path)


def test_a_table_of_the_first_version_is_named_as_such(path):
    old_table(path)
    for read in (stored.read_provenance, stored.read_runs, lambda p: list(stored.read_blocks(p))):
        with pytest.raises(stored.UnreadableRuns, match=r"version 0\.1\.0, in another format") as error:
            read(path)
        assert "\n" not in str(error.value)
    assert not stored.is_readable(path)


def test_a_whole_file_has_a_digest(path, tmp_path):
    write(path, 2)
    first = records.content_digest(path)
    other = tmp_path / "other.parquet"
    other.write_bytes(path.read_bytes())
    assert records.content_digest(other) == first
    other.write_bytes(path.read_bytes()[:-1] + b"x")
    assert records.content_digest(other) != first


READ = """
import resource, sys
from pathlib import Path
from jaxstudies.output import stored

def condense(runs):
    return runs.groupby("setting", as_index=False)["count"].sum()

runs = stored.read_runs(Path(sys.argv[1]), condense=condense)
print(len(runs), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_reading_a_table_that_is_condensed_takes_no_more_memory_the_longer_it_is(path):
    """Megabytes at most, of a block of 26."""
    labels, rows = {"setting": np.array([1])}, 100_000
    schema = table.make_schema(labels, {"x": jax.ShapeDtypeStruct((64,), np.float32)}, {})
    values, most = np.zeros((rows, 1, 64), np.float32), []
    for number in (1, 6):
        pieces = ((np.array([0]), np.arange(rows * i, rows * (i + 1)), {"x": values}) for i in range(number))
        stored.write_runs(path, (table.rows_of(schema, labels, piece)[0] for piece in pieces), PROVENANCE)
        said = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True).stdout
        length, megabytes = map(int, said.split())
        assert length == rows + (number > 1)
        most.append(megabytes)
    assert most[1] < most[0] + 50
