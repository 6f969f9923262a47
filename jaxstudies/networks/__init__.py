"""Data sets, models, batch norm, convolutions, diagnostics."""
