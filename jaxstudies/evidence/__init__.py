"""Intervals, claims and verdicts, theory."""
