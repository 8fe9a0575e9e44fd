"""The contract suites, one per abstraction: run them on your own implementations.

Each is a table of named checks, plain functions that raise AssertionError.
"""

from netwright.testing.spaces import SPACE_CHECKS, check_space

__all__ = ["SPACE_CHECKS", "check_space"]
