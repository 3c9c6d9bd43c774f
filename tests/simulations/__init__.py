"""Simulations behind docs/statistics.md: python -m tests.simulations [NAME ...] [--times N] writes their tables."""
