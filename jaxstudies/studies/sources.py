"""Whose claims are judged in several studies."""

NOTEBOOK = "the source notebook"
"""One student's answer to a course homework, which ran each setting once."""
ASSIGNMENT = "the assignment"
"""That homework's text."""
