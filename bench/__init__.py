"""Measurements. `make bench` runs them all and prints what bench/RESULTS.md records."""
