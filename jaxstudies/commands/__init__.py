"""Flags, launching, the command line."""
