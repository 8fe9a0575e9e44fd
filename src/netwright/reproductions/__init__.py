"""Experiments: methods on benchmarks, seed by seed, and the papers' tables made again."""
