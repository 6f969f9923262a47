"""One page of verdicts that a reader looks at, checks and judges anew: a self-contained HTML file."""

from jaxstudies.output.page.rendering import TITLE, is_page, page
from jaxstudies.output.page.sections import Section, UnreadableResults, figures_in, found_in, read_section

__all__ = ["TITLE", "Section", "UnreadableResults", "figures_in", "found_in", "is_page", "page", "read_section"]
