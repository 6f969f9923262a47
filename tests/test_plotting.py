"""Words, the files of figures, and the default figures."""

from itertools import pairwise, product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from reading import assert_words

from jaxstudies.evidence import intervals
from jaxstudies.output import default_figures, plotting
from jaxstudies.output.words import WORDS, words

CAPTION = "Points are what was measured. If theory holds, they lie on the line, whatever the seed. " * 3


@pytest.fixture(autouse=True)
def style():
    plotting.use_style()
    yield
    plt.close("all")


def draw():
    figure, ax = plt.subplots(figsize=(5, 3))
    ax.plot([1, 2, 3], [1, 4, 9], label="squares")
    figure.legend(loc="outside lower center")
    return figure


# Words.


def test_names_are_words_and_numbers_are_math():
    assert words("leaky_relu") == "Leaky ReLU" and words("some_new_name") == "some new name"
    assert [words(level) for level in (True, np.bool(False), None, float("nan"))] == ["yes", "no", "none", "none"]
    numbers = {3: "3", 0.1: "0.1", np.float32(0.5): "0.5", 1e-5: "10⁻⁵", 3e-5: "3 × 10⁻⁵", -0.25: "−0.25"}
    assert list(map(words, numbers)) == list(numbers.values())
    assert not any("_" in said for said in WORDS.values())


# Files.


def test_equal_figures_are_equal_files_and_a_figure_can_be_written_again(tmp_path):
    captions, figure = {"a": CAPTION, "b": CAPTION}, draw()
    engine, texts = figure.get_layout_engine(), len(figure.texts)
    paths = plotting.save({"a": figure, "b": draw()}, tmp_path, captions, pdf=True)
    assert [path.name for path in paths] == ["a.png", "a.pdf", "b.png", "b.pdf"]
    first, second, third, fourth = (path.read_bytes() for path in paths)
    assert first == third and second == fourth
    assert figure.get_layout_engine() is engine and len(figure.texts) == texts
    plotting.save({"a": figure}, tmp_path, captions)
    assert Image.open(tmp_path / "a.png").size == Image.open(tmp_path / "b.png").size


@pytest.mark.parametrize(
    ("values", "said"),
    [
        *(([np.inf], "no finite run"), ([-np.inf, np.inf], "no finite run"), ([np.nan], "no finite run")),
        *(([0.0], "nothing above 0"), ([-1.0, 0.0], "nothing above 0"), ([-1.0, 1.0], "")),
    ],
)
@pytest.mark.filterwarnings("ignore:Data has no positive values")
def test_a_logarithmic_panel_without_a_number_is_drawn_and_says_so(tmp_path, values, said):
    figure, ax = plt.subplots()
    for value in values:
        ax.plot([1], [value])
    ax.set(xscale="log", yscale="log")
    assert plotting.what_is_missing(ax) == said
    (path,) = plotting.save({"a": figure}, tmp_path)
    assert path.stat().st_size > 2000


def test_a_caption_is_drawn_and_told_and_nothing_else_is(tmp_path):
    plotting.save({"with": draw(), "without": draw()}, tmp_path, {"with": CAPTION}, pdf=True)
    image, bare = (Image.open(tmp_path / f"{name}.png") for name in ("with", "without"))
    assert image.info.keys() - bare.info.keys() == {"Description"} and image.info["Description"] == CAPTION
    assert "Software" not in bare.info and b"CreationDate" not in (tmp_path / "with.pdf").read_bytes()
    assert image.height > bare.height + 30 and abs(image.width - bare.width) < 30
    # Above the caption, both are the same.
    pixels = [np.asarray(i.convert("L"), float)[20:270, 20:450] for i in (image, bare)]
    assert np.abs(pixels[0] - pixels[1]).mean() < 6


# The default figures.


def tabulate(factors, num_seeds=6, curve=True):
    """Return runs of a product of factors, of chance alone."""
    rng, rows = np.random.default_rng(0), []
    for *levels, seed in product(*factors.values(), range(num_seeds)):
        row = dict(zip(factors, levels, strict=True)) | {"seed": seed}
        row |= {"learned": bool(rng.random() < 0.5), "test_loss": rng.random()}
        rows.append(row | ({"losses": rng.random(30) + 0.1} if curve else {}))
    return pd.DataFrame(rows)


def summarize(runs):
    labels, tables = list(runs.columns[: list(runs.columns).index("seed")]), []
    for measure in ("learned", "test_loss"):
        seen = runs.groupby(labels, sort=False, dropna=False)[measure].agg(["mean", "std", "count"]).reset_index()
        estimate, low, high = intervals.t_intervals(seen["mean"], seen["std"], seen["count"])
        columns = {"measure": measure, "n": seen["count"], "estimate": estimate, "low": low, "high": high}
        tables.append(seen[labels].assign(**columns))
    return pd.concat(tables, ignore_index=True)


