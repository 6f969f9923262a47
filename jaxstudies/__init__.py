"""Statistical studies of neural-network training, thousands of seeds at a time, on JAX."""

__version__ = "0.1.0"
