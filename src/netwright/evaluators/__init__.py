"""Evaluators: architectures in, scores out."""
