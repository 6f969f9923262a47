"""What a reader sees in figures."""

import re

from matplotlib.text import Text

from jaxstudies.output.words import WORDS

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
