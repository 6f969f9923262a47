"""One page of verdicts that a reader looks at, checks and judges anew: a self-contained HTML file."""

from jaxstudies.output.page.rendering import is_page, page
from jaxstudies.output.page.sections import Section, UnreadableResults, found_in, read_section, with_ladders

__all__ = ["Section", "UnreadableResults", "found_in", "is_page", "page", "read_section", "with_ladders"]
