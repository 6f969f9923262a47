"""What `scripts/benchmark.py` times, and on what."""
