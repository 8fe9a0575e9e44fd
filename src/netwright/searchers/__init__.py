"""Searchers: ask them for architectures, tell them the scores."""