def drawn_by_default(factors, **how):
    runs = tabulate(factors, **how)
    curves = {"losses": "step"} if "losses" in runs else {}
    return default_figures.draw_measures(summarize(runs), runs, curves, "A question?")


@pytest.mark.parametrize(
    "factors, drawn",
    [
        ({"width": (2, 3, 4), "learning_rate": (1e-5, 0.3)}, {"learned": "", "losses": ""}),
        ({"init": ("he_normal", "rai"), "batch_norm": (True, False)}, {"learned": "", "losses": ""}),
        ({"depth": (1, 2, 3, 4, 5), "width": (1, 2, 3, 4)}, {"learned": "", "losses": "7 of 20"}),
        ({"depth": tuple(range(1, 10)), "width": tuple(range(1, 10))}, {"learned": "63 of 81", "losses": "7 of 81"}),
        ({"a_b": (1, 2), "c": (1, 2), "d": (1, 2, 3, 4, 5), "e": (0.5, 1.0)}, {"learned": "16 of 40"}),
        ({"scale": (None, 0.5, 1.0), "width": (2, 4)}, {"learned": ""}),
    ],
)
def test_default_figures_say_words_and_how_much_is_drawn(factors, drawn):
    figures = drawn_by_default(factors)
    assert_words(figures)
    assert set(figures) == {"learned", "test_loss", "losses"}
    for name, said in drawn.items():
        title = figures[name].get_suptitle()
        assert f"{said} settings drawn" in title if said else "drawn" not in title


def legend_colors(figure):
    (legend,) = figure.legends
    return [to_rgb(handle.get_color()) for handle in legend.get_lines()]


def test_related_levels_have_related_colors_and_kinds_colors_that_are_told_apart():
    ordered = legend_colors(drawn_by_default({"depth": (1, 2), "width": (8, 2, 4)})["learned"])
    assert [sum(color) for color in ordered] == sorted(sum(color) for color in ordered)
    kinds = legend_colors(drawn_by_default({"depth": (1, 2), "init": ("a", "b", "c")})["learned"])
    assert kinds == [to_rgb(color) for color in plotting.COLORS[:3]]
    # Of curves, one factor has the colors, the other the line styles.
    (legend,) = drawn_by_default({"depth": (1, 2, 3), "width": (1, 2)})["losses"].legends
    looks = [(handle.get_color(), handle.get_linestyle()) for handle in legend.get_lines()]
    assert len({style for _, style in looks}) == 2 and len({tuple(to_rgb(color)) for color, _ in looks}) == 3


@pytest.mark.parametrize(
    "levels, scale",
    [
        ((1, 2, 3, 4), "linear"),
        (tuple(range(1, 60)), "linear"),
        ((1e-4, 1e-3, 1e-2), "log"),
        ((2, 4, 8, 16), "log"),
        ((0.0, 1e-4, 1e-3, 1e-2), "symlog"),
        ((0.0, 1e-3, 1.0), "symlog"),
        ((0.0, 1.0, 2.0), "linear"),
        ((-1.0, 1.0, 10.0), "linear"),
        ((1, 2, 3, 4, 5, 6, 7, 1000), "log"),
    ],
)
def test_levels_are_spaced_as_they_were_chosen_and_their_names_do_not_overlap(levels, scale):
    figure = drawn_by_default({"level": levels}, num_seeds=3, curve=False)["learned"]
    (ax,) = figure.axes
    assert ax.get_xscale() == scale
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert len(boxes) > 1 and all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_cells_reach_halfway_to_the_next():
    np.testing.assert_allclose(plotting.cell_edges(np.array([1.0, 2.0, 4.0])), [0.5, 1.5, 3.0, 5.0])
    np.testing.assert_allclose(plotting.cell_edges(np.array([2.0]), 0.2), [1.8, 2.2])


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_the_first_of_shares_is_on_top_on_shared_axes_too(panels):
    figure, axes = plt.subplots(1, panels, sharey=True, squeeze=False)
    shares = pd.DataFrame({"born": [0.2, 0.4], "born_low": [0.1, 0.3], "born_high": [0.3, 0.5]})
    for ax in axes[0]:
        plotting.draw_shares(ax, shares, ["one", "two"], {"born": ("born", "o", "white", "black")})
    assert all(ax.yaxis_inverted() for ax in axes[0])
    plt.close(figure)
