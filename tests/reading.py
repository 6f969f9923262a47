"""What a reader sees of a run."""

import re

import matplotlib.pyplot as plt
from matplotlib.text import Text

from jaxstudies import presentation, results
from jaxstudies.output import plotting
from jaxstudies.output.words import WORDS

FILES = {"runs.parquet", "effects.parquet", "summary.csv", "claims.json", "config.json"}

IDENTIFIERS = [name for name, said in WORDS.items() if name not in said]


def texts_of(figure):
    """Return what is to be read in a figure, without math."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
    return [re.sub(r"\$[^$]*\$", "", text) for text in found if text]


def assert_words(figures):
    """Check that no text in any figure is an identifier of code."""
    for name, figure in figures.items():
        texts = texts_of(figure)
        assert texts
        for text in texts:
            assert "_" not in text and "1e-" not in text, (name, text)
            for identifier in IDENTIFIERS:
                assert not re.search(rf"(?<![\w.]){re.escape(identifier)}(?![\w.])", text), (name, text)


def assert_told(study, out):
    """Check that a run has left its files, and figures that say words, each with a caption, and no caption without."""
    assert {path.name for path in out.iterdir()} >= FILES and list(out.glob("*.png"))
    plotting.use_style()
    figures = presentation.figures_of(study, results.read(study, out)[0])
    assert set(figures) <= set(study.CAPTIONS)
    # Violins are of the activations that were run.
    assert {name for name in study.CAPTIONS if not name.startswith("violins")} <= set(figures)
    assert_words(figures)
    assert all(caption.endswith(".") and "_" not in caption for caption in study.CAPTIONS.values())
    plt.close("all")
