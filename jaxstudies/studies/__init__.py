"""The studies: one file each, with `Config`, `simulate`, `run`, `summarize`, `judge` and `plot`."""
