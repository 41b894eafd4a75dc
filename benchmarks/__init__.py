"""Measuring frameworm beside its peers: ``python -m benchmarks --help``."""
