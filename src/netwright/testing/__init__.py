"""The contract suites, one per abstraction: run them on your own implementations.

Each is a table of named checks, plain functions that raise AssertionError.
"""

from netwright.testing.evaluators import EVALUATOR_CHECKS, check_evaluator
from netwright.testing.generators import GENERATOR_CHECKS, check_generator
from netwright.testing.latent import LATENT_CHECKS, check_latent
from netwright.testing.searchers import SEARCHER_CHECKS, check_searcher
from netwright.testing.spaces import SPACE_CHECKS, check_space

__all__ = [
    "EVALUATOR_CHECKS",
    "GENERATOR_CHECKS",
    "LATENT_CHECKS",
    "SEARCHER_CHECKS",
    "SPACE_CHECKS",
    "check_evaluator",
    "check_generator",
    "check_latent",
    "check_searcher",
    "check_space",
]
