"""Netwright builds neural networks by learning distributions over their graphs."""

__version__ = "0.1.0"
